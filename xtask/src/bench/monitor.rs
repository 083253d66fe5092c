//! `cargo xtask bench monitor`: what watching cgroups costs, with cgwatch and with a C loop that
//! follows the same protocol (`xtask/bench/loop.c`).
//!
//! Both are processes of their own that watch the same cgroups, one after the other, over and over
//! in one run, so that whatever else the machine does hits both alike.
//! [`tree`] makes things happen, [`mod@subject`] speaks with the measured process, [`watcher`] is
//! that process for cgwatch, [`report`] is the table.

mod growth;
mod report;
mod subject;
mod tree;
mod watcher;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::time::ClockId;

use super::machine;
use crate::process;
use report::{Arm, Quantity, Report};
use subject::{Expectation, Subject};
use tree::Tree;

pub(crate) use watcher::subject;

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many cgroups are there, of which most never do anything.
    #[arg(long, default_value_t = 10_000)]
    cgroups: usize,
    /// How often each of the two is started and measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many cgroups change, are born and die in each measurement.
    #[arg(long, default_value_t = 1_000)]
    events: usize,
    /// How it grows instead: with 1,000, 10,000 and 100,000 cgroups.
    #[arg(long)]
    growth: bool,
}

/// Removals whose latency is measured, and the pause before each of them and of single changes,
/// long enough for the subject to fall asleep.
const SINGLE: usize = 300;
const PAUSE: Duration = Duration::from_micros(300);

/// How often changes, births and deaths are measured between a subject's start and its end.
const PASSES: usize = 3;

/// Cgroups that children are born into in turn. A cgroup's second change within 10 ms is announced
/// late (`CGROUP_FILE_NOTIFY_MIN_INTV`), so that fewer would change less.
const POPULATED: usize = 64;

pub(crate) fn task(options: &Options) -> Result<()> {
    let mount = machine::cgroups()?;
    // Each cgroup that is to change is kept open.
    machine::allow_open_files(options.events as u64 + 100)?;
    let mut bench = Bench {
        options,
        c_loop: machine::compile("loop")?,
        fork: machine::compile("fork")?,
        watcher: std::env::current_exe()?,
        slab: 0.0,
        mount,
    };
    if options.growth {
        return growth::measure(&bench);
    }
    let mut report = Report::default();
    let mut tree = Tree::plant(&bench.mount, options.cgroups, options.events)?;
    bench.slab = machine::slab()?;
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for arm in [Arm::Alone, Arm::CLoop, Arm::Inotify, Arm::Fanotify] {
            bench.round(arm, &mut tree, &mut report).with_context(|| arm.name())?;
        }
    }
    let smaller = options.cgroups / 10;
    let few = Tree::plant(&bench.mount, smaller, 0)?;
    for _ in 0..options.rounds {
        for arm in [Arm::CLoop, Arm::Inotify, Arm::Fanotify] {
            let subject = bench.start(arm, &few)?;
            let [cpu, _] = subject.start;
            report.add(Quantity::StartFewCpu, arm, cpu / few.cgroups() as f64);
            subject.end()?;
        }
    }
    report.print(tree.cgroups(), few.cgroups());
    Ok(())
}

struct Bench<'o> {
    options: &'o Options,
    mount: PathBuf,
    c_loop: PathBuf,
    fork: PathBuf,
    watcher: PathBuf,
    /// The kernel's own small objects before anybody watched.
    slab: f64,
}

impl Bench<'_> {
    fn start(&self, arm: Arm, tree: &Tree) -> Result<Subject> {
        let mut command = as_another_user();
        if arm == Arm::CLoop {
            command.arg(&self.c_loop);
            command.arg(&self.mount).arg(tree.top().strip_prefix(&self.mount)?);
        } else {
            command.arg(&self.watcher).args(["bench", "monitor-subject"]).arg(tree.top());
            if arm == Arm::Fanotify {
                command.arg("--fanotify");
            }
        }
        Subject::start(&mut command)
    }

    fn round(&self, arm: Arm, tree: &mut Tree, report: &mut Report) -> Result<()> {
        let mut subject = None;
        if arm != Arm::Alone {
            let mut started = self.start(arm, tree)?;
            let cgroups = tree.cgroups() as f64;
            let [cpu, wall] = started.start;
            report.add(Quantity::StartCpu, arm, cpu / cgroups);
            report.add(Quantity::StartWall, arm, wall / cgroups);
            report.add(Quantity::Memory, arm, started.private_bytes()? / cgroups);
            report.add(Quantity::Kernel, arm, (machine::slab()? - self.slab) / cgroups);
            for _ in 0..PASSES {
                self.changes(arm, &mut started, tree, report)?;
                self.births_and_deaths(arm, &mut started, tree, report)?;
            }
            self.latency(arm, &mut started, tree, report)?;
            subject = Some(started);
        }
        self.host(arm, subject.as_mut(), tree, report)?;
        if let Some(subject) = subject {
            subject.end()?;
        }
        Ok(())
    }

    /// Changes that wait in the queue, and changes that come one by one.
    fn changes(
        &self,
        arm: Arm,
        subject: &mut Subject,
        tree: &mut Tree,
        report: &mut Report,
    ) -> Result<()> {
        let witness = tree.witness()?;
        let expected = Expectation { changed: self.options.events, ..Default::default() };
        subject.begin(expected)?;
        subject.pause()?;
        tree.toggle(None)?;
        witness.await_changes(self.options.events)?;
        let resumed = machine::nanoseconds(ClockId::Monotonic);
        subject.resume()?;
        let cost = subject.done(expected)?;
        let events = self.options.events as f64;
        report.add(Quantity::QueuedChange, arm, cost.cpu_ns / events);
        report.add(Quantity::Rate, arm, events / (cost.at - resumed) as f64 * 1e9);

        subject.begin(expected)?;
        tree.toggle(Some(PAUSE))?;
        let cost = subject.done(expected)?;
        report.add(Quantity::SingleChange, arm, cost.cpu_ns / events);
        Ok(())
    }

    fn births_and_deaths(
        &self,
        arm: Arm,
        subject: &mut Subject,
        tree: &mut Tree,
        report: &mut Report,
    ) -> Result<()> {
        let events = self.options.events;
        let expected = Expectation { appeared: events, ..Default::default() };
        subject.begin(expected)?;
        subject.pause()?;
        tree.bear(events)?;
        subject.resume()?;
        report.add(Quantity::Birth, arm, subject.done(expected)?.cpu_ns / events as f64);

        let expected = Expectation { removed: events, ..Default::default() };
        subject.begin(expected)?;
        subject.pause()?;
        tree.bury(events)?;
        subject.resume()?;
        report.add(Quantity::Death, arm, subject.done(expected)?.cpu_ns / events as f64);
        Ok(())
    }

    /// From the return of `rmdir` to the event in the reader's hand.
    fn latency(
        &self,
        arm: Arm,
        subject: &mut Subject,
        tree: &Tree,
        report: &mut Report,
    ) -> Result<()> {
        let expected = Expectation { appeared: SINGLE, ..Default::default() };
        subject.begin(expected)?;
        tree.bear(SINGLE)?;
        subject.done(expected)?;

        let expected = Expectation { removed: SINGLE, note_removals: true, ..Default::default() };
        subject.begin(expected)?;
        let returned = tree.bury_slowly(SINGLE, PAUSE)?;
        let cost = subject.done(expected)?;
        let mut latencies: Vec<f64> = Vec::new();
        for (number, seen) in cost.removals {
            let returned = returned.get(number).context("the removal of an unknown cgroup")?;
            // It may well be seen before `rmdir` has returned.
            latencies.push(seen.saturating_sub(*returned) as f64);
        }
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize];
        report.add(Quantity::RemovalMedian, arm, at(0.5));
        report.add(Quantity::RemovalTail, arm, at(0.99));
        Ok(())
    }

    /// What others feel of it.
    fn host(
        &self,
        arm: Arm,
        mut subject: Option<&mut Subject>,
        tree: &Tree,
        report: &mut Report,
    ) -> Result<()> {
        let events = self.options.events;
        let mut attended = |expected: Expectation, act: &dyn Fn() -> Result<Duration>| {
            if let Some(subject) = subject.as_deref_mut() {
                subject.begin(expected)?;
                let took = act()?;
                subject.done(expected)?;
                Ok::<_, anyhow::Error>(took)
            } else {
                act()
            }
        };
        let mut add = |quantity, took: Duration| {
            report.add(quantity, arm, took.as_nanos() as f64 / events as f64);
        };
        let appeared = Expectation { appeared: events, ..Default::default() };
        let removed = Expectation { removed: events, ..Default::default() };
        add(Quantity::Mkdir, attended(appeared, &|| tree.bear(events))?);
        add(Quantity::Rmdir, attended(removed, &|| tree.bury(events))?);
        add(Quantity::ForkInside, self.forks("inside", tree.quiet(1))?);
        add(Quantity::ForkInto, self.forks("into", tree.quiet(POPULATED))?);
        Ok(())
    }

    fn forks(&self, how: &str, cgroups: &[PathBuf]) -> Result<Duration> {
        let mut command = Command::new(&self.fork);
        command.arg(how).arg(self.options.events.to_string()).args(cgroups);
        Ok(Duration::from_nanos(process::read(&mut command)?.trim().parse()?))
    }
}

/// With what privileged watchers have, but with limits of its own on inotify watches: what others may
/// have of them is theirs.
fn as_another_user() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let capabilities = ["--inh-caps", "--ambient-caps"];
    command.args(capabilities.map(|kind| format!("{kind}=+dac_read_search,+sys_admin")));
    command
}
