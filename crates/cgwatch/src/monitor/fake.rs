//! A hierarchy in memory for the tests of the monitor: it moves between any two verbs.
//!
//! Small and obviously right rather than complete: directories, three event files with keys of
//! their own, a queue with a limit, counters that sum up the tree and go on after death.

mod dice;
mod hierarchy;

use std::{cell::RefCell, rc::Rc};

use rustix::io::Errno;

use self::hierarchy::Record;
pub(crate) use self::hierarchy::{Hierarchy, KEYS};
use crate::{
    Time,
    world::{MountOptions, Notification, Stat, WatchLimit, Wd, World},
};

/// The world over a [`Hierarchy`] that the test keeps the other handle of.
#[derive(Debug)]
pub(crate) struct FakeWorld(pub(crate) Rc<RefCell<Hierarchy>>);

impl FakeWorld {
    /// Time passes, and now and then something happens.
    fn verb(&self) -> std::cell::RefMut<'_, Hierarchy> {
        let mut world = self.0.borrow_mut();
        world.now_ns += 1_000;
        if world.move_one_in > 0 && world.moves > 0 {
            let one_in = world.move_one_in;
            if world.dice.one_in(one_in) {
                world.moves -= 1;
                world.act();
            }
        }
        world
    }
}

impl World for FakeWorld {
    type Dir = usize;

    fn locate(&mut self, path: &std::path::Path) -> Result<crate::world::Place, crate::Error> {
        Err(crate::Error::NotFound { path: path.into() })
    }

    fn open(&mut self, _base: usize, path: &[u8]) -> Result<(usize, Stat), Errno> {
        let mut at = 0;
        let world = self.verb();
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let children = world.children(at);
            at = *children.iter().find(|c| world.cgroups[**c].name == name).ok_or(Errno::NOENT)?;
        }
        let stat = Stat {
            id: world.cgroups[at].id,
            subdirectories: Some(world.children(at).len() as u64),
        };
        Ok((at, stat))
    }

    fn open_known(&mut self, base: usize, path: &[u8], id: u64) -> Result<usize, Errno> {
        if self.0.borrow().by_id {
            let world = self.verb();
            let at = world.cgroups.iter().position(|cgroup| cgroup.id == id && cgroup.alive);
            return at.ok_or(Errno::STALE);
        }
        let (dir, stat) = self.open(base, path)?;
        if stat.id == id { Ok(dir) } else { Err(Errno::STALE) }
    }

    fn open_child(
        &mut self,
        dir: &mut usize,
        name: &[u8],
        id: u64,
    ) -> Result<(usize, Stat), Errno> {
        let world = self.verb();
        let children = world.children(*dir);
        let child = children.iter().find(|child| world.cgroups[**child].name == name);
        let at = *child.ok_or(Errno::NOENT)?;
        if world.by_id && id != 0 && world.cgroups[at].id != id {
            return Err(Errno::STALE);
        }
        let subdirectories = Some(world.children(at).len() as u64);
        Ok((at, Stat { id: world.cgroups[at].id, subdirectories }))
    }

    fn goes_by_id(&self) -> bool {
        self.0.borrow().by_id
    }

    fn stat(&mut self, dir: &mut usize) -> Result<Stat, Errno> {
        let world = self.verb();
        let alive = world.cgroups[*dir].alive;
        let subdirectories = alive.then(|| world.children(*dir).len() as u64);
        Ok(Stat { id: world.cgroups[*dir].id, subdirectories })
    }

    fn list(
        &mut self,
        dir: &mut usize,
        each: &mut dyn FnMut(&[u8], bool, u64),
    ) -> Result<(), Errno> {
        let world = self.verb();
        if !world.cgroups[*dir].alive {
            return Err(Errno::NOENT);
        }
        for child in world.children(*dir) {
            each(&world.cgroups[child].name, true, world.cgroups[child].id);
        }
        for file in ["cgroup.events", "memory.events"] {
            if world.text(*dir, file).is_some() {
                each(file.as_bytes(), false, world.file_id(*dir, file));
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        dir: &mut usize,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let world = self.verb();
        if !world.is_file(*dir, file, id) {
            return Err(Errno::STALE);
        }
        let shown = world.text(*dir, file).ok_or(Errno::NOENT)?;
        text.clear();
        text.extend(shown.bytes());
        Ok(())
    }

    fn watch(&mut self, dir: &mut usize) -> Result<Wd, Errno> {
        self.add(*dir, None)
    }

    fn watch_file(&mut self, dir: &mut usize, file: &str, id: u64) -> Result<Wd, Errno> {
        if !self.0.borrow().is_file(*dir, file, id) {
            return Err(Errno::STALE);
        }
        self.add(*dir, Some(file))
    }

    fn mark_all(&mut self) -> Result<(), crate::Error> {
        Err(crate::Error::NoFanotify { source: Errno::NOSYS })
    }

    fn unwatch(&mut self, wd: Wd) {
        self.verb().watches.remove(&wd);
    }

    fn close(&mut self, _dir: usize) {
        self.verb();
    }

    fn drain(&mut self, each: &mut dyn FnMut(Notification<'_>)) -> Result<(), Errno> {
        let queue = std::mem::take(&mut self.verb().queue);
        for record in &queue {
            each(match record {
                Record::Created(wd, name) => Notification::Created(*wd, name),
                Record::Deleted(wd, name) => Notification::Deleted(*wd, name),
                Record::Written(wd, name) => Notification::Written(*wd, name),
                Record::Modified(wd) => Notification::Modified(*wd),
                Record::Ignored(wd) => Notification::Ignored(*wd),
                Record::Overflow => Notification::Overflow,
            });
        }
        Ok(())
    }

    fn now(&mut self) -> Time {
        Time { boot_ns: self.0.borrow().now_ns, unix_ns: 0 }
    }

    fn wait(&mut self, _until: Option<u64>) -> Result<(), Errno> {
        Ok(())
    }

    fn set_alarm(&mut self, _at: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn mount_options(&mut self) -> MountOptions {
        MountOptions::default()
    }

    fn host_oom_kills(&mut self) -> Option<u64> {
        None
    }

    fn watch_limit(&mut self) -> WatchLimit {
        WatchLimit { name: "a limit".into(), value: Some(self.0.borrow().watch_limit as u64) }
    }
}

impl FakeWorld {
    fn add(&mut self, at: usize, file: Option<&str>) -> Result<Wd, Errno> {
        let mut world = self.verb();
        if !world.cgroups[at].alive || file.is_some_and(|file| world.text(at, file).is_none()) {
            return Err(Errno::NOENT);
        }
        if let Some(wd) = world.on(at, file) {
            return Ok(wd);
        }
        if world.watches.len() >= world.watch_limit {
            return Err(Errno::NOSPC);
        }
        let wd = Wd(world.next_wd);
        world.next_wd += 1;
        world.watches.insert(wd, (at, file.map(String::from)));
        Ok(wd)
    }
}
