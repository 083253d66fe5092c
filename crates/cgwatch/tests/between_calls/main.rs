//! What happens between any two system calls of the monitor is told right: each test moves the world
//! before the Nth call, for every N there is.
//!
//! [`lives`]: who is told to be there; [`once`]: and how often; [`blame`]: whose an amount is called;
//! [`settling`]: and if others go meanwhile; [`balance`]: that each is told once; [`files`]: which files a
//! cgroup is said to have.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod balance;
mod blame;
mod files;
mod lives;
mod once;
mod settling;
#[path = "../sim/mod.rs"]
mod sim;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cgwatch::{
    Driver, Event, Options, SimWorld, Watcher,
    cgroup_sim::{self, Hierarchy, Profile},
};

/// Acts once, before the watcher's Nth call.
struct Once<F> {
    calls: u64,
    act: F,
}

impl<F: FnMut(&Hierarchy) + Send> Driver for Once<F> {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        if self.calls == 0 {
            (self.act)(hierarchy);
        }
        self.calls = self.calls.wrapping_sub(1);
    }
}

/// Counts the watcher's calls from when it is started.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    /// No number follows.
    const STOPPED: u64 = u64::MAX;

    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(Self::STOPPED)))
    }

    fn start(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The number of the call that is about to be made.
    fn tick(&self) -> Option<u64> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |call: u64| call.checked_add(1))
            .ok()
    }

    /// How many calls have been made.
    fn calls(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Acts before each call of the watcher, by its number.
struct Timed<F> {
    clock: Clock,
    act: F,
}

impl<F: FnMut(u64, &Hierarchy) + Send> Driver for Timed<F> {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        if let Some(call) = self.clock.tick() {
            (self.act)(call, hierarchy);
        }
    }
}

fn services(profile: Profile) -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory")
}

fn world(hierarchy: &Arc<Hierarchy>) -> SimWorld {
    SimWorld::new(Arc::clone(hierarchy))
}

/// Watches `/services`, where something happens before the Nth call.
fn watcher(
    world: SimWorld,
    options: Options,
    calls: u64,
    act: impl FnMut(&Hierarchy) + Send + 'static,
) -> Watcher<SimWorld> {
    sim::watcher(world.driven_by(Once { calls, act }), options, "/services")
}

/// Watches `/services`, and has told what is there.
fn settled(world: SimWorld, options: Options) -> Watcher<SimWorld> {
    let mut watcher = sim::watcher(world, options, "/services");
    listen(&mut watcher);
    watcher
}

/// All that is told until nothing has been for a minute and a half, in which everything is swept.
fn listen(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    sim::listen(watcher, Duration::from_secs(90))
}
