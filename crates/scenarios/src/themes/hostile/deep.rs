//! Nested cgroups with long names: a path that no system call takes.

use std::os::fd::OwnedFd;

use cgwatch::{EventKind, Options, Strategy};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, open, openat, unlinkat};

use super::{super::judge, Stage, exactly_once};
use crate::{Environment, Failure, Recording};

/// So many bytes has each name.
const LONG: usize = 1_400;
/// And by fanotify, whose records name nothing longer: that is found by sweeps.
const NAMED: usize = 255;
/// After so many levels the victim lives on.
const TURN: usize = 10;

/// Each level is made once the one above is reported, and removed once all are; a victim lives on
/// beside it.
pub(super) fn deep(environment: &Environment) -> Result<(), Failure> {
    let stage = Stage::new(environment, 0)?;
    let recording = Recording::of_tree(environment, &stage.tree, Options::new())?;
    let levels = environment.scale(300, 40);
    let length = if environment.strategy == Strategy::Fanotify { NAMED } else { LONG };
    let mut nest = Nest::new(&stage, length)?;
    let mut made = Vec::new();
    for level in 0..levels {
        let id = nest.deepen()?;
        recording.until(format_args!("appeared of level {level}"), |event| {
            matches!(&event.kind, EventKind::Appeared { cgroup, .. } if cgroup.id == Some(id))
        })?;
        if level % TURN == 0 {
            made.extend(stage.live(&recording, level..level + 1)?);
        }
    }
    let nested = nest.ids.clone();
    while let Some(id) = nest.shorten()? {
        let level = nest.ids.len();
        if level % (2 * TURN) == 0 {
            recording.until(format_args!("removed of level {level}"), |event| {
                matches!(&event.kind, EventKind::Removed { cgroup, .. } if cgroup.id == Some(id))
            })?;
            made.extend(stage.live(&recording, levels + level..levels + level + 1)?);
        }
    }
    drop(nest);
    let events = judge(recording, &stage.tree)?;
    exactly_once(&events, nested.into_iter().chain(made.iter().map(|cgroup| cgroup.id)))
}

/// A cgroup in the other, walked by descriptors.
struct Nest<'s> {
    stage: &'s Stage,
    name: String,
    /// The hostile cgroup, and what is nested in it.
    chain: Vec<OwnedFd>,
    path: Vec<u8>,
    /// The ids of what is nested.
    ids: Vec<u64>,
}

impl<'s> Nest<'s> {
    const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    fn new(stage: &'s Stage, length: usize) -> Result<Self, Failure> {
        let chain = vec![open(&stage.hostile.directory, Self::FLAGS, Mode::empty())?];
        let path = b"/hostile".into();
        Ok(Self { stage, name: "x".repeat(length), chain, path, ids: Vec::new() })
    }

    /// Makes one in the deepest; its id.
    fn deepen(&mut self) -> Result<u64, Failure> {
        let above = self.chain.last().ok_or_else(|| Failure::broken("driver: no nest"))?;
        mkdirat(above, &self.name, Mode::RWXU)?;
        let below = openat(above, &self.name, Self::FLAGS, Mode::empty())?;
        let id = fstat(&below)?.st_ino;
        self.path.push(b'/');
        self.path.extend(self.name.bytes());
        self.stage.tree.note_birth(id, self.path.clone());
        self.chain.push(below);
        self.ids.push(id);
        Ok(id)
    }

    /// Removes the deepest; its id. `None` if none is left.
    fn shorten(&mut self) -> Result<Option<u64>, Failure> {
        let Some(id) = self.ids.pop() else { return Ok(None) };
        drop(self.chain.pop());
        let above = self.chain.last().ok_or_else(|| Failure::broken("driver: no nest"))?;
        unlinkat(above, &self.name, AtFlags::REMOVEDIR)?;
        self.stage.tree.note_death(id);
        Ok(Some(id))
    }
}
