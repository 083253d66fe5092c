//! What a hierarchy knows, under one lock (kernel: `cgroup_mutex` and `css_set_lock`).
//!
//! Lock order: the state's lock, then kernfs's. kernfs holds no lock that anyone waits for when it
//! calls a file's `show` or `store`, but it does hold an active reference, which a removal of that
//! file waits for. So files are removed when the state's lock is free: [`Shared::with`] collects
//! what is to be done then. Who asks for a file while it is being removed finds it dead, and who
//! would enable a controller while another thread still removes files is told to try again.
//!
//! Invariants:
//! * A cgroup is in `cgroups` from its birth until it is dead and nothing of it is charged or
//!   remembered; it is in its parent's `children` while it lives.
//! * `populated` of a cgroup is whether it has tasks or populated children.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use hashbrown::HashMap;
use kernfs::{Attribute, Node};
use slab::Slab;

use crate::{
    Controllers, Options,
    controller::{Body, Css},
    event::CONTROLLERS,
    file,
    limiter::{Notice, Owner, TICK, Timers},
    removal::Removal,
    task::Task,
    truth::{Journal, Lives, What},
};

/// The root's place in [`State::cgroups`].
pub(crate) const ROOT: usize = 0;

/// What files and system calls share with the hierarchy.
pub(crate) struct Shared {
    state: Mutex<State>,
}

/// A cgroup (kernel: `struct cgroup`).
pub(crate) struct Cgroup {
    pub(crate) id: u64,
    pub(crate) name: Arc<[u8]>,
    pub(crate) parent: Option<usize>,
    /// By id, which is the order of birth.
    pub(crate) children: BTreeMap<u64, usize>,
    pub(crate) live: bool,
    pub(crate) directory: Option<Arc<Node>>,
    pub(crate) events: Notice,
    pub(crate) tasks: BTreeSet<u32>,
    pub(crate) populated_domains: u32,
    pub(crate) populated_threaded: u32,
    pub(crate) threaded: bool,
    pub(crate) threaded_children: u32,
    pub(crate) descendants: u32,
    pub(crate) dying_descendants: u32,
    pub(crate) max_descendants: Option<u32>,
    pub(crate) max_depth: Option<u32>,
    pub(crate) freezer: Freezer,
    pub(crate) subtree_control: Controllers,
    /// With those that are needed beside them (kernel: `subtree_ss_mask`).
    pub(crate) subtree_mask: Controllers,
    /// The controllers' states, by [`Controllers::index`].
    pub(crate) states: [Option<usize>; CONTROLLERS],
    /// How many states refer to it, killed ones among them.
    pub(crate) held: u32,
    /// Those whose files are there.
    pub(crate) visible: Controllers,
    /// States that were killed by a disable, and are remembered; latest last.
    pub(crate) former: Vec<usize>,
}

/// Kernel: `struct cgroup_freezer_state` and the flags beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Freezer {
    /// `cgroup.freeze` here.
    pub(crate) freeze: bool,
    /// How many of the cgroup and its ancestors freeze.
    pub(crate) effective: u32,
    /// Whether its tasks shall be frozen (kernel: `CGRP_FREEZE`).
    pub(crate) freezing: bool,
    /// Whether it is told as frozen (kernel: `CGRP_FROZEN`).
    pub(crate) frozen: bool,
    pub(crate) tasks: u32,
    pub(crate) descendants: u32,
}

/// What is done when the lock is free.
#[derive(Default)]
struct Aftermath {
    directories: Vec<Arc<Node>>,
    files: Vec<Arc<Node>>,
    killed: Vec<u32>,
    /// States and dead cgroups that may be needed no more.
    states: Vec<usize>,
    cgroups: Vec<usize>,
}

/// A hierarchy (kernel: `struct cgroup_root`).
pub(crate) struct State {
    pub(crate) options: Options,
    /// Nanoseconds.
    pub(crate) now: u64,
    pub(crate) timers: Timers,
    pub(crate) cgroups: Slab<Cgroup>,
    pub(crate) by_id: HashMap<u64, usize>,
    pub(crate) states: Slab<Css>,
    pub(crate) tasks: HashMap<u32, Task>,
    pub(crate) next_pid: u32,
    /// Bytes of swap in use.
    pub(crate) swapped: u64,
    /// Whether `memory_localevents` ever was in force.
    pub(crate) was_local: bool,
    /// Tasks killed for memory, in all.
    pub(crate) oom_kills: u64,
    pub(crate) lives: Lives,
    pub(crate) journal: Journal,
    pub(crate) files: Vec<(file::File, Arc<dyn Attribute>)>,
    /// Threads that remove files now.
    pub(crate) removing: usize,
    /// The rmdir(2) that is under way in steps.
    pub(crate) removal: Option<Removal>,
    aftermath: Aftermath,
}

/// Locks, also after a panic elsewhere: nothing in a critical section panics by contract.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Shared {
    pub(crate) fn new(options: Options, make: impl FnOnce(&Weak<Self>) -> Files) -> Arc<Self> {
        Arc::new_cyclic(|weak| Self { state: Mutex::new(State::new(options, make(weak))) })
    }

    /// Works on the state, then, without the lock, removes the files and kills the processes that
    /// this left over.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let clock = state.options.clock.clone();
        if let Some(clock) = &clock {
            state.advance(clock.now());
        }
        let awaited = state.timers.next();
        let result = work(&mut state);
        state.let_go();
        let due = state.timers.next().filter(|due| awaited.is_none_or(|awaited| *due < awaited));
        let aftermath = std::mem::take(&mut state.aftermath);
        let removes_files = !aftermath.files.is_empty();
        state.removing += usize::from(removes_files);
        let processes = match aftermath.killed.is_empty() {
            true => None,
            false => state.options.processes.clone(),
        };
        drop(state);
        if let (Some(clock), Some(due)) = (clock, due) {
            clock.due(due * TICK);
        }
        for node in aftermath.files.iter().chain(&aftermath.directories) {
            node.remove();
        }
        if removes_files {
            lock(&self.state).removing -= 1;
        }
        if let Some(processes) = processes {
            for pid in aftermath.killed {
                processes.kill(pid);
            }
        }
        result
    }

    /// Looks at the state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&lock(&self.state))
    }
}

type Files = Vec<(file::File, Arc<dyn Attribute>)>;

impl State {
    fn new(options: Options, files: Files) -> Self {
        let remember = options.remember;
        let journal = options.journal;
        let was_local = options.mount.memory_localevents;
        Self {
            next_pid: options.first_pid,
            options,
            now: 0,
            timers: Timers::default(),
            cgroups: Slab::new(),
            by_id: HashMap::new(),
            states: Slab::new(),
            tasks: HashMap::new(),
            swapped: 0,
            was_local,
            oom_kills: 0,
            lives: Lives::new(remember),
            journal: Journal::new(journal),
            files,
            removing: 0,
            removal: None,
            aftermath: Aftermath::default(),
        }
    }

    pub(crate) fn tick(&self) -> u64 {
        self.now / TICK
    }

    /// The living cgroup with this id.
    pub(crate) fn living(&self, id: u64) -> Option<usize> {
        self.known(id).filter(|at| self.cgroups[*at].live)
    }

    /// The cgroup with this id, dead or alive.
    pub(crate) fn known(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The cgroups above, nearest first.
    pub(crate) fn above(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.cgroups[at].parent, |at| self.cgroups[*at].parent)
    }

    /// It and the living cgroups below it, parents before children.
    pub(crate) fn subtree(&self, at: usize) -> Vec<usize> {
        let mut all = Vec::new();
        let mut stack = vec![at];
        while let Some(at) = stack.pop() {
            all.push(at);
            stack.extend(self.cgroups[at].children.values().rev());
        }
        all
    }

    /// Its path from the root, `/` for the root itself.
    pub(crate) fn path(&self, at: usize) -> Vec<u8> {
        let mut names: Vec<_> = std::iter::once(at)
            .chain(self.above(at))
            .map(|at| Arc::clone(&self.cgroups[at].name))
            .collect();
        if names.len() == 1 {
            return b"/".to_vec();
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Something happened at a cgroup.
    pub(crate) fn tell(&mut self, id: u64, what: What) {
        self.journal.add(self.now, id, what);
    }

    /// `cgroup.events` of a cgroup changed.
    pub(crate) fn notify_events(&mut self, at: usize) {
        let tick = self.tick();
        self.cgroups[at].events.notify(tick, Owner::Cgroup(at), &mut self.timers);
    }

    /// An event file of a controller's state changed.
    pub(crate) fn notify_state(&mut self, state: usize, place: usize) {
        let tick = self.tick();
        let owner = Owner::State(state, place);
        self.states[state].notices[place].notify(tick, owner, &mut self.timers);
    }

    /// Moves time on, and tells what a rate limit held back until then.
    pub(crate) fn advance(&mut self, to: u64) {
        while let Some((tick, owner)) = self.timers.take(to / TICK) {
            let notice = match owner {
                Owner::Cgroup(at) => self.cgroups.get_mut(at).map(|cgroup| &mut cgroup.events),
                Owner::State(at, place) => {
                    self.states.get_mut(at).map(|state| &mut state.notices[place])
                }
            };
            if let Some(notice) = notice {
                notice.fire(tick, owner, &mut self.timers);
            }
        }
        self.now = self.now.max(to);
    }

    /// A state of a controller may be needed no more. It keeps its place until the work is done.
    pub(crate) fn release_state(&mut self, state: usize) {
        self.aftermath.states.push(state);
    }

    /// A dead cgroup may be needed no more.
    pub(crate) fn release_cgroup(&mut self, at: usize) {
        self.aftermath.cgroups.push(at);
    }

    fn let_go(&mut self) {
        for state in std::mem::take(&mut self.aftermath.states) {
            self.drop_states(state);
        }
        for at in std::mem::take(&mut self.aftermath.cgroups) {
            self.drop_cgroups(at);
        }
    }

    /// A directory, or a file of one that stays, is removed when the lock is free.
    pub(crate) fn remove_later(&mut self, node: Arc<Node>) {
        let list = match node.is_dir() {
            true => &mut self.aftermath.directories,
            false => &mut self.aftermath.files,
        };
        list.push(node);
    }

    /// An adopted process is killed when the lock is free.
    pub(crate) fn kill_later(&mut self, pid: u32) {
        self.aftermath.killed.push(pid);
    }

    /// The state of a controller that concerns a cgroup: its own, or that of the nearest ancestor
    /// that has one (kernel: `cgroup_e_css`).
    pub(crate) fn effective(&self, at: usize, controller: Controllers) -> Option<usize> {
        let own = |at: usize| self.cgroups[at].states[controller.index()];
        own(at).or_else(|| self.above(at).find_map(own))
    }

    /// What the memory of a state consists of.
    pub(crate) fn body(&mut self, state: usize) -> &mut Body {
        &mut self.states[state].body
    }
}

impl Cgroup {
    /// Kernel: `cgroup_is_populated`.
    pub(crate) fn is_populated(&self) -> bool {
        !self.tasks.is_empty() || self.populated_domains + self.populated_threaded > 0
    }
}
