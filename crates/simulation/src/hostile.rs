//! The owner of a delegated subtree who does all that his rights allow, to hide his cgroups or to keep
//! others from their events (docs/security.md).
//!
//! He has a generator of his own, so that a seed in which there is none goes where it always went.

use std::collections::BTreeSet;

use cgroup_sim::{Event, Hierarchy};
use fastrand::Rng;

/// His subtree, in the watched root.
pub(crate) const SUBTREE: &str = "owner";
/// Those at which something breaks: of a name in a notification of inotify(7) and fanotify(7), of a
/// small buffer for getdents64(2), of kernfs.
const LENGTHS: [usize; 7] = [1, 255, 256, 1_515, 2_048, 4_000, 4_095];
/// Of his cgroups, unless they are a crowd.
const MOST_ALIVE: usize = 20;

/// What a hostile owner is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostility {
    /// Many cgroups side by side, of which one write notifies or has all checked.
    Crowd,
    /// Long names, depth, births and deaths at once, rights that are taken away.
    Storm,
}

/// One of his cgroups.
#[derive(Debug)]
struct Owned {
    id: u64,
    path: String,
}

/// The owner.
#[derive(Debug)]
pub(crate) struct Hostile {
    rng: Rng,
    after: Hostility,
    /// He has nothing to fear from who may do everything.
    bars: bool,
    /// The living, parents before children.
    owned: Vec<Owned>,
    /// All there ever were.
    ids: BTreeSet<u64>,
    /// Whose rights he took away, with all the files in them.
    barred: Vec<String>,
    /// Births so far.
    pub(crate) births: usize,
    pub(crate) deeds: u64,
}

impl Hostile {
    /// He gets his subtree from whoever owns `above`.
    pub(crate) fn new(
        seed: u64,
        after: Hostility,
        bars: bool,
        above: &str,
        hierarchy: &Hierarchy,
    ) -> Self {
        let rng = Rng::with_seed(seed.rotate_left(48));
        let (owned, ids) = (Vec::new(), BTreeSet::new());
        let mut new = Self { rng, after, bars, owned, ids, barred: vec![], births: 0, deeds: 0 };
        new.mkdir(hierarchy, &format!("{}/{SUBTREE}", above.trim_end_matches('/')));
        new.write(hierarchy, 0, "cgroup.subtree_control", "+memory +pids");
        if after == Hostility::Crowd {
            let in_all = new.rng.usize(60..100);
            for _ in 0..new.rng.usize(0..3) {
                new.give_birth(hierarchy, 0, 1);
            }
            let dirs = new.owned.len();
            for n in 0..in_all {
                let dir = new.rng.usize(0..dirs);
                let path = format!("{}/{n}", new.owned[dir].path);
                new.mkdir(hierarchy, &path);
            }
        }
        new
    }

    /// Whether a cgroup is or was his.
    pub(crate) fn owns(&self, id: u64) -> bool {
        self.ids.contains(&id)
    }

    /// How many of his live.
    pub(crate) fn living(&self) -> usize {
        self.owned.len()
    }

    /// Who may not do everything may not look into this directory.
    pub(crate) fn bars(&self, id: u64) -> bool {
        let is = |owned: &&Owned| owned.id == id && self.barred.contains(&owned.path);
        !self.barred.is_empty() && self.owned.iter().any(|owned| is(&owned))
    }

    /// Nor go through it.
    pub(crate) fn bars_way_to(&self, path: &[u8]) -> bool {
        let below = |dir: &String| {
            let rest = path.strip_prefix(dir.trim_start_matches('/').as_bytes());
            rest.is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        self.barred.iter().any(below)
    }

    /// Whether he acts before this call of the monitor.
    pub(crate) fn is_up_to_something(&mut self) -> bool {
        self.rng.u32(0..16) == 0
    }

    /// Now and then, between the monitor's calls, he does something. It is said, shortened.
    pub(crate) fn act(&mut self, hierarchy: &Hierarchy) -> String {
        if self.owned.is_empty() {
            return "the owner is gone".into();
        }
        self.deeds += 1;
        let at = self.rng.usize(0..self.owned.len());
        match (self.after, self.rng.u32(0..12)) {
            (Hostility::Crowd, 0..5) | (_, 0) => {
                let frozen = if self.rng.bool() { "1" } else { "0" };
                self.write(hierarchy, 0, "cgroup.freeze", frozen)
            }
            (Hostility::Crowd, 5..10) | (_, 1 | 2) => {
                // It changes nothing; that it was opened for writing and closed is what notifies.
                let at = if self.rng.bool() { 0 } else { at };
                let file = ["cgroup.subtree_control", "cgroup.type"][self.rng.usize(0..2)];
                self.write(hierarchy, at, file, "")
            }
            (Hostility::Crowd, _) => "the owner waits".into(),
            (_, 3) if self.bars => self.bar(at),
            (_, 3 | 4) => self.count(hierarchy, at),
            (_, 5) => self.burst(hierarchy, at),
            (_, 6 | 7) => self.remove_from(hierarchy, at),
            (_, 8 | 9) => {
                let deepest = (0..self.owned.len()).max_by_key(|at| self.level(*at));
                let length = self.length();
                self.give_birth(hierarchy, deepest.unwrap_or(at), length)
            }
            _ => {
                let length = self.length();
                self.give_birth(hierarchy, at, length)
            }
        }
    }

    /// He gives back all rights.
    pub(crate) fn relent(&mut self) {
        self.barred.clear();
    }

    /// He removes what he has.
    pub(crate) fn remove_all(&mut self, hierarchy: &Hierarchy) {
        while let Some(last) = self.owned.pop() {
            if hierarchy.rmdir(&last.path).is_err() {
                return;
            }
        }
    }

    fn level(&self, at: usize) -> usize {
        self.owned[at].path.bytes().filter(|byte| *byte == b'/').count()
    }

    fn length(&mut self) -> usize {
        LENGTHS[self.rng.usize(0..LENGTHS.len())]
    }

    fn mkdir(&mut self, hierarchy: &Hierarchy, path: &str) -> String {
        let made = hierarchy.mkdir(path);
        if let Ok(id) = made {
            self.owned.push(Owned { id, path: path.into() });
            self.ids.insert(id);
            self.births += 1;
        }
        format!("mkdir {} {:?}", shortened(path), made.ok())
    }

    fn give_birth(&mut self, hierarchy: &Hierarchy, parent: usize, length: usize) -> String {
        if self.owned.len() >= MOST_ALIVE {
            return "the owner has enough".into();
        }
        let letter = ["x", "y", "z"][self.rng.usize(0..3)];
        let path = format!("{}/{}", self.owned[parent].path, letter.repeat(length));
        let before = self.owned.len();
        let said = self.mkdir(hierarchy, &path);
        if self.rng.bool() && self.owned.len() > before {
            self.write(hierarchy, before, "cgroup.subtree_control", "+memory +pids");
        }
        said
    }

    /// One is removed, with all below it.
    fn remove_from(&mut self, hierarchy: &Hierarchy, at: usize) -> String {
        if at == 0 {
            return "the owner keeps his subtree".into();
        }
        let path = self.owned[at].path.clone();
        let below = |other: &str| {
            other.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let doomed: Vec<usize> =
            (at..self.owned.len()).filter(|at| below(&self.owned[*at].path)).collect();
        // Children were made after their parents.
        for at in doomed.into_iter().rev() {
            if hierarchy.rmdir(&self.owned[at].path).is_ok() {
                let gone = self.owned.remove(at);
                self.barred.retain(|path| *path != gone.path);
            }
        }
        format!("rmdir {} and all below", shortened(&path))
    }

    /// More births and deaths than a small queue holds.
    fn burst(&mut self, hierarchy: &Hierarchy, at: usize) -> String {
        let length = self.length();
        let path = format!("{}/{}", self.owned[at].path, "s".repeat(length));
        let times = self.rng.usize(1..16);
        for _ in 0..times {
            if let Ok(id) = hierarchy.mkdir(&path) {
                self.ids.insert(id);
                self.births += 1;
                let _ = hierarchy.count(id, Event::MemoryHigh, 1);
                let _ = hierarchy.rmdir(&path);
            }
        }
        format!("mkdir and rmdir {} {times} times", shortened(&path))
    }

    fn count(&mut self, hierarchy: &Hierarchy, at: usize) -> String {
        let id = self.owned[at].id;
        let event = [Event::MemoryHigh, Event::MemoryMax, Event::PidsMax][self.rng.usize(0..3)];
        format!("count {id} {event:?} {}", hierarchy.count(id, event, 1).is_ok())
    }

    fn bar(&mut self, at: usize) -> String {
        let path = self.owned[at].path.clone();
        let said = format!("chmod {}", shortened(&path));
        match self.barred.iter().position(|barred| *barred == path) {
            Some(barred) => drop(self.barred.swap_remove(barred)),
            None => self.barred.push(path),
        }
        said
    }

    fn write(&mut self, hierarchy: &Hierarchy, at: usize, file: &str, content: &str) -> String {
        let Some(owned) = self.owned.get(at) else { return String::new() };
        let path = format!("{}/{file}", owned.path);
        let written = hierarchy.write(&path, content).is_ok();
        format!("write {} {content} {written}", shortened(&path))
    }
}

/// Repeated letters are counted.
fn shortened(path: &str) -> String {
    let names = path.split('/').map(|name| match (name.len(), name.bytes().next()) {
        (length @ 32.., Some(letter)) => format!("{}*{length}", char::from(letter)),
        _ => name.to_owned(),
    });
    names.collect::<Vec<_>>().join("/")
}
