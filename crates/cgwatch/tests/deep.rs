//! Deep trees of cgroups with names of more than 255 bytes, which the kernel does not find by their ids
//! once it has dropped them from its cache of names.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cgwatch::{
    Driver, Event, EventKind, Options, SimWorld, Strategy, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};

const DEPTH: usize = 120;
const STRATEGIES: [Strategy; 3] = [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep];
/// Longer than a sweep.
const SWEPT: Option<Duration> = Some(Duration::from_secs(40));

/// Which directories the kernel finds by their ids: `/top`, and of the others one in so many not, at each
/// try another.
struct Forgets {
    top: u64,
    one_in: usize,
    tries: usize,
}

impl Driver for Forgets {
    fn finds_by_id(&mut self, directory: u64) -> bool {
        self.tries += 1;
        directory == self.top || self.one_in == 0 || !self.tries.is_multiple_of(self.one_in)
    }
}

/// `/top`, and in it cgroups, one in the other.
struct Nest {
    hierarchy: Arc<Hierarchy>,
    path: String,
    ids: Vec<u64>,
}

impl Nest {
    fn new(profile: Profile) -> Self {
        let options = cgroup_sim::Options { profile, ..Default::default() };
        let hierarchy = sim::hierarchy(options, "/top", "+memory");
        Self { hierarchy, path: "/top".into(), ids: Vec::new() }
    }

    fn watch(&self, strategy: Strategy, one_in: usize) -> Watcher<SimWorld> {
        let forgets = Forgets { top: self.id(), one_in, tries: 0 };
        let world = SimWorld::new(Arc::clone(&self.hierarchy)).driven_by(forgets);
        sim::watcher(world, Options::new().strategy(strategy), "/top")
    }

    fn deepen(&mut self) {
        self.path.push('/');
        self.path.push_str(&"n".repeat(256));
        self.hierarchy.mkdir(&self.path).unwrap();
        self.hierarchy.write(format!("{}/cgroup.subtree_control", self.path), "+memory").unwrap();
        self.ids.push(self.id());
    }

    fn shorten(&mut self) -> u64 {
        self.hierarchy.rmdir(&self.path).unwrap();
        self.path.truncate(self.path.rfind('/').unwrap());
        self.ids.pop().unwrap()
    }

    fn id(&self) -> u64 {
        self.hierarchy.mount().pin(&self.path).unwrap().stat().ino
    }
}

/// What was emitted since: the ids that appeared and that were removed, and OOM kills.
#[derive(Debug, Default, PartialEq)]
struct Emitted {
    appeared: Vec<u64>,
    removed: Vec<u64>,
    kills: u64,
}

fn take(watcher: &mut Watcher<SimWorld>, patience: Option<Duration>, emitted: &mut Emitted) {
    while let Some(event) = watcher.wait(patience).unwrap() {
        match event.kind {
            EventKind::Appeared { cgroup, .. } => emitted.appeared.extend(cgroup.id),
            EventKind::Removed { cgroup, unseen, .. } => {
                emitted.removed.extend(cgroup.id);
                emitted.kills += unseen.get("memory.events", "oom_kill");
            }
            EventKind::Changed { cgroup, own: Some(own), .. } if cgroup.path.as_bytes() != b"/" => {
                emitted.kills += u64::try_from(own.get("oom_kill").unwrap_or(0)).unwrap();
            }
            EventKind::Gap { reason, .. } => panic!("{reason:?}"),
            _ => {}
        }
    }
}

/// Each is emitted once and none before its time, whatever the kernel finds by its id; and what it
/// costs grows with the number of cgroups, not with their depth.
#[test]
fn a_deep_tree_is_walked_step_by_step() {
    for strategy in STRATEGIES {
        // One by one, and all at once.
        for at_once in [1, DEPTH] {
            let what = format!("{strategy:?}, {at_once} at once");
            let mut nest = Nest::new(Profile::Linux70);
            let mut watcher = nest.watch(strategy, 0);
            let mut emitted = Emitted::default();
            take(&mut watcher, SWEPT, &mut emitted);
            let (calls, walked) = (watcher.world().calls(), watcher.world().walked());
            for level in 0..DEPTH {
                nest.deepen();
                if (level + 1).is_multiple_of(at_once) {
                    take(&mut watcher, Some(Duration::from_secs(1)), &mut emitted);
                }
            }
            take(&mut watcher, Some(Duration::from_secs(1)), &mut emitted);
            for level in 0..DEPTH {
                nest.shorten();
                if (level + 1).is_multiple_of(at_once) {
                    take(&mut watcher, Some(Duration::from_secs(1)), &mut emitted);
                }
            }
            // A record of fanotify has no room for such names, and a sweep does not see all that lives.
            if strategy == Strategy::Inotify {
                assert_eq!(
                    (emitted.appeared.len(), emitted.removed.len()),
                    (1 + DEPTH, DEPTH),
                    "{what}"
                );
            }
            let cgroups = DEPTH as u64;
            let (calls, walked) =
                (watcher.world().calls() - calls, watcher.world().walked() - walked);
            println!("{what}: {calls} calls, {walked} names");
            assert!(walked <= 8 * cgroups, "{what}: {walked} names walked by");
            let each = if at_once == 1 { 128 } else { 40 };
            assert!(calls <= each * cgroups, "{what}: {calls} calls");
        }
    }
}

/// An event of a deep cgroup takes its time, since its path is long: few of them are a crowd already.
#[test]
fn few_deep_cgroups_hold_up_nobody() {
    let mut nest = Nest::new(Profile::Linux70);
    nest.hierarchy.mkdir("/top/victim").unwrap();
    let mut watcher = nest.watch(Strategy::Inotify, 0);
    (0..DEPTH).for_each(|_| nest.deepen());
    take(&mut watcher, Some(Duration::from_secs(1)), &mut Emitted::default());
    for _ in 0..DEPTH {
        nest.shorten();
    }
    nest.hierarchy.mkdir("/top/victim/v").unwrap();
    let events: Vec<_> = std::iter::from_fn(|| watcher.next().unwrap()).collect();
    let is_victims = |event: &Event| {
        event.kind.cgroup().is_some_and(|cgroup| cgroup.path.as_bytes().starts_with(b"/victim/"))
    };
    let at = events.iter().position(is_victims).unwrap();
    assert!(events.len() > DEPTH && at < 3, "{at} of {}", events.len());
}

/// What the kernel does not find by its id is there all the same, with what it counts.
#[test]
fn what_is_not_found_by_its_id_is_not_removed() {
    for (strategy, profile) in
        STRATEGIES.into_iter().zip([Profile::Linux70, Profile::Linux71, Profile::Linux71])
    {
        for one_in in 1..4 {
            let what = format!("{strategy:?}, {one_in}");
            let mut nest = Nest::new(profile);
            let mut watcher = nest.watch(strategy, one_in);
            let mut emitted = Emitted::default();
            take(&mut watcher, SWEPT, &mut emitted);
            emitted = Emitted::default();
            let mut alive = BTreeSet::new();
            for _ in 0..12 {
                nest.deepen();
                take(&mut watcher, SWEPT, &mut emitted);
                let id = *nest.ids.last().unwrap();
                alive.insert(id);
                nest.hierarchy.count(id, Counted::MemoryOomKill, 1).unwrap();
                take(&mut watcher, SWEPT, &mut emitted);
            }
            assert_eq!(emitted.appeared, nest.ids, "{what}");
            assert_eq!((&emitted.removed[..], emitted.kills), (&[][..], 12), "{what}");
            let mut removed = Vec::new();
            while !nest.ids.is_empty() {
                nest.hierarchy.count(*nest.ids.last().unwrap(), Counted::MemoryOomKill, 1).unwrap();
                removed.push(nest.shorten());
                take(&mut watcher, SWEPT, &mut emitted);
                assert_eq!(emitted.removed, removed, "{what}");
            }
            assert_eq!(emitted.kills, 24, "{what}");
        }
    }
}

/// What is its own is emitted with the change, also of one that is never found by its id.
#[test]
fn what_a_deep_cgroup_counted_itself_is_emitted_with_the_change() {
    let mut nest = Nest::new(Profile::Linux70);
    let mut watcher = nest.watch(Strategy::Inotify, 1);
    (0..2).for_each(|_| nest.deepen());
    take(&mut watcher, Some(Duration::from_secs(1)), &mut Emitted::default());
    nest.hierarchy.count(nest.ids[0], Counted::MemoryOomKill, 1).unwrap();
    let own = std::iter::from_fn(|| watcher.next().unwrap()).find_map(|event| match event.kind {
        EventKind::Changed { cgroup, own, .. } if cgroup.id == Some(nest.ids[0]) => own,
        _ => None,
    });
    assert_eq!(own.unwrap().get("oom_kill"), Some(1));
}
