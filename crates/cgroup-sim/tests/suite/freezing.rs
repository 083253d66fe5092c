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
