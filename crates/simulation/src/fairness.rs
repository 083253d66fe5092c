//! How long others wait beside a hostile owner, counted in what is done for him meanwhile: turns, not
//! time.
//!
//! A victim waits from the moment a change of it was notified, which a watch of our own on the same
//! file tells, until the monitor reads it. Meanwhile the owner's cgroups may be read as often as those
//! of all others, since they have their turns, and [`BATCHES`] times a batch: what was being read when
//! the change was notified, what stood in one line before there were lanes, and the batch in which the
//! victim's turn is.

use std::collections::{HashMap, HashSet};

use cgroup_sim::Hierarchy;
use cgwatch::{Event, EventKind};
use fsnotify::{
    Account, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask, records},
};

/// See the module.
const BATCHES: u64 = 3;

/// How often other cgroups were read while one waited.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    of_the_owner: u64,
    of_others: u64,
}

/// Watches the victims' files, and the monitor's readings.
pub(crate) struct Fairness {
    inotify: Option<Inotify>,
    batch: u64,
    victims: HashMap<i32, u64>,
    /// The monitor has read them once, so that it watches them.
    known: HashSet<u64>,
    waiting: HashMap<u64, Turns>,
    /// All that is read is read by turns.
    pub(crate) measures: bool,
    /// Whose file was read last.
    last: u64,
    /// The first that waited too long.
    pub(crate) breach: Option<String>,
    /// How many turns of the owner one had to wait for at most.
    pub(crate) longest: u64,
}

impl Fairness {
    pub(crate) fn new(batch: usize) -> Self {
        let limits = Limits { queued_events: 1 << 20, ..Limits::default() };
        Self {
            inotify: Inotify::new(&Account::new(limits), InitFlags::NONBLOCK).ok(),
            batch: batch as u64,
            victims: HashMap::new(),
            known: HashSet::new(),
            waiting: HashMap::new(),
            measures: false,
            last: 0,
            breach: None,
            longest: 0,
        }
    }

    /// A cgroup that is not the owner's was made.
    pub(crate) fn watch(&mut self, hierarchy: &Hierarchy, path: &str, id: u64) {
        let Some(inotify) = &self.inotify else { return };
        for file in ["cgroup.events", "memory.events"] {
            let path = format!("{path}/{file}");
            if let Ok(wd) = hierarchy.mount().watch(inotify, path, WatchMask::MODIFY) {
                self.victims.insert(wd, id);
            }
        }
    }

    /// What was notified by now waits.
    pub(crate) fn look(&mut self) {
        let mut buffer = [0; 1024];
        while let Some(Ok(read)) = self.inotify.as_ref().map(|inotify| inotify.read(&mut buffer)) {
            for record in records(&buffer[..read]) {
                let Some(&id) = self.victims.get(&record.wd) else { continue };
                if record.mask.contains(Mask::MODIFY) && self.measures && self.known.contains(&id) {
                    self.waiting.entry(id).or_default();
                }
            }
        }
    }

    /// A victim is gone: nothing of it will be read, whatever its files still announce.
    pub(crate) fn bury(&mut self, id: u64) {
        self.look();
        self.victims.retain(|_, victim| *victim != id);
        self.waiting.remove(&id);
        self.known.remove(&id);
    }

    /// The monitor reads a file of this cgroup.
    pub(crate) fn read(&mut self, id: u64, is_owners: bool) {
        self.known.insert(id);
        self.waiting.remove(&id);
        if std::mem::replace(&mut self.last, id) == id {
            return;
        }
        for (waits, turns) in &mut self.waiting {
            match is_owners {
                true => turns.of_the_owner += 1,
                false => turns.of_others += 1,
            }
            self.longest = self.longest.max(turns.of_the_owner);
            if turns.of_the_owner > turns.of_others + BATCHES * self.batch {
                self.breach = Some(format!("{waits} still waits: {turns:?}"));
            }
        }
    }
}

/// What the reader is given from one line of events.
#[derive(Debug, Default)]
pub(crate) struct Line {
    of_the_owner: u64,
    of_others: u64,
    last: u64,
}

impl Line {
    /// The reader is given an event. `Err`: it waited behind more of the owner's cgroups than others came
    /// before it, and a batch. Only a removal waits for all that is below.
    pub(crate) fn give(
        &mut self,
        event: &Event,
        is_owners: bool,
        batch: usize,
    ) -> Result<(), String> {
        let Some(n) = event.kind.cgroup().map(|cgroup| cgroup.n) else { return Ok(()) };
        let waits = !is_owners && !matches!(event.kind, EventKind::Removed { .. });
        if waits && self.of_the_owner > self.of_others + batch as u64 + 1 {
            return Err(format!("an event of n {n} waited behind the owner's: {self:?}"));
        }
        if std::mem::replace(&mut self.last, n) != n {
            match is_owners {
                true => self.of_the_owner += 1,
                false => self.of_others += 1,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cgroup_sim::Options;

    use super::*;

    /// A victim whose change was notified, while so many of the owner's and of others are read.
    fn waits(of_the_owner: u64, of_others: u64) -> Option<String> {
        let hierarchy = Hierarchy::new(Options::default());
        let id = hierarchy.mkdir("/a").unwrap();
        let mut fairness = Fairness::new(1);
        fairness.watch(&hierarchy, "/a", id);
        fairness.measures = true;
        fairness.read(id, false);
        hierarchy.spawn(id).unwrap();
        hierarchy.drain();
        fairness.look();
        (0..of_others).for_each(|n| fairness.read(2_000 + n, false));
        (0..of_the_owner).for_each(|n| fairness.read(1_000 + n, true));
        assert_eq!(fairness.longest, of_the_owner);
        fairness.read(id, false);
        fairness.read(1, true);
        assert_eq!(fairness.longest, of_the_owner, "it waits no longer");
        fairness.breach
    }

    #[test]
    fn who_waits_behind_more_than_turns_is_found() {
        assert_eq!(waits(BATCHES, 0), None);
        assert!(waits(BATCHES + 1, 0).is_some());
        assert_eq!(waits(BATCHES + 5, 5), None);
    }
}
