//! Another program on the same host, which waits for `IN_DELETE_SELF` (design.md 4.1, item 10).

use std::collections::{HashMap, HashSet};

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
    watched: HashMap<i32, (u64, &'static str)>,
    told: HashSet<i32>,
}

impl Neighbour {
    pub(crate) fn new() -> Self {
        let limits = Limits { queued_events: 1 << 20, ..Limits::default() };
        let inotify = Inotify::new(&Account::new(limits), InitFlags::NONBLOCK);
        Self { inotify: inotify.ok(), watched: HashMap::new(), told: HashSet::new() }
    }

    /// Watches a cgroup's files.
    pub(crate) fn watch(&mut self, hierarchy: &Hierarchy, path: &str, id: u64) {
        let Some(inotify) = &self.inotify else { return };
        for file in FILES {
            let path = format!("{path}/{file}");
            if let Ok(wd) = hierarchy.mount().watch(inotify, path, WatchMask::DELETE_SELF) {
                self.watched.insert(wd, (id, file));
            }
        }
    }

    /// The files it watches of cgroups that are dead, and whose removal it was not told of.
    pub(crate) fn untold(&mut self, is_dead: impl Fn(u64) -> bool) -> Vec<(u64, &'static str)> {
        let mut buffer = [0; 4096];
        while let Some(Ok(read)) = self.inotify.as_ref().map(|inotify| inotify.read(&mut buffer)) {
            for record in records(&buffer[..read]) {
                if record.mask.contains(Mask::DELETE_SELF) {
                    self.told.insert(record.wd);
                }
            }
        }
        let watched =
            self.watched.iter().filter(|(wd, (id, _))| is_dead(*id) && !self.told.contains(*wd));
        let mut untold: Vec<_> = watched.map(|(_, file)| *file).collect();
        untold.sort_unstable();
        untold
    }
}

#[cfg(test)]
mod tests {
    use cgroup_sim::Options;
    use kernfs::{Access, Profile};

    use super::*;

    /// What another program that watches a cgroup's files was not told of its removal, while `held` of
    /// them is open.
    fn untold(profile: Profile, held: Option<&str>, dead: bool) -> Vec<&'static str> {
        let hierarchy = Hierarchy::new(Options { profile, ..Options::default() });
        hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
        let id = hierarchy.mkdir("/a").unwrap();
        let mut neighbour = Neighbour::new();
        neighbour.watch(&hierarchy, "/a", id);
        let open = |file| hierarchy.mount().open(format!("/a/{file}"), Access::READ).unwrap();
        let held = held.map(open);
        hierarchy.rmdir("/a").unwrap();
        drop(held);
        hierarchy.drain();
        let untold = neighbour.untold(|its| dead && its == id);
        untold.into_iter().map(|(_, file)| file).collect()
    }

    /// As on Linux: up to 7.0 nobody is told; from 7.1 on everybody, but for a file that somebody holds.
    #[test]
    fn it_notices_what_it_was_not_told() {
        assert_eq!(untold(Profile::Linux71, None, true), [""; 0]);
        assert_eq!(untold(Profile::Linux71, Some("memory.events"), true), ["memory.events"]);
        assert_eq!(untold(Profile::Linux71, Some("cgroup.events"), true), ["cgroup.events"]);
        assert_eq!(untold(Profile::Linux70, None, true), FILES);
        assert_eq!(untold(Profile::Announced, Some("memory.events"), true), [""; 0]);
        assert_eq!(untold(Profile::Linux70, None, false), [""; 0], "of what lives");
    }
}
