//! `cgwatch watch --sim`: the same monitor on a simulated hierarchy in which a scenario is played.
//!
//! Virtual time follows real time, multiplied by `--speed`. Nothing is skipped however fast it runs:
//! the world moves from one moment in which something happens to the next, and the monitor looks
//! after each, so the events of a scenario do not depend on the speed.

use std::{
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use cgroup_sim::{
    Hierarchy,
    scenario::{Library, Player},
};
use cgwatch::{Depth, Event, Options, SimWorld, Start, Watcher};

use super::source::Source;
use crate::{arguments, people::printable, scenario};

/// A scenario that is being played and watched.
pub(super) struct Simulated {
    what: String,
    hierarchy: Arc<Hierarchy>,
    player: Player,
    watcher: Watcher<SimWorld>,
    began: Instant,
    /// The virtual time at which it began.
    origin: u64,
    speed: f64,
}

impl Simulated {
    /// A scenario by its name or from a file; the first of the library if the name is empty.
    pub(super) fn start(
        name: &str,
        arguments: &arguments::Watch,
        options: Options,
    ) -> anyhow::Result<Self> {
        let name = if name.is_empty() { Library::ALL[0].name } else { name };
        let scenario = scenario::named(name)?.context("there is no such scenario")?;
        let hierarchy = Arc::new(Hierarchy::new(scenario.options(cgroup_sim::Options::default())));
        let player = scenario
            .play(&hierarchy)
            .map_err(|error| anyhow!("{}: {error}", printable(name.as_bytes())))?;
        let mut watcher = Watcher::simulated(SimWorld::new(Arc::clone(&hierarchy)), options)?;
        let depth = arguments.depth.map_or(Depth::All, Depth::AtMost);
        let whole = ["/".into()];
        let paths = if arguments.paths.is_empty() { &whole } else { &*arguments.paths };
        for path in paths {
            watcher.add(path, depth)?;
        }
        let what = format!(
            "this hierarchy is simulated, nothing in it is of this host: {} ({}), {} s at {} \
             times real time",
            printable(name.as_bytes()),
            printable(scenario.title().as_bytes()),
            scenario.lasts().as_secs_f64(),
            arguments.speed,
        );
        let origin = hierarchy.now();
        let (began, speed) = (Instant::now(), arguments.speed);
        Ok(Self { what, hierarchy, player, watcher, began, origin, speed })
    }

    /// What is watched, in a sentence.
    pub(super) fn what(&self) -> String {
        self.what.clone()
    }

    pub(super) fn watching(&self) -> Start {
        self.watcher.start()
    }

    /// The virtual time it should be now.
    fn target(&self) -> u64 {
        // Casts between floats and integers saturate.
        let ns = self.began.elapsed().as_secs_f64() * self.speed * 1e9;
        self.origin.saturating_add(ns as u64).min(self.player.end())
    }

    /// When something happens next, or the monitor wants to look, in virtual time.
    fn next_moment(&self) -> u64 {
        let moments = [self.player.next_at(), self.hierarchy.next_timer(), self.alarm()];
        let next = moments.into_iter().flatten().min().unwrap_or(u64::MAX);
        next.min(self.player.end())
    }

    fn alarm(&self) -> Option<u64> {
        self.watcher.world().alarm()
    }

    /// Moves on to the next moment, if it has come; the monitor looks at what happened in it.
    fn step(&mut self) -> anyhow::Result<bool> {
        let next = self.next_moment();
        if self.hierarchy.now() >= self.player.end() || next > self.target() {
            return Ok(false);
        }
        let played = self.player.run_until(&self.hierarchy, next);
        played.map_err(|error| anyhow!("the scenario cannot go on: {error}"))?;
        self.hierarchy.advance_to(next);
        self.watcher.update()?;
        Ok(true)
    }
}

impl Source for Simulated {
    fn next_event(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(event) = self.watcher.next()? {
                return Ok(Some(event));
            }
            if !self.step()? {
                return Ok(None);
            }
        }
    }

    fn take_in(&mut self) -> anyhow::Result<()> {
        while self.step()? {}
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.watcher.has_ended() || self.hierarchy.now() >= self.player.end()
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn due(&self) -> Option<Instant> {
        let ns = self.next_moment().saturating_sub(self.origin);
        let seconds = ns as f64 / 1e9 / self.speed;
        self.began.checked_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}
