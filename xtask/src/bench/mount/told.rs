//! What a place tells a watcher that sleeps: how soon, and what many in a row cost.

use std::ffi::CString;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use linux_notify::inotify::{Event, Inotify, Mask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::ClockId;

use super::place::{Act, CgroupTree, Place};
use super::report::{Arm, Quantity, Report};
use crate::bench::machine;

/// How long an event may take.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// `MODIFY` of each directory's file.
pub(super) fn changes(
    place: &mut Place,
    range: Range<usize>,
    pause: Duration,
    cgroups: &CgroupTree,
    report: &mut Report,
) -> Result<()> {
    let told = Told::of_files(place, &range, Mask::MODIFY)?;
    let [each, cpu, median, tail] =
        [Quantity::Change, Quantity::ChangeCpu, Quantity::ChangeMedian, Quantity::ChangeTail];
    told.measure(Act::Change, place, range, pause, cgroups)?.report(
        [each, cpu, median, tail],
        place.arm,
        report,
    );
    Ok(())
}

/// `DELETE_SELF` of each directory's file; of a real cgroup's `DELETE` at its parent, which is what
/// every kernel sends.
pub(super) fn removals(
    place: &mut Place,
    range: Range<usize>,
    pause: Duration,
    cgroups: &CgroupTree,
    report: &mut Report,
) -> Result<()> {
    let told = match place.arm {
        Arm::Cgroupfs => Told::of_parent(place, &range)?,
        _ => Told::of_files(place, &range, Mask::DELETE_SELF)?,
    };
    let [each, cpu, median, tail] =
        [Quantity::Removal, Quantity::RemovalCpu, Quantity::RemovalMedian, Quantity::RemovalTail];
    told.measure(Act::Remove, place, range, pause, cgroups)?.report(
        [each, cpu, median, tail],
        place.arm,
        report,
    );
    Ok(())
}

/// A watcher of directories from a first one on.
struct Told {
    inotify: Inotify,
    wanted: Mask,
    by: By,
}

/// How it knows which directory an event is about.
enum By {
    /// One watch each, in order.
    Watch,
    /// Its name, from the first one's number on.
    Name(usize),
}

impl By {
    fn index(&self, event: &Event<'_>) -> Option<usize> {
        match self {
            Self::Watch => usize::try_from(event.wd.0).ok()?.checked_sub(1),
            Self::Name(first) => {
                let number: usize = std::str::from_utf8(event.name).ok()?.parse().ok()?;
                number.checked_sub(*first)
            }
        }
    }
}

/// When each was begun and told, by the monotonic clock, and what the server spent on all.
struct Measured {
    begun: Vec<u64>,
    told: Vec<u64>,
    cpu: Option<f64>,
    in_a_row: bool,
}

impl Told {
    fn of_files(place: &Place, range: &Range<usize>, wanted: Mask) -> Result<Self> {
        let inotify = Inotify::new()?;
        for number in range.clone() {
            let file = place.root.join(format!("changing/{number}/cgroup.events"));
            let wd = inotify.add(&CString::new(file.as_os_str().as_bytes())?, wanted)?;
            let expected = i32::try_from(number - range.start + 1)?;
            ensure!(wd.0 == expected, "an unexpected watch: {wd}");
        }
        Ok(Self { inotify, wanted, by: By::Watch })
    }

    fn of_parent(place: &Place, range: &Range<usize>) -> Result<Self> {
        let inotify = Inotify::new()?;
        let parent = place.root.join("changing");
        inotify.add(&CString::new(parent.as_os_str().as_bytes())?, Mask::DELETE)?;
        Ok(Self { inotify, wanted: Mask::DELETE, by: By::Name(range.start) })
    }

    fn measure(
        &self,
        act: Act,
        place: &mut Place,
        range: Range<usize>,
        pause: Duration,
        cgroups: &CgroupTree,
    ) -> Result<Measured> {
        let count = range.len();
        let before = place.cpu()?;
        let (begun, told) = thread::scope(|scope| {
            let act = scope.spawn(|| place.act(act, range, pause, cgroups));
            let told = self.until(count);
            let begun = act.join().map_err(|_| anyhow!("the driver broke"))??;
            Ok::<_, anyhow::Error>((begun, told?))
        })?;
        let cpu = match (before, place.cpu()?) {
            (Some(before), Some(after)) => Some(after - before),
            _ => None,
        };
        Ok(Measured { begun, told, cpu, in_a_row: pause.is_zero() })
    }

    /// Sleeps until each of so many was told. When that was.
    fn until(&self, count: usize) -> Result<Vec<u64>> {
        let mut told = vec![0; count];
        let mut missing = count;
        let mut buffer = [0; 1 << 16];
        while missing > 0 {
            let ready = poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&PATIENCE))?;
            let now = machine::nanoseconds(ClockId::Monotonic);
            ensure!(ready > 0, "{missing} of {count} were not told");
            for event in self.inotify.read(&mut buffer)? {
                if !event.mask.intersects(self.wanted) {
                    continue;
                }
                let index = self.by.index(&event).context("a strange event")?;
                let when = told.get_mut(index).context("a strange event")?;
                if *when == 0 {
                    *when = now;
                    missing -= 1;
                }
            }
        }
        Ok(told)
    }
}

impl Measured {
    fn report(&self, quantities: [Quantity; 4], arm: Arm, report: &mut Report) {
        let Self { begun, told, cpu, in_a_row } = self;
        let [each, each_cpu, median, tail] = quantities;
        if *in_a_row {
            let count = told.len() as f64;
            let first = begun.first().copied().unwrap_or_default();
            let last = told.iter().max().copied().unwrap_or_default();
            report.add(each, arm, last.saturating_sub(first) as f64 / count);
            if let Some(cpu) = cpu {
                report.add(each_cpu, arm, cpu / count);
            }
            return;
        }
        let mut latencies: Vec<_> = begun
            .iter()
            .zip(told)
            .map(|(begun, told)| told.saturating_sub(*begun) as f64)
            .collect();
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize];
        report.add(median, arm, at(0.5));
        report.add(tail, arm, at(0.99));
    }
}
