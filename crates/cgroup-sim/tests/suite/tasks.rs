//! Tasks: where they may be, and who is populated by them.

use std::sync::{Arc, Mutex};

use cgroup_sim::{Hierarchy, Options, Processes, ROOT};
use kernfs::{Access, Credentials, Permissions};
use rustix::io::Errno;

use crate::{Watcher, errno, hierarchy, nested, value};

#[test]
fn populated_goes_up_and_comes_down_by_the_last_task() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    let b = all.mkdir("a/b").unwrap();
    let watcher = Watcher::of(&all, &["a/cgroup.events", "a/b/cgroup.events"]);
    let first = all.spawn(b).unwrap();
    let second = all.fork(first).unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "populated"), 1);
    assert_eq!(watcher.told(&all), [2, 1]);
    all.exit(first).unwrap();
    assert_eq!(value(&all, "a/b/cgroup.events", "populated"), 1);
    all.exit(second).unwrap();
    assert_eq!(value(&all, "a/b/cgroup.events", "populated"), 0);
    assert_eq!(value(&all, "a/cgroup.events", "populated"), 0);
}

#[test]
fn a_process_moves_whole_and_what_both_are_in_stays_populated() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    let b = all.mkdir("a/b").unwrap();
    let c = all.mkdir("a/c").unwrap();
    let pid = all.spawn(b).unwrap();
    let thread = all.start_thread(pid).unwrap();
    all.drain();
    let watcher = Watcher::of(&all, &["a/cgroup.events"]);
    all.write("a/c/cgroup.procs", &thread.to_string()).unwrap();
    assert_eq!(all.tasks(c), [pid, thread]);
    assert_eq!(all.read("a/c/cgroup.procs").unwrap(), format!("{pid}\n"));
    assert_eq!(all.read("a/c/cgroup.threads").unwrap(), format!("{pid}\n{thread}\n"));
    assert_eq!(watcher.told(&all), []);
    assert_eq!(errno(all.write("a/b/cgroup.threads", &thread.to_string())), Errno::OPNOTSUPP);
    assert_eq!(errno(all.write("a/b/cgroup.procs", "99")), Errno::SRCH);
    assert_eq!(errno(all.write("a/b/cgroup.procs", "x")), Errno::INVAL);
    all.check_conservation().unwrap();
}

#[test]
fn no_processes_beside_children_with_domain_controllers() {
    let all = nested("+memory");
    let a = all.find("a").unwrap();
    assert_eq!(errno(all.spawn(a)), Errno::BUSY);
    let pid = all.spawn(ROOT).unwrap();
    assert_eq!(errno(all.write("a/cgroup.procs", &pid.to_string())), Errno::BUSY);
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    all.write("a/cgroup.procs", &pid.to_string()).unwrap();
}

/// Found beside Linux 7.1 (`sim-memory`, seed 0x15eed0005): `EOPNOTSUPP`, for the other domain, came
/// before `EBUSY`.
#[test]
fn a_thread_moved_where_no_process_may_be_is_refused_for_that_first() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    let pid = all.spawn(b).unwrap();
    assert_eq!(errno(all.write("a/cgroup.threads", &pid.to_string())), Errno::BUSY);
}

#[test]
fn kill_ends_all_below() {
    let all = hierarchy();
    let a = all.mkdir("a").unwrap();
    let b = all.mkdir("a/b").unwrap();
    all.spawn(a).unwrap();
    let pid = all.spawn(b).unwrap();
    all.start_thread(pid).unwrap();
    assert_eq!(errno(all.write("a/cgroup.kill", "0")), Errno::RANGE);
    assert_eq!(errno(all.write("a/cgroup.kill", "yes")), Errno::INVAL);
    assert_eq!(errno(all.read("a/cgroup.kill")), Errno::INVAL);
    all.write("a/cgroup.kill", "1").unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "populated"), 0);
    assert_eq!(all.cgroup_of(pid), None);
}

#[test]
fn pids_follow_tasks_through_forks_moves_and_controllers() {
    let all = nested("+pids");
    let b = all.mkdir("a/b").unwrap();
    all.mkdir("c").unwrap();
    let pid = all.spawn(b).unwrap();
    all.start_thread(pid).unwrap();
    assert_eq!(all.read("a/pids.current").unwrap(), "2\n");
    all.write("a/pids.max", "2").unwrap();
    assert_eq!(errno(all.fork(pid)), Errno::AGAIN);
    assert_eq!(errno(all.write("a/pids.max", "-1")), Errno::INVAL);
    all.write("c/cgroup.procs", &pid.to_string()).unwrap();
    assert_eq!(all.read("a/pids.current").unwrap(), "0\n");
    assert_eq!(all.read("a/pids.peak").unwrap(), "2\n");
    assert_eq!(all.read("c/pids.current").unwrap(), "2\n");
    all.write("a/pids.max", "0").unwrap();
    // A move is not a fork.
    all.write("a/b/cgroup.procs", &pid.to_string()).unwrap();
    all.check_conservation().unwrap();
}

#[derive(Default)]
struct Real {
    killed: Mutex<Vec<u32>>,
}

impl Processes for Real {
    fn adopt(&self, pid: u32, _: Option<&Credentials>) -> Result<(), Errno> {
        if pid == 7 { Ok(()) } else { Err(Errno::SRCH) }
    }

    fn kill(&self, pid: u32) {
        self.killed.lock().unwrap().push(pid);
    }
}

#[test]
fn a_real_process_is_a_task_from_the_write_to_its_reported_exit() {
    let real = Arc::new(Real::default());
    let processes = Arc::clone(&real) as Arc<dyn Processes>;
    let all = Hierarchy::new(Options { processes: Some(processes), ..Options::default() });
    all.mkdir("a").unwrap();
    assert_eq!(errno(all.write("a/cgroup.procs", "8")), Errno::SRCH);
    all.write("a/cgroup.procs", "7").unwrap();
    all.write("a/cgroup.kill", "1").unwrap();
    assert_eq!(*real.killed.lock().unwrap(), [7]);
    assert_eq!(value(&all, "a/cgroup.events", "populated"), 1, "until it is gone");
    all.exit(7).unwrap();
    assert_eq!(value(&all, "a/cgroup.events", "populated"), 0);
}

fn user(uid: u32) -> Credentials {
    Credentials { uid, gid: uid, groups: Box::default(), privileged: false }
}

/// Writes through a file that a user opened.
fn write_as(all: &Hierarchy, by: u32, path: &str, text: u32) -> Result<(), Errno> {
    let (directory, name) = path.rsplit_once('/').unwrap();
    let names = directory.split('/').filter(|name| !name.is_empty());
    let root = Arc::clone(all.tree().root());
    let node = names.fold(root, |node, name| node.child(name).unwrap()).child(name).unwrap();
    let file = node.open_as(Access::WRITE, user(by)).unwrap();
    file.write(text.to_string().as_bytes()).map_err(|error| error.errno())
}

fn give(all: &Hierarchy, path: &str, mode: u16, uid: u32) {
    all.mount().set_permissions(path, Permissions { mode, uid, gid: uid }).unwrap();
}

/// Kernel: `cgroup_procs_write_permission`, with `of->file->f_cred`.
#[test]
fn who_moves_a_task_may_write_to_the_common_ancestor() {
    let all = Hierarchy::new(Options::default());
    for path in ["a", "a/x", "a/x/deep", "a/y", "b"] {
        all.mkdir(path).unwrap();
    }
    let place = |path: &str| all.find(path).unwrap();
    let pid = all.spawn(place("a/x/deep")).unwrap();
    let denied = Err(Errno::ACCESS);
    // The target's own mode is the open's matter.
    for file in ["a/y/cgroup.procs", "a/y/cgroup.threads", "a/cgroup.procs", "b/cgroup.procs"] {
        assert_eq!(write_as(&all, 1, file, pid), denied, "{file}");
    }
    // Of neither source nor target, but of what both are in.
    give(&all, "a/x/cgroup.procs", 0o644, 1);
    give(&all, "a/y/cgroup.procs", 0o644, 1);
    assert_eq!(write_as(&all, 1, "a/y/cgroup.procs", pid), denied);
    give(&all, "a/cgroup.procs", 0o644, 1);
    assert_eq!(write_as(&all, 2, "a/y/cgroup.procs", pid), denied);
    assert_eq!(write_as(&all, 1, "a/y/cgroup.procs", pid), Ok(()));
    assert_eq!(all.read("a/y/cgroup.procs").unwrap(), format!("{pid}\n"));
    // Source or target may be it.
    assert_eq!(write_as(&all, 1, "a/cgroup.procs", pid), Ok(()));
    assert_eq!(write_as(&all, 1, "a/x/cgroup.procs", pid), Ok(()));
    assert_eq!(write_as(&all, 1, "a/x/cgroup.procs", pid), Ok(()), "where it is");
    // No further than the common ancestor: nothing above it is asked.
    assert_eq!(write_as(&all, 1, "b/cgroup.procs", pid), denied);
    assert_eq!(write_as(&all, 1, "/cgroup.procs", pid), denied);
    give(&all, "cgroup.procs", 0o646, 0);
    assert_eq!(write_as(&all, 1, "b/cgroup.procs", pid), Ok(()));
    // Rights come before the rules of the destination, as on Linux.
    give(&all, "cgroup.procs", 0o644, 0);
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    assert_eq!(write_as(&all, 1, "a/cgroup.procs", pid), denied);
    all.check_conservation().unwrap();
}

/// Nobody else may take it.
struct Owned;

impl Processes for Owned {
    fn adopt(&self, _: u32, by: Option<&Credentials>) -> Result<(), Errno> {
        if by.is_none_or(|by| by.uid == 1) { Ok(()) } else { Err(Errno::ACCESS) }
    }

    fn kill(&self, _: u32) {}
}

#[test]
fn whose_a_real_process_is_decides_for_who_opened_the_file() {
    let processes = Some(Arc::new(Owned) as Arc<dyn Processes>);
    let all = Hierarchy::new(Options { processes, ..Options::default() });
    all.mkdir("a").unwrap();
    all.mkdir("b").unwrap();
    assert_eq!(write_as(&all, 2, "a/cgroup.procs", 7), Err(Errno::ACCESS));
    assert_eq!(write_as(&all, 1, "a/cgroup.procs", 7), Ok(()));
    // From here on it is moved like any other.
    assert_eq!(write_as(&all, 1, "b/cgroup.procs", 7), Err(Errno::ACCESS));
    all.write("b/cgroup.procs", "7").unwrap();
    all.write("b/cgroup.procs", "8").unwrap();
}
