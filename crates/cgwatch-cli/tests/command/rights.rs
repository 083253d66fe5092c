//! Who may do what on a mount that others are let into: they bring, move and kill no processes but
//! their own, and a descriptor carries the rights of who opened it, whoever writes to it.
//!
//! Clients are threads of the test with credentials of their own.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    io::Errno,
    process::{Gid, Pid, Signal, Uid, kill_process},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{
    mounting::Mounted,
    running::{Cgroup, cgwatch, until},
};

const ALICE: u32 = 12001;
const BOB: u32 = 12002;
/// A group that users may be in beside their own.
const TEAM: u32 = 12009;

/// Does something as a user in these groups.
fn acting<T: Send>(user: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    let act = || {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
        set_thread_groups(&groups).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(act).join().unwrap())
}

fn open_as(user: u32, path: &Path) -> File {
    acting(user, &[], || File::options().write(true).open(path)).unwrap()
}

fn put(mut file: &File, text: impl ToString) -> Result<(), Errno> {
    let written = file.write_all(text.to_string().as_bytes());
    written.map_err(|error| Errno::from_io_error(&error).unwrap())
}

fn write_as(
    user: u32,
    groups: &[u32],
    path: &Path,
    text: impl ToString + Send,
) -> Result<(), Errno> {
    acting(user, groups, || put(&File::options().write(true).open(path).unwrap(), text))
}

/// A process that does nothing, of some user; it is ended with the test.
struct Sleeper(Child);

impl Sleeper {
    fn of(user: u32) -> Self {
        Self(Command::new("sleep").arg("1000").uid(user).gid(user).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it was still alive; it is not any more.
    fn was_alive(mut self) -> bool {
        // A signal that was sent before decides: it cannot be overtaken.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        self.0.wait().unwrap().signal() == Some(Signal::TERM.as_raw())
    }

    fn was_killed(mut self) -> bool {
        self.0.wait().unwrap().signal() == Some(Signal::KILL.as_raw())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mount with a cgroup of each user's own, `a` and `b`.
fn shared() -> Option<Mounted> {
    let mounted = Mounted::new(&["--allow-other"])?;
    for (name, user) in [("a", ALICE), ("b", BOB)] {
        mounted.make(name);
        give(&mounted.directory.join(name), user);
    }
    Some(mounted)
}

/// What delegation gives.
fn give(cgroup: &Path, user: u32) {
    chown(cgroup, Some(user), Some(user)).unwrap();
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "cgroup.kill"] {
        chown(cgroup.join(file), Some(user), Some(user)).unwrap();
    }
}

fn holds(cgroup: &Path, pid: u32) -> bool {
    let all = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    all.lines().any(|line| line == pid.to_string())
}

#[test]
fn nobody_brings_or_moves_a_process_of_another() {
    let Some(mounted) = shared() else { return };
    let (a, b) = (mounted.directory.join("a"), mounted.directory.join("b"));
    let (hers, another, roots) = (Sleeper::of(ALICE), Sleeper::of(ALICE), Sleeper::of(0));
    assert_eq!(write_as(ALICE, &[], &a.join("cgroup.procs"), hers.pid()), Ok(()));
    fs::create_dir(mounted.directory.join("r")).unwrap();
    fs::write(mounted.directory.join("r/cgroup.procs"), roots.pid().to_string()).unwrap();
    for pid in [hers.pid(), another.pid(), roots.pid(), 1] {
        for file in ["cgroup.procs", "cgroup.threads"] {
            assert_eq!(write_as(BOB, &[], &b.join(file), pid), Err(Errno::ACCESS), "{file}");
        }
    }
    assert!(holds(&a, hers.pid()));
    assert_eq!(write_as(BOB, &[], &b.join("cgroup.kill"), 1), Ok(()));
    assert!(another.was_alive() && roots.was_alive() && hers.was_alive());
}

/// Kernel: `cgroup_procs_write_permission`.
#[test]
fn who_moves_a_process_may_write_to_what_both_cgroups_are_in() {
    let Some(mounted) = shared() else { return };
    let (a, b) = (mounted.directory.join("a"), mounted.directory.join("b"));
    acting(ALICE, &[], || ["x", "y"].map(|name| fs::create_dir(a.join(name)).unwrap()));
    let process = Sleeper::of(ALICE);
    let put_into =
        |cgroup: &Path| write_as(ALICE, &[], &cgroup.join("cgroup.procs"), process.pid());
    for inside in [&a.join("x"), &a.join("y"), &a, &a] {
        assert_eq!(put_into(inside), Ok(()), "{}", inside.display());
    }
    // She may write to both, but not to the root's.
    chown(b.join("cgroup.procs"), Some(ALICE), None).unwrap();
    assert_eq!(put_into(&b), Err(Errno::ACCESS));
    assert!(holds(&a, process.pid()));
    let root = mounted.directory.join("cgroup.procs");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o646)).unwrap();
    assert_eq!(put_into(&b), Ok(()));
    // Root may always.
    fs::write(a.join("cgroup.procs"), process.pid().to_string()).unwrap();
    acting(ALICE, &[], || fs::write(a.join("cgroup.kill"), "1")).unwrap();
    assert!(process.was_killed());
}

/// CVE-2021-4197: what a program with more rights prints is no order.
#[test]
fn a_descriptor_carries_the_rights_of_who_opened_it() {
    let Some(mounted) = shared() else { return };
    let (a, b) = (mounted.directory.join("a"), mounted.directory.join("b"));
    let (hers, roots) = (Sleeper::of(ALICE), Sleeper::of(0));
    assert_eq!(write_as(ALICE, &[], &a.join("cgroup.procs"), hers.pid()), Ok(()));
    for name in ["cgroup.procs", "cgroup.threads"] {
        let file = open_as(BOB, &b.join(name));
        for pid in [hers.pid(), roots.pid()] {
            assert_eq!(put(&file, pid), Err(Errno::ACCESS), "{name}");
        }
    }
    // And no less than them.
    let file = File::options().write(true).open(b.join("cgroup.procs")).unwrap();
    assert_eq!(acting(BOB, &[], || put(&file, roots.pid())), Ok(()));
    assert!(holds(&b, roots.pid()));
}

#[test]
fn all_groups_of_the_opener_count() {
    let Some(mounted) = shared() else { return };
    let team = mounted.make("team");
    for name in ["x", "y"] {
        let procs = mounted.make(&format!("team/{name}")).join("cgroup.procs");
        fs::set_permissions(procs, fs::Permissions::from_mode(0o666)).unwrap();
    }
    let above = team.join("cgroup.procs");
    chown(&above, None, Some(TEAM)).unwrap();
    fs::set_permissions(&above, fs::Permissions::from_mode(0o664)).unwrap();
    let process = Sleeper::of(ALICE);
    let [x, y] = ["x", "y"].map(|name| team.join(name).join("cgroup.procs"));
    assert_eq!(write_as(ALICE, &[], &x, process.pid()), Ok(()));
    assert_eq!(write_as(ALICE, &[], &y, process.pid()), Err(Errno::ACCESS));
    assert_eq!(write_as(ALICE, &[TEAM], &y, process.pid()), Ok(()));
    // Her owner's class is asked alone.
    chown(&above, Some(ALICE), None).unwrap();
    fs::set_permissions(&above, fs::Permissions::from_mode(0o466)).unwrap();
    assert_eq!(write_as(ALICE, &[TEAM], &x, process.pid()), Err(Errno::ACCESS));
}

/// What her user started may have more rights than she has.
#[test]
fn a_set_user_id_program_is_not_of_who_started_it() {
    let Some(mounted) = shared() else { return };
    let a = mounted.directory.join("a");
    let mut started = Command::new("setpriv");
    started.arg(format!("--ruid={ALICE}")).args(["--clear-groups", "sleep", "1000"]);
    let process = Sleeper(started.spawn().unwrap());
    until("hers and root's", || has_ids(&process, [ALICE, 0, 0]));
    assert_eq!(write_as(ALICE, &[], &a.join("cgroup.procs"), process.pid()), Err(Errno::ACCESS));
}

/// Whether a process's real, effective and saved users are these.
fn has_ids(process: &Sleeper, [real, effective, saved]: [u32; 3]) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    status.contains(&format!("Uid:\t{real}\t{effective}\t{saved}\t"))
}

#[test]
fn what_became_another_users_after_it_was_brought_is_not_killed() {
    let Some(mounted) = shared() else { return };
    let a = mounted.directory.join("a");
    let programs = tempfile::tempdir().unwrap();
    fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = programs.path().join("sleep");
    fs::copy("/bin/sleep", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "read go; exec \"$0\" 1000"]).arg(&program);
    let mut process = Sleeper(command.uid(ALICE).gid(ALICE).stdin(Stdio::piped()).spawn().unwrap());
    assert_eq!(write_as(ALICE, &[], &a.join("cgroup.procs"), process.pid()), Ok(()));
    process.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let executes = format!("/proc/{}/exe", process.pid());
    until("executed", || fs::read_link(&executes).is_ok_and(|path| path == program));
    if !has_ids(&process, [ALICE, 0, 0]) {
        return println!("skipped: set-user-id bits have no effect in {}", program.display());
    }
    assert_eq!(write_as(ALICE, &[], &a.join("cgroup.kill"), 1), Ok(()));
    assert!(process.was_alive());
}

/// A number of another namespace is another process's.
#[test]
fn numbers_of_another_pid_namespace_are_not_taken() {
    let Some(mounted) = shared() else { return };
    let procs = mounted.directory.join("a/cgroup.procs");
    let process = Sleeper::of(ALICE);
    let script = "/usr/bin/printf %s \"$1\" >\"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "setpriv"]);
    command.args([format!("--reuid={ALICE}"), format!("--regid={ALICE}")]);
    command.args(["--clear-groups", "sh", "-c", script, "sh"]);
    let output = command.arg(process.pid().to_string()).arg(&procs).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("No such process"), "{said}");
    assert!(!holds(&mounted.directory.join("a"), process.pid()));
}

/// Each process that is brought takes a descriptor of the server.
#[test]
fn whoever_brings_many_processes_leaves_the_server_what_it_needs() {
    let few = |directory: &Path| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 80; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_cgwatch")]);
        command.arg("mount").arg(directory).args(["--sim", "--allow-other"]);
        command
    };
    let Some(mounted) = Mounted::serving(few) else { return };
    let [a, b] = ["a", "b"].map(|name| mounted.make(name));
    give(&a, ALICE);
    let all: Vec<_> = (0..100).map(|_| Sleeper::of(ALICE)).collect();
    let procs = a.join("cgroup.procs");
    let brought = |process: &Sleeper| write_as(ALICE, &[], &procs, process.pid());
    let refused = all.iter().find_map(|process| brought(process).err());
    assert_eq!(refused, Some(Errno::AGAIN));
    // Watchers of others are served.
    let queue = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    let events = b.join("cgroup.events");
    inotify::add_watch(&queue, events, inotify::WatchFlags::MODIFY).unwrap();
    fs::write(b.join("cgroup.freeze"), "1").unwrap();
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&queue, PollFlags::IN)], Some(&limit)).unwrap(), 1);
    // Who has ended makes room.
    drop(all);
    let next = Sleeper::of(ALICE);
    until("room", || brought(&next).is_ok());
}

/// The mirror looks at the host's file again when it reads it.
#[test]
fn what_is_read_from_the_mirror_is_what_the_opener_may_read() {
    let Some(cgroup) = Cgroup::new("mirror-rights") else { return };
    let real = cgroup.make("a").join("cgroup.events");
    let mirror = |directory: &Path| {
        let mut command = cgwatch(["mirror".as_ref(), directory.as_os_str(), "--root".as_ref()]);
        command.arg(&cgroup.0).arg("--allow-other");
        command
    };
    let Some(mounted) = Mounted::serving(mirror) else { return };
    let file = mounted.directory.join("a/cgroup.events");
    until("mirrored", || file.exists());
    let mut hers = acting(ALICE, &[], || File::open(&file)).unwrap();
    let mut roots = File::open(&file).unwrap();
    let read = |file: &mut File| file.read(&mut [0; 100]).map_err(|error| error.kind());
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read(&mut hers), Err(io::ErrorKind::PermissionDenied));
    assert!(acting(ALICE, &[], || read(&mut roots)).unwrap() > 0);
}
