//! The freezer.

use rustix::io::Errno;

use crate::{Watcher, errno, hierarchy, value};

#[test]
fn a_cgroup_is_frozen_when_all_its_tasks_are() {
    let all = hierarchy();
    let a = all.mkdir("a").unwrap();
    let pid = all.spawn(a).unwrap();
    all.set_task(pid, false, true).unwrap();
    all.write("a/cgroup.freeze", "1").unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 0, "one cannot be frozen now");
    all.set_task(pid, true, true).unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 1);
    let child = all.fork(pid).unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 1, "it is born frozen");
    all.write("a/cgroup.freeze", "0").unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 0);
    all.exit(child).unwrap();
    assert_eq!(errno(all.write("a/cgroup.freeze", "2")), Errno::RANGE);
    all.check_conservation().unwrap();
}

#[test]
fn frozen_comes_down_from_above_and_goes_up_when_all_below_are() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    let b = all.mkdir("a/b").unwrap();
    let pid = all.spawn(b).unwrap();
    all.set_task(pid, false, true).unwrap();
    all.write("a/cgroup.freeze", "1").unwrap();
    all.mkdir("a/c").unwrap();
    assert_eq!(value(&all, "a/c/cgroup.events", "frozen"), 1, "born frozen, as it is empty");
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 0);
    all.set_task(pid, true, true).unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 1);
    all.write("a/b/cgroup.freeze", "1").unwrap();
    all.write("a/cgroup.freeze", "0").unwrap();
    assert_eq!(value(&all, "a/b/cgroup.events", "frozen"), 1, "its own word");
    assert_eq!(value(&all, "a/c/cgroup.events", "frozen"), 0);
    all.check_conservation().unwrap();
}

#[test]
fn a_task_is_frozen_or_thawed_by_where_it_is_moved() {
    let all = hierarchy();
    let a = all.mkdir("a").unwrap();
    all.mkdir("b").unwrap();
    let pid = all.spawn(a).unwrap();
    all.write("b/cgroup.freeze", "1").unwrap();
    all.write("b/cgroup.procs", &pid.to_string()).unwrap();
    assert_eq!(value(&all, "b/cgroup.events", "frozen"), 1);
    all.write("a/cgroup.procs", &pid.to_string()).unwrap();
    assert_eq!(value(&all, "b/cgroup.events", "frozen"), 1, "empty");
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 0);
    all.check_conservation().unwrap();
}

/// Kernel: the end of `cgroup_freeze`.
#[test]
fn freezing_what_is_frozen_from_above_tells_that_there_is_nothing_to_wait_for() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    all.mkdir("a/b").unwrap();
    all.write("a/cgroup.freeze", "1").unwrap();
    let watcher = Watcher::of(&all, &["a/b/cgroup.events"]);
    watcher.told(&all);
    all.advance(std::time::Duration::from_secs(1));
    all.write("a/b/cgroup.freeze", "1").unwrap();
    assert_eq!(watcher.told(&all), [1]);
    all.write("a/b/cgroup.freeze", "1").unwrap();
    all.advance(std::time::Duration::from_secs(1));
    assert_eq!(watcher.told(&all), [], "the same again is nothing");
}

/// Kernel: `cgroup_propagate_frozen` asks whether the one above is to be frozen itself.
#[test]
fn what_is_not_to_be_frozen_is_not_when_all_below_are() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    all.mkdir("a/b").unwrap();
    all.write("a/b/cgroup.freeze", "1").unwrap();
    assert_eq!(value(&all, "a/b/cgroup.events", "frozen"), 1);
    assert_eq!(value(&all, "a/cgroup.events", "frozen"), 0);
    all.check_conservation().unwrap();
}

/// Kernel: the end of `cgroup_create`: a cgroup made in a frozen one freezes what comes in.
#[test]
fn what_starts_in_a_cgroup_born_frozen_is_frozen() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    all.write("a/cgroup.freeze", "1").unwrap();
    let b = all.mkdir("a/b").unwrap();
    let pid = all.spawn(b).unwrap();
    assert!(all.is_frozen(pid));
    assert_eq!(value(&all, "a/b/cgroup.events", "frozen"), 1);
    all.write("a/cgroup.freeze", "0").unwrap();
    assert!(!all.is_frozen(pid));
    all.check_conservation().unwrap();
}
