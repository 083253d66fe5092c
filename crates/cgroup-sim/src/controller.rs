//! What a controller knows of one cgroup (kernel: `struct cgroup_subsys_state`), and what it counts.
//!
//! The states of a controller form a tree of their own, which follows that of the cgroups when a
//! state is made, and outlives it: a state that was killed, by the removal of its cgroup or by a
//! disable, goes on counting, for itself and for those above it, while something is charged to it.
//! A controller enabled again starts with a new state and counters at zero, unless it was needed
//! by another all the time and only hidden (kernel: `cgroup_apply_control_disable`).

use std::{collections::BTreeSet, sync::Arc};

use kernfs::Node;

use crate::{
    Controllers, Event, limiter::Notice, memory::Memory, pids::Pids, state::State, truth::What,
};

/// Counters of one state; as many as the memory controller has.
pub(crate) type Counters = [u64; 10];

/// The places of [`Css::notices`].
pub(crate) const EVENTS: usize = 0;
/// The `.local` twin.
pub(crate) const LOCAL: usize = 1;
/// `memory.swap.events`.
pub(crate) const SWAP: usize = 2;

/// A controller's state of one cgroup.
pub(crate) struct Css {
    pub(crate) controller: Controllers,
    /// The state above; none for the root's.
    pub(crate) parent: Option<usize>,
    /// Of whom it is, by place and by id.
    pub(crate) cgroup: usize,
    pub(crate) id: u64,
    /// It was not killed.
    pub(crate) online: bool,
    /// States right below it.
    pub(crate) children: BTreeSet<usize>,
    pub(crate) local: Counters,
    /// With those below.
    pub(crate) sums: Counters,
    /// The sums of states below it that are dropped.
    pub(crate) gone: Counters,
    pub(crate) notices: [Notice; 3],
    pub(crate) body: Body,
}

/// What it has to account for.
pub(crate) enum Body {
    Memory(Box<Memory>),
    Pids(Pids),
    Plain,
}

impl State {
    /// Makes the state of a controller for a cgroup (kernel: `css_create`).
    pub(crate) fn make_state(&mut self, at: usize, controller: Controllers) -> usize {
        let parent = self.cgroups[at]
            .parent
            .and_then(|parent| self.cgroups[parent].states[controller.index()]);
        let body = match controller {
            Controllers::MEMORY => Body::Memory(Box::default()),
            Controllers::PIDS => Body::Pids(Pids::with(self.tasks_below(at))),
            _ => Body::Plain,
        };
        let id = self.cgroups[at].id;
        let state = self.states.insert(Css {
            controller,
            parent,
            cgroup: at,
            id,
            online: true,
            children: BTreeSet::new(),
            local: Counters::default(),
            sums: Counters::default(),
            gone: Counters::default(),
            notices: Default::default(),
            body,
        });
        if let Some(parent) = parent {
            self.states[parent].children.insert(state);
        }
        self.cgroups[at].states[controller.index()] = Some(state);
        self.cgroups[at].held += 1;
        state
    }

    pub(crate) fn tasks_below(&self, at: usize) -> u64 {
        self.subtree(at).iter().map(|at| self.cgroups[*at].tasks.len() as u64).sum()
    }

    /// Kills the state of a living cgroup: by a disable (kernel: `kill_css`).
    pub(crate) fn kill_state(&mut self, at: usize, controller: Controllers) {
        let Some(state) = self.cgroups[at].states[controller.index()].take() else { return };
        self.take_offline(state);
        if self.options.remember {
            self.cgroups[at].former.push(state);
        }
        self.release_state(state);
    }

    /// Kernel: `offline_css`.
    pub(crate) fn take_offline(&mut self, state: usize) {
        self.states[state].online = false;
        if let Some(memory) = self.memory(state) {
            memory.unprotect();
        }
    }

    /// Drops a state, and those above, that nothing needs any more.
    pub(crate) fn drop_states(&mut self, mut state: usize) {
        while !self.options.remember {
            let Some(css) = self.states.get(state) else { return };
            if css.online || !css.children.is_empty() || css.body.is_charged() {
                return;
            }
            let css = self.states.remove(state);
            let slot = &mut self.cgroups[css.cgroup].states[css.controller.index()];
            if *slot == Some(state) {
                *slot = None;
            }
            self.cgroups[css.cgroup].held -= 1;
            self.drop_cgroups(css.cgroup);
            let Some(parent) = css.parent else { return };
            let above = &mut self.states[parent];
            above.children.remove(&state);
            for (kept, sum) in above.gone.iter_mut().zip(css.sums) {
                *kept += sum;
            }
            state = parent;
        }
    }

    /// Drops a dead cgroup, and those above, that nothing needs any more.
    pub(crate) fn drop_cgroups(&mut self, mut at: usize) {
        while !self.options.remember {
            let Some(cgroup) = self.cgroups.get(at) else { return };
            // A dead one below needs its path: what holds it has a state here above it.
            if cgroup.live || cgroup.held > 0 {
                return;
            }
            let above: Vec<_> = self.above(at).collect();
            let cgroup = self.cgroups.remove(at);
            self.by_id.remove(&cgroup.id);
            for at in above {
                self.cgroups[at].dying_descendants -= 1;
            }
            let Some(parent) = cgroup.parent else { return };
            at = parent;
        }
    }

    /// Counts something at a state and above it, and notifies (kernel: `memcg_memory_event`,
    /// `hugetlb_event`).
    pub(crate) fn count(&mut self, state: usize, event: Event, times: u64) {
        if times == 0 {
            return;
        }
        if event.controller() == Controllers::PIDS {
            return self.count_refused_fork(state, state, times);
        }
        let css = &mut self.states[state];
        css.local[event.slot()] += times;
        let id = css.id;
        if event == Event::MemoryOomKill {
            self.oom_kills += times;
        }
        self.lives.count(id, event, times);
        self.tell(id, What::Counted { event, times });
        let is_memory = event.controller() == Controllers::MEMORY;
        let place = if event.is_swap() { SWAP } else { EVENTS };
        if !event.is_swap() {
            self.notify_state(state, LOCAL);
        }
        let local_only = is_memory && self.options.mount.memory_localevents;
        let mut at = Some(state);
        while let Some(state) = at.filter(|state| self.states[*state].parent.is_some()) {
            self.states[state].sums[event.slot()] += times;
            self.notify_state(state, place);
            at = self.states[state].parent.filter(|_| !local_only);
        }
    }

    /// A fork from one cgroup failed at the limit of it or one above (kernel: `pids_event`).
    pub(crate) fn count_refused_fork(&mut self, forking: usize, limiting: usize, times: u64) {
        let counted = |state: &mut Self, at: usize, event: Event| {
            let css = &mut state.states[at];
            css.local[event.slot()] += times;
            let id = css.id;
            state.lives.count(id, event, times);
            state.tell(id, What::Counted { event, times });
        };
        counted(self, forking, Event::PidsForkFail);
        if self.options.mount.pids_localevents || !self.options.pids_sums {
            self.notify_state(forking, EVENTS);
            self.notify_state(forking, LOCAL);
            return;
        }
        counted(self, limiting, Event::PidsMax);
        self.notify_state(limiting, LOCAL);
        let mut at = Some(limiting);
        while let Some(state) = at.filter(|state| self.states[*state].parent.is_some()) {
            self.states[state].sums[Event::PidsMax.slot()] += times;
            self.notify_state(state, EVENTS);
            at = self.states[state].parent;
        }
    }

    /// A file of a controller's state appeared: it is the one to notify.
    pub(crate) fn bind_notice(&mut self, at: usize, file: crate::file::File, node: &Arc<Node>) {
        if let Some(notice) = self.notice(at, file) {
            notice.bind(Arc::clone(node));
        }
    }

    /// It goes.
    pub(crate) fn unbind_notice(&mut self, at: usize, file: crate::file::File) {
        if let Some(notice) = self.notice(at, file) {
            notice.unbind();
        }
    }

    fn notice(&mut self, at: usize, file: crate::file::File) -> Option<&mut Notice> {
        let place = file.notice()?;
        let cgroup = &mut self.cgroups[at];
        match file.controller() {
            None => Some(&mut cgroup.events),
            Some(controller) => {
                let state = cgroup.states[controller.index()]?;
                Some(&mut self.states[state].notices[place])
            }
        }
    }
}

impl Body {
    fn is_charged(&self) -> bool {
        match self {
            Self::Memory(memory) => memory.is_charged(),
            Self::Pids(_) | Self::Plain => false,
        }
    }
}
