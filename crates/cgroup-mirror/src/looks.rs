//! Which children's files are to be looked at after `cgroup.subtree_control` was written: all of one
//! directory, a few at a time, and not again before that has rested. So who opens the file for writing
//! and closes it in a loop, above ten thousand children, holds up nobody else's events.
//!
//! Pure: the time is given, and what is found is the feed's.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// A directory rests so long for each child that was looked at: ten times what that takes.
const REST: Duration = Duration::from_micros(300);

/// By the numbers of instances.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    waiting: VecDeque<u64>,
    queued: HashSet<u64>,
    /// Until when directories rest.
    rests: HashMap<u64, Instant>,
    /// Those that were written meanwhile.
    written: HashSet<u64>,
}

impl Looks {
    /// A directory's file was written. Tells whether its children are to be looked at now, of which
    /// [`Looks::add`] is to be told; else [`Looks::rested`] gives it later.
    pub(crate) fn written(&mut self, directory: u64, now: Instant) -> bool {
        let rests = self.rests.get(&directory).is_some_and(|until| *until > now);
        if rests {
            self.written.insert(directory);
        }
        !rests
    }

    /// The children of a directory are to be looked at.
    pub(crate) fn add(&mut self, directory: u64, children: &[u64], now: Instant) {
        let new = children.iter().filter(|child| self.queued.insert(**child));
        self.waiting.extend(new);
        let rest = REST.saturating_mul(u32::try_from(children.len()).unwrap_or(u32::MAX));
        self.rests.insert(directory, now + rest);
    }

    /// The next one to look at.
    pub(crate) fn pop(&mut self) -> Option<u64> {
        let next = self.waiting.pop_front()?;
        self.queued.remove(&next);
        Some(next)
    }

    /// Directories that were written and have rested.
    pub(crate) fn rested(&mut self, now: Instant) -> Vec<u64> {
        self.rests.retain(|_, until| *until > now);
        let rested = self.written.iter().filter(|directory| !self.rests.contains_key(*directory));
        let rested: Vec<u64> = rested.copied().collect();
        rested.iter().for_each(|directory| _ = self.written.remove(directory));
        rested
    }

    /// When there is something to do; `None`: nothing is.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let rests = self.written.iter().filter_map(|directory| self.rests.get(directory).copied());
        let waiting = (!self.waiting.is_empty()).then_some(now);
        waiting.into_iter().chain(rests).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_written_all_the_time_is_looked_at_now_and_then() {
        let (mut looks, mut now) = (Looks::default(), Instant::now());
        let children: Vec<u64> = (100..1100).collect();
        let mut looked = 0;
        // Written every millisecond for 2.9 seconds, with 1,000 children.
        for _ in 0..2900 {
            let written = looks.written(1, now).then_some(1);
            for directory in written.into_iter().chain(looks.rested(now)) {
                looks.add(directory, &children, now);
            }
            looked += std::iter::from_fn(|| looks.pop()).count();
            now += Duration::from_millis(1);
        }
        assert_eq!(looked, 10 * children.len());
        // The last write is not forgotten.
        assert!(!looks.written(1, now) && looks.rested(now).is_empty());
        let due = looks.due(now).unwrap();
        assert!(due > now);
        // At that very time it has rested.
        assert!(looks.written(1, due));
        assert_eq!(looks.rested(due), [1]);
    }

    #[test]
    fn each_child_waits_once() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        looks.add(1, &[5, 6], now);
        looks.add(2, &[6, 7], now);
        assert_eq!(looks.due(now), Some(now));
        assert_eq!(std::iter::from_fn(|| looks.pop()).collect::<Vec<_>>(), [5, 6, 7]);
        looks.add(1, &[5], now);
        assert_eq!(looks.pop(), Some(5));
    }
}
