//! What really happened, for those who check what was told.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::{Controllers, Event, event::EVENTS};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Nanoseconds of virtual time.
    pub at: u64,
    /// The cgroup's id.
    pub cgroup: u64,
    /// What.
    pub what: What,
}

/// What can happen to a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It was made.
    Born {
        /// The id of the cgroup it is in.
        parent: u64,
    },
    /// It was removed.
    Died,
    /// It counted something itself; the sums of those above follow from it.
    Counted {
        /// What.
        event: Event,
        /// How often.
        times: u64,
    },
    /// `populated` changed to this.
    Populated(bool),
    /// `frozen` changed to this.
    Frozen(bool),
    /// The files of a controller appeared.
    Enabled(Controllers),
    /// The files of a controller went.
    Disabled {
        /// Which.
        controller: Controllers,
        /// Whether its counters go on unseen, as another controller needs it; else they start
        /// again at zero when it is enabled again.
        hidden: bool,
    },
}

/// One cgroup from its birth on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its id.
    pub id: u64,
    /// Its path from the root; `/` for the root itself.
    pub path: Vec<u8>,
    /// When it was made: nanoseconds of virtual time.
    pub born: u64,
    /// When it was removed.
    pub died: Option<u64>,
    /// All that it counted itself in its life and after, over every restart of its counters.
    /// Absent: never.
    pub counted: BTreeMap<Event, u64>,
    /// The controllers whose files were taken from it while it lived, each as often as they were.
    pub disabled: Vec<Controllers>,
}

/// All lives, if they are remembered.
pub(crate) struct Lives {
    remember: bool,
    lives: HashMap<u64, Record>,
}

struct Record {
    path: Vec<u8>,
    born: u64,
    died: Option<u64>,
    counted: [u64; EVENTS],
    disabled: Vec<Controllers>,
}

impl Lives {
    pub(crate) fn new(remember: bool) -> Self {
        Self { remember, lives: HashMap::new() }
    }

    pub(crate) fn born(&mut self, id: u64, path: Vec<u8>, now: u64) {
        if self.remember {
            let counted = [0; EVENTS];
            let record = Record { path, born: now, died: None, counted, disabled: Vec::new() };
            self.lives.insert(id, record);
        }
    }

    pub(crate) fn died(&mut self, id: u64, now: u64) {
        if let Some(record) = self.lives.get_mut(&id) {
            record.died = Some(now);
        }
    }

    pub(crate) fn count(&mut self, id: u64, event: Event, times: u64) {
        if let Some(record) = self.lives.get_mut(&id) {
            record.counted[event as usize] += times;
        }
    }

    pub(crate) fn disabled(&mut self, id: u64, controller: Controllers) {
        if let Some(record) = self.lives.get_mut(&id) {
            record.disabled.push(controller);
        }
    }

    /// By id, which is the order of birth.
    pub(crate) fn all(&self) -> Vec<Life> {
        let mut all: Vec<_> = self.lives.iter().map(|(id, record)| record.life(*id)).collect();
        all.sort_unstable_by_key(|life| life.id);
        all
    }

    pub(crate) fn one(&self, id: u64) -> Option<Life> {
        self.lives.get(&id).map(|record| record.life(id))
    }
}

impl Record {
    fn life(&self, id: u64) -> Life {
        let counted = Event::ALL.into_iter().zip(self.counted).filter(|(_, times)| *times > 0);
        Life {
            id,
            path: self.path.clone(),
            born: self.born,
            died: self.died,
            counted: counted.collect(),
            disabled: self.disabled.clone(),
        }
    }
}

/// What happened, in order, if it is written down.
pub(crate) struct Journal {
    written: bool,
    entries: Vec<Happening>,
}

impl Journal {
    pub(crate) fn new(written: bool) -> Self {
        Self { written, entries: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: u64, cgroup: u64, what: What) {
        if self.written {
            self.entries.push(Happening { at, cgroup, what });
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.entries)
    }
}
