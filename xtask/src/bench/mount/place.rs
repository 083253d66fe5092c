//! Where something is measured: a real cgroup, or the mount that a server shows. Each has
//! `cgroup.events`, and `many/NUMBER/cgroup.events` for what is listed and looked up; those that
//! tell have `changing/NUMBER/cgroup.events`.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::time::ClockId;

use super::report::Arm;
use super::server::Server;
use crate::bench::machine;

/// How many directories of each kind there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) directories: usize,
    pub(super) changing: usize,
}

impl Layout {
    /// The folders that hold them.
    pub(super) fn folders(self) -> [(&'static str, usize); 2] {
        [("many", self.directories), ("changing", self.changing)]
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) arm: Arm,
    pub(super) root: PathBuf,
    pub(super) layout: Layout,
    server: Option<Server>,
}

impl Place {
    pub(super) fn of_cgroups(cgroups: &CgroupTree) -> Self {
        let root = cgroups.top.clone();
        Self { arm: Arm::Cgroupfs, root, layout: cgroups.layout, server: None }
    }

    pub(super) fn of_server(arm: Arm, server: Server, layout: Layout) -> Self {
        Self { arm, root: server.mount_point().to_owned(), layout, server: Some(server) }
    }

    /// The file that is read.
    pub(super) fn attribute(&self) -> PathBuf {
        self.root.join(if self.arm == Arm::HelloLl { "hello" } else { "cgroup.events" })
    }

    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The processor time of its server so far, in nanoseconds.
    pub(super) fn cpu(&self) -> Result<Option<f64>> {
        self.server.as_ref().map(Server::cpu).transpose()
    }

    /// Changes each of these directories' files, or removes the directories, with a pause before
    /// each. When each was begun, by the monotonic clock.
    pub(super) fn act(
        &mut self,
        act: Act,
        range: Range<usize>,
        pause: Duration,
        cgroups: &CgroupTree,
    ) -> Result<Vec<u64>> {
        match (&mut self.server, self.arm) {
            (Some(server), Arm::KernfsFuse) => server.ask(act, range, pause),
            _ => cgroups.act(act, range, pause),
        }
    }

    pub(super) fn end(self) -> Result<()> {
        self.server.map_or(Ok(()), Server::end).with_context(|| self.arm.name())
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Change,
    Remove,
}

/// Calls `act` for each with a pause before it. When each call was made, by the monotonic clock.
pub(super) fn one_by_one(
    range: Range<usize>,
    pause: Duration,
    mut act: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<u64>> {
    let mut begun = Vec::with_capacity(range.len());
    for number in range {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        begun.push(machine::nanoseconds(ClockId::Monotonic));
        act(number)?;
    }
    Ok(begun)
}

/// Real cgroups below one with a name of its own. They go when it is dropped.
#[derive(Debug)]
pub(super) struct CgroupTree {
    top: PathBuf,
    layout: Layout,
}

impl CgroupTree {
    pub(super) fn plant(layout: Layout) -> Result<Self> {
        let name = format!("cgwatch-bench-mount-{}", std::process::id());
        let tree = Self { top: machine::cgroups()?.join(name), layout };
        make(&tree.top)?;
        for (folder, count) in layout.folders() {
            let folder = tree.top.join(folder);
            make(&folder)?;
            (0..count).try_for_each(|number| make(&folder.join(number.to_string())))?;
        }
        Ok(tree)
    }

    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// How many cgroups there were at first.
    pub(super) fn count(&self) -> usize {
        self.layout.directories + self.layout.changing + 3
    }

    fn act(&self, act: Act, range: Range<usize>, pause: Duration) -> Result<Vec<u64>> {
        let changing = self.top.join("changing");
        let first = range.start;
        match act {
            Act::Change => {
                // Freezing an empty cgroup changes its `cgroup.events` at once.
                let open = |number: usize| {
                    let switch = changing.join(number.to_string()).join("cgroup.freeze");
                    File::options().write(true).open(&switch).with_context(|| name(&switch))
                };
                let mut switches = range.clone().map(open).collect::<Result<Vec<_>>>()?;
                one_by_one(range, pause, |number| Ok(switches[number - first].write_all(b"1")?))
            }
            Act::Remove => {
                let names: Vec<_> =
                    range.clone().map(|number| changing.join(number.to_string())).collect();
                one_by_one(range, pause, |number| Ok(fs::remove_dir(&names[number - first])?))
            }
        }
    }
}

impl Drop for CgroupTree {
    fn drop(&mut self) {
        for (folder, _) in self.layout.folders() {
            let folder = self.top.join(folder);
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            remove(&folder);
        }
        remove(&self.top);
    }
}

fn make(cgroup: &Path) -> Result<()> {
    fs::create_dir(cgroup).with_context(|| format!("mkdir {}", name(cgroup)))
}

fn remove(cgroup: &Path) {
    if let Err(error) = fs::remove_dir(cgroup) {
        eprintln!("left behind: {}: {error}", name(cgroup));
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
