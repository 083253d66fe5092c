//! Running the command, and cgroups of the test's own to run it on.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

/// No test waits longer than this for something that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// Says what this machine lacks. Where `CI=true` nothing may be lacking.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped: {why}");
    println!("skipped: {why}");
}

/// Waits for what nothing announces.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a process has ended.
#[track_caller]
pub(crate) fn await_end(process: Pid) {
    let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else { return };
    let limit = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ended, 1, "it does not end");
}

/// The command with these arguments, without a terminal.
pub(crate) fn cgwatch<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgwatch"));
    command.args(arguments).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// Runs it to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    cgwatch(arguments).output().unwrap()
}

/// What it wrote to standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A copy of the command in a directory, both open to every user.
///
/// Another process makes it: a descriptor open for writing in this one would be inherited by the
/// children that other tests fork at the same time, and the copy could not be executed (`ETXTBSY`)
/// until they execute something themselves.
pub(crate) fn copy_for_everybody(directory: &Path) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.join("cgwatch");
    let mut install = Command::new("install");
    install.args(["--mode=755", env!("CARGO_BIN_EXE_cgwatch")]).arg(&copy);
    assert!(install.status().unwrap().success());
    copy
}

/// Exit code 1, nothing on standard output, and one sentence that holds all of `words`.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, words: &[&str]) {
    let errors = errors(output);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in {errors:?}");
    }
}

/// Whether this process is root's; prints that the test is skipped if not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// A cgroup of the test's own. It and all below it are removed at the end.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Cgroup {
    /// `None`, with the reason printed, if none can be made here.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let mounts = cgwatch::Mount::all().unwrap();
        let Some(mount) = mounts.first() else {
            skipped("no cgroup v2 hierarchy is mounted");
            return None;
        };
        let path = mount.point.join(format!("cgwatch-command-{test}-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                skipped(&format!("cannot create {}: {error}", path.display()));
                None
            }
        }
    }

    /// Makes a child.
    pub(crate) fn make(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.0.join(name.as_ref());
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove_all(&self.0);
    }
}

/// Children first. Files of a cgroup cannot be removed, and need not be.
fn remove_all(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_all(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// The command while it runs. Killed if the test ends first.
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it. A test that waits in vain ends by the command's own `-t`, which callers give.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// `cgwatch watch` with a limit of time.
    pub(crate) fn watch(arguments: &[&str], path: &Path) -> Self {
        let seconds = DEADLINE.as_secs().to_string();
        let mut command = cgwatch(["watch", "-t", &seconds]);
        command.args(arguments).arg(path);
        Self::start(command)
    }

    /// The next line, without its newline; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stdout.as_mut().unwrap().read_until(b'\n', &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Reads lines up to one that holds `word`, and gives that one.
    #[track_caller]
    pub(crate) fn line_with(&mut self, word: &str) -> String {
        let mut before = Vec::new();
        while let Some(line) = self.line() {
            if line.contains(word) {
                return line;
            }
            before.push(line);
        }
        panic!("no line with {word:?} among {before:#?}");
    }

    /// All lines up to the end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Nobody reads any more.
    pub(crate) fn close_output(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; gives the exit status and what was written to standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        await_end(Pid::from_child(&self.child));
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut errors).unwrap();
        (status, errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names that a careless program stumbles over. (A newline Linux itself refuses:
/// `cgroup_mkdir` in kernel/cgroup/cgroup.c.)
pub(crate) fn strange_names() -> Vec<&'static OsStr> {
    [
        &b"with space"[..],
        b"tab\tulator",
        b"back\\slash",
        b"dev-disk-by\\x2duuid.slice",
        b"quote\"'",
        b"\x1b[2J",
        "umlaut-\u{e4}".as_bytes(),
        "a\u{202e}gpj.exe".as_bytes(),
        "zero\u{200b}width".as_bytes(),
        "\u{301}mark".as_bytes(),
        "c1-\u{9b}2J".as_bytes(),
        b"\\xe2\\x80\\xae",
        b"invalid-\xff\xfe",
    ]
    .map(OsStr::from_bytes)
    .to_vec()
}
