//! The hierarchy itself: what happens in it, and who is notified.

use std::collections::BTreeMap;

use super::dice::Dice;
use crate::world::Wd;

pub(crate) const KEYS: [&str; 2] = ["high", "oom_kill"];

#[derive(Debug, Clone)]
pub(crate) struct Truth {
    pub(crate) id: u64,
    pub(crate) parent: Option<usize>,
    pub(crate) name: Vec<u8>,
    pub(crate) alive: bool,
    pub(crate) populated: bool,
    /// Its parent's directory was watched when it was born, so its birth must be told.
    pub(crate) announced: bool,
    pub(crate) has_memory: bool,
    /// How often it came: each time its file is another.
    era: u64,
    /// Its children have it too (`cgroup.subtree_control`).
    delegates: bool,
    /// What the `.local` file shows, and what the hierarchical one does.
    pub(crate) own: [u64; 2],
    pub(crate) total: [u64; 2],
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Created(Wd, Vec<u8>),
    Deleted(Wd, Vec<u8>),
    Written(Wd, Vec<u8>),
    Modified(Wd),
    Ignored(Wd),
    Overflow,
}

/// What the tests see and move.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) dice: Dice,
    pub(crate) cgroups: Vec<Truth>,
    pub(super) watches: BTreeMap<Wd, (usize, Option<String>)>,
    pub(super) queue: Vec<Record>,
    pub(crate) queue_limit: usize,
    pub(crate) watch_limit: usize,
    pub(super) next_wd: i32,
    pub(crate) now_ns: u64,
    /// How many moves are left to be made between verbs.
    pub(crate) moves: usize,
    /// One in so many verbs is preceded by a move; 0: none.
    pub(crate) move_one_in: usize,
    pub(crate) toggles: bool,
    /// Removed files announce themselves, as on Linux 7.1.
    pub(crate) announces: bool,
    pub(crate) overflows: usize,
    /// One in so many MODIFY is lost, as the kernel's rate limit may at a removal; 0: none.
    pub(crate) lose_modify_one_in: usize,
    pub(crate) most_children: usize,
    /// Everything can be opened by its id.
    pub(crate) by_id: bool,
}

impl Hierarchy {
    pub(crate) fn new(seed: u64) -> Self {
        let root = Truth {
            id: 1,
            parent: None,
            name: Vec::new(),
            alive: true,
            populated: false,
            announced: false,
            has_memory: true,
            era: 0,
            delegates: true,
            own: [0; 2],
            total: [0; 2],
        };
        Self {
            dice: Dice::new(seed),
            cgroups: vec![root],
            watches: BTreeMap::new(),
            queue: Vec::new(),
            queue_limit: usize::MAX,
            watch_limit: usize::MAX,
            next_wd: 1,
            now_ns: 1_000_000_000,
            moves: 0,
            move_one_in: 0,
            toggles: false,
            announces: false,
            overflows: 0,
            lose_modify_one_in: 0,
            most_children: 4,
            by_id: false,
        }
    }

    /// How many watches there are.
    pub(crate) fn watches(&self) -> usize {
        self.watches.len()
    }

    pub(crate) fn living(&self) -> Vec<usize> {
        (0..self.cgroups.len()).filter(|at| self.cgroups[*at].alive).collect()
    }

    pub(crate) fn children(&self, of: usize) -> Vec<usize> {
        let is = |at: &usize| self.cgroups[*at].alive && self.cgroups[*at].parent == Some(of);
        (0..self.cgroups.len()).filter(is).collect()
    }

    fn push(&mut self, record: Record) {
        if self.queue.last() == Some(&record) {
            return;
        }
        if self.queue.len() >= self.queue_limit {
            if self.queue.last() != Some(&Record::Overflow) {
                self.queue.push(Record::Overflow);
                self.overflows += 1;
            }
            return;
        }
        self.queue.push(record);
    }

    pub(super) fn on(&self, at: usize, file: Option<&str>) -> Option<Wd> {
        let is = |(_, (on, name)): &(&Wd, &(usize, Option<String>))| {
            *on == at && name.as_deref() == file
        };
        self.watches.iter().find(is).map(|(wd, _)| *wd)
    }

    pub(crate) fn mkdir(&mut self, parent: usize, name: &[u8]) -> Option<usize> {
        if self.children(parent).iter().any(|at| self.cgroups[*at].name == name) {
            return None;
        }
        let at = self.cgroups.len();
        let has_memory = self.cgroups[parent].delegates;
        self.cgroups.push(Truth {
            id: at as u64 + 1,
            parent: Some(parent),
            name: name.to_vec(),
            alive: true,
            populated: false,
            announced: self.on(parent, None).is_some(),
            has_memory,
            era: 0,
            delegates: has_memory,
            own: [0; 2],
            total: [0; 2],
        });
        if let Some(wd) = self.on(parent, None) {
            self.push(Record::Created(wd, name.to_vec()));
        }
        Some(at)
    }

    pub(crate) fn rmdir(&mut self, at: usize) -> bool {
        if at == 0 || !self.cgroups[at].alive || !self.children(at).is_empty() {
            return false;
        }
        self.cgroups[at].alive = false;
        if self.announces {
            let own: Vec<_> =
                self.watches.iter().filter(|(_, (on, _))| *on == at).map(|(wd, _)| *wd).collect();
            for wd in own {
                self.watches.remove(&wd);
                self.push(Record::Ignored(wd));
            }
        }
        let parent = self.cgroups[at].parent.expect("only the root has none");
        if let Some(wd) = self.on(parent, None) {
            let name = self.cgroups[at].name.clone();
            self.push(Record::Deleted(wd, name));
        }
        true
    }

    /// Counts once in a cgroup, dead or alive.
    pub(crate) fn count(&mut self, at: usize, key: usize) {
        self.cgroups[at].own[key] += 1;
        let mut up = Some(at);
        while let Some(at) = up {
            self.cgroups[at].total[key] += 1;
            let lost = self.lose_modify_one_in > 0 && self.dice.one_in(self.lose_modify_one_in);
            if self.cgroups[at].alive
                && !lost
                && let Some(wd) = self.on(at, Some("memory.events"))
            {
                self.push(Record::Modified(wd));
            }
            up = self.cgroups[at].parent;
        }
    }

    pub(crate) fn populate(&mut self, at: usize, populated: bool) {
        self.cgroups[at].populated = populated;
        if let Some(wd) = self.on(at, Some("cgroup.events")) {
            self.push(Record::Modified(wd));
        }
    }

    /// Switches the memory controller of all children.
    pub(crate) fn toggle(&mut self, parent: usize) {
        if !self.cgroups[parent].has_memory {
            return;
        }
        let on = !std::mem::replace(&mut self.cgroups[parent].delegates, false);
        self.cgroups[parent].delegates = on;
        let mut all = self.children(parent);
        let mut next = 0;
        while next < all.len() {
            let at = all[next];
            next += 1;
            self.cgroups[at].has_memory = on;
            self.cgroups[at].delegates = false;
            if on {
                self.cgroups[at].era += 1;
                self.cgroups[at].own = [0; 2];
                self.cgroups[at].total = [0; 2];
            } else {
                all.extend(self.children(at)); // below, it cannot stay on
                // The watch stays on an inode that is no more in the tree.
                let lost = (at, Some("memory.events".to_owned()));
                self.watches
                    .values_mut()
                    .filter(|on| **on == lost)
                    .for_each(|on| on.0 = usize::MAX);
            }
        }
        if let Some(wd) = self.on(parent, None) {
            self.push(Record::Written(wd, b"cgroup.subtree_control".to_vec()));
        }
    }

    /// Something happens.
    pub(crate) fn act(&mut self) {
        let living = self.living();
        let any = living[self.dice.below(living.len())];
        match self.dice.below(if self.toggles { 12 } else { 11 }) {
            0..3 if self.children(any).len() < self.most_children => {
                let name = [b'a' + self.dice.below(3) as u8];
                if let Some(made) = self.mkdir(any, &name)
                    && self.dice.one_in(3)
                {
                    self.count_in(made);
                    if self.dice.one_in(2) {
                        self.rmdir(made);
                    }
                }
            }
            3 | 4 => {
                self.rmdir(any);
            }
            5 | 6 => {
                self.count_in(any);
                self.rmdir(any);
            }
            7 | 8 => self.count_in(any),
            9 => {
                let populated = !self.cgroups[any].populated;
                self.populate(any, populated);
            }
            10 => {
                let dead = self.dice.below(self.cgroups.len());
                self.count_in(dead);
            }
            11 => self.toggle(any),
            _ => {}
        }
    }

    fn count_in(&mut self, at: usize) {
        // What has no memory controller counts nothing, nor does what lies below it.
        if self.cgroups[at].has_memory && self.up_is_on(at) {
            let key = self.dice.below(2);
            self.count(at, key);
        }
    }

    fn up_is_on(&self, at: usize) -> bool {
        let mut up = self.cgroups[at].parent;
        while let Some(at) = up {
            if !self.cgroups[at].has_memory {
                return false;
            }
            up = self.cgroups[at].parent;
        }
        true
    }

    pub(super) fn file_id(&self, at: usize, file: &str) -> u64 {
        let at_id = self.cgroups[at].id << 16;
        match file {
            "memory.events" => at_id | 1 << 8 | self.cgroups[at].era,
            _ => at_id,
        }
    }

    pub(super) fn is_file(&self, at: usize, file: &str, id: u64) -> bool {
        !self.by_id || id == 0 || id == self.file_id(at, file)
    }

    pub(super) fn text(&self, at: usize, file: &str) -> Option<String> {
        let cgroup = self.cgroups.get(at).filter(|c| c.alive)?;
        let memory = |values: [u64; 2]| {
            KEYS.iter().zip(values).map(|(key, value)| format!("{key} {value}\n")).collect()
        };
        match file {
            "cgroup.events" if at != 0 => {
                Some(format!("populated {}\nfrozen 0\n", u8::from(cgroup.populated)))
            }
            "memory.events" if cgroup.has_memory => Some(memory(cgroup.total)),
            "memory.events.local" if cgroup.has_memory => Some(memory(cgroup.own)),
            _ => None,
        }
    }
}
