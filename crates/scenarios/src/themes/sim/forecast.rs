//! Which steps of memory have a certain outcome: only those are taken.
//!
//! Linux also charges what the simulation does not know of: page tables, stacks, what waits in
//! batches per processor. A step is certain if [`SLACK`] more or less in a cgroup changes nothing;
//! where pages are swapped, huge ones among them, [`ROUGH`].

use cgroup_sim::{Hierarchy, ROOT};

use super::program::{LIMIT, LITTLE};

/// More than Linux charges to a cgroup beside what a step asks for.
const SLACK: u64 = 8 << 20;
const ROUGH: u64 = 2 * SLACK;
/// By how much `memory.high` may be breached: the further, the longer Linux lets the breacher sleep
/// (`calculate_high_delay`: with the square of it).
const FAR: u64 = 3 * LITTLE;

/// What decides at one cgroup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    id: u64,
    usage: u64,
    low: u64,
    high: u64,
    max: u64,
    swap: u64,
    swap_high: u64,
    swap_max: u64,
}

/// A process: what it has taken since it started, and where it lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eater {
    pub(super) task: usize,
    pub(super) home: u64,
    pub(super) taken: u64,
}

/// The memory of all cgroups as it is now.
pub(super) struct Forecast<'a> {
    all: &'a Hierarchy,
    top: u64,
    eaters: Vec<Eater>,
    /// Whether the machine has swap.
    swaps: bool,
}

impl<'a> Forecast<'a> {
    /// Below the cgroup `top`, with these processes in it.
    pub(super) fn new(all: &'a Hierarchy, top: u64, eaters: Vec<Eater>, swaps: bool) -> Self {
        Self { all, top, eaters, swaps }
    }

    /// `None` where memory is not accounted for, or not seen.
    fn level(&self, id: u64) -> Option<Level> {
        let value = |file: &str| {
            let text = self.all.show(id, file).ok()?;
            Some(text.trim().parse().unwrap_or(u64::MAX))
        };
        Some(Level {
            id,
            usage: value("memory.current")?,
            low: value("memory.low")?,
            high: value("memory.high")?,
            max: value("memory.max")?,
            swap: value("memory.swap.current")?,
            swap_high: value("memory.swap.high")?,
            swap_max: value("memory.swap.max")?,
        })
    }

    /// A cgroup and those above it that count.
    fn chain(&self, id: u64) -> Vec<Level> {
        let mut path = self.all.path(id).unwrap_or_default();
        let mut chain = Vec::new();
        while let Some(id) = self.all.find(&path).filter(|id| *id != ROOT) {
            chain.extend(self.level(id));
            path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        }
        chain
    }

    fn usage(&self, id: u64) -> u64 {
        self.level(id).map_or(0, |level| level.usage)
    }

    /// Whether some cgroup that counts for this one has more than its `memory.high` or
    /// `memory.swap.high`: then whatever is charged, however little, may count.
    pub(super) fn is_over_high(&self, id: u64) -> bool {
        let over = |level: &Level| level.usage > level.high || level.swap > level.swap_high;
        self.chain(id).iter().any(over)
    }

    /// How much one in this cgroup would have to take to breach the first `memory.high` by a little.
    pub(super) fn breach(&self, id: u64) -> Option<u64> {
        let limited = self.chain(id).into_iter().filter(|level| level.high != u64::MAX);
        limited.map(|level| level.high.saturating_add(LITTLE).saturating_sub(level.usage)).min()
    }

    /// Whether a process may take so much.
    pub(super) fn may_take(&self, eater: Eater, bytes: u64) -> bool {
        let whole = self.level(self.top).map_or(0, |top| top.usage + top.swap);
        if whole + bytes > 6 * LIMIT {
            return false;
        }
        let chain = self.chain(eater.home);
        let grown = |id| if chain.iter().any(|level| level.id == id) { bytes } else { 0 };
        let passes = |level: &Level| level.max == u64::MAX || level.usage + bytes < level.max / 4;
        let mut stopping = chain.iter().filter(|level| !passes(level));
        let (stops, other) = (stopping.next(), stopping.next());
        // Of two limits it would be in doubt which is reached first.
        if other.is_some() {
            return false;
        }
        let over = stops.map_or(0, |level| (level.usage + bytes).saturating_sub(level.max));
        let had = match stops {
            Some(level) if over > ROUGH => self.can_be_had(level.id, over, &grown),
            Some(_) => return false,
            None => Some(true),
        };
        let end = match (stops, had) {
            (Some(level), Some(false)) => {
                let end = level.max.saturating_sub(level.usage);
                let grown = Eater { taken: eater.taken + end, ..eater };
                if over < 2 * level.max || !self.is_victim_certain(level.id, grown) {
                    return false;
                }
                end
            }
            (_, Some(_)) => bytes,
            (_, None) => return false,
        };
        let swapped = if had == Some(true) { over } else { 0 };
        chain.iter().all(|level| {
            let (usage, high) = (level.usage + end, level.high);
            let breached = Self::is_breached(usage, high);
            (usage.saturating_add(SLACK) <= high
                || (breached && self.is_low_certain(level.id, &grown)))
                && (!self.swaps || Self::is_swap_certain(level, swapped, bytes))
        })
    }

    fn is_breached(usage: u64, high: u64) -> bool {
        (high.saturating_add(LITTLE)..=high.saturating_add(FAR)).contains(&usage)
    }

    fn is_swap_certain(level: &Level, swapped: u64, bytes: u64) -> bool {
        let below = level.swap.saturating_add(swapped + ROUGH) <= level.swap_high;
        let breached = Self::is_breached(level.swap, level.swap_high);
        below || (breached && swapped == 0 && bytes <= LITTLE)
    }

    /// Whether `memory.max` may be written: nobody is above it, or one who is.
    pub(super) fn may_limit(&self, id: u64, max: u64) -> bool {
        let usage = self.usage(id);
        if usage < max / 4 {
            return true;
        }
        if usage < max + ROUGH {
            return false;
        }
        match self.can_be_had(id, usage - max, &|_| 0) {
            Some(true) => true,
            Some(false) => {
                // "one-victim".
                let [only] = *self.living_below(id).as_slice() else { return false };
                usage > 3 * max && usage.saturating_sub(only.taken) < SLACK
            }
            None => false,
        }
    }

    /// Whether `memory.high` may be written: nobody is near it, or above it and nothing of it can be
    /// reclaimed.
    pub(super) fn may_be_high(&self, id: u64, high: u64) -> bool {
        let usage = self.usage(id);
        let stays = || self.can_be_had(id, usage - high, &|_| 0) == Some(false);
        usage + SLACK <= high || (usage >= high + ROUGH && stays())
    }

    /// Whether `memory.reclaim` may be written.
    pub(super) fn may_reclaim(&self, id: u64, bytes: u64) -> bool {
        self.can_be_had(id, bytes, &|_| 0).is_some()
    }

    /// Whether so much can be reclaimed from a cgroup; `None` if that is in doubt, or who counts it.
    fn can_be_had(&self, target: u64, want: u64, grown: &impl Fn(u64) -> u64) -> Option<bool> {
        if !self.is_low_certain(target, grown) {
            return None;
        }
        let has = self.usage(target) + grown(target);
        match self.can_swap(target)? {
            false => Some(false),
            true if has == 0 => Some(false),
            true => (has >= want + ROUGH && self.is_alone(target, grown)).then_some(true),
        }
    }

    /// Whether memory of a cgroup can be swapped; `None` if some could ("swap-max").
    fn can_swap(&self, target: u64) -> Option<bool> {
        let chain = self.chain(target);
        if !self.swaps || chain.iter().any(|level| level.swap >= level.swap_max) {
            return Some(false);
        }
        let mut all = chain.into_iter().chain(self.below(target));
        all.all(|level| level.swap_max == u64::MAX).then_some(true)
    }

    /// Whether all memory of a cgroup is that of one below it, so that it does not matter in which
    /// order they are reclaimed from.
    fn is_alone(&self, target: u64, grown: &impl Fn(u64) -> u64) -> bool {
        let whole = self.usage(target) + grown(target);
        let with = |level: Level| level.usage + grown(level.id);
        self.below(target).all(|level| [0, whole].contains(&with(level)))
    }

    fn below(&self, target: u64) -> impl Iterator<Item = Level> + '_ {
        let below = self.all.subtree(target).into_iter().filter(move |id| *id != target);
        below.filter_map(|id| self.level(id))
    }

    /// Whether it is certain who below a cgroup is below `memory.low`, when it is reclaimed from.
    fn is_low_certain(&self, target: u64, grown: &impl Fn(u64) -> u64) -> bool {
        let mut low = self.below(target).filter(|level| level.low > 0);
        low.all(|level| level.usage + grown(level.id) >= LITTLE)
    }

    /// Whether nobody else is nearly as large as the one that will be killed first.
    fn is_victim_certain(&self, at: u64, first: Eater) -> bool {
        let near = first.taken.saturating_sub(SLACK)..=first.taken + SLACK;
        let others = self.living_below(at).into_iter().filter(|other| other.task != first.task);
        others.map(|other| other.taken).all(|taken| !near.contains(&taken))
    }

    fn living_below(&self, at: u64) -> Vec<Eater> {
        let all = self.all.subtree(at);
        self.eaters.iter().copied().filter(|eater| all.contains(&eater.home)).collect()
    }
}
