//! `cgwatch mount`: its life and its end, however it comes.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::running::{
    assert_fails, await_end, cgwatch, copy_for_everybody, is_root, run, skipped, until,
};

pub(crate) fn is_mounted(path: &Path) -> bool {
    // `mountpoint -x` would ask a server, which may be dead.
    let mounts = fs::read("/proc/self/mounts").unwrap();
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            _ => escaped.push(byte),
        }
    }
    let mut lines = mounts.split(|byte| *byte == b'\n');
    lines.any(|line| line.split(|byte| *byte == b' ').nth(1) == Some(&escaped))
}

/// A server of a test's own, with its mount; both are gone at the end.
pub(crate) struct Mounted {
    server: Child,
    pub(crate) directory: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Mounted {
    /// `cgwatch mount --sim`; `None` where nothing can be mounted.
    pub(crate) fn new(arguments: &[&str]) -> Option<Self> {
        Self::serving(|directory| mount(directory, arguments))
    }

    /// What a command mounts at a directory.
    pub(crate) fn serving(command: impl FnOnce(&Path) -> Command) -> Option<Self> {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().canonicalize().unwrap();
        let mut mounted = Self::at(directory, command)?;
        mounted._temporary = Some(temporary);
        Some(mounted)
    }

    /// What a command mounts at this directory, which stays.
    pub(crate) fn at(directory: PathBuf, command: impl FnOnce(&Path) -> Command) -> Option<Self> {
        if !is_root() {
            return None;
        }
        if File::options().read(true).write(true).open("/dev/fuse").is_err() {
            skipped("no /dev/fuse");
            return None;
        }
        let server = serve(&directory, command(&directory));
        Some(Self { server, directory, _temporary: None })
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.server);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the server.
    pub(crate) fn await_end(&mut self) {
        await_end(Pid::from_child(&self.server));
        self.server.wait().unwrap();
    }

    /// Waits for the end of its guard.
    pub(crate) fn await_guard(&self) {
        for process in processes_with(&self.directory) {
            await_end(process);
        }
    }

    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

pub(crate) fn mount(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = cgwatch(["mount".as_ref(), directory.as_os_str()]);
    command.stderr(Stdio::null());
    let (sim, arguments) = match arguments {
        [first, rest @ ..] if first.starts_with('=') => (format!("--sim{first}"), rest),
        all => ("--sim".to_owned(), all),
    };
    command.arg(sim).args(arguments);
    command
}

fn serve(directory: &Path, mut command: Command) -> Child {
    let server = command.spawn().unwrap();
    until("mounted", || is_mounted(directory));
    server
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = rustix::mount::unmount(&self.directory, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_hierarchy_to_work_with() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    fs::write(mounted.directory.join("cgroup.subtree_control"), "+memory +pids").unwrap();
    let service = mounted.make("service");
    assert!(fs::read_to_string(service.join("memory.events")).unwrap().contains("oom_kill 0\n"));
    fs::write(service.join("memory.max"), "1M").unwrap();
    assert_eq!(fs::read_to_string(service.join("memory.max")).unwrap(), "1048576\n");
    let populated = || fs::read_to_string(service.join("cgroup.events")).unwrap();
    // A real process is a task for as long as it lives.
    let mut process = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(service.join("cgroup.procs"), process.id().to_string()).unwrap();
    assert!(populated().starts_with("populated 1\n"), "{}", populated());
    assert_eq!(fs::remove_dir(&service).unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    fs::write(service.join("cgroup.kill"), "1").unwrap();
    assert!(!process.wait().unwrap().success());
    until("populated 0", || populated().starts_with("populated 0\n"));
    fs::remove_dir(&service).unwrap();
}

#[test]
fn a_signal_unmounts_while_clients_hold_files() {
    for signal in [Signal::TERM, Signal::INT] {
        let Some(mut mounted) = Mounted::new(&[]) else { return };
        let service = mounted.make("service");
        let mut held = File::open(service.join("cgroup.events")).unwrap();
        let _directory = File::open(&service).unwrap();
        mounted.signal(signal);
        assert!(mounted.server.wait().unwrap().success());
        assert!(!is_mounted(&mounted.directory));
        // An error, not a wait.
        assert!(held.read(&mut [0; 16]).is_err());
    }
}

#[test]
fn umount_ends_it() {
    let Some(mut mounted) = Mounted::new(&[]) else { return };
    // In the moment of mounting the server itself keeps it busy.
    let umount = || Command::new("umount").arg(&mounted.directory).stderr(Stdio::null()).status();
    until("unmounted", || umount().unwrap().success());
    assert!(mounted.server.wait().unwrap().success());
}

/// Whatever the server is at when it is killed.
#[test]
fn a_killed_server_leaves_errors_and_no_mount() {
    for _ in 0..20 {
        let Some(mut mounted) = Mounted::new(&["=build-farm"]) else { return };
        let mut held = File::open(mounted.directory.join("cgroup.controllers")).unwrap();
        mounted.signal(Signal::KILL);
        mounted.server.wait().unwrap();
        assert!(held.read(&mut [0; 16]).is_err());
        until("unmounted", || !is_mounted(&mounted.directory));
        mounted.server = serve(&mounted.directory, mount(&mounted.directory, &[]));
    }
}

/// Not even its guard is left: the mount is there, and dead.
#[test]
fn a_dead_mount_is_no_obstacle() {
    let Some(mut mounted) = Mounted::new(&[]) else { return };
    let guards = processes_with(&mounted.directory);
    for pid in &guards {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    for pid in &guards {
        kill_process(*pid, Signal::KILL).unwrap();
    }
    mounted.server.wait().unwrap();
    let dead = || fs::read_dir(&mounted.directory).is_err();
    until("dead", dead);
    assert!(is_mounted(&mounted.directory));
    mounted.server = cgwatch(["mount".as_ref(), mounted.directory.as_os_str()])
        .arg("--sim")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("mounted again", || !dead());
}

/// Server and guard of a mount, by their arguments.
fn processes_with(directory: &Path) -> Vec<Pid> {
    let directory = directory.as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ours = processes.filter_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let ours = words.split(|byte| *byte == 0).any(|word| word == directory);
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(pid).filter(|_| ours)
    });
    ours.collect()
}

#[test]
fn in_the_background() {
    let Some(mut mounted) = Mounted::new(&["--daemon"]) else { return };
    // It returns when the mount is there.
    assert!(mounted.server.wait().unwrap().success());
    mounted.make("service");
    // The server and its guard.
    let daemon = processes_with(&mounted.directory);
    assert_eq!(daemon.len(), 2);
    for pid in daemon {
        // Either is the end of both.
        let _ = kill_process(pid, Signal::TERM);
    }
    until("unmounted", || !is_mounted(&mounted.directory));
}

#[test]
fn two_side_by_side() {
    let Some(one) = Mounted::new(&[]) else { return };
    let Some(other) = Mounted::new(&[]) else { return };
    one.make("service");
    assert!(!other.directory.join("service").exists());
    drop(one);
    other.make("service");
}

#[test]
fn a_scenario_is_played_before_the_watchers_eyes() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    drop(mounted);
    let text = "title = \"one\"\nlasts = \"60s\"\n\
                [[step]]\nat = \"10ms\"\nmake = \"/made\"\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let mut command = cgwatch(["mount".as_ref(), path.as_os_str()]);
    let sim = format!("--sim={}", file.path().display());
    let server = command.arg(sim).stderr(Stdio::null()).spawn().unwrap();
    let mounted = Mounted { server, directory: path, _temporary: Some(directory) };
    until("made", || mounted.directory.join("made/cgroup.events").exists());
}

#[test]
fn what_cannot_be_mounted_on() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let try_at = |path: &Path| run(["mount".as_ref(), path.as_os_str(), "--sim".as_ref()]);
    assert_fails(&try_at(&directory.path().join("missing")), &["missing", "mkdir"]);
    assert_fails(&try_at(&file), &["file", "no directory"]);
    assert_fails(&try_at(directory.path()), &["is not empty"]);
    let sim = "--sim=nonesuch".as_ref();
    let unknown = run(["mount".as_ref(), directory.path().as_os_str(), sim]);
    assert_fails(&unknown, &["nonesuch", "oom-and-gone"]);
    let Some(mounted) = Mounted::new(&[]) else { return };
    let inside = mounted.make("inside");
    assert_fails(&try_at(&inside), &["inside", "a mount of cgwatch itself"]);
    assert_fails(&try_at(&mounted.directory), &["a mount of cgwatch itself"]);
}

#[test]
fn without_the_device() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // In a mount namespace of its own, where /dev is empty.
    let script = "mount -t tmpfs none /dev && exec \"$0\" mount \"$1\" --sim";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_cgwatch")])
        .arg(directory.path())
        .output()
        .unwrap();
    assert_fails(&output, &["/dev/fuse", "modprobe fuse"]);
}

/// `fusermount3` mounts and unmounts for him, the tree is his, and what is weaker is said; if his
/// server is killed, the mount goes with it.
#[test]
fn as_an_ordinary_user() {
    if !is_root() || Command::new("fusermount3").arg("--version").output().is_err() {
        skipped("not root, or no fusermount3");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let program = copy_for_everybody(directory.path());
    chown(&place, Some(65534), Some(65534)).unwrap();
    // In a mount namespace of its own, where anyone may open /dev/fuse.
    let script = r#"
        set -e
        mount -t tmpfs none /dev
        mknod -m 666 /dev/null c 1 3
        mknod -m 666 /dev/fuse c 10 229
        exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec '
            mounted() { grep -q " $2 fuse" /proc/mounts; }
            gone() { while mounted "$@"; do sleep 0.01; done; }
            "$1" mount "$2" --sim &
            until mounted "$@"; do sleep 0.01; done
            mkdir "$2/a"; cat "$2/a/cgroup.events"; rmdir "$2/a"
            kill -TERM $!; wait $!; gone "$@"
            "$1" mount "$2" --sim 2>/dev/null &
            until mounted "$@"; do sleep 0.01; done
            kill -KILL $!; gone "$@"
            "$1" mount "$2" --sim --daemon
            mkdir "$2/b"; echo again; fusermount3 -u -z "$2"
        ' sh "$@"
    "#;
    let output = Command::new("timeout")
        .args(["60", "unshare", "--mount", "sh", "-c", script, "sh"])
        .args([&program, &place])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "populated 0\nfrozen 0\nagain\n");
    assert!(said.contains("without CAP_DAC_READ_SEARCH"), "{said}");
    assert!(said.contains("without CAP_SYS_ADMIN"), "{said}");
}

#[test]
fn others_are_let_in_on_request_only_and_with_a_warning() {
    let Some(closed) = Mounted::new(&[]) else { return };
    let read_as_another = |at: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"]);
        // Not the way to it, which is the test's own.
        command.arg("cgroup.controllers").current_dir(at).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    assert!(!read_as_another(&closed.directory));
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().canonicalize().unwrap();
    let mut command = cgwatch(["mount".as_ref(), directory.as_os_str()]);
    let command = command.args(["--sim", "--allow-other"]).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    until("mounted", || is_mounted(&directory));
    assert!(read_as_another(&directory));
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(said.contains("warning: other users are let in"), "{said}");
}

/// Root that is not all-powerful gets what watchers are then not told, said at the start.
#[test]
fn root_without_the_right_to_what_others_own_is_warned() {
    if !is_root() {
        return;
    }
    let warned_without = |capabilities: &str| {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().canonicalize().unwrap();
        let mut command = Command::new("setpriv");
        command.args([&format!("--bounding-set={capabilities}"), "--inh-caps=-all"]);
        command.args([env!("CARGO_BIN_EXE_cgwatch"), "mount", "--sim"]).arg(&directory);
        let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
        until("mounted", || is_mounted(&directory));
        kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
        let mut said = String::new();
        server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(server.wait().unwrap().success(), "{said}");
        said.contains("warning: without CAP_DAC_OVERRIDE and CAP_FOWNER")
    };
    assert!(warned_without("-dac_override"));
    assert!(warned_without("-fowner"));
    assert!(!warned_without("-net_admin"));
}
