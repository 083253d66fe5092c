//! A lone change does not wait behind a crowd's, whatever came first: the place in the stream shows it,
//! not the time.

use std::{collections::HashSet, thread, time::Duration};

use cgwatch::{Depth, Event, EventKind, Options, Watcher};
use contract::hold_against;
use linux_notify::inotify::{Inotify, Mask, Wd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{super::citizen::c_path, Stage};
use crate::{Cgroup, Environment, Failure, ensure};

const CROWD: usize = 200;
/// Far fewer than the crowd.
const BATCH: usize = 4;
/// In a crowd, one that was read so short a time ago waits, whatever its turn.
const PACE: Duration = Duration::from_secs(1);

/// All of the crowd change, then the victim does, and only then cgwatch looks: the victim is reported
/// before half of the crowd are.
pub(super) fn turns(environment: &Environment) -> Result<(), Failure> {
    let stage = Stage::new(environment, CROWD)?;
    let options = Options::new().batch(BATCH).sweep_interval(Duration::from_secs(3600));
    let mut watcher = environment.watcher(options)?;
    watcher.add(stage.tree.path(), Depth::All)?;
    let mut events = Vec::new();
    let is_ready = |event: &Event| matches!(event.kind, EventKind::Ready { .. });
    take_until(environment, &mut watcher, &mut events, is_ready)?;
    // If the crowd had to wait for its pace, that alone would let the victim go first.
    thread::sleep(PACE);

    let mut witness = Witness::new()?;
    stage.crowd.iter().chain([&stage.victim]).try_for_each(|cgroup| witness.watch(cgroup))?;
    stage.hostile.write("cgroup.freeze", "1")?;
    witness.until_left(environment, 1)?;
    stage.victim.write("cgroup.freeze", "1")?;
    witness.until_left(environment, 0)?;

    watcher.update()?;
    let mut waiting: HashSet<u64> = stage.crowd.iter().map(|cgroup| cgroup.id).collect();
    take_until(environment, &mut watcher, &mut events, |event| {
        let frozen = frozen(event);
        waiting.retain(|id| frozen != Some(*id));
        frozen == Some(stage.victim.id)
    })?;
    let before = CROWD - waiting.len();
    while !waiting.is_empty() {
        take_until(environment, &mut watcher, &mut events, |event| {
            frozen(event).is_some_and(|id| waiting.remove(&id))
        })?;
    }
    hold_against(&events, &stage.tree.truth())?;
    ensure!(before < CROWD / 2, "{before} of the crowd were reported before the victim");
    Ok(())
}

/// The cgroup of which it is reported that it is frozen now.
fn frozen(event: &Event) -> Option<u64> {
    match &event.kind {
        EventKind::Changed { cgroup, new, .. } if new.get("frozen") == Some(1) => cgroup.id,
        _ => None,
    }
}

/// Takes events up to the one that is wanted.
fn take_until(
    environment: &Environment,
    watcher: &mut Watcher,
    events: &mut Vec<Event>,
    mut wanted: impl FnMut(&Event) -> bool,
) -> Result<(), Failure> {
    loop {
        let event = watcher.wait(Some(environment.patience()))?;
        let event = event.ok_or_else(|| Failure::broken("an awaited event was not reported"))?;
        let done = wanted(&event);
        events.push(event);
        if done {
            return Ok(());
        }
    }
}

/// Another program, which shows that the kernel has queued the notifications of changes.
struct Witness {
    inotify: Inotify,
    /// Those of which none has come yet.
    left: HashSet<Wd>,
}

impl Witness {
    fn new() -> Result<Self, Failure> {
        Ok(Self { inotify: Inotify::new()?, left: HashSet::new() })
    }

    fn watch(&mut self, cgroup: &Cgroup) -> Result<(), Failure> {
        let wd = self.inotify.add(&c_path(&cgroup.file("cgroup.events")), Mask::MODIFY)?;
        self.left.insert(wd);
        Ok(())
    }

    /// Waits until only so many have not changed.
    fn until_left(&mut self, environment: &Environment, left: usize) -> Result<(), Failure> {
        let patience = environment.patience().as_secs();
        let patience = Timespec { tv_sec: i64::try_from(patience).unwrap_or(i64::MAX), tv_nsec: 0 };
        loop {
            let mut buffer = [0; 4096];
            for event in self.inotify.read(&mut buffer)? {
                self.left.remove(&event.wd);
            }
            if self.left.len() <= left {
                return Ok(());
            }
            let ready = poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&patience))?;
            ensure!(ready > 0, "driver: {} cgroups have not changed", self.left.len());
        }
    }
}
