//! What was told once is told again when it comes again, and what waits does not wait for ever.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{sync::Arc, time::Duration};

use cgwatch::{
    EventKind, GapReason, Limits, Options, SimWorld, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy},
};

use self::sim::take;

fn services() -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { remember: true, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory")
}

fn watcher(world: SimWorld) -> Watcher<SimWorld> {
    let mut watcher = sim::watcher(world, Options::new(), "/services");
    take(&mut watcher);
    watcher
}

/// What a dead cgroup counts late is told as late, though its parent never stands still for as long as
/// that may wait.
#[test]
fn what_is_unaccounted_for_is_not_postponed_by_every_change() {
    let hierarchy = services();
    let busy = hierarchy.mkdir("/services/busy").unwrap();
    let dead = hierarchy.mkdir("/services/dead").unwrap();
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)));
    hierarchy.rmdir("/services/dead").unwrap();
    take(&mut watcher);
    hierarchy.count(dead, Counted::MemoryHigh, 3).unwrap();
    let mut told = Vec::new();
    // Virtual time, far shorter than a sweep's interval.
    for _ in 0..100 {
        hierarchy.advance(Duration::from_millis(12));
        hierarchy.count(busy, Counted::MemoryMax, 1).unwrap();
        told.extend(take(&mut watcher));
    }
    let late = told.iter().filter_map(|event| match &event.kind {
        EventKind::Changed { cgroup, late, .. } if cgroup.path.as_bytes() == b"/" => {
            late.get("high")
        }
        _ => None,
    });
    assert_eq!(late.collect::<Vec<_>>(), [3]);
}

/// Each time that watches run out is told, once; not only the first.
#[test]
fn a_watch_limit_is_told_once_each_time_it_is_met() {
    let hierarchy = services();
    let limits = Limits { marks: 8, ..Limits::default() };
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)).limits(limits));
    let names: Vec<_> = (0..4).map(|n| format!("/services/{n}")).collect();
    let mut limits_met = |act: &dyn Fn(&str)| {
        let mut gaps = 0;
        names.iter().for_each(|name| act(name));
        while let Some(event) = watcher.wait(Some(Duration::from_secs(70))).unwrap() {
            let reason = GapReason::WatchLimit {
                limit: "fs.inotify.max_user_watches".into(),
                value: Some(8),
            };
            gaps +=
                usize::from(matches!(event.kind, EventKind::Gap { reason: r, .. } if r == reason));
        }
        gaps
    };
    let born = |name: &str| {
        hierarchy.mkdir(name).unwrap();
    };
    let gone = |name: &str| hierarchy.rmdir(name).unwrap();
    let told = [limits_met(&born), limits_met(&gone), limits_met(&born)];
    assert_eq!(told, [1, 0, 1]);
}
