//! What happens between any two system calls of the monitor is told right: each test moves the world
//! before the Nth call, for every N there is.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cgwatch::{
    Confidence, Depth, Driver, Event, EventKind, Options, SimWorld, Strategy, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};

/// Acts once, before the watcher's Nth call.
struct Once<F> {
    calls: u64,
    act: F,
}

impl<F: FnMut(&Hierarchy) + Send> Driver for Once<F> {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        if self.calls == 0 {
            (self.act)(hierarchy);
        }
        self.calls = self.calls.wrapping_sub(1);
    }
}

fn services(profile: Profile) -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile, ..Default::default() };
    let hierarchy = Hierarchy::new(options);
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    hierarchy.mkdir("/services").unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
    Arc::new(hierarchy)
}

fn world(hierarchy: &Arc<Hierarchy>) -> SimWorld {
    SimWorld::new(Arc::clone(hierarchy))
}

/// Watches `/services`, where something happens before the Nth call.
fn watcher(
    world: SimWorld,
    options: Options,
    calls: u64,
    act: impl FnMut(&Hierarchy) + Send + 'static,
) -> Watcher<SimWorld> {
    let world = world.driven_by(Once { calls, act });
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add("/services".as_ref(), Depth::All).unwrap();
    watcher
}

/// All that is told until nothing has been for a minute and a half, in which everything is swept.
fn listen(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = watcher.wait(Some(Duration::from_secs(90))).unwrap() {
        events.push(event);
    }
    events
}

/// What was recovered at removals of `memory.events high`: path, amount, whether it is certain.
fn recovered(events: &[Event]) -> Vec<(String, u64, Option<Confidence>)> {
    let removals = events.iter().filter_map(|event| match &event.kind {
        EventKind::Removed { cgroup, unseen, .. } => Some((cgroup, unseen)),
        _ => None,
    });
    let high = removals.map(|(cgroup, unseen)| {
        (cgroup.path.to_string(), unseen.get("memory.events", "high"), unseen.confidence)
    });
    high.filter(|(_, amount, _)| *amount > 0).collect()
}

#[test]
fn a_cgroup_may_go() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        hierarchy.mkdir("/services/web").unwrap();
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, |hierarchy| {
            hierarchy.rmdir("/services/web").unwrap();
        });
        let mut events = listen(&mut watcher);
        if hierarchy.find("/services/web").is_some() {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher));
        let mut alive = 0;
        for event in events {
            match event.kind {
                EventKind::Appeared { .. } => alive += 1,
                EventKind::Removed { .. } => alive -= 1,
                _ => {}
            }
        }
        assert_eq!((alive, watcher.snapshot().len()), (1, 1), "before call {calls}");
    }
}

/// One that died in a directory whose own birth was read with it, but not looked up yet, was taken
/// for one that died elsewhere.
#[test]
fn what_is_born_and_gone_in_a_newborn_is_told_by_the_mark() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let options = Options::new().strategy(Strategy::Fanotify);
        let mut watcher = watcher(world(&hierarchy), options, calls, |hierarchy| {
            for name in ["new", "new/brief"] {
                hierarchy.mkdir(format!("/services/{name}")).unwrap();
            }
            hierarchy.rmdir("/services/new/brief").unwrap();
        });
        if watcher.world().calls() > calls {
            continue; // it is there from the start
        }
        hierarchy.mkdir("/services/first").unwrap();
        let mut events = listen(&mut watcher);
        if hierarchy.find("/services/new").is_none() {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher));
        let mut told: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Appeared { cgroup, .. } => Some(cgroup.path.to_string()),
                _ => None,
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, ["/", "/first", "/new", "/new/brief"], "before call {calls}");
    }
}

/// What a parent counted itself between the readings of its file and of the file's twin stood for as
/// much that a dead child had counted, which was called the next dead child's alone then.
#[test]
fn what_a_parent_counts_meanwhile_is_not_called_a_dead_childs_alone() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let services = hierarchy.find("/services").unwrap();
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, move |hierarchy| {
            hierarchy.count(services, Counted::MemoryHigh, 3).unwrap();
        });
        let mut events = listen(&mut watcher);
        hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir("/services/guilty").unwrap();
        events.extend(listen(&mut watcher));
        hierarchy.mkdir("/services/innocent").unwrap();
        hierarchy.rmdir("/services/innocent").unwrap();
        events.extend(listen(&mut watcher));
        let told = recovered(&events);
        assert_eq!(told.len(), 1, "before call {calls}: {told:?}");
        assert_eq!((&*told[0].0, told[0].1), ("/guilty", 3), "before call {calls}");
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// What a cgroup counted itself between the readings of its file and, for the first time, of the
/// file's twin stood for as much that a child had counted which was never known. That was called the
/// first known child's alone then.
#[test]
fn what_a_newborn_counts_meanwhile_does_not_hide_a_child_that_was_never_known() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let new = "/services/new";
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, move |hierarchy| {
            if let Some(new) = hierarchy.find(new) {
                hierarchy.count(new, Counted::MemoryHigh, 3).unwrap();
            }
        });
        let mut events = listen(&mut watcher);
        hierarchy.mkdir(new).unwrap();
        hierarchy.write(format!("{new}/cgroup.subtree_control"), "+memory").unwrap();
        // Gone before its directory is watched, so that it is never told.
        let guilty = hierarchy.mkdir(format!("{new}/guilty")).unwrap();
        hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir(format!("{new}/guilty")).unwrap();
        events.extend(listen(&mut watcher));
        hierarchy.mkdir(format!("{new}/innocent")).unwrap();
        hierarchy.rmdir(format!("{new}/innocent")).unwrap();
        events.extend(listen(&mut watcher));
        for (path, amount, confidence) in recovered(&events) {
            let told = (&*path, amount, confidence);
            assert_eq!(told, ("/new/innocent", 3, Some(Confidence::Shared)), "before call {calls}");
        }
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// What a file had counted that was replaced unread was called alone a sibling's that had just died.
#[test]
fn what_a_replaced_file_had_counted_is_not_called_a_dead_siblings_alone() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        hierarchy.mkdir("/services/innocent").unwrap();
        let by_name = world(&hierarchy).by_id(false);
        let mut watcher = watcher(by_name, Options::new(), calls, move |hierarchy| {
            hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
            for written in ["-memory", "+memory"] {
                hierarchy.write("/services/cgroup.subtree_control", written).unwrap();
            }
        });
        let mut events = listen(&mut watcher);
        hierarchy.rmdir("/services/innocent").unwrap();
        events.extend(listen(&mut watcher));
        for (path, _, confidence) in recovered(&events) {
            assert_eq!(confidence, Some(Confidence::Shared), "{path}, before call {calls}");
        }
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// The watch on a file that replaced another was forgotten if its cgroup went before it was added.
#[test]
fn a_replaced_file_of_a_cgroup_that_goes_leaves_no_watch() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        hierarchy.mkdir("/services/web").unwrap();
        let by_name = world(&hierarchy).by_id(false);
        let mut watcher = watcher(by_name, Options::new(), calls, |hierarchy| {
            hierarchy.rmdir("/services/web").unwrap();
        });
        listen(&mut watcher);
        for sign in ["-", "+"] {
            let written = format!("{sign}memory");
            hierarchy.write("/services/cgroup.subtree_control", &written).unwrap();
        }
        listen(&mut watcher);
        if hierarchy.find("/services/web").is_some() {
            return; // it makes no more calls
        }
        listen(&mut watcher);
        let (held, known) = (watcher.world().watches(), watcher.usage().watches);
        assert_eq!(held, known as u64, "before call {calls}");
    }
}

/// Makes a child of the job that counts, and perhaps is gone at once, before the Nth call from when
/// that is set.
#[derive(Clone)]
struct Counter {
    calls: Arc<AtomicU64>,
    dies: bool,
}

impl Counter {
    const NEVER: u64 = u64::MAX;
}

impl Driver for Counter {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        match self.calls.load(Ordering::Relaxed) {
            Self::NEVER => {}
            0 => {
                self.calls.store(Self::NEVER, Ordering::Relaxed);
                let id = hierarchy.mkdir("/services/job/brief").unwrap();
                hierarchy.count(id, Counted::MemoryHigh, 3).unwrap();
                if self.dies {
                    hierarchy.rmdir("/services/job/brief").unwrap();
                }
            }
            left => self.calls.store(left - 1, Ordering::Relaxed),
        }
    }
}

/// What a child had counted before its parent's file was read, which had just come, was told once as
/// the child's and once as what was left over above.
#[test]
fn what_a_child_counted_before_its_parents_file_was_known_is_told_once() {
    for (strategy, kin, dies) in [
        (Strategy::Inotify, false, false),
        (Strategy::Inotify, false, true),
        (Strategy::Inotify, true, false),
        (Strategy::Inotify, true, true),
        (Strategy::Fanotify, false, false),
        (Strategy::Fanotify, false, true),
        (Strategy::Fanotify, true, false),
        (Strategy::Fanotify, true, true),
    ] {
        for calls in 0.. {
            let hierarchy = services(Profile::Linux71);
            hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
            hierarchy.mkdir("/services/job").unwrap();
            if kin {
                hierarchy.mkdir("/services/job/other").unwrap();
            }
            let counter = Counter { calls: Arc::new(AtomicU64::new(Counter::NEVER)), dies };
            let world = world(&hierarchy).driven_by(counter.clone());
            let options = Options::new().strategy(strategy);
            let mut watcher = Watcher::simulated(world, options).unwrap();
            watcher.add("/services".as_ref(), Depth::All).unwrap();
            listen(&mut watcher);
            hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
            hierarchy.write("/services/job/cgroup.subtree_control", "+memory").unwrap();
            counter.calls.store(calls, Ordering::Relaxed);
            let mut events = listen(&mut watcher);
            if counter.calls.load(Ordering::Relaxed) != Counter::NEVER {
                break; // it makes no more calls
            }
            events.extend(listen(&mut watcher));
            assert_eq!(sum_of_high(&events), 3, "{strategy:?} {kin} {dies} before call {calls}");
        }
    }
}

/// One takes another's name, and counts, before the Nth call; a third takes it before the Mth.
struct Heirs {
    calls: Arc<AtomicU64>,
    first: u64,
    second: u64,
}

impl Heirs {
    const NEVER: u64 = u64::MAX;
}

impl Driver for Heirs {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let path = "/services/name";
        let calls = self.calls.load(Ordering::Relaxed);
        if calls == Self::NEVER {
            return;
        }
        self.calls.store(calls + 1, Ordering::Relaxed);
        if calls == self.first {
            let heir = hierarchy.mkdir(path).unwrap();
            hierarchy.count(heir, Counted::MemoryHigh, 3).unwrap();
        }
        if calls == self.second {
            hierarchy.rmdir(path).unwrap();
            hierarchy.mkdir(path).unwrap();
        }
    }
}

/// A CREATE was read, and the name looked up only when another bore it already: that was taken for the
/// one that the record spoke of. What that one had counted was called the first one's alone then.
#[test]
fn what_an_heir_counted_that_is_gone_too_is_not_called_the_first_ones_alone() {
    const MOST: u64 = 30;
    for (strategy, by_id) in
        [(Strategy::Inotify, true), (Strategy::Inotify, false), (Strategy::Fanotify, true)]
    {
        for first in 0..MOST {
            for second in first..MOST {
                let hierarchy = services(Profile::Linux71);
                let id = hierarchy.mkdir("/services/name").unwrap();
                let options = Options::new().strategy(strategy);
                let calls = Arc::new(AtomicU64::new(Heirs::NEVER));
                let heirs = Heirs { calls: Arc::clone(&calls), first, second };
                let world = world(&hierarchy).by_id(by_id).driven_by(heirs);
                let mut watcher = Watcher::simulated(world, options).unwrap();
                watcher.add("/services".as_ref(), Depth::All).unwrap();
                listen(&mut watcher);
                calls.store(0, Ordering::Relaxed);
                hierarchy.rmdir("/services/name").unwrap();
                for event in listen(&mut watcher) {
                    let EventKind::Removed { cgroup, unseen, .. } = event.kind else { continue };
                    let alone = unseen.confidence == Some(Confidence::Bounded);
                    assert!(
                        cgroup.id != Some(id) || !alone,
                        "{strategy:?}, before calls {first} and {second}: {unseen:?}"
                    );
                }
            }
        }
    }
}

/// A branch of three is born, its leaf counts and goes, and the rest goes after it. Of the leaf's death
/// the kernel tells only then.
#[derive(Clone)]
struct Branch {
    calls: Arc<AtomicU64>,
    counts: u64,
    goes: u64,
    middle: u64,
    leaf: u64,
    withheld: Option<u64>,
}

impl Branch {
    const NEVER: u64 = u64::MAX;
}

impl Driver for Branch {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let calls = self.calls.load(Ordering::Relaxed);
        if calls == Self::NEVER {
            return;
        }
        self.calls.store(calls + 1, Ordering::Relaxed);
        if calls == 0 {
            for path in ["/services/top", "/services/top/middle", "/services/top/middle/leaf"] {
                self.middle = std::mem::replace(&mut self.leaf, hierarchy.mkdir(path).unwrap());
                if !path.ends_with("leaf") {
                    let control = format!("{path}/cgroup.subtree_control");
                    hierarchy.write(control, "+memory").unwrap();
                }
            }
        }
        if calls == self.counts {
            hierarchy.count(self.leaf, Counted::MemoryHigh, 3).unwrap();
            hierarchy.rmdir("/services/top/middle/leaf").unwrap();
            self.withheld = Some(self.leaf);
        }
        if calls == self.goes {
            self.withheld = None;
            hierarchy.rmdir("/services/top/middle").unwrap();
            hierarchy.rmdir("/services/top").unwrap();
        }
    }

    fn withholds_death_of(&mut self) -> Option<u64> {
        self.withheld
    }

    fn lets_list(&mut self, directory: u64) {
        if directory == self.middle {
            self.withheld = None;
        }
    }
}

/// One was listed, and gone when it was looked up; the record of its death came late. What it had
/// counted was called its parent's own meanwhile, and for ever if that went, too.
#[test]
fn what_one_counted_whose_death_is_told_late_is_not_called_its_parents_own() {
    let pairs = (20..80).flat_map(|counts| (1..50).map(move |later| (counts, counts + later)));
    let mut known = 0;
    for (counts, goes) in pairs {
        let hierarchy = services(Profile::Linux70);
        let calls = Arc::new(AtomicU64::new(Branch::NEVER));
        let branch =
            Branch { calls: Arc::clone(&calls), counts, goes, middle: 0, leaf: 0, withheld: None };
        let world = world(&hierarchy).driven_by(branch);
        let options = Options::new().strategy(Strategy::Fanotify);
        let mut watcher = Watcher::simulated(world, options).unwrap();
        watcher.add("/services".as_ref(), Depth::All).unwrap();
        listen(&mut watcher);
        calls.store(0, Ordering::Relaxed);
        hierarchy.mkdir("/services/other").unwrap();
        let mut events = listen(&mut watcher);
        events.extend(listen(&mut watcher));
        let told = |kind: &EventKind, path: &str| {
            kind.cgroup().is_some_and(|cgroup| cgroup.path.as_bytes() == path.as_bytes())
        };
        if !events.iter().any(|event| told(&event.kind, "/top/middle/leaf")) {
            continue; // then nobody else is known that could have counted
        }
        known += 1;
        let own = events.iter().map(|event| match &event.kind {
            EventKind::Changed { own: Some(own), .. } if told(&event.kind, "/top/middle") => {
                own.get("high").unwrap_or(0)
            }
            _ => 0,
        });
        assert_eq!(own.sum::<i128>(), 0, "before calls {counts} and {goes}");
    }
    assert!(known > 1000, "the leaf was told only {known} times");
}

/// One that was listed in a newborn had been replaced when its name was looked up, and was told beside
/// the one that bore its name (fanotify).
#[test]
fn of_one_path_one_is_told_at_a_time() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        let begun = Arc::new(AtomicU64::new(Replaced::NEVER));
        let world = world(&hierarchy).driven_by(Replaced(Arc::clone(&begun)));
        let options = Options::new().strategy(Strategy::Fanotify);
        let mut watcher = Watcher::simulated(world, options).unwrap();
        watcher.add("/services".as_ref(), Depth::All).unwrap();
        listen(&mut watcher);
        for path in ["/services/top", "/services/top/a", "/services/top/b"] {
            hierarchy.mkdir(path).unwrap();
        }
        begun.store(calls, Ordering::Relaxed);
        let mut alive = BTreeMap::new();
        for event in listen(&mut watcher) {
            match event.kind {
                EventKind::Appeared { cgroup, .. } => {
                    let path = cgroup.path.to_string();
                    let other = alive.insert(path.clone(), cgroup.n);
                    assert_eq!(other, None, "{path}, before call {calls}");
                }
                EventKind::Removed { cgroup, .. } => {
                    alive.remove(&cgroup.path.to_string());
                }
                _ => {}
            }
        }
        if begun.load(Ordering::Relaxed) != Replaced::NEVER {
            return; // it makes no more calls
        }
    }
}

/// Another takes the name of `/services/top/b` before the Nth call.
struct Replaced(Arc<AtomicU64>);

impl Replaced {
    const NEVER: u64 = u64::MAX;
}

impl Driver for Replaced {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            hierarchy.rmdir("/services/top/b").unwrap();
            hierarchy.mkdir("/services/top/b").unwrap();
        }
        if left != Self::NEVER {
            self.0.store(left.wrapping_sub(1), Ordering::Relaxed);
        }
    }
}

/// A process that was stopped in the midst of a slice of its sweep, or a machine that was suspended,
/// took that for work, and rested a hundred times as long.
#[test]
fn a_sweep_that_was_stopped_goes_on() {
    const SWEEP: Duration = Duration::from_millis(500);
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        hierarchy.mkdir("/services/web").unwrap();
        let options = Options::new().strategy(Strategy::Sweep).sweep_interval(SWEEP);
        let mut watcher = watcher(world(&hierarchy), options, calls, |hierarchy| {
            hierarchy.advance_to(hierarchy.now() + 3_600_000_000_000);
        });
        while watcher.wait(Some(2 * SWEEP)).unwrap().is_some() {}
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
        hierarchy.mkdir("/services/new").unwrap();
        let told = watcher.wait(Some(3 * SWEEP)).unwrap();
        assert!(told.is_some(), "stopped for an hour before call {calls}, it swept no more");
    }
}

/// All that is told that was counted as `memory.events high`.
fn sum_of_high(events: &[Event]) -> i128 {
    let told = |event: &Event| match &event.kind {
        EventKind::Changed { own, late, .. } => {
            let own = own.as_ref().and_then(|own| own.get("high")).unwrap_or(0);
            own + i128::from(late.get("high").unwrap_or(0))
        }
        EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
            i128::from(unseen.get("memory.events", "high"))
        }
        _ => 0,
    };
    events.iter().map(told).sum()
}
