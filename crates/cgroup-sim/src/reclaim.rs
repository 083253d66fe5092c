//! Taking memory back (kernel: mm/vmscan.c, `shrink_node_memcgs`; `mem_cgroup_try_charge_swap`).

use crate::{Event, memory::PAGE, state::State};

/// Whether a cgroup's memory is to be left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    None,
    Low,
    Min,
}

impl State {
    /// Takes at least as many pages from a state and those below it as wanted, if they can be had.
    /// Those below `memory.low` are spared unless nothing else is left, and then count that.
    pub(crate) fn reclaim(&mut self, target: usize, want: u64) -> u64 {
        let all = self.states_below(target);
        let mut got = 0;
        let mut spared = Vec::new();
        for (state, protection) in all {
            match protection {
                Protection::None => got += self.shrink(state, want - got),
                Protection::Low => spared.push(state),
                Protection::Min => {}
            }
        }
        for state in spared {
            // Whether or not it has any itself: those below it may.
            if got < want {
                self.count(state, Event::MemoryLow, 1);
                got += self.shrink(state, want - got);
            }
        }
        got
    }

    /// A state and those below it, parents first. The first is what reclaim is for: its own
    /// protection does not count.
    fn states_below(&self, target: usize) -> Vec<(usize, Protection)> {
        let mut all = Vec::new();
        let mut stack = vec![(target, u64::MAX, u64::MAX)];
        while let Some((state, min, low)) = stack.pop() {
            let Some(memory) = self.memory_at(state) else { continue };
            let (min, low) = match state == target {
                true => (min, low),
                // No more than what is above has.
                false => (min.min(memory.min), low.min(memory.low)),
            };
            let protection = match state == target {
                false if memory.usage <= min => Protection::Min,
                false if memory.usage <= low => Protection::Low,
                _ => Protection::None,
            };
            all.push((state, protection));
            let children = self.states[state].children.iter().rev();
            stack.extend(children.map(|child| (*child, min, low)));
        }
        all
    }

    /// Takes pages from one state alone: clean ones, then by swapping.
    fn shrink(&mut self, state: usize, want: u64) -> u64 {
        let mut clean = 0;
        self.own(state, |own| {
            clean = own.cache.min(want);
            own.cache -= clean;
        });
        self.discharge(state, clean);
        let swapped = self.swap_out(state, want - clean);
        // Of a dead one this may have been the last.
        self.release_state(state);
        clean + swapped
    }

    fn swap_out(&mut self, state: usize, want: u64) -> u64 {
        let Some(memory) = self.memory_at(state) else { return 0 };
        let want = want.min(memory.own.anonymous);
        let machine = self.options.swap.saturating_sub(self.swapped) / PAGE;
        let room = |state: &usize| {
            self.memory_at(*state)
                .map_or(u64::MAX, |memory| memory.swap_max.saturating_sub(memory.swap))
        };
        let limit = self.chain(state).iter().map(room).min().unwrap_or(0);
        let possible = machine.min(limit);
        // Without any, Linux does not look at these pages.
        if possible == 0 || want == 0 {
            return 0;
        }
        let swapped = want.min(possible);
        self.swap_tasks(state, swapped);
        if possible < want {
            if limit <= machine {
                self.count(state, Event::SwapMax, 1);
            }
            self.count(state, Event::SwapFail, 1);
        }
        swapped
    }

    /// Moves pages of the tasks charged to a state to swap; no more than they have.
    fn swap_tasks(&mut self, state: usize, pages: u64) {
        let mut left = pages;
        let mut pids: Vec<_> = self.tasks.keys().copied().collect();
        pids.sort_unstable();
        for pid in pids {
            let Some(task) = self.tasks.get_mut(&pid) else { continue };
            for charge in task.charges.iter_mut().filter(|charge| charge.state == state) {
                let moved = charge.anonymous.min(left);
                charge.anonymous -= moved;
                charge.swap += moved;
                left -= moved;
            }
        }
        self.own(state, |own| {
            own.anonymous -= pages;
            own.swap += pages;
        });
        self.discharge(state, pages);
        self.move_swap(state, |swap| swap + pages);
        self.swapped += pages * PAGE;
    }
}
