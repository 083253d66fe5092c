//! A process that serves a mount, seen from outside. Ending its mount ends it.
//!
//! Those of this project say `ready`. The one for kernfs-fuse is asked by lines, `change FIRST END
//! PAUSE` or `remove FIRST END PAUSE` with the pause in microseconds, and answers with one line:
//! when it began each.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{UnmountFlags, unmount};

use super::place::Act;
use crate::bench::machine;

/// How long a mount may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    mount_point: PathBuf,
}

impl Server {
    /// Starts one that says when it is ready.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut server = Self::start_silent(command)?;
        let mut line = String::new();
        server.answers.read_line(&mut line)?;
        ensure!(line == "ready\n", "not ready: {line}");
        Ok(server)
    }

    /// Starts a program that takes the mount point as its last argument.
    pub(super) fn start_silent(command: &mut Command) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cgwatch-bench-mount-{}-{number}", std::process::id());
        let mount_point = std::env::temp_dir().join(name);
        fs::create_dir(&mount_point)?;
        let before = fs::metadata(&mount_point)?.dev();
        command.arg(&mount_point).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut server = Self { child, questions, answers, mount_point };
        let end = Instant::now() + PATIENCE;
        while fs::metadata(&server.mount_point)?.dev() == before {
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended: {status}");
            }
            ensure!(Instant::now() < end, "nothing is mounted");
            // Nothing announces it.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(server)
    }

    pub(super) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// See [`Place::act`](super::place::Place::act).
    pub(super) fn ask(
        &mut self,
        act: Act,
        range: Range<usize>,
        pause: Duration,
    ) -> Result<Vec<u64>> {
        let verb = if act == Act::Change { "change" } else { "remove" };
        let question = format!("{verb} {} {} {}\n", range.start, range.end, pause.as_micros());
        self.questions.as_mut().context("no pipe")?.write_all(question.as_bytes())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let begun = line.split_whitespace().map(|word| word.parse().with_context(|| line.clone()));
        begun.collect()
    }

    /// The processor time of all its threads so far, in nanoseconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        let mut sum = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let statistics = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = statistics.split(' ').next().context("no time")?;
            sum += on_cpu.parse::<f64>()?;
        }
        Ok(sum)
    }

    pub(super) fn private_bytes(&self) -> Result<f64> {
        machine::private_bytes(self.child.id())
    }

    pub(super) fn end(mut self) -> Result<()> {
        unmount(&self.mount_point, UnmountFlags::DETACH)?;
        self.questions = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only one that was not ended, because something went wrong elsewhere, is still there.
        let _ = unmount(&self.mount_point, UnmountFlags::FORCE | UnmountFlags::DETACH);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Err(error) = fs::remove_dir(&self.mount_point) {
            eprintln!("left behind: {}: {error}", self.mount_point.display());
        }
    }
}
