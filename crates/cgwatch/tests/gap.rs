//! After records were lost everything is compared by turns, here one cgroup at a time.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Event, EventKind, Limits, Options, SimWorld, Strategy, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};

const PARENTS: [&str; 3] = ["a", "b", "c"];

/// `/services` with a child in each of three cgroups, and a watcher of it that reads one cgroup at a time.
fn three(strategy: Strategy) -> (Arc<Hierarchy>, Watcher<SimWorld>, [u64; 3]) {
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    let hierarchy = sim::hierarchy(options, "/services", "+memory");
    let children = PARENTS.map(|parent| {
        hierarchy.mkdir(format!("/services/{parent}")).unwrap();
        hierarchy.mkdir(format!("/services/{parent}/child")).unwrap()
    });
    let limits = Limits { queued_events: 4, ..Limits::default() };
    let world = SimWorld::new(Arc::clone(&hierarchy)).limits(limits);
    let mut watcher = sim::watcher(world, Options::new().strategy(strategy).batch(1), "/services");
    listen(&mut watcher);
    (hierarchy, watcher, children)
}

fn listen(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    sim::listen(watcher, Duration::from_secs(1))
}

/// More is notified than the queue of the watches holds, and than that of the mark does.
fn overflow(hierarchy: &Hierarchy) {
    for _ in 0..10 {
        hierarchy.advance(Duration::from_millis(20));
        for parent in PARENTS {
            let parent = hierarchy.find(format!("/services/{parent}")).unwrap();
            hierarchy.count(parent, Counted::MemoryHigh, 1).unwrap();
        }
        hierarchy.mkdir("/elsewhere").unwrap();
        hierarchy.rmdir("/elsewhere").unwrap();
    }
}

/// What was born, was removed, and ended, in that order.
fn told(events: Vec<Event>) -> Vec<(&'static str, Option<u64>)> {
    let told = events.into_iter().filter_map(|event| match event.kind {
        EventKind::Gap { .. } => Some(("gap", None)),
        EventKind::Appeared { cgroup, .. } => Some(("appeared", cgroup.id)),
        EventKind::Removed { cgroup, .. } => Some(("removed", cgroup.id)),
        EventKind::Ready { .. } => Some(("ready", None)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_gap_ends_when_all_is_compared() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let (hierarchy, mut watcher, children) = three(strategy);
        overflow(&hierarchy);
        for parent in PARENTS {
            hierarchy.rmdir(format!("/services/{parent}/child")).unwrap();
        }
        hierarchy.drain();
        let mut told = told(listen(&mut watcher));
        let inside = 1..told.len() - 1;
        told[inside].sort_unstable(); // they take turns
        let removed = children.map(|child| ("removed", Some(child)));
        let expected = [&[("gap", None)], &removed[..], &[("ready", None)]].concat();
        assert_eq!(told, expected, "{strategy:?}");
    }
}

/// The mark tells of the death of one that took another's place while records were lost, before their
/// directory was compared: the first is removed before.
#[test]
fn what_dies_before_its_directory_is_compared_comes_after_its_forerunner() {
    let (hierarchy, mut watcher, [.., old]) = three(Strategy::Fanotify);
    overflow(&hierarchy);
    hierarchy.rmdir("/services/c/child").unwrap();
    let new = hierarchy.mkdir("/services/c/child").unwrap();
    hierarchy.drain();
    watcher.update().unwrap();
    hierarchy.rmdir("/services/c/child").unwrap();
    hierarchy.drain();
    let mut told = told(listen(&mut watcher));
    told.retain(|(what, _)| *what == "removed");
    assert_eq!(told, [("removed", Some(old)), ("removed", Some(new))]);
}
