//! Another program on the same host, which waits for `IN_DELETE_SELF` (design.md 4.1, item 10).

use std::collections::HashMap;

use cgroup_sim::Hierarchy;
use fsnotify::{
    Account, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask, records},
};

/// What it watches of a cgroup.
const FILES: [&str; 2] = ["cgroup.events", "memory.events"];

/// An inotify instance of its own, with watches on files of some cgroups.
pub(crate) struct Neighbour {
    inotify: Option<Inotify>,
    watched: HashMap<i32, u64>,
    told: Vec<u64>,
}

impl Neighbour {
    pub(crate) fn new() -> Self {
        let limits = Limits { queued_events: 1 << 20, ..Limits::default() };
        let inotify = Inotify::new(&Account::new(limits), InitFlags::NONBLOCK);
        Self { inotify: inotify.ok(), watched: HashMap::new(), told: Vec::new() }
    }

    /// Watches a cgroup's files.
    pub(crate) fn watch(&mut self, hierarchy: &Hierarchy, path: &str, id: u64) {
        let Some(inotify) = &self.inotify else { return };
        for file in FILES {
            let file = format!("{path}/{file}");
            if let Ok(wd) = hierarchy.mount().watch(inotify, file, WatchMask::DELETE_SELF) {
                self.watched.insert(wd, id);
            }
        }
    }

    /// The cgroups it watches that are dead, and whose removal it was not told of.
    pub(crate) fn untold(&mut self, is_dead: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut buffer = [0; 4096];
        while let Some(Ok(read)) = self.inotify.as_ref().map(|inotify| inotify.read(&mut buffer)) {
            for record in records(&buffer[..read]) {
                if record.mask.contains(Mask::DELETE_SELF) {
                    self.told.extend(self.watched.get(&record.wd));
                }
            }
        }
        let untold = self.watched.values().filter(|id| is_dead(**id) && !self.told.contains(id));
        let mut untold: Vec<_> = untold.copied().collect();
        untold.sort_unstable();
        untold
    }
}
