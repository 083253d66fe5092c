//! Another program on the same host, which waits for `IN_DELETE_SELF` (design.md 4.1, item 10).

use std::collections::HashMap;

use cgroup_sim::Hierarchy;
use fsnotify::{
    Account, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask, records},
};

/// An inotify instance of its own, with watches on `cgroup.events` of some cgroups.
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

    /// Watches a cgroup's file.
    pub(crate) fn watch(&mut self, hierarchy: &Hierarchy, path: &str, id: u64) {
        let Some(inotify) = &self.inotify else { return };
        let file = format!("{path}/cgroup.events");
        if let Ok(wd) = hierarchy.mount().watch(inotify, file, WatchMask::DELETE_SELF) {
            self.watched.insert(wd, id);
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
