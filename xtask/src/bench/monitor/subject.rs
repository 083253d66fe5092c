//! A measured process, seen from outside: the C loop or cgwatch.
//!
//! It is asked and answers by lines. First it says `ready CPU WALL CGROUPS`, once everything that
//! exists is known: what that took in nanoseconds of its processor time and of the clock. Then, any
//! number of times, `begin CHANGED APPEARED REMOVED NOTE` makes it take in what is queued, start to
//! count, and say `begun`; when it has seen that many events, or none for 20 s, it says
//! `done CPU WHEN CHANGED APPEARED REMOVED`: the processor time since `begun`, and the time of the
//! monotonic clock. If NOTE is 1, a line `removed NUMBER WHEN` goes before it for each removal,
//! with the number in the cgroup's name. It ends with its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::machine;

/// What a subject is to see.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expectation {
    pub(super) changed: usize,
    pub(super) appeared: usize,
    pub(super) removed: usize,
    pub(super) note_removals: bool,
}

/// What seeing it took.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) cpu_ns: f64,
    /// When it was seen, by the monotonic clock.
    pub(super) at: u64,
    /// Number in the name, time of the monotonic clock.
    pub(super) removals: Vec<(usize, u64)>,
}

#[derive(Debug)]
pub(super) struct Subject {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What the baseline took, in nanoseconds: processor time, and by the clock.
    pub(super) start: [f64; 2],
}

impl Subject {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut subject = Self { child, questions, answers, start: [0.0; 2] };
        let line = subject.line()?;
        let words: Vec<_> = line.split(' ').collect();
        let ["ready", cpu, wall, _] = words[..] else { bail!("not ready: {line}") };
        subject.start = [cpu.parse()?, wall.parse()?];
        Ok(subject)
    }

    pub(super) fn begin(&mut self, expected: Expectation) -> Result<()> {
        let Expectation { changed, appeared, removed, note_removals } = expected;
        let note = u8::from(note_removals);
        self.ask(format!("begin {changed} {appeared} {removed} {note}\n"))
    }

    /// It is to wait until it has compared everything anew, after notifications were lost.
    pub(super) fn begin_reconcile(&mut self) -> Result<()> {
        self.ask("reconcile\n".into())
    }

    fn ask(&mut self, question: String) -> Result<()> {
        let questions = self.questions.as_mut().context("no pipe")?;
        // In one piece: the subject takes what it reads for a line.
        questions.write_all(question.as_bytes())?;
        let answer = self.line()?;
        ensure!(answer == "begun", "{answer}");
        Ok(())
    }

    /// Waits until it has seen what it was to see.
    pub(super) fn done(&mut self, expected: Expectation) -> Result<Cost> {
        let mut removals = Vec::new();
        loop {
            let line = self.line()?;
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["removed", number, when] => removals.push((number.parse()?, when.parse()?)),
                ["done", cpu, at, changed, appeared, removed] => {
                    let seen: [usize; 3] = [changed.parse()?, appeared.parse()?, removed.parse()?];
                    let wanted = [expected.changed, expected.appeared, expected.removed];
                    let enough = seen.iter().zip(&wanted).all(|(seen, wanted)| seen >= wanted);
                    ensure!(enough, "saw {seen:?} changes, births, deaths of {wanted:?}");
                    return Ok(Cost { cpu_ns: cpu.parse()?, at: at.parse()?, removals });
                }
                _ => bail!("not understood: {line}"),
            }
        }
    }

    /// Lets notifications queue up.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Memory that is its own alone, in bytes.
    pub(super) fn private_bytes(&self) -> Result<f64> {
        machine::private_bytes(self.child.id())
    }

    pub(super) fn end(mut self) -> Result<()> {
        self.questions = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line)?;
        ensure!(read > 0, "it ended: {:?}", self.child.wait());
        Ok(line.trim_end().to_owned())
    }
}

/// One that was not ended because something went wrong elsewhere.
impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
