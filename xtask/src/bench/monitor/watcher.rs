//! The measured process for cgwatch: a reader that does nothing but count. What is asked and
//! answered: see [`subject`](mod@super::subject).

use std::io::{Write as _, stdin, stdout};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cgwatch::{Depth, EventKind, Options, Watcher};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::ClockId;

use super::tree::nanoseconds;

const PATIENCE: u64 = 20_000_000_000;

/// Watches `root` until the standard input ends.
pub(crate) fn subject(root: &Path) -> Result<()> {
    let mut clocks = Clocks::now();
    let mut watcher = Watcher::new(Options::new())?;
    watcher.add(root, Depth::All)?;
    let cgroups = loop {
        let event = watcher.wait(None)?.context("the stream has ended")?;
        if let EventKind::Ready { cgroups, .. } = event.kind {
            break cgroups;
        }
    };
    let (cpu, wall) = clocks.since();
    answer(format_args!("ready {cpu} {wall} {cgroups}"))?;

    let mut seen = Seen::default();
    let mut wanted = None;
    let mut started = false;
    loop {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let patience = wanted.is_some().then_some(&second);
        let input = stdin();
        let mut ready = [
            PollFd::new(&watcher, PollFlags::IN),
            PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN),
        ];
        match poll(&mut ready, patience) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let [notified, asked] = ready.map(|fd| !fd.revents().is_empty());
        if notified {
            if !started {
                clocks.wall = nanoseconds(ClockId::Monotonic);
                started = true;
            }
            seen.take_in(&mut watcher)?;
        }
        if let Some(Wanted { changed, appeared, removed, deadline }) = wanted
            && (seen.changed >= changed && seen.appeared >= appeared && seen.removed >= removed
                || nanoseconds(ClockId::Monotonic) > deadline)
        {
            wanted = None;
            let (cpu, wall) = clocks.since();
            for (number, when) in seen.removals.iter().flatten() {
                answer(format_args!("removed {number} {when}"))?;
            }
            let Seen { changed, appeared, removed, .. } = seen;
            answer(format_args!("done {cpu} {wall} {changed} {appeared} {removed}"))?;
        }
        if asked {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let numbers = line.strip_prefix("begin ").context("not understood")?;
            let numbers: Vec<u64> =
                numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            let [changed, appeared, removed, note] = numbers[..] else {
                anyhow::bail!("not understood: {line}");
            };
            Seen::default().take_in(&mut watcher)?;
            seen = Seen { removals: (note == 1).then(Vec::new), ..Seen::default() };
            started = false;
            clocks = Clocks::now();
            let deadline = clocks.wall + PATIENCE;
            wanted = Some(Wanted { changed, appeared, removed, deadline });
            answer(format_args!("begun"))?;
        }
    }
}

/// What to wait for.
struct Wanted {
    changed: u64,
    appeared: u64,
    removed: u64,
    deadline: u64,
}

/// What there was.
#[derive(Default)]
struct Seen {
    changed: u64,
    appeared: u64,
    removed: u64,
    /// Number in the name, time of the monotonic clock; if they are to be noted.
    removals: Option<Vec<(u64, u64)>>,
}

impl Seen {
    fn take_in(&mut self, watcher: &mut Watcher) -> Result<()> {
        while let Some(event) = watcher.next()? {
            match event.kind {
                EventKind::Changed { .. } => self.changed += 1,
                EventKind::Appeared { .. } => self.appeared += 1,
                EventKind::Removed { cgroup, .. } => {
                    self.removed += 1;
                    if let Some(removals) = &mut self.removals {
                        let path = cgroup.path.as_str().unwrap_or_default();
                        let number = path.rsplit("/n").next().and_then(|text| text.parse().ok());
                        let now = nanoseconds(ClockId::Monotonic);
                        removals.push((number.context("a strange name")?, now));
                    }
                }
                EventKind::Gap { reason, .. } => ensure!(false, "a gap: {reason:?}"),
                _ => {}
            }
        }
        Ok(())
    }
}

struct Clocks {
    cpu: u64,
    wall: u64,
}

impl Clocks {
    fn now() -> Self {
        Self { cpu: nanoseconds(ClockId::ProcessCPUTime), wall: nanoseconds(ClockId::Monotonic) }
    }

    fn since(&self) -> (u64, u64) {
        let now = Self::now();
        (now.cpu - self.cpu, now.wall - self.wall)
    }
}

fn answer(line: std::fmt::Arguments<'_>) -> Result<()> {
    let mut output = stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
