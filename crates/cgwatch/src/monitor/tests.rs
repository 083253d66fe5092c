//! The contract, checked against a world that moves between any two verbs.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{
    Monitor,
    fake::{FakeWorld, Hierarchy, KEYS},
};
use crate::{Depth, Event, EventKind, Options, Strategy};

/// A monitor over a world that the test can move, and what it has told.
struct Run {
    world: Rc<RefCell<Hierarchy>>,
    monitor: Monitor<FakeWorld>,
    events: Vec<Event>,
}

impl Run {
    fn new(hierarchy: Hierarchy, options: Options, notified: bool) -> Self {
        let strategy = if notified { Strategy::Inotify } else { Strategy::Sweep };
        let world = Rc::new(RefCell::new(hierarchy));
        let monitor = Monitor::new(FakeWorld(world.clone()), options, strategy).unwrap();
        Self { world, monitor, events: Vec::new() }
    }

    fn watch(&mut self) {
        self.monitor.add_root("/".as_ref(), 0, b"", Depth::All).unwrap();
    }

    fn take(&mut self) {
        self.monitor.update().unwrap();
        while let Some(event) = self.monitor.next() {
            self.events.push(event);
        }
    }

    /// Nothing happens any more; all timers go off.
    fn come_to_rest(&mut self) {
        self.world.borrow_mut().moves = 0;
        for _ in 0..200 {
            self.take();
            self.world.borrow_mut().now_ns += 1_000_000_000;
        }
    }
}

/// What a stream says in sum, after the rules of its order were checked.
#[derive(Debug, Default)]
struct Sums {
    appeared: BTreeMap<u64, Option<u64>>,
    removed: BTreeMap<u64, Option<u64>>,
    counted: HashMap<String, i128>,
    cancelled: u64,
    gaps: usize,
}

fn check(events: &[Event]) -> Sums {
    let mut sums = Sums::default();
    let mut paths: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut unseen_of: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut points_to: HashMap<u64, u64> = HashMap::new();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.seq, at as u64 + 1, "seq without holes");
        if let Some(cgroup) = event.kind.cgroup() {
            assert!(!sums.removed.contains_key(&cgroup.n), "nothing after removed: {event:?}");
            if !matches!(event.kind, EventKind::Appeared { .. }) {
                assert_eq!(sums.appeared.get(&cgroup.n), Some(&cgroup.id), "{event:?}");
            }
        }
        let mut add =
            |key: &str, amount: i128| *sums.counted.entry(key.into()).or_default() += amount;
        match &event.kind {
            EventKind::Appeared { cgroup, existing, files } => {
                assert!(sums.appeared.insert(cgroup.n, cgroup.id).is_none(), "twice: {event:?}");
                let path = cgroup.path.as_bytes().to_vec();
                if path != b"/" {
                    let end = path.iter().rposition(|b| *b == b'/').unwrap().max(1);
                    let parent = paths.get(&path[..end]);
                    assert!(parent.is_some(), "a child before its parent: {event:?}");
                }
                // One that was never seen may be told after the next bearer of its name.
                if cgroup.id.is_some() || !paths.contains_key(&path) {
                    assert!(paths.insert(path, cgroup.n).is_none(), "two at one path: {event:?}");
                }
                if !existing && let Some(values) = files.get("memory.events") {
                    assert!(
                        values.iter().all(|(_, value)| value == 0),
                        "a newborn counts: {event:?}"
                    );
                }
            }
            EventKind::Changed { own, late, delta, file, new, .. } => {
                own.iter().flat_map(|own| own.iter()).for_each(|(key, amount)| add(key, amount));
                late.iter().for_each(|(key, amount)| add(key, i128::from(amount)));
                if &**file == "memory.events" {
                    assert!(delta.iter().all(|(_, delta)| delta > 0), "{event:?}");
                    assert_eq!(delta.0.len(), new.0.len());
                }
            }
            EventKind::FileRemoved { cgroup, unseen, .. } => {
                if !unseen.shared_with.is_empty() {
                    unseen_of.entry(cgroup.n).or_default().extend(&unseen.shared_with);
                }
                for (_, values) in &unseen.files {
                    values.iter().flat_map(|v| v.iter()).for_each(|(k, n)| add(k, i128::from(n)));
                }
            }
            EventKind::Removed { cgroup, unseen, .. } => {
                sums.removed.insert(cgroup.n, cgroup.id);
                let path = cgroup.path.as_bytes();
                if paths.get(path) == Some(&cgroup.n) {
                    let mut below = path.to_vec();
                    below.push(b'/');
                    let child = paths.keys().find(|path| path.starts_with(&below));
                    assert_eq!(child, None, "a parent before its child: {event:?}");
                    paths.remove(path);
                }
                for (_, values) in &unseen.files {
                    values.iter().flat_map(|v| v.iter()).for_each(|(k, n)| add(k, i128::from(n)));
                }
                if !unseen.shared_with.is_empty() {
                    unseen_of.entry(cgroup.n).or_default().extend(&unseen.shared_with);
                }
                if let Some(carrier) = unseen.unseen_in {
                    points_to.insert(cgroup.n, carrier);
                }
            }
            EventKind::Gap { cancelled_pairs, cancelled, .. } => {
                sums.gaps += 1;
                sums.cancelled += cancelled_pairs;
                for (_, values) in cancelled.iter() {
                    values.iter().for_each(|(key, amount)| add(key, i128::from(amount)));
                }
            }
            _ => {}
        }
    }
    for (n, carrier) in points_to {
        let sharers = unseen_of.get(&carrier);
        assert!(
            sharers.is_some_and(|s| s.contains(&n)) || sums.cancelled > 0,
            "{n} points to {carrier}"
        );
    }
    sums
}

/// What the run must have told, by the world's own books.
fn compare(run: &Run, sums: &Sums, every_birth: bool, start: [u64; 2], seed: u64) {
    let world = run.world.borrow();
    let ids: BTreeMap<u64, bool> = world.cgroups.iter().map(|c| (c.id, c.alive)).collect();
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    for (n, id) in sums.appeared.iter().filter_map(|(n, id)| Some((*n, (*id)?))) {
        assert!(ids.contains_key(&id), "seed {seed}: invented {id}");
        assert!(told.insert(id, n).is_none(), "seed {seed}: {id} twice");
    }
    for (id, alive) in &ids {
        let n = told.get(id);
        if *alive {
            assert!(n.is_some(), "seed {seed}: {id} is alive and untold");
        }
        if let Some(n) = n {
            assert_eq!(sums.removed.contains_key(n), !alive, "seed {seed}: death of {id}");
        }
    }
    assert!(
        sums.appeared.len() as u64 + sums.cancelled <= ids.len() as u64,
        "seed {seed}: invented births"
    );
    if every_birth {
        let told = sums.appeared.len() as u64 + sums.cancelled;
        let must = world.cgroups.iter().filter(|c| c.announced || c.alive).count() as u64;
        assert!(told >= must, "seed {seed}: births: {told} of {must}");
    }
    for (at, key) in KEYS.iter().enumerate() {
        let grown = i128::from(world.cgroups[0].total[at]) - i128::from(start[at]);
        let counted = sums.counted.get(*key).copied().unwrap_or(0);
        assert_eq!(counted, grown, "seed {seed}: {key}");
    }
    let snapshot = run.monitor.snapshot();
    assert_eq!(snapshot.len(), world.living().len(), "seed {seed}");
    for cgroup in snapshot {
        let truth = world.cgroups.iter().find(|c| Some(c.id) == cgroup.cgroup.id).unwrap();
        let values = cgroup.files.get("memory.events").map(|v| [v.get("high"), v.get("oom_kill")]);
        let expected = truth.has_memory.then(|| truth.total.map(Some));
        assert_eq!(values, expected, "seed {seed}: {:?}", cgroup.cgroup.path);
    }
}

/// For each setting; `CGWATCH_SEED=n` runs one and prints what it told.
const SEEDS: u64 = 100;

struct Setting {
    seeds: std::ops::Range<u64>,
    notified: bool,
    every_birth: bool,
    /// Nobody takes events for so many of ten rounds.
    slow: bool,
    adjust: fn(&mut Hierarchy),
}

fn run_seeds(setting: &Setting) -> (usize, u64) {
    let (mut gaps, mut cancelled) = (0, 0);
    let only = std::env::var("CGWATCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(setting.seeds.clone(), |seed| seed..seed + 1);
    for seed in seeds {
        let mut hierarchy = Hierarchy::new(seed);
        hierarchy.by_id = seed % 2 == 1;
        (setting.adjust)(&mut hierarchy);
        let toggles = std::mem::replace(&mut hierarchy.toggles, false);
        for _ in 0..hierarchy.dice.below(40) {
            hierarchy.act();
        }
        hierarchy.toggles = toggles;
        let untold_pairs = if setting.slow { 3 } else { 4096 };
        let options = Options::new().untold_pairs(untold_pairs);
        let mut run = Run::new(hierarchy, options, setting.notified);
        let start = run.world.borrow().cgroups[0].total;
        let history = run.world.borrow().cgroups.len();
        let alive = run.world.borrow().living().len();
        run.watch();
        for _ in 0..30 {
            let mut world = run.world.borrow_mut();
            world.moves = world.dice.below(12);
            world.move_one_in = 1 + world.dice.below(12);
            let slow = setting.slow && !world.dice.one_in(5);
            for _ in 0..world.dice.below(6) {
                world.act();
            }
            world.now_ns += [1_000, 5_000_000, 40_000_000][world.dice.below(3)];
            drop(world);
            if slow {
                run.monitor.update().unwrap();
            } else {
                run.take();
            }
        }
        run.come_to_rest();
        if only.is_some() {
            run.events.iter().for_each(|event| println!("{event:?}"));
        }
        let sums = std::panic::catch_unwind(|| check(&run.events))
            .unwrap_or_else(|_| panic!("seed {seed}: the stream breaks its rules"));
        if only.is_some() {
            println!("{:#?}", run.monitor.dump());
        }
        // The dead of before the start are no births.
        let mut world = run.world.borrow_mut();
        let dead_before: Vec<u64> =
            world.cgroups[..history].iter().filter(|c| !c.alive).map(|c| c.id).collect();
        let untold = |id: &u64| !sums.appeared.values().any(|told| told.as_ref() == Some(id));
        let never = dead_before.into_iter().filter(untold).collect::<Vec<_>>();
        assert!(alive <= history);
        world.cgroups.retain(|c| c.alive || !never.contains(&c.id));
        drop(world);
        compare(&run, &sums, setting.every_birth, start, seed);
        gaps += sums.gaps;
        cancelled += sums.cancelled;
    }
    (gaps, cancelled)
}

#[test]
fn a_still_world_is_told_once() {
    let setting =
        Setting { seeds: 0..SEEDS, notified: true, every_birth: true, slow: false, adjust: |_| () };
    run_seeds(&setting);
}

#[test]
fn a_slow_reader_gets_sums() {
    let setting =
        Setting { seeds: 0..SEEDS, notified: true, every_birth: true, slow: true, adjust: |_| () };
    let (gaps, cancelled) = run_seeds(&setting);
    assert!(gaps > 0 && cancelled > 0);
}

#[test]
fn lost_wake_ups_are_made_good() {
    let adjust = |world: &mut Hierarchy| {
        world.lose_modify_one_in = 3;
        world.announces = true;
    };
    run_seeds(&Setting { seeds: 0..SEEDS, notified: true, every_birth: true, slow: false, adjust });
}

#[test]
fn an_overflow_is_reconciled() {
    let adjust = |world: &mut Hierarchy| world.queue_limit = 4;
    let (gaps, _) = run_seeds(&Setting {
        seeds: 0..SEEDS,
        notified: true,
        every_birth: false,
        slow: false,
        adjust,
    });
    assert!(gaps > 50, "{gaps}");
}

#[test]
fn too_few_watches_are_made_good_by_sweeps() {
    let adjust = |world: &mut Hierarchy| world.watch_limit = 6;
    let (gaps, _) = run_seeds(&Setting {
        seeds: 0..SEEDS,
        notified: true,
        every_birth: false,
        slow: false,
        adjust,
    });
    assert!(gaps > 50, "{gaps}");
}

#[test]
fn without_notifications_everything_is_swept() {
    let setting = Setting {
        seeds: 0..SEEDS,
        notified: false,
        every_birth: false,
        slow: false,
        adjust: |_| (),
    };
    run_seeds(&setting);
}

#[test]
fn controllers_come_and_go() {
    let adjust = |world: &mut Hierarchy| {
        world.toggles = true;
        world.announces = true;
    };
    run_seeds(&Setting { seeds: 0..SEEDS, notified: true, every_birth: true, slow: false, adjust });
}

#[test]
fn the_root_is_dated_too() {
    let mut run = Run::new(Hierarchy::new(1), Options::new(), true);
    run.watch();
    run.take();
    let began = 1_000_000_000;
    assert!(run.events.iter().all(|event| event.time.boot_ns >= began), "{:?}", run.events);
}

#[test]
fn a_root_that_is_not_there_leaves_no_watch() {
    let mut run = Run::new(Hierarchy::new(1), Options::new(), true);
    run.monitor.add_root("/none".as_ref(), 0, b"none", Depth::All).unwrap_err();
    assert_eq!(run.monitor.usage().watches, 0);
    assert_eq!(run.world.borrow().watches(), 0);
}
