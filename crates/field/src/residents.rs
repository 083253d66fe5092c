//! Processes that live in cgroups (`xtask/bench/residents.c`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// The process that makes them. They end with it.
#[derive(Debug)]
pub struct Residents {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Residents {
    /// Starts the program.
    ///
    /// # Errors
    /// It is not there.
    pub fn start(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let questions = child.stdin.take().context("no pipe")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, questions, answers })
    }

    /// A process that does nothing, born in this cgroup.
    ///
    /// # Errors
    /// The program has ended: it said why on standard error.
    pub fn sleep(&mut self, cgroup: &Path) -> Result<Pid> {
        self.ask(&cgroup.display().to_string())
    }

    fn ask(&mut self, question: &str) -> Result<Pid> {
        writeln!(self.questions, "{question}")?;
        let mut line = String::new();
        let read = self.answers.read_line(&mut line)?;
        ensure!(read > 0, "residents ended at: {question}");
        Pid::from_raw(line.trim().parse()?).context("no number of a process")
    }
}

/// Lets one take memory.
///
/// # Errors
/// It is gone.
pub fn eat(resident: Pid) -> Result<()> {
    Ok(kill_process(resident, Signal::USR1)?)
}

/// Kills one; it may be gone already.
///
/// # Errors
/// Not allowed to.
pub fn kill(resident: Pid) -> Result<()> {
    match kill_process(resident, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

impl Drop for Residents {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
