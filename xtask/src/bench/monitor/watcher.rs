//! The measured process for cgwatch: a reader that does nothing but count. What is asked and
//! answered: see [`subject`](mod@super::subject).

use std::io::{Write as _, stdin, stdout};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cgwatch::{Depth, Event, EventKind, GapReason, Options, Strategy, Watcher};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::time::ClockId;

use crate::bench::machine::nanoseconds;

/// It gives up after so long without an event.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches `root` until the standard input ends.
pub(crate) fn subject(root: &Path, fanotify: bool) -> Result<()> {
    let [cpu, wall] = clocks();
    let strategy = if fanotify { Strategy::Fanotify } else { Strategy::Inotify };
    let mut watcher = Watcher::new(Options::new().strategy(strategy))?;
    watcher.add(root, Depth::All)?;
    let cgroups = loop {
        let event = watcher.wait(None)?.context("the stream has ended")?;
        if let EventKind::Ready { cgroups, .. } = event.kind {
            break cgroups;
        }
    };
    let [cpu_now, wall_now] = clocks();
    answer(format_args!("ready {} {} {cgroups}", cpu_now - cpu, wall_now - wall))?;
    while let Some(wanted) = question(&mut watcher)? {
        measure(&mut watcher, &wanted)?;
    }
    Ok(())
}

/// What to wait for.
struct Wanted {
    changed: u64,
    appeared: u64,
    removed: u64,
    /// When each removal was seen.
    note: bool,
    /// A comparison of everything, after notifications were lost.
    reconciled: bool,
}

/// Waits for the next question, while it goes on watching. `None`: there are no more.
fn question(watcher: &mut Watcher) -> Result<Option<Wanted>> {
    let input = stdin();
    loop {
        let mut ready = [
            PollFd::new(&*watcher, PollFlags::IN),
            PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut ready, None))?;
        let asked = !ready[1].revents().is_empty();
        while watcher.next()?.is_some() {}
        if asked {
            break;
        }
    }
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if line == "reconcile\n" {
        let nothing = Wanted { changed: 0, appeared: 0, removed: 0, note: false, reconciled: true };
        return Ok(Some(nothing));
    }
    let numbers = line.strip_prefix("begin ").context("not understood")?.split_whitespace();
    let numbers: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    let [changed, appeared, removed, note] = numbers[..] else {
        anyhow::bail!("not understood: {line}");
    };
    Ok(Some(Wanted { changed, appeared, removed, note: note == 1, reconciled: false }))
}

fn measure(watcher: &mut Watcher, wanted: &Wanted) -> Result<()> {
    let [cpu, _] = clocks();
    answer(format_args!("begun"))?;
    let mut seen = Seen::default();
    while !seen.is_enough(wanted) {
        let Some(event) = watcher.wait(Some(PATIENCE))? else { break };
        seen.count(&event, wanted)?;
    }
    let [cpu_now, wall_now] = clocks();
    for (number, when) in &seen.removals {
        answer(format_args!("removed {number} {when}"))?;
    }
    let Seen { changed, appeared, removed, .. } = seen;
    answer(format_args!("done {} {wall_now} {changed} {appeared} {removed}", cpu_now - cpu))
}

/// What there was.
#[derive(Default)]
struct Seen {
    changed: u64,
    appeared: u64,
    removed: u64,
    reconciled: bool,
    /// Number in the name, time of the monotonic clock.
    removals: Vec<(u64, u64)>,
}

impl Seen {
    fn is_enough(&self, wanted: &Wanted) -> bool {
        self.changed >= wanted.changed
            && self.appeared >= wanted.appeared
            && self.removed >= wanted.removed
            && self.reconciled >= wanted.reconciled
    }

    fn count(&mut self, event: &Event, wanted: &Wanted) -> Result<()> {
        match &event.kind {
            EventKind::Changed { .. } => self.changed += 1,
            EventKind::Appeared { .. } => self.appeared += 1,
            EventKind::Removed { cgroup, .. } => {
                self.removed += 1;
                if wanted.note {
                    let now = nanoseconds(ClockId::Monotonic);
                    let path = cgroup.path.as_str().unwrap_or_default();
                    let number = path.rsplit("/n").next().and_then(|text| text.parse().ok());
                    self.removals.push((number.context("a strange name")?, now));
                }
            }
            EventKind::Ready { after_gap, .. } => self.reconciled |= after_gap,
            // What was withheld because it came faster than it was taken.
            EventKind::Gap { reason, cancelled_pairs, .. } => {
                let overflow = wanted.reconciled && *reason == GapReason::QueueOverflow;
                ensure!(overflow || *reason == GapReason::Reader, "a gap: {reason:?}");
                self.appeared += cancelled_pairs;
                self.removed += cancelled_pairs;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Processor time of this process, and the monotonic clock; in nanoseconds.
fn clocks() -> [u64; 2] {
    [ClockId::ProcessCPUTime, ClockId::Monotonic].map(nanoseconds)
}

fn answer(line: std::fmt::Arguments<'_>) -> Result<()> {
    let mut output = stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
