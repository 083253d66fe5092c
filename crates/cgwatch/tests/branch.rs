//! Whose counts they are (design.md 4.1, item 5): a branch that is made, counts at its leaf and is
//! removed before it could be looked at. All of it happens between calls of the watcher, and each of
//! its steps between any two.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use cgwatch::{
    Confidence, Depth, Driver, EventKind, Options, SimWorld, Strategy, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};

const KEY: &str = "oom_kill";

/// Makes a branch at once, and the rest of what happens to it before these calls of the watcher.
struct Branch {
    calls: u64,
    made: bool,
    grows_at: u64,
    dies_at: u64,
    end: End,
}

/// How much of it is gone at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of it.
    Removed,
    /// What is below its topmost cgroup, and that one's files.
    Disabled,
}

impl Driver for Branch {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        if !self.made {
            return;
        }
        if self.calls == self.grows_at {
            hierarchy.mkdir("/top/branch/twig").unwrap();
            hierarchy.write("/top/branch/twig/cgroup.subtree_control", "+memory").unwrap();
            let leaf = hierarchy.mkdir("/top/branch/twig/leaf").unwrap();
            hierarchy.count(leaf, Counted::MemoryOomKill, 2).unwrap();
        }
        if self.calls == self.dies_at {
            for path in ["/top/branch/twig/leaf", "/top/branch/twig"] {
                hierarchy.rmdir(path).unwrap();
            }
            match self.end {
                End::Removed => hierarchy.rmdir("/top/branch"),
                End::Disabled => {
                    hierarchy.write("/top/branch/cgroup.subtree_control", "-memory").unwrap();
                    hierarchy.write("/top/cgroup.subtree_control", "-memory")
                }
            }
            .unwrap();
        }
        self.calls += 1;
    }

    fn act(&mut self, hierarchy: &Hierarchy) {
        hierarchy.mkdir("/top/branch").unwrap();
        hierarchy.write("/top/branch/cgroup.subtree_control", "+memory").unwrap();
        self.made = true;
    }

    fn next_ns(&mut self) -> Option<u64> {
        (!self.made).then_some(1_000_000)
    }
}

/// What was told of each path as counted by itself and as recovered at its removal, and whether the
/// latter is shared; and what was told late, of all.
#[derive(Debug, Default)]
struct Told {
    own: HashMap<String, i128>,
    unseen: HashMap<String, (u64, bool)>,
    late: u64,
}

fn told(grows_at: u64, dies_at: u64, end: End) -> Told {
    let hierarchy =
        Hierarchy::new(cgroup_sim::Options { profile: Profile::Linux71, ..Default::default() });
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    hierarchy.mkdir("/top").unwrap();
    hierarchy.write("/top/cgroup.subtree_control", "+memory").unwrap();
    let branch = Branch { calls: 0, made: false, grows_at, dies_at, end };
    let world = SimWorld::new(Arc::new(hierarchy)).driven_by(branch);
    let options = Options::new().strategy(Strategy::Fanotify);
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add("/top".as_ref(), Depth::All).unwrap();
    let mut told = Told::default();
    while let Some(event) = watcher.wait(Some(Duration::from_secs(90))).unwrap() {
        match event.kind {
            EventKind::Changed { cgroup, own, late, .. } => {
                let own = own.and_then(|own| own.get(KEY)).unwrap_or(0);
                *told.own.entry(cgroup.path.to_string()).or_default() += own;
                told.late += late.get(KEY).unwrap_or(0);
            }
            EventKind::Removed { cgroup, unseen, .. }
            | EventKind::FileRemoved { cgroup, unseen, .. } => {
                let amount = unseen.get("memory.events", KEY);
                let shared = unseen.confidence == Some(Confidence::Shared);
                let told = told.unseen.entry(cgroup.path.to_string()).or_default();
                *told = (told.0 + amount, told.1 || shared);
            }
            _ => {}
        }
    }
    told
}

fn check(end: End) {
    for grows_at in 0..32 {
        for dies_at in grows_at..grows_at + 36 {
            let told = told(grows_at, dies_at, end);
            let at = format!("grows before call {grows_at}, dies before {dies_at}: {told:?}");
            let own = |path: &str| told.own.get(path).copied().unwrap_or(0);
            let unseen: u64 = told.unseen.values().map(|(amount, _)| amount).sum();
            let known = own("/branch/twig/leaf") + i128::from(unseen);
            assert_eq!(told.late, 0, "nobody counted after its death, {at}");
            assert_eq!((own("/branch"), own("/branch/twig"), known), (0, 0, 2), "{at}");
            for (path, (amount, shared)) in &told.unseen {
                assert!(*amount == 0 || path.ends_with("leaf") || *shared, "{at}");
            }
        }
    }
}

#[test]
fn the_counts_of_a_leaf_are_not_told_as_those_of_a_newborn_above_it() {
    check(End::Removed);
}

/// The kernel takes the files of a cgroup away before the cgroup itself.
#[test]
fn nor_as_those_of_one_whose_files_went_first() {
    check(End::Disabled);
}
