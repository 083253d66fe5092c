//! The sweep: whatever notifications missed is found by reading everything from time to time.
//!
//! Paced: after each slice it rests so long that it takes at most 1 % of a CPU, even if a whole
//! sweep then takes longer than its interval. What counts is the processor's time: a process that was
//! stopped in the midst of a slice need not rest for it.

use super::{Monitor, books::NodeKey, names::Ahead};
use crate::{Error, LearnedFrom, world::World};

/// A slice ends after so many cgroups or so much of a processor's time.
const SLICE_CGROUPS: usize = 64;
const SLICE_NS: u64 = 2_000_000;
/// Of so many nanoseconds, the sweep may use one.
const SHARE: u64 = 100;

#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// What this sweep has still to look at, the last first.
    left: Vec<NodeKey>,
    /// When this sweep began; 0 before the first.
    began_ns: u64,
    /// When the next slice is due.
    due_ns: u64,
}

impl<W: World> Monitor<W> {
    /// Does what is due, and arms the alarm for what is due next.
    pub(crate) fn turn_timers(&mut self) -> Result<(), Error> {
        self.audit_rests();
        self.turn_paces();
        self.take_in()?;
        if self.sweep.began_ns == 0 {
            self.sweep.began_ns = self.now_ns;
            self.sweep.due_ns = self.now_ns.saturating_add(self.interval_ns());
        }
        if self.sweep.due_ns <= self.now_ns && !self.roots.is_empty() {
            self.sweep_slice();
            self.take_in()?;
        }
        let turns = self.turns.next_ns(self.now_ns);
        let next = self
            .rests
            .values()
            .map(|rest| rest.due_ns)
            .chain([self.sweep.due_ns])
            .chain(turns)
            .min();
        let next = next.filter(|_| !self.roots.is_empty()).unwrap_or(u64::MAX);
        if next != self.alarm_ns {
            self.alarm_ns = next;
            let armed = self.world.set_alarm(next);
            armed.map_err(|source| Error::System { action: "arm the timer", source })?;
        }
        Ok(())
    }

    fn interval_ns(&self) -> u64 {
        u64::try_from(self.options.sweep_interval.as_nanos()).unwrap_or(u64::MAX).max(1_000_000)
    }

    fn sweep_slice(&mut self) {
        if self.sweep.left.is_empty() {
            self.sweep.began_ns = self.now_ns;
            self.begin_sweep();
            self.check_roots(LearnedFrom::Sweep);
            let living = self.books.iter().filter(|(_, node)| !node.flags.dead);
            self.sweep.left.extend(living.map(|(key, _)| key));
            let depth = |key: &NodeKey| self.books.get(*key).map_or(0, |node| node.depth);
            self.sweep.left.sort_by_key(|key| std::cmp::Reverse(depth(key)));
        }
        let began = self.world.busy_ns();
        let mut spent = 0;
        for _ in 0..SLICE_CGROUPS {
            let Some(key) = self.sweep.left.pop() else { break };
            if self.books.living(key).is_some() {
                let missed = self.begin_look(key);
                self.sweep_node(key, missed);
                self.end_look(key);
            }
            spent = self.world.busy_ns().saturating_sub(began);
            if spent >= SLICE_NS {
                break;
            }
        }
        let now = self.world.now().boot_ns;
        let rest = spent.saturating_mul(SHARE - 1);
        let interval = self.interval_ns();
        self.sweep.due_ns = if self.sweep.left.is_empty() {
            self.sweep.left.shrink_to_fit();
            self.deaths.age(now);
            self.sweep.began_ns.saturating_add(interval).max(now.saturating_add(rest))
        } else {
            now.saturating_add(rest)
        };
    }

    fn sweep_node(&mut self, key: NodeKey, missed: bool) {
        if !self.check_node(key, LearnedFrom::Sweep) || !self.goes_deeper(key) {
            return;
        }
        let known = self.books.children(key).count() as u64;
        let there = match self.open(key) {
            Ok(Some(mut dir)) => {
                let stat = self.world.stat(&mut dir);
                self.world.close(dir);
                match stat {
                    Ok(stat) => stat.subdirectories,
                    Err(errno) => {
                        self.could_not(key, errno);
                        None
                    }
                }
            }
            _ => None,
        };
        let watched = self.hears_of_births(key);
        if missed || !watched || there != Some(known) {
            let ahead = if watched { Ahead::SURE } else { Ahead::NO };
            self.compare_children(key, ahead, LearnedFrom::Sweep);
        }
    }
}
