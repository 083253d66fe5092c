//! The memory controller: what is charged, and what happens at its limits (kernel:
//! mm/memcontrol.c, `try_charge_memcg`, `reclaim_high`).
//!
//! Simpler than Linux in what has no part in events: a charge is exact, not in batches of 64
//! pages; `memory.high` reclaims once a charge and never throttles; protection is not shared out
//! among siblings. What counts, where, how often and in which order is Linux's.

use rustix::io::Errno;

use crate::{Controllers, Event, controller::Body, state::State};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// Pages that are charged in one go (kernel: `MEMCG_CHARGE_BATCH`).
const BATCH: u64 = 64;

/// Kernel: `MAX_RECLAIM_RETRIES`.
const RETRIES: u32 = 16;

/// Kernel: 1 << `PAGE_ALLOC_COSTLY_ORDER`.
const CHEAP: u64 = 8;

/// What memory that is no task's is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Clean pages of files: stays with the cgroup, and can be reclaimed.
    Cache,
    /// Sockets and other memory of the kernel: stays with the cgroup until it is given back.
    Kernel,
}

/// The memory of one cgroup, in pages.
#[derive(Debug)]
pub(crate) struct Memory {
    /// With that of all below.
    pub(crate) usage: u64,
    pub(crate) peak: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) max: u64,
    pub(crate) oom_group: bool,
    /// Swap, with that of all below.
    pub(crate) swap: u64,
    pub(crate) swap_high: u64,
    pub(crate) swap_max: u64,
    pub(crate) own: Own,
}

/// What is charged to the cgroup itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own {
    pub(crate) anonymous: u64,
    pub(crate) cache: u64,
    pub(crate) kernel: u64,
    pub(crate) swap: u64,
}

/// What a process has charged to one state, in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) state: usize,
    pub(crate) anonymous: u64,
    pub(crate) swap: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            usage: 0,
            peak: 0,
            min: 0,
            low: 0,
            high: u64::MAX,
            max: u64::MAX,
            oom_group: false,
            swap: 0,
            swap_high: u64::MAX,
            swap_max: u64::MAX,
            own: Own::default(),
        }
    }
}

impl Memory {
    /// The dead are not protected (kernel: `mem_cgroup_css_offline`).
    pub(crate) fn unprotect(&mut self) {
        (self.min, self.low) = (0, 0);
    }

    pub(crate) fn is_charged(&self) -> bool {
        let Own { anonymous, cache, kernel, swap } = self.own;
        anonymous + cache + kernel + swap > 0
    }

    /// Kernel: `mem_cgroup_css_reset`.
    pub(crate) fn reset_limits(&mut self) {
        self.unprotect();
        (self.high, self.max, self.swap_high, self.swap_max) =
            (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    }
}

/// Bytes as pages, rounded up.
pub(crate) fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE)
}

impl State {
    /// The memory of a state of the memory controller.
    pub(crate) fn memory(&mut self, state: usize) -> Option<&mut Memory> {
        match self.body(state) {
            Body::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    pub(crate) fn memory_at(&self, state: usize) -> Option<&Memory> {
        match &self.states[state].body {
            Body::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// A state and those above it, the root's among them.
    pub(crate) fn chain(&self, state: usize) -> Vec<usize> {
        std::iter::successors(Some(state), |state| self.states[*state].parent).collect()
    }

    /// The same but for the root's, which has no limits and counts no events.
    fn limited(&self, state: usize) -> Vec<usize> {
        let mut chain = self.chain(state);
        chain.retain(|state| self.states[*state].parent.is_some());
        chain
    }

    fn first(&self, state: usize, found: impl Fn(&Memory) -> bool) -> Option<usize> {
        let mut chain = self.limited(state).into_iter();
        chain.find(|state| self.memory_at(*state).is_some_and(&found))
    }

    /// A process takes memory: what fits first, as it would page by page, so that at a limit it is
    /// seen to have that already; then in batches, each of which may have to be reclaimed.
    pub(crate) fn allocate(&mut self, pid: u32, pages: u64) -> Result<(), Errno> {
        let process = self.tasks.get(&pid).ok_or(Errno::SRCH)?.process;
        let at = self.tasks.get(&process).ok_or(Errno::SRCH)?.cgroup;
        let Some(state) = self.effective(at, Controllers::MEMORY) else { return Ok(()) };
        let mut left = pages;
        while left > 0 {
            let part = left.min(self.room(state).max(BATCH));
            self.take(process, state, part)?;
            self.over_high(state, part);
            left -= part;
        }
        Ok(())
    }

    fn take(&mut self, process: u32, state: usize, pages: u64) -> Result<(), Errno> {
        self.try_charge(state, pages, Some(process))?;
        let Some(task) = self.tasks.get_mut(&process) else {
            self.discharge(state, pages);
            return Err(Errno::SRCH);
        };
        match task.charges.iter_mut().find(|charge| charge.state == state) {
            Some(charge) => charge.anonymous += pages,
            None => task.charges.push(Charge { state, anonymous: pages, swap: 0 }),
        }
        self.own(state, |own| own.anonymous += pages);
        Ok(())
    }

    /// How many pages can be charged before a limit is reached.
    fn room(&self, state: usize) -> u64 {
        let limited = self.limited(state).into_iter();
        let rooms = limited.filter_map(|state| {
            self.memory_at(state).map(|memory| memory.max.saturating_sub(memory.usage))
        });
        rooms.min().unwrap_or(u64::MAX)
    }

    /// A process gives memory back; what it does not have is not given.
    pub(crate) fn free(&mut self, pid: u32, mut pages: u64) -> Result<(), Errno> {
        let process = self.tasks.get(&pid).ok_or(Errno::SRCH)?.process;
        let task = self.tasks.get_mut(&process).ok_or(Errno::SRCH)?;
        let mut given = Vec::new();
        for charge in task.charges.iter_mut().rev() {
            let anonymous = charge.anonymous.min(pages);
            let swap = charge.swap.min(pages - anonymous);
            charge.anonymous -= anonymous;
            charge.swap -= swap;
            pages -= anonymous + swap;
            given.push(Charge { state: charge.state, anonymous, swap });
        }
        task.charges.retain(|charge| charge.anonymous + charge.swap > 0);
        for charge in given {
            self.uncharge(charge);
        }
        Ok(())
    }

    /// Memory that belongs to the cgroup, dead or alive, rather than to a task.
    pub(crate) fn use_memory(&mut self, at: usize, kind: Use, pages: u64) -> Result<(), Errno> {
        let Some(state) = self.effective(at, Controllers::MEMORY) else { return Ok(()) };
        self.try_charge(state, pages, None)?;
        self.own(state, |own| match kind {
            Use::Cache => own.cache += pages,
            Use::Kernel => own.kernel += pages,
        });
        self.over_high(state, pages);
        Ok(())
    }

    /// And is given back.
    pub(crate) fn unuse_memory(&mut self, at: usize, kind: Use, pages: u64) {
        let Some(state) = self.effective(at, Controllers::MEMORY) else { return };
        let mut given = 0;
        self.own(state, |own| {
            let has = match kind {
                Use::Cache => &mut own.cache,
                Use::Kernel => &mut own.kernel,
            };
            given = pages.min(*has);
            *has -= given;
        });
        self.discharge(state, given);
        self.release_state(state);
    }

    /// What a process had goes.
    pub(crate) fn uncharge(&mut self, charge: Charge) {
        let Charge { state, anonymous, swap } = charge;
        self.own(state, |own| {
            own.anonymous -= anonymous;
            own.swap -= swap;
        });
        self.discharge(state, anonymous);
        self.move_swap(state, |held| held - swap);
        self.swapped -= swap * PAGE;
        self.release_state(state);
    }

    pub(crate) fn own(&mut self, state: usize, change: impl FnOnce(&mut Own)) {
        if let Some(memory) = self.memory(state) {
            change(&mut memory.own);
        }
    }

    pub(crate) fn move_swap(&mut self, state: usize, change: impl Fn(u64) -> u64) {
        for state in self.chain(state) {
            if let Some(memory) = self.memory(state) {
                memory.swap = change(memory.swap);
            }
        }
    }

    fn charge(&mut self, state: usize, pages: u64) {
        for state in self.chain(state) {
            if let Some(memory) = self.memory(state) {
                memory.usage += pages;
                memory.peak = memory.peak.max(memory.usage);
            }
        }
    }

    pub(crate) fn discharge(&mut self, state: usize, pages: u64) {
        for state in self.chain(state) {
            if let Some(memory) = self.memory(state) {
                memory.usage -= pages;
            }
        }
    }

    /// Charges for a process, or for none in particular (kernel: `try_charge_memcg`).
    fn try_charge(&mut self, state: usize, pages: u64, process: Option<u32>) -> Result<(), Errno> {
        let mut retries = RETRIES;
        loop {
            let fits = |memory: &Memory| {
                memory.usage.checked_add(pages).is_some_and(|usage| usage <= memory.max)
            };
            let Some(limiting) = self.first(state, |memory| !fits(memory)) else {
                self.charge(state, pages);
                return Ok(());
            };
            self.count(limiting, Event::MemoryMax, 1);
            let reclaimed = self.reclaim(limiting, pages);
            if self.memory_at(limiting).is_some_and(fits) {
                continue;
            }
            if reclaimed > 0 && pages <= CHEAP {
                continue;
            }
            if retries > 0 {
                retries -= 1;
                continue;
            }
            self.count(limiting, Event::MemoryOom, 1);
            if !self.kill_for_memory(limiting) {
                return Err(Errno::NOMEM);
            }
            // Who was killed for its own wish wishes nothing more (kernel: `task_is_dying`).
            if process.is_some_and(|process| !self.tasks.contains_key(&process)) {
                return Err(Errno::INTR);
            }
            retries = RETRIES;
        }
    }

    /// On the way back to user mode (kernel: `__mem_cgroup_handle_over_high`).
    fn over_high(&mut self, state: usize, pages: u64) {
        for state in self.limited(state) {
            let high = self.memory_at(state).map_or(u64::MAX, |memory| memory.high);
            if let Some(over) = self.overage(state, high) {
                self.count(state, Event::MemoryHigh, 1);
                self.reclaim(state, pages.min(over));
            }
            let over = |memory: &Memory| memory.swap > memory.swap_high;
            if self.memory_at(state).is_some_and(over) {
                self.count(state, Event::SwapHigh, 1);
            }
        }
    }

    /// `memory.max` was written (kernel: `memory_max_write`).
    pub(crate) fn set_max(&mut self, state: usize, max: u64) {
        if let Some(memory) = self.memory(state) {
            memory.max = max;
        }
        let mut retries = RETRIES;
        while let Some(over) = self.overage(state, max) {
            if retries > 0 {
                if self.reclaim(state, over) == 0 {
                    retries -= 1;
                }
                continue;
            }
            self.count(state, Event::MemoryOom, 1);
            if !self.kill_for_memory(state) {
                return;
            }
        }
    }

    /// `memory.high` was written: reclaimed, but not counted (kernel: `memory_high_write`).
    pub(crate) fn set_high(&mut self, state: usize, high: u64) {
        if let Some(memory) = self.memory(state) {
            memory.high = high;
        }
        while let Some(over) = self.overage(state, high) {
            if self.reclaim(state, over) == 0 {
                return;
            }
        }
    }

    fn overage(&self, state: usize, limit: u64) -> Option<u64> {
        self.memory_at(state)?.usage.checked_sub(limit).filter(|over| *over > 0)
    }
}
