//! What always holds: nothing is counted that did not happen, and nothing is lost on the way up.

use hashbrown::HashMap;

use crate::{Controllers, Error, Event, controller::Body, memory::PAGE, state::State};

/// The memory and the swap of tasks, by state.
type Charged = HashMap<usize, (u64, u64)>;

impl State {
    /// Checks all sums, and says where the first is wrong.
    pub(crate) fn check_conservation(&self) -> Result<(), Error> {
        let charged = self.charged();
        for (state, css) in &self.states {
            self.check_counters(state)?;
            match &css.body {
                Body::Memory(_) => self.check_memory(state, &charged)?,
                Body::Pids(pids) if css.online => {
                    let tasks = self.tasks_below(css.cgroup);
                    balance(css.id, "pids.current", pids.current, tasks)?;
                }
                Body::Pids(_) | Body::Plain => {}
            }
        }
        for (at, cgroup) in &self.cgroups {
            if cgroup.live {
                self.check_cgroup(at)?;
            }
        }
        self.check_truth()
    }

    fn charged(&self) -> Charged {
        let mut all = Charged::new();
        for charge in self.tasks.values().flat_map(|task| &task.charges) {
            let (anonymous, swapped) = all.entry(charge.state).or_default();
            *anonymous += charge.anonymous;
            *swapped += charge.swap;
        }
        all
    }

    /// A sum is what was counted here and in all below, also in those that are gone.
    fn check_counters(&self, state: usize) -> Result<(), Error> {
        let css = &self.states[state];
        // The root sums nothing up.
        if css.parent.is_none() {
            return Ok(());
        }
        for event in Event::ALL
            .into_iter()
            .filter(|event| event.controller() == css.controller && *event != Event::PidsForkFail)
        {
            let slot = event.slot();
            let below = css.children.iter().map(|child| self.states[*child].sums[slot]);
            let all = css.local[slot] + css.gone[slot] + below.sum::<u64>();
            let sum = css.sums[slot];
            // What was counted under memory_localevents did not go up.
            let kept = css.controller == Controllers::MEMORY && self.was_local;
            if sum > all || sum < css.local[slot] || (sum < all && !kept) {
                return unbalanced(css.id, event.key(), sum, all);
            }
        }
        Ok(())
    }

    fn check_memory(&self, state: usize, charged: &Charged) -> Result<(), Error> {
        let css = &self.states[state];
        let Some(memory) = self.memory_at(state) else { return Ok(()) };
        let below: Vec<_> =
            css.children.iter().filter_map(|child| self.memory_at(*child)).collect();
        let own = memory.own;
        let usage = own.anonymous + own.cache + own.kernel;
        let usage = usage + below.iter().map(|memory| memory.usage).sum::<u64>();
        balance(css.id, "memory.current", memory.usage, usage)?;
        let swap = own.swap + below.iter().map(|memory| memory.swap).sum::<u64>();
        balance(css.id, "memory.swap.current", memory.swap, swap)?;
        let (anonymous, swapped) = charged.get(&state).copied().unwrap_or_default();
        balance(css.id, "memory of tasks", own.anonymous, anonymous)?;
        balance(css.id, "swap of tasks", own.swap, swapped)?;
        if css.parent.is_none() {
            balance(css.id, "swap of the machine", self.swapped, memory.swap * PAGE)?;
        }
        Ok(())
    }

    fn check_cgroup(&self, at: usize) -> Result<(), Error> {
        let cgroup = &self.cgroups[at];
        let children: Vec<_> = cgroup.children.values().map(|at| &self.cgroups[*at]).collect();
        let count = |which: &dyn Fn(&crate::state::Cgroup) -> bool| {
            children.iter().filter(|child| which(child)).count() as u64
        };
        let domains = count(&|child| !child.threaded && child.is_populated());
        balance(cgroup.id, "populated children", cgroup.populated_domains.into(), domains)?;
        let threaded = count(&|child| child.threaded && child.is_populated());
        balance(cgroup.id, "populated threads", cgroup.populated_threaded.into(), threaded)?;
        let threaded = count(&|child| child.threaded);
        balance(cgroup.id, "threaded children", cgroup.threaded_children.into(), threaded)?;
        let below = |of: &dyn Fn(&crate::state::Cgroup) -> u32| {
            children.iter().map(|child| u64::from(of(child))).sum::<u64>()
        };
        let descendants = below(&|child| child.descendants + 1);
        balance(cgroup.id, "nr_descendants", cgroup.descendants.into(), descendants)?;
        let frozen = below(&|child| child.freezer.descendants + u32::from(child.freezer.frozen));
        balance(cgroup.id, "frozen descendants", cgroup.freezer.descendants.into(), frozen)?;
        let tasks = cgroup.tasks.iter().filter_map(|pid| self.tasks.get(pid));
        let frozen = tasks.filter(|task| task.frozen).count() as u64;
        balance(cgroup.id, "frozen tasks", cgroup.freezer.tasks.into(), frozen)
    }

    /// What is remembered of a cgroup is what its states counted.
    fn check_truth(&self) -> Result<(), Error> {
        let mut counted: HashMap<(u64, Event), u64> = HashMap::new();
        for (_, css) in &self.states {
            for event in Event::ALL.into_iter().filter(|one| one.controller() == css.controller) {
                *counted.entry((css.id, event)).or_default() += css.local[event.slot()];
            }
        }
        for life in self.lives.all() {
            for event in Event::ALL {
                let states = counted.get(&(life.id, event)).copied().unwrap_or(0);
                let told = life.counted.get(&event).copied().unwrap_or(0);
                balance(life.id, event.key(), told, states)?;
            }
        }
        Ok(())
    }
}

fn balance(id: u64, what: &'static str, found: u64, expected: u64) -> Result<(), Error> {
    if found == expected { Ok(()) } else { unbalanced(id, what, found, expected) }
}

fn unbalanced(id: u64, what: &'static str, found: u64, expected: u64) -> Result<(), Error> {
    Err(Error::Unbalanced { id, what, found, expected })
}

#[cfg(test)]
mod tests {
    use crate::{
        Controllers, Error, Event, Hierarchy, Options,
        controller::Body,
        memory::PAGE,
        state::{ROOT, State},
    };

    /// `a/b` has a frozen task with memory and swap, counters of every controller and a refused fork,
    /// and a threaded sibling. Returns it with the places of `a` and of `a/b`.
    fn whole() -> (Hierarchy, usize, usize) {
        let all = Hierarchy::new(Options { swap: 1 << 20, remember: true, ..Options::default() });
        all.write("cgroup.subtree_control", "+memory +hugetlb +pids").unwrap();
        all.mkdir("a").unwrap();
        all.write("a/cgroup.subtree_control", "+memory +hugetlb +pids").unwrap();
        let b = all.mkdir("a/b").unwrap();
        let pid = all.spawn(b).unwrap();
        all.allocate(pid, 8 * PAGE).unwrap();
        all.write("a/b/memory.reclaim", "12K").unwrap();
        all.write("a/b/pids.max", "1").unwrap();
        all.fork(pid).unwrap_err();
        for event in [Event::MemoryHigh, Event::HugetlbMax] {
            all.count(b, event, 3).unwrap();
        }
        all.write("a/b/cgroup.freeze", "1").unwrap();
        all.mkdir("threads").unwrap();
        all.write("threads/cgroup.type", "threaded").unwrap();
        assert_eq!(all.check_conservation(), Ok(()));
        let place = |path| {
            let id = all.find(path).unwrap();
            all.shared.look(|state| state.living(id).unwrap())
        };
        let (a, b) = (place("a"), place("a/b"));
        (all, a, b)
    }

    fn css(state: &State, at: usize, controller: Controllers) -> usize {
        state.cgroups[at].states[controller.index()].unwrap()
    }

    fn sum(state: &mut State, at: usize, event: Event) -> &mut u64 {
        let css = css(state, at, event.controller());
        &mut state.states[css].sums[event.slot()]
    }

    fn memory(state: &mut State, at: usize) -> &mut crate::memory::Memory {
        let css = css(state, at, Controllers::MEMORY);
        state.memory(css).unwrap()
    }

    fn task(state: &mut State) -> &mut crate::task::Task {
        state.tasks.values_mut().next().unwrap()
    }

    type Damage = fn(&mut State, usize, usize);

    #[test]
    fn whatever_is_changed_alone_is_found_and_named() {
        let damages: [(&str, Damage); 21] = [
            ("high", |state, _, b| *sum(state, b, Event::MemoryHigh) += 1),
            ("high", |state, _, b| *sum(state, b, Event::MemoryHigh) -= 1),
            ("high", |state, a, _| *sum(state, a, Event::MemoryHigh) -= 1),
            ("max", |state, a, _| *sum(state, a, Event::HugetlbMax) -= 1),
            ("max", |state, a, _| {
                state.was_local = true;
                *sum(state, a, Event::HugetlbMax) -= 1;
            }),
            ("high", |state, a, _| {
                state.was_local = true;
                *sum(state, a, Event::MemoryHigh) += 1;
            }),
            ("high", |state, _, b| {
                state.was_local = true;
                *sum(state, b, Event::MemoryHigh) -= 1;
            }),
            ("memory.current", |state, a, _| memory(state, a).usage += 1),
            ("memory.swap.current", |state, a, _| memory(state, a).swap += 1),
            ("memory of tasks", |state, _, _| task(state).charges[0].anonymous += 1),
            ("swap of tasks", |state, _, _| task(state).charges[0].swap += 1),
            ("swap of the machine", |state, _, _| state.swapped += PAGE),
            ("pids.current", |state, a, _| {
                let css = css(state, a, Controllers::PIDS);
                let Body::Pids(pids) = state.body(css) else { panic!("of another controller") };
                pids.current += 1;
            }),
            ("populated children", |state, a, _| state.cgroups[a].populated_domains += 1),
            ("populated threads", |state, a, _| state.cgroups[a].populated_threaded += 1),
            ("threaded children", |state, _, _| state.cgroups[ROOT].threaded_children = 0),
            ("nr_descendants", |state, a, _| state.cgroups[a].descendants += 1),
            ("frozen descendants", |state, a, _| state.cgroups[a].freezer.descendants = 0),
            ("frozen tasks", |state, _, b| state.cgroups[b].freezer.tasks = 0),
            ("high", |state, _, b| {
                let id = state.cgroups[b].id;
                state.lives.count(id, Event::MemoryHigh, 1);
            }),
            ("low", |state, a, _| {
                let id = state.cgroups[a].id;
                state.lives.count(id, Event::MemoryLow, 1);
            }),
        ];
        for (n, (expected, damage)) in damages.into_iter().enumerate() {
            let (all, a, b) = whole();
            all.shared.with(|state| damage(state, a, b));
            match all.check_conservation() {
                Err(Error::Unbalanced { what, found, expected: parts, .. }) => {
                    assert_eq!(what, expected, "damage {n}");
                    assert_ne!(found, parts, "damage {n}");
                }
                other => panic!("damage {n}: {other:?}"),
            }
        }
    }

    /// What was counted under `memory_localevents` did not go up, and is missing above.
    #[test]
    fn memory_may_have_counted_less_above_after_memory_localevents() {
        let (all, a, _) = whole();
        all.shared.with(|state| {
            state.was_local = true;
            *sum(state, a, Event::MemoryHigh) -= 1;
        });
        assert_eq!(all.check_conservation(), Ok(()));
    }

    /// A killed state of the pids controller holds the number it had then.
    #[test]
    fn what_a_killed_pids_state_held_is_not_checked() {
        let (all, _, b) = whole();
        let id = all.shared.look(|state| state.cgroups[b].id);
        all.write("a/cgroup.subtree_control", "-pids").unwrap();
        for pid in all.tasks(id) {
            all.exit(pid).unwrap();
        }
        assert_eq!(all.check_conservation(), Ok(()));
    }
}
