//! The cgroups that a benchmark watches, and what happens to them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use linux_notify::inotify::{Inotify, Mask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::ClockId;

use crate::bench::machine::{self, nanoseconds};

/// Directories hold so many cgroups each.
const WIDTH: usize = 100;

/// A tree of cgroups with a name of its own. It goes when it is dropped.
#[derive(Debug)]
pub(super) struct Tree {
    top: PathBuf,
    /// Where cgroups are born and die.
    nursery: PathBuf,
    leaves: Vec<PathBuf>,
    cgroups: usize,
    /// `cgroup.freeze` of the leaves that change: kept open, for closing it would be an event too.
    switches: Vec<File>,
    frozen: bool,
}

impl Tree {
    /// Makes so many cgroups, the first `changing` leaves of which can change.
    pub(super) fn plant(mount: &Path, cgroups: usize, changing: usize) -> Result<Self> {
        let top = mount.join(format!("cgwatch-bench-{}-{cgroups}", std::process::id()));
        let nursery = top.join("nursery");
        let mut tree = Self {
            top,
            nursery,
            leaves: Vec::new(),
            cgroups: 2,
            switches: Vec::new(),
            frozen: false,
        };
        make(&tree.top)?;
        make(&tree.nursery)?;
        while tree.cgroups < cgroups {
            let group = tree.top.join(format!("group-{}", tree.cgroups));
            make(&group)?;
            tree.cgroups += 1;
            for number in 0..WIDTH.min(cgroups.saturating_sub(tree.cgroups)) {
                let leaf = group.join(format!("leaf-{number}"));
                make(&leaf)?;
                tree.leaves.push(leaf);
                tree.cgroups += 1;
            }
        }
        ensure!(tree.leaves.len() >= changing, "more cgroups are to change than there are");
        for leaf in &tree.leaves[..changing] {
            let switch = leaf.join("cgroup.freeze");
            tree.switches.push(File::options().write(true).open(switch)?);
        }
        Ok(tree)
    }

    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// How many cgroups it has, the topmost among them.
    pub(super) fn cgroups(&self) -> usize {
        self.cgroups
    }

    /// Leaves that do not change by themselves.
    pub(super) fn quiet(&self, count: usize) -> &[PathBuf] {
        &self.leaves[self.leaves.len() - count..]
    }

    /// Changes each of the leaves that can change, once, at once or with a pause before each. It is
    /// `frozen` that changes, which needs no process.
    pub(super) fn toggle(&mut self, pause: Option<Duration>) -> Result<()> {
        self.frozen = !self.frozen;
        for switch in &mut self.switches {
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
            switch.write_all(if self.frozen { b"1" } else { b"0" })?;
        }
        Ok(())
    }

    /// Sees the same notifications as everybody: changes are announced later than they happen.
    pub(super) fn witness(&self) -> Result<Witness> {
        let inotify = Inotify::new()?;
        for leaf in &self.leaves[..self.switches.len()] {
            let directory = File::open(leaf)?;
            let fd = std::os::fd::AsFd::as_fd(&directory);
            inotify.add_at(fd, b"cgroup.events", Mask::MODIFY)?;
        }
        Ok(Witness(inotify))
    }

    /// Makes cgroups numbered from 0.
    pub(super) fn bear(&self, count: usize) -> Result<Duration> {
        let names = self.names(count);
        let began = Instant::now();
        names.iter().try_for_each(|name| make(name))?;
        Ok(began.elapsed())
    }

    /// Removes them.
    pub(super) fn bury(&self, count: usize) -> Result<Duration> {
        let names = self.names(count);
        let began = Instant::now();
        names.iter().try_for_each(|name| remove(name))?;
        Ok(began.elapsed())
    }

    /// Removes them with a pause before each. When each `rmdir` returned, by the monotonic clock.
    pub(super) fn bury_slowly(&self, count: usize, pause: Duration) -> Result<Vec<u64>> {
        let mut returned = Vec::with_capacity(count);
        for name in self.names(count) {
            std::thread::sleep(pause);
            remove(&name)?;
            returned.push(nanoseconds(ClockId::Monotonic));
        }
        Ok(returned)
    }

    fn names(&self, count: usize) -> Vec<PathBuf> {
        (0..count).map(|number| self.nursery.join(format!("n{number}"))).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        machine::remove_cgroups(&self.top);
    }
}

/// Another watcher of the leaves that change.
#[derive(Debug)]
pub(super) struct Witness(Inotify);

impl Witness {
    /// Waits until so many of them were announced.
    pub(super) fn await_changes(&self, count: usize) -> Result<()> {
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        let mut buffer = [0; 65536];
        let mut seen = 0;
        while seen < count {
            let ready = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience))?;
            ensure!(ready > 0, "{seen} of {count} changes were announced");
            seen += self.0.read(&mut buffer)?.count();
        }
        Ok(())
    }
}

fn make(cgroup: &Path) -> Result<()> {
    fs::create_dir(cgroup).with_context(|| format!("mkdir {}", cgroup.display()))
}

fn remove(cgroup: &Path) -> Result<()> {
    fs::remove_dir(cgroup).with_context(|| format!("rmdir {}", cgroup.display()))
}
