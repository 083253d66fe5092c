//! Threaded cgroups: what may become one, and whose threads and processes are where.

use rustix::io::Errno;

use crate::{errno, hierarchy, nested};

/// Kernel: `cgroup_control`. The root may have threaded children beside any controllers.
#[test]
fn below_the_root_a_threaded_cgroup_has_of_the_controllers_only_those_of_threads() {
    let all = nested("+memory +pids");
    all.mkdir("t").unwrap();
    all.read("t/memory.events").unwrap();
    all.write("t/cgroup.type", "threaded").unwrap();
    assert_eq!(all.read("t/cgroup.controllers").unwrap(), "pids\n");
    assert_eq!(errno(all.read("t/memory.events")), Errno::NOENT);
    all.read("t/pids.events").unwrap();
    assert_eq!(all.read("a/cgroup.controllers").unwrap(), "memory pids\n");
}

/// Kernel: `cgroup_enable_threaded`.
#[test]
fn what_may_not_become_threaded() {
    let all = nested("+memory +pids");
    let threaded = |path: &str| all.write(format!("{path}/cgroup.type"), "threaded");
    all.mkdir("a/b").unwrap();
    assert_eq!(errno(threaded("a/b")), Errno::OPNOTSUPP, "its domain has domain controllers");
    assert_eq!(errno(threaded("a")), Errno::OPNOTSUPP, "it gives domain controllers");
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    let b = all.find("a/b").unwrap();
    let pid = all.spawn(b).unwrap();
    assert_eq!(errno(threaded("a/b")), Errno::OPNOTSUPP, "it is populated");
    all.mkdir("a/c").unwrap();
    assert_eq!(errno(threaded("a/c")), Errno::OPNOTSUPP, "its domain has a populated child");
    all.exit(pid).unwrap();
    threaded("a/c").unwrap();
    all.mkdir("a/b/d").unwrap();
    assert_eq!(errno(threaded("a/b/d")), Errno::OPNOTSUPP, "its domain is invalid");
    threaded("a/b").unwrap();
    threaded("a/b/d").unwrap();
    all.mkdir("e").unwrap();
    all.write("e/cgroup.subtree_control", "+pids").unwrap();
    threaded("e").unwrap();
    all.check_conservation().unwrap();
}

/// Kernel: `cgroup_vet_subtree_control_enable`: the controllers of threads go with processes.
#[test]
fn a_cgroup_with_processes_may_give_the_controllers_of_threads() {
    let all = hierarchy();
    all.write("cgroup.subtree_control", "+memory +pids").unwrap();
    let a = all.mkdir("a").unwrap();
    all.spawn(a).unwrap();
    assert_eq!(errno(all.write("a/cgroup.subtree_control", "+memory")), Errno::BUSY);
    all.write("a/cgroup.subtree_control", "+pids").unwrap();
    assert_eq!(all.read("a/cgroup.type").unwrap(), "domain threaded\n");
}

#[test]
fn threads_move_within_their_domain_and_its_processes_stay_listed_there() {
    let all = hierarchy();
    for path in ["a", "a/t", "a/t/u", "c"] {
        all.mkdir(path).unwrap();
    }
    all.write("a/t/cgroup.type", "threaded").unwrap();
    all.write("a/t/u/cgroup.type", "threaded").unwrap();
    let pid = all.spawn(all.find("a").unwrap()).unwrap();
    let thread = all.start_thread(pid).unwrap();
    all.write("a/t/u/cgroup.threads", &thread.to_string()).unwrap();
    assert_eq!(all.tasks(all.find("a/t/u").unwrap()), [thread]);
    assert_eq!(errno(all.write("c/cgroup.threads", &thread.to_string())), Errno::OPNOTSUPP);
    all.write("a/t/cgroup.threads", &pid.to_string()).unwrap();
    assert_eq!(all.tasks(all.find("a").unwrap()), []);
    assert_eq!(all.read("a/cgroup.procs").unwrap(), format!("{pid}\n"));
    assert_eq!(all.read("c/cgroup.procs").unwrap(), "");
    all.check_conservation().unwrap();
}
