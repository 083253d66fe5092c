//! Counters: where an event counts, and what outlives what.

use cgroup_sim::{Event, Hierarchy, MountOptions, Options};

use crate::{Watcher, count, nested, value};

#[test]
fn an_event_counts_locally_once_and_in_the_sums_of_all_above() {
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    count(&all, "a/b", Event::MemoryHigh, 3);
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(value(&all, "a/b/memory.events", "high"), 3);
    assert_eq!(value(&all, "a/b/memory.events.local", "high"), 3);
    assert_eq!(value(&all, "a/memory.events", "high"), 4);
    assert_eq!(value(&all, "a/memory.events.local", "high"), 1);
}

#[test]
fn memory_localevents_keeps_counts_where_they_happened() {
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    all.remount(MountOptions { memory_localevents: true, pids_localevents: false });
    count(&all, "a/b", Event::MemoryOomKill, 2);
    count(&all, "a/b", Event::SwapFail, 1);
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 2);
    assert_eq!(value(&all, "a/memory.events", "oom_kill"), 0);
    assert_eq!(value(&all, "a/memory.swap.events", "fail"), 0);
}

#[test]
fn a_failed_fork_counts_at_the_limit_and_with_pids_localevents_at_the_fork() {
    let all = nested("+pids");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/pids.max", "1").unwrap();
    let pid = all.spawn(b).unwrap();
    assert!(all.fork(pid).is_err());
    assert_eq!(value(&all, "a/pids.events", "max"), 1);
    assert_eq!(value(&all, "a/pids.events.local", "max"), 1);
    assert_eq!(value(&all, "a/b/pids.events", "max"), 0);
    all.remount(MountOptions { memory_localevents: false, pids_localevents: true });
    assert_eq!(value(&all, "a/pids.events", "max"), 0, "shown, not counted, differently");
    assert_eq!(value(&all, "a/b/pids.events", "max"), 1);
    assert_eq!(value(&all, "a/b/pids.events.local", "max"), 1);
}

#[test]
fn before_6_11_a_failed_fork_counts_where_it_was_tried_and_has_no_twin() {
    let all = Hierarchy::new(Options { pids_sums: false, ..Options::default() });
    all.write("cgroup.subtree_control", "+pids").unwrap();
    let a = all.mkdir("a").unwrap();
    all.write("a/pids.max", "0").unwrap();
    assert!(all.spawn(a).is_err());
    assert_eq!(value(&all, "a/pids.events", "max"), 1);
    assert!(all.read("a/pids.events.local").is_err());
}

#[test]
fn the_dead_go_on_counting_for_those_above() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.rmdir("a/b").unwrap();
    all.count(b, Event::MemoryMax, 5).unwrap();
    assert_eq!(value(&all, "a/memory.events", "max"), 5);
    assert_eq!(value(&all, "a/memory.events.local", "max"), 0);
    assert_eq!(all.life(b).unwrap().counted[&Event::MemoryMax], 5);
}

/// The order is that of `memcg_memory_event`: the twin, then the sums from below.
#[test]
fn an_event_tells_its_local_file_and_the_files_of_all_above() {
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    let paths = [
        "a/b/memory.events.local",
        "a/b/memory.events",
        "a/memory.events.local",
        "a/memory.events",
    ];
    let watcher = Watcher::of(&all, &paths);
    count(&all, "a/b", Event::MemoryOom, 1);
    assert_eq!(watcher.told(&all), [1, 2, 4]);
}

/// Kernel: `memcg_memory_event`: what is of swap has a file of its own, and no twin.
#[test]
fn an_event_of_swap_tells_the_files_of_swap() {
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    let paths = [
        "a/b/memory.events.local",
        "a/b/memory.events",
        "a/b/memory.swap.events",
        "a/memory.events",
        "a/memory.swap.events",
    ];
    let watcher = Watcher::of(&all, &paths);
    for event in [Event::SwapHigh, Event::SwapMax, Event::SwapFail] {
        all.advance(std::time::Duration::from_secs(1));
        count(&all, "a/b", event, 1);
        assert_eq!(watcher.told(&all), [3, 5], "{event:?}");
    }
}

/// Kernel before 6.11: `pids_can_fork` notifies and counts at the fork's cgroup alone.
#[test]
fn before_6_11_a_failed_fork_is_told_where_it_was_tried_alone() {
    let options = Options { pids_sums: false, remember: true, ..Options::default() };
    let all = Hierarchy::new(options);
    all.write("cgroup.subtree_control", "+pids").unwrap();
    let a = all.mkdir("a").unwrap();
    all.write("a/cgroup.subtree_control", "+pids").unwrap();
    let b = all.mkdir("a/b").unwrap();
    all.write("a/pids.max", "1").unwrap();
    let pid = all.spawn(b).unwrap();
    let watcher = Watcher::of(&all, &["a/pids.events", "a/b/pids.events"]);
    assert!(all.fork(pid).is_err());
    assert_eq!(watcher.told(&all), [2]);
    assert_eq!(value(&all, "a/pids.events", "max"), 0);
    assert_eq!(value(&all, "a/b/pids.events", "max"), 1);
    assert!(all.life(a).unwrap().counted.is_empty(), "what never happened is absent");
    let counted = all.life(b).unwrap().counted;
    assert_eq!(counted.into_iter().collect::<Vec<_>>(), [(Event::PidsForkFail, 1)]);
    all.check_conservation().unwrap();
}
