//! cgwatch in a process of its own: as another user, under another limit of watches, or as the
//! command itself, whose output can be left untaken.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use cgwatch::{Depth, EventKind, Options, Watcher};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::UnshareFlags,
};

use crate::{Environment, Failure, Queues, Recording, worker};

/// What is different for the other process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstances {
    /// In a user namespace of its own with this limit, a file of `/proc/sys/user`, set to this.
    pub(crate) limit: Option<(&'static str, u64)>,
    /// As this user.
    pub(crate) user: Option<u32>,
    /// Everything is swept so often; 0 for the default.
    pub(crate) sweep_ms: u64,
    /// Reads this event file beside the default ones.
    pub(crate) file: Option<&'static str>,
}

/// The other process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Outside {
    process: Process,
    /// What it tells.
    pub(crate) recording: Recording,
}

impl Outside {
    /// The library, in other circumstances; waits for its baseline.
    ///
    /// # Errors
    /// It could not be started, or told no baseline.
    pub(crate) fn library(
        environment: &Environment,
        path: &Path,
        circumstances: Circumstances,
    ) -> Result<Self, Failure> {
        let mut command = worker::program();
        command.arg("watch").arg(path).arg(circumstances.sweep_ms.to_string());
        command.arg(circumstances.file.unwrap_or_default());
        if let Some((limit, value)) = circumstances.limit {
            command.arg(limit).arg(value.to_string());
        }
        if let Some(user) = circumstances.user {
            command.uid(user).gid(user);
        }
        let outside = Self::start(environment, command)?;
        outside.until_ready()?;
        Ok(outside)
    }

    /// The command `cgwatch watch --json`; waits for its baseline.
    ///
    /// # Errors
    /// It could not be started, or told no baseline.
    pub(crate) fn command<S: AsRef<OsStr>>(
        environment: &Environment,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, Failure> {
        let program = environment.command.as_ref();
        let program = program.ok_or_else(|| Failure::Skip("the command is not built".into()))?;
        let mut command = Command::new(program);
        command.args(["watch", "--json"]).args(arguments);
        let outside = Self::start(environment, command)?;
        outside.until_ready()?;
        Ok(outside)
    }

    fn start(environment: &Environment, mut command: Command) -> Result<Self, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Failure::driver("start", "cgwatch"))?;
        let output = child.stdout.take().map(BufReader::new);
        let output = output.ok_or_else(|| Failure::broken("a process without an output"))?;
        Ok(Self { process: Process(child), recording: Recording::of_lines(environment, output) })
    }

    /// Stops it as it is, as a machine without time for it would.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn stall(&self) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.process.0), Signal::STOP)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.process.0), Signal::CONT)?)
    }

    fn until_ready(&self) -> Result<(), Failure> {
        self.recording.until("ready", |event| matches!(event.kind, EventKind::Ready { .. }))
    }

    /// Its process id, as `/proc` spells it.
    #[must_use]
    pub(crate) fn pid(&self) -> String {
        self.process.0.id().to_string()
    }

    /// Where the kernel keeps notifications for it.
    ///
    /// # Errors
    /// It is gone, or has no such queue.
    pub(crate) fn queues(&self, environment: &Environment) -> Result<Queues, Failure> {
        Queues::of(Pid::from_child(&self.process.0), environment.patience())
    }

    /// Ends it: all that it has told.
    ///
    /// # Errors
    /// A line of it was none, or it failed.
    pub(crate) fn stop(mut self) -> Result<Vec<cgwatch::Event>, Failure> {
        self.process.end();
        Ok(self.recording.stop()?.0)
    }
}

#[derive(Debug)]
struct Process(Child);

impl Process {
    fn end(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The worker's side: `watch PATH SWEEP-MS FILE [LIMIT VALUE]`, until it is killed.
pub(crate) fn work(arguments: &[OsString]) -> Result<(), Failure> {
    let argument = |index: usize| arguments.get(index).and_then(|argument| argument.to_str());
    if let (Some(limit), Some(value)) = (argument(3), argument(4)) {
        confine(limit, value)?;
    }
    let mut options = Options::new();
    if let Some(milliseconds @ 1..) = argument(1).and_then(|number| number.parse().ok()) {
        options = options.sweep_interval(Duration::from_millis(milliseconds));
    }
    if let Some(file) = argument(2).filter(|file| !file.is_empty()) {
        options = options.files(Options::DEFAULT_FILES.into_iter().chain([file]));
    }
    let path = PathBuf::from(arguments.first().cloned().unwrap_or_default());
    let mut watcher = Watcher::new(options)?;
    watcher.add(&path, Depth::All)?;
    let mut output = std::io::stdout().lock();
    let start = watcher.start();
    let mut line = start.to_json();
    loop {
        line.push('\n');
        output.write_all(line.as_bytes()).map_err(Failure::driver("write", "standard output"))?;
        let Some(event) = watcher.wait(None)? else { return Ok(()) };
        line = event.to_json(&start);
    }
}

/// Goes into a user namespace where this user is root, under a limit of its own.
fn confine(limit: &str, value: &str) -> Result<(), Failure> {
    let user = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    // Only this thread runs yet, so that nothing else is taken along.
    #[expect(
        deprecated,
        reason = "sound for namespaces; its successor is unsafe for shared files"
    )]
    rustix::thread::unshare(UnshareFlags::NEWUSER)?;
    for (path, value) in [
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", &format!("0 {user} 1")),
        ("/proc/self/gid_map", &format!("0 {group} 1")),
        (&format!("/proc/sys/user/{limit}"), value),
    ] {
        fs::write(path, value).map_err(Failure::driver("write", path))?;
    }
    Ok(())
}
