//! A hierarchy in memory for the tests of the monitor: it moves between any two verbs.
//!
//! Small and obviously right rather than complete: directories, three event files with keys of
//! their own, a queue with a limit, counters that sum up the tree and go on after death.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use rustix::io::Errno;

use crate::{
    Time,
    world::{MountOptions, Notification, Stat, WatchLimit, Wd, World},
};

pub(crate) const KEYS: [&str; 2] = ["high", "oom_kill"];

/// Numbers from a seed (xorshift64*).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

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
enum Record {
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
    watches: BTreeMap<Wd, (usize, Option<String>)>,
    queue: Vec<Record>,
    pub(crate) queue_limit: usize,
    pub(crate) watch_limit: usize,
    next_wd: i32,
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

    fn on(&self, at: usize, file: Option<&str>) -> Option<Wd> {
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

    fn file_id(&self, at: usize, file: &str) -> u64 {
        let at_id = self.cgroups[at].id << 16;
        match file {
            "memory.events" => at_id | 1 << 8 | self.cgroups[at].era,
            _ => at_id,
        }
    }

    fn is_file(&self, at: usize, file: &str, id: u64) -> bool {
        !self.by_id || id == 0 || id == self.file_id(at, file)
    }

    fn text(&self, at: usize, file: &str) -> Option<String> {
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

/// The world over a [`Hierarchy`] that the test keeps the other handle of.
#[derive(Debug)]
pub(crate) struct FakeWorld(pub(crate) Rc<RefCell<Hierarchy>>);

impl FakeWorld {
    /// Time passes, and now and then something happens.
    fn verb(&self) -> std::cell::RefMut<'_, Hierarchy> {
        let mut world = self.0.borrow_mut();
        world.now_ns += 1_000;
        if world.move_one_in > 0 && world.moves > 0 {
            let one_in = world.move_one_in;
            if world.dice.one_in(one_in) {
                world.moves -= 1;
                world.act();
            }
        }
        world
    }
}

impl World for FakeWorld {
    type Dir = usize;

    fn open(&mut self, _base: usize, path: &[u8]) -> Result<(usize, Stat), Errno> {
        let mut at = 0;
        let world = self.verb();
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let children = world.children(at);
            at = *children.iter().find(|c| world.cgroups[**c].name == name).ok_or(Errno::NOENT)?;
        }
        let stat = Stat {
            id: world.cgroups[at].id,
            subdirectories: Some(world.children(at).len() as u64),
        };
        Ok((at, stat))
    }

    fn open_known(&mut self, base: usize, path: &[u8], id: u64) -> Result<usize, Errno> {
        if self.0.borrow().by_id {
            let world = self.verb();
            let at = world.cgroups.iter().position(|cgroup| cgroup.id == id && cgroup.alive);
            return at.ok_or(Errno::STALE);
        }
        let (dir, stat) = self.open(base, path)?;
        if stat.id == id { Ok(dir) } else { Err(Errno::STALE) }
    }

    fn open_child(
        &mut self,
        dir: &mut usize,
        name: &[u8],
        id: u64,
    ) -> Result<(usize, Stat), Errno> {
        let world = self.verb();
        let children = world.children(*dir);
        let child = children.iter().find(|child| world.cgroups[**child].name == name);
        let at = *child.ok_or(Errno::NOENT)?;
        if world.by_id && id != 0 && world.cgroups[at].id != id {
            return Err(Errno::STALE);
        }
        let subdirectories = Some(world.children(at).len() as u64);
        Ok((at, Stat { id: world.cgroups[at].id, subdirectories }))
    }

    fn goes_by_id(&self) -> bool {
        self.0.borrow().by_id
    }

    fn stat(&mut self, dir: &mut usize) -> Result<Stat, Errno> {
        let world = self.verb();
        let alive = world.cgroups[*dir].alive;
        let subdirectories = alive.then(|| world.children(*dir).len() as u64);
        Ok(Stat { id: world.cgroups[*dir].id, subdirectories })
    }

    fn list(
        &mut self,
        dir: &mut usize,
        each: &mut dyn FnMut(&[u8], bool, u64),
    ) -> Result<(), Errno> {
        let world = self.verb();
        if !world.cgroups[*dir].alive {
            return Err(Errno::NOENT);
        }
        for child in world.children(*dir) {
            each(&world.cgroups[child].name, true, world.cgroups[child].id);
        }
        for file in ["cgroup.events", "memory.events"] {
            if world.text(*dir, file).is_some() {
                each(file.as_bytes(), false, world.file_id(*dir, file));
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        dir: &mut usize,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let world = self.verb();
        if !world.is_file(*dir, file, id) {
            return Err(Errno::STALE);
        }
        let shown = world.text(*dir, file).ok_or(Errno::NOENT)?;
        text.clear();
        text.extend(shown.bytes());
        Ok(())
    }

    fn watch(&mut self, dir: &mut usize) -> Result<Wd, Errno> {
        self.add(*dir, None)
    }

    fn watch_file(&mut self, dir: &mut usize, file: &str, id: u64) -> Result<Wd, Errno> {
        if !self.0.borrow().is_file(*dir, file, id) {
            return Err(Errno::STALE);
        }
        self.add(*dir, Some(file))
    }

    fn unwatch(&mut self, wd: Wd) {
        self.verb().watches.remove(&wd);
    }

    fn close(&mut self, _dir: usize) {
        self.verb();
    }

    fn drain(&mut self, each: &mut dyn FnMut(Notification<'_>)) -> Result<(), Errno> {
        let queue = std::mem::take(&mut self.verb().queue);
        for record in &queue {
            each(match record {
                Record::Created(wd, name) => Notification::Created(*wd, name),
                Record::Deleted(wd, name) => Notification::Deleted(*wd, name),
                Record::Written(wd, name) => Notification::Written(*wd, name),
                Record::Modified(wd) => Notification::Modified(*wd),
                Record::Ignored(wd) => Notification::Ignored(*wd),
                Record::Overflow => Notification::Overflow,
            });
        }
        Ok(())
    }

    fn now(&mut self) -> Time {
        Time { boot_ns: self.0.borrow().now_ns, unix_ns: 0 }
    }

    fn wait(&mut self, _until: Option<u64>) -> Result<(), Errno> {
        Ok(())
    }

    fn set_alarm(&mut self, _at: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn mount_options(&mut self) -> MountOptions {
        MountOptions::default()
    }

    fn host_oom_kills(&mut self) -> Option<u64> {
        None
    }

    fn watch_limit(&mut self) -> WatchLimit {
        WatchLimit { name: "a limit".into(), value: Some(self.0.borrow().watch_limit as u64) }
    }
}

impl FakeWorld {
    fn add(&mut self, at: usize, file: Option<&str>) -> Result<Wd, Errno> {
        let mut world = self.verb();
        if !world.cgroups[at].alive || file.is_some_and(|file| world.text(at, file).is_none()) {
            return Err(Errno::NOENT);
        }
        if let Some(wd) = world.on(at, file) {
            return Ok(wd);
        }
        if world.watches.len() >= world.watch_limit {
            return Err(Errno::NOSPC);
        }
        let wd = Wd(world.next_wd);
        world.next_wd += 1;
        world.watches.insert(wd, (at, file.map(String::from)));
        Ok(wd)
    }
}
