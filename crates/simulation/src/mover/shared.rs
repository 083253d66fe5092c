//! The mover as the driver of the monitor's world: between any two calls it may act.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cgroup_sim::Hierarchy;
use cgwatch::{Driver, Verb};
use rustix::io::Errno;

use super::{LONG, Mover};
use crate::hostile::Hostile;

/// A monitor that makes more calls in one run does not come to an end.
const MOST_CALLS: u64 = 5_000_000;

/// The mover, shared by the run and by the world that it moves.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Mover>>);

impl Shared {
    pub(crate) fn new(mover: Mover) -> Self {
        Self(Arc::new(Mutex::new(mover)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Mover> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for Shared {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let mut mover = self.lock();
        mover.calls += 1;
        assert!(mover.calls < MOST_CALLS, "the monitor does not come to an end");
        mover.go_on(hierarchy);
        if mover.moves > 0 && mover.one_in_drawn() {
            mover.moves -= 1;
            mover.act(hierarchy);
        }
        if mover.moves > 0 && mover.hostile.as_mut().is_some_and(Hostile::is_up_to_something) {
            mover.harm(hierarchy);
        }
        if let Some(fairness) = &mut mover.fairness {
            fairness.look();
        }
    }

    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        let mut mover = self.lock();
        let Mover { hostile, fairness, .. } = &mut *mover;
        let hostile = hostile.as_ref()?;
        if let Some(fairness) = fairness.as_mut().filter(|_| verb == Verb::Read) {
            fairness.read(directory, hostile.owns(directory));
        }
        hostile.bars(directory).then_some(Errno::ACCESS)
    }

    fn refuses_way(&mut self, path: &[u8]) -> Option<Errno> {
        let mover = self.lock();
        let hostile = mover.hostile.as_ref()?;
        hostile.bars_way_to(path).then_some(Errno::ACCESS)
    }

    fn loses_a_change(&mut self) -> bool {
        let mut mover = self.lock();
        mover.plan.loses_changes && mover.losses.u32(0..3) == 0
    }

    /// Until the world moves on, or stands still.
    fn withholds_death_of(&mut self) -> Option<u64> {
        let mover = self.lock();
        mover.withheld.filter(|_| mover.moves > 0).map(|at| mover.made[at].id)
    }

    fn lets_list(&mut self, directory: u64) {
        let mut mover = self.lock();
        let id = |at: usize| mover.made[at].id;
        let withheld = mover.withheld.and_then(|at| mover.made[at].parent);
        if withheld.is_some_and(|parent| id(parent) == directory) {
            mover.withheld = None;
        }
    }

    fn finds_by_id(&mut self, directory: u64) -> bool {
        let mut mover = self.lock();
        let long = mover.made.iter().any(|made| made.id == directory && made.path.len() > LONG);
        !long || mover.finds.bool()
    }

    fn watches_births_in(&mut self, directory: u64) {
        self.lock().watched.insert(directory);
    }
}
