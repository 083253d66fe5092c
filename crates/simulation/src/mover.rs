//! What happens in the world: before, between and after any two calls of the monitor.
//!
//! Every act is one that a host allows anyone; what the rules of cgroup v2 refuse does not happen.
//! What really happened is asked of the simulator afterwards, not of this.

mod shared;

use std::collections::HashSet;

use cgroup_sim::{Event, Hierarchy};
use fastrand::Rng;
use kernfs::{Access, File, Pin};

pub(crate) use self::shared::Shared;
use crate::{fairness::Fairness, hostile::Hostile, neighbour::Neighbour, plan::Plan};

/// Few names, so that paths are borne again and again.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// What makes a name so long that the kernel does not look for it by an id.
const LONG: usize = 255;
/// More cgroups are not alive at a time.
const MOST_ALIVE: usize = 40;
const COUNTED: [Event; 5] =
    [Event::MemoryHigh, Event::MemoryMax, Event::MemoryOom, Event::MemoryLow, Event::PidsMax];

/// A cgroup that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: u64,
    pub(crate) path: String,
    pub(crate) parent: Option<usize>,
    /// Its parent's directory was watched when it was born, or there was a mark on all of them: its
    /// birth must be told.
    pub(crate) announced: bool,
    alive: bool,
    children: usize,
    tasks: Vec<u32>,
    /// It or a cgroup below it has had a task.
    was_populated: bool,
}

/// Something that another program holds open.
#[expect(dead_code, reason = "they are held, not used")]
enum Held {
    File(File),
    Directory(Pin),
}

/// Makes things happen.
pub(crate) struct Mover {
    pub(crate) rng: Rng,
    /// Which notifications are lost.
    losses: Rng,
    plan: Plan,
    pub(crate) made: Vec<Made>,
    living: Vec<usize>,
    /// The directories whose births the monitor is told of.
    watched: HashSet<u64>,
    /// It is told of all there are.
    pub(crate) hears_of_all: bool,
    held: Vec<Held>,
    /// Which deaths are told late.
    delays: Rng,
    /// What the kernel finds by its id.
    finds: Rng,
    /// The one whose removal the kernel has not told of yet.
    withheld: Option<usize>,
    /// Which removals take their time, and how much.
    steps: Rng,
    pub(crate) neighbour: Neighbour,
    pub(crate) hostile: Option<Hostile>,
    /// Of the turns that others get beside him, where there is nothing but turns.
    pub(crate) fairness: Option<Fairness>,
    /// How often each mount option was switched.
    pub(crate) switched: [u32; 2],
    /// How many acts are left for between the monitor's calls, and before which part of them one
    /// happens.
    pub(crate) moves: usize,
    pub(crate) one_in: u32,
    /// Acts so far.
    pub(crate) acts: u64,
    /// The monitor's calls so far.
    calls: u64,
    /// What was done, if it is written down.
    pub(crate) written: Option<Vec<String>>,
}

impl Mover {
    /// In a hierarchy with a cgroup `/top` below whose root everything happens.
    pub(crate) fn new(rng: Rng, plan: &Plan, hierarchy: &Hierarchy, keep_journal: bool) -> Self {
        let root = Made {
            id: cgroup_sim::ROOT,
            path: "/".into(),
            parent: None,
            announced: false,
            alive: true,
            children: 0,
            tasks: Vec::new(),
            was_populated: false,
        };
        let seed = rng.get_seed();
        let losses = Rng::with_seed(!rng.get_seed());
        let delays = Rng::with_seed(rng.get_seed().rotate_left(32));
        let steps = Rng::with_seed(rng.get_seed().rotate_left(16));
        let finds = Rng::with_seed(rng.get_seed().rotate_left(48));
        let mut mover = Self {
            rng,
            losses,
            plan: plan.clone(),
            made: vec![root],
            living: vec![0],
            watched: HashSet::new(),
            hears_of_all: false,
            held: Vec::new(),
            delays,
            finds,
            withheld: None,
            steps,
            neighbour: Neighbour::new(),
            hostile: None,
            fairness: plan.takes_turns().then(|| Fairness::new(plan.batch())),
            switched: [0; 2],
            moves: 0,
            one_in: 1,
            acts: 0,
            calls: 0,
            written: keep_journal.then(Vec::new),
        };
        mover.write(hierarchy, 0, "cgroup.subtree_control", "+memory +pids");
        if let Some(top) = mover.mkdir(hierarchy, 0, "top") {
            mover.write(hierarchy, top, "cgroup.subtree_control", "+memory +pids");
        }
        let hostile =
            plan.hostile.map(|after| Hostile::new(seed, after, plan.bars(), "/top", hierarchy));
        mover.hostile = hostile;
        mover
    }

    fn one_in_drawn(&mut self) -> bool {
        self.rng.u32(0..self.one_in.max(1)) == 0
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(written) = &mut self.written {
            written.push(what());
        }
    }

    /// The number of the watched root: `/top`, or the hierarchy's own.
    pub(crate) fn watched_root(&self) -> usize {
        usize::from(!self.plan.whole)
    }

    pub(crate) fn path_of_watched_root(&self) -> &str {
        &self.made[self.watched_root()].path
    }

    pub(crate) fn id_of_watched_root(&self) -> u64 {
        self.made[self.watched_root()].id
    }

    /// How many cgroups are alive.
    pub(crate) fn living(&self) -> usize {
        self.living.len() + self.hostile.as_ref().map_or(0, Hostile::living)
    }

    /// How many there ever were.
    pub(crate) fn births(&self) -> usize {
        self.made.len() + self.hostile.as_ref().map_or(0, |hostile| hostile.births)
    }

    /// Whether a cgroup is or was a hostile owner's.
    pub(crate) fn is_owners(&self, id: u64) -> bool {
        self.hostile.as_ref().is_some_and(|hostile| hostile.owns(id))
    }

    /// From now on all readings are taken by turns, or not any more.
    pub(crate) fn measure(&mut self, measures: bool) {
        if let Some(fairness) = &mut self.fairness {
            fairness.measures = measures;
        }
    }

    /// Whoever is hostile does something.
    pub(crate) fn harm(&mut self, hierarchy: &Hierarchy) {
        if let Some(hostile) = &mut self.hostile {
            let said = hostile.act(hierarchy);
            self.note(|| said);
        }
    }

    /// A living cgroup, `/top` or below it.
    fn any(&mut self) -> usize {
        match self.living.len() {
            0 | 1 => 0,
            living => self.living[self.rng.usize(1..living)],
        }
    }

    /// Something happens.
    pub(crate) fn act(&mut self, hierarchy: &Hierarchy) {
        self.acts += 1;
        self.withheld = None;
        let at = self.any();
        if at == 0 {
            return; // `/top` is gone: nothing happens any more
        }
        match self.rng.u32(0..28) {
            0..5 => self.give_birth(hierarchy, at),
            5..8 => {
                self.remove(hierarchy, at);
            }
            8..10 => {
                self.count(hierarchy, at);
                self.remove(hierarchy, at);
            }
            10..13 => self.count(hierarchy, at),
            13..15 => self.populate(hierarchy, at),
            15 => self.kill(hierarchy, at),
            16 if self.plan.late => self.count_late(hierarchy),
            17 | 18 if self.plan.toggles => self.toggle(hierarchy, at),
            19 if self.plan.remounts => self.remount(hierarchy),
            20 if self.plan.holders => self.hold(hierarchy, at),
            21 if self.plan.reclaims => {
                self.note(|| "reclaim".into());
                hierarchy.mount().reclaim();
            }
            22 => {
                let frozen = self.rng.bool();
                self.write(hierarchy, at, "cgroup.freeze", if frozen { "1" } else { "0" });
            }
            23 => {
                let most = [2_000, 1_000_000, 12_000_000][self.rng.usize(0..3)];
                let ns = self.rng.u64(1..most);
                self.pass(hierarchy, ns);
            }
            _ => {
                self.note(|| "the worker runs".into());
                hierarchy.drain();
            }
        }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, hierarchy: &Hierarchy, ns: u64) {
        let now = hierarchy.now() + ns;
        self.note(|| format!("it is {now}"));
        hierarchy.advance_to(now);
    }

    fn give_birth(&mut self, hierarchy: &Hierarchy, parent: usize) {
        if self.made[parent].children >= self.plan.most_children || self.living.len() >= MOST_ALIVE
        {
            return;
        }
        let mut name = NAMES[self.rng.usize(0..NAMES.len())].to_owned();
        if self.plan.long_names {
            name.extend(std::iter::repeat_n('n', LONG));
        }
        let Some(child) = self.mkdir(hierarchy, parent, &name) else { return };
        if self.rng.bool() {
            self.write(hierarchy, child, "cgroup.subtree_control", "+memory +pids");
        }
        match self.rng.u32(0..8) {
            0 => self.count(hierarchy, child),
            1 => {
                self.count(hierarchy, child);
                self.remove(hierarchy, child);
            }
            2 => {
                self.remove(hierarchy, child);
            }
            3 => self.give_birth(hierarchy, child),
            _ => {}
        }
    }

    fn mkdir(&mut self, hierarchy: &Hierarchy, parent: usize, name: &str) -> Option<usize> {
        let above = &self.made[parent].path;
        let path = format!("{}/{name}", if above == "/" { "" } else { above });
        let id = hierarchy.mkdir(&path).ok()?;
        self.note(|| format!("mkdir {path} {id}"));
        let announced = self.hears_of_all || self.watched.contains(&self.made[parent].id);
        if self.rng.u32(0..4) < 2 {
            self.neighbour.watch(hierarchy, &path, id);
        }
        if let Some(fairness) = &mut self.fairness {
            fairness.watch(hierarchy, &path, id);
        }
        self.made[parent].children += 1;
        self.made.push(Made {
            id,
            path,
            parent: Some(parent),
            announced,
            alive: true,
            children: 0,
            tasks: Vec::new(),
            was_populated: false,
        });
        self.living.push(self.made.len() - 1);
        Some(self.made.len() - 1)
    }

    /// Ends the tasks of a cgroup without children and removes it.
    fn remove(&mut self, hierarchy: &Hierarchy, at: usize) -> bool {
        let busy = self.made[at].children > 0;
        if busy || (at == self.watched_root() && self.moves > 0) || at <= 1 {
            return false;
        }
        self.remove_leaf(hierarchy, at)
    }

    fn remove_leaf(&mut self, hierarchy: &Hierarchy, at: usize) -> bool {
        self.exit_all(hierarchy, at);
        let path = &self.made[at].path;
        let slowly = self.plan.removes_in_steps && self.moves > 0 && self.steps.bool();
        let removed = match slowly {
            true => hierarchy.begin_rmdir(path),
            false => hierarchy.rmdir(path),
        };
        let removed = removed.is_ok();
        if let Some(written) = &mut self.written {
            written.push(format!("rmdir {path} {removed}"));
        }
        if removed {
            if let Some(fairness) = &mut self.fairness {
                fairness.bury(self.made[at].id);
            }
            let late = self.plan.tells_late && self.delays.bool();
            self.withheld = late.then_some(at);
            self.made[at].alive = false;
            self.living.retain(|living| *living != at);
            if let Some(parent) = self.made[at].parent {
                self.made[parent].children -= 1;
            }
        }
        removed
    }

    /// Removes everything but the hierarchy's root, children first.
    pub(crate) fn remove_all(&mut self, hierarchy: &Hierarchy) {
        if let Some(hostile) = &mut self.hostile {
            hostile.remove_all(hierarchy);
        }
        while let Some(at) = self.living.pop().filter(|at| *at > 0) {
            self.living.push(at);
            // The youngest has no children.
            if !self.remove_leaf(hierarchy, at) {
                return;
            }
        }
        self.living = vec![0];
    }

    fn exit_all(&mut self, hierarchy: &Hierarchy, at: usize) {
        for pid in std::mem::take(&mut self.made[at].tasks) {
            let _ = hierarchy.exit(pid);
        }
    }

    fn count(&mut self, hierarchy: &Hierarchy, at: usize) {
        let event = COUNTED[self.rng.usize(0..COUNTED.len())];
        let times = self.rng.u64(1..4);
        let id = self.made[at].id;
        let counted = hierarchy.count(id, event, times).is_ok();
        self.note(|| format!("count {id} {event:?} {times} {counted}"));
    }

    /// What is charged to a dead cgroup goes on counting; but nobody is killed in it.
    fn count_late(&mut self, hierarchy: &Hierarchy) {
        let at = self.rng.usize(1..self.made.len());
        self.count(hierarchy, at);
    }

    fn populate(&mut self, hierarchy: &Hierarchy, at: usize) {
        if !self.made[at].tasks.is_empty() {
            let pid = self.made[at].tasks.pop();
            let exited = pid.is_some_and(|pid| hierarchy.exit(pid).is_ok());
            let id = self.made[at].id;
            return self.note(|| format!("exit in {id} {exited}"));
        }
        if self.plan.populates_once && self.made[at].was_populated {
            return;
        }
        let id = self.made[at].id;
        let Ok(pid) = hierarchy.spawn(id) else { return };
        self.note(|| format!("spawn in {id}"));
        self.made[at].tasks.push(pid);
        let mut above = Some(at);
        while let Some(at) = above {
            self.made[at].was_populated = true;
            above = self.made[at].parent;
        }
    }

    /// A task is killed for memory; its cgroup may go at once.
    fn kill(&mut self, hierarchy: &Hierarchy, at: usize) {
        let Some(pid) = self.made[at].tasks.pop() else { return };
        let id = self.made[at].id;
        let counted = hierarchy.count(id, Event::MemoryOomKill, 1).is_ok();
        let exited = hierarchy.exit(pid).is_ok();
        self.note(|| format!("kill in {id} {counted} {exited}"));
        if self.rng.bool() {
            self.remove(hierarchy, at);
        }
    }

    fn toggle(&mut self, hierarchy: &Hierarchy, at: usize) {
        // What `/top` itself has is decided above it.
        let at = if self.plan.toggles_root && self.rng.u32(0..6) == 0 { 0 } else { at };
        let controller = ["memory", "pids", "io"][self.rng.usize(0..3)];
        let sign = if self.rng.bool() { '+' } else { '-' };
        self.write(hierarchy, at, "cgroup.subtree_control", &format!("{sign}{controller}"));
        if sign == '-' && self.acts.is_multiple_of(2) {
            // On again before anybody can look.
            self.write(hierarchy, at, "cgroup.subtree_control", &format!("+{controller}"));
        }
    }

    fn remount(&mut self, hierarchy: &Hierarchy) {
        let mut options = hierarchy.mount_options();
        let memory = self.rng.bool();
        match memory {
            true => options.memory_localevents ^= true,
            false => options.pids_localevents ^= true,
        }
        self.switched[usize::from(memory)] += 1;
        self.note(|| format!("remount {options:?}"));
        hierarchy.remount(options);
    }

    fn hold(&mut self, hierarchy: &Hierarchy, at: usize) {
        if self.held.len() > 3 || self.rng.u32(0..3) == 0 {
            let at = self.rng.usize(0..self.held.len().max(1));
            if at < self.held.len() {
                self.note(|| "let go".into());
                self.held.swap_remove(at);
            }
            return;
        }
        let path = self.made[at].path.clone();
        let file = ["memory.events", "cgroup.events", ""][self.rng.usize(0..3)];
        self.note(|| format!("hold {path} {file}"));
        let held = match file {
            "" => hierarchy.mount().pin(&path).map(Held::Directory),
            file => hierarchy.mount().open(format!("{path}/{file}"), Access::READ).map(Held::File),
        };
        self.held.extend(held);
    }

    /// Nothing is held or barred any more, and no removal is under way.
    pub(crate) fn let_go(&mut self, hierarchy: &Hierarchy) {
        if let Some(hostile) = &mut self.hostile {
            hostile.relent();
        }
        self.held.clear();
        hierarchy.finish_rmdir();
    }

    /// A removal that is under way goes on, maybe.
    fn go_on(&mut self, hierarchy: &Hierarchy) {
        while self.plan.removes_in_steps && self.steps.bool() && hierarchy.step_rmdir() {
            self.acts += 1;
        }
    }

    fn write(&mut self, hierarchy: &Hierarchy, at: usize, file: &str, content: &str) {
        let path = format!("{}/{file}", self.made[at].path.trim_end_matches('/'));
        let written = hierarchy.write(&path, content).is_ok();
        self.note(|| format!("write {path} {content} {written}"));
    }
}
