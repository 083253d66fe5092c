//! The kernel forgets directory entries under memory pressure. Then, even where removals are
//! announced, they no longer are to whoever watches the file.
//!
//! Dropping the caches hits the whole machine, so this is shown in guests only.

use std::{fs, os::fd::AsRawFd as _, path::Path, time::Duration};

use cgwatch::{EventKind, Options};
use linux_notify::fanotify::{Fanotify, InitFlags, MarkFlags, Mask, Scope};
use rustix::fs::{Mode, OFlags};

use super::judge;
use crate::{Cgroup, Environment, Failure, Recording, Requirement::Guest, Scenario, Tree};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("reclaim-then-removal", then_removal).needs(&[Guest]),
    Scenario::new("reclaim-long-names", long_names).needs(&[Guest]),
];

/// A mark that does not keep its inode: it goes when the entry of its file was reclaimed, and of a
/// directory when all entries below it were.
#[derive(Debug)]
pub(super) struct Evidence(Option<Fanotify>);

impl Evidence {
    /// About something that nobody watches: a watch would keep the inode. None on a kernel where
    /// cgroup files cannot be marked so (before 6.6); those announce no removals that could be
    /// lost.
    pub(super) fn on(path: &Path) -> Result<Self, Failure> {
        let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let group = Fanotify::new(InitFlags::empty())?;
        let fd = std::os::fd::AsFd::as_fd(&file);
        let mark = group.add(Scope::Inode, MarkFlags::EVICTABLE, Mask::MODIFY, fd);
        Ok(Self(mark.is_ok().then_some(group)))
    }

    fn is_given(&self) -> Result<bool, Failure> {
        let Some(group) = &self.0 else { return Ok(true) };
        let fd = std::os::fd::AsFd::as_fd(group).as_raw_fd();
        let path = format!("/proc/self/fdinfo/{fd}");
        let text = fs::read_to_string(&path).map_err(Failure::driver("read", path))?;
        Ok(!text.lines().any(|line| line.starts_with("fanotify ino:")))
    }
}

/// Drops the caches until there is evidence that it did something.
pub(super) fn reclaim(evidence: &Evidence) -> Result<(), Failure> {
    for _ in 0..20 {
        drop_caches()?;
        if evidence.is_given()? {
            return Ok(());
        }
    }
    Err(Failure::Skip("the kernel reclaimed nothing".into()))
}

pub(super) fn drop_caches() -> Result<(), Failure> {
    let path = "/proc/sys/vm/drop_caches";
    fs::write(path, "2").map_err(Failure::driver("write", path))
}

/// Cgroups beside those that matter, with entries to reclaim: the kernel does not bother with few.
pub(super) fn siblings(tree: &Tree) -> Result<Vec<Cgroup>, Failure> {
    (0..64).map(|n| tree.make(format!("sibling-{n}"))).collect()
}

/// Looks at every file, so that it has an entry.
pub(super) fn look_at_everything(cgroups: &[Cgroup]) -> Result<(), Failure> {
    for cgroup in cgroups {
        let entries = fs::read_dir(&cgroup.directory);
        for entry in entries.map_err(Failure::driver("list", &cgroup.directory))? {
            let entry = entry.map_err(Failure::driver("list", &cgroup.directory))?;
            entry.metadata().map_err(Failure::driver("stat", entry.path()))?;
        }
    }
    Ok(())
}

fn then_removal(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    let siblings = siblings(&tree)?;
    for round in 0..5 {
        let watched = tree.make(format!("watched-{round}"))?;
        recording.until_appeared(&watched)?;
        recording.until_appeared(&siblings[63])?;
        look_at_everything(&siblings)?;
        reclaim(&Evidence::on(&siblings[0].file("cgroup.procs"))?)?;
        // Changes go on being told: the watch keeps the inode.
        watched.write("cgroup.freeze", "1")?;
        recording.until(format_args!("frozen of {watched:?}"), |event| {
            let EventKind::Changed { cgroup, new, .. } = &event.kind else { return false };
            cgroup.id == Some(watched.id) && new.get("frozen") == Some(1)
        })?;
        tree.remove(&watched)?;
        recording.until_removed(&watched)?;
    }
    judge(recording, &tree).map(drop)
}

/// What was reclaimed the kernel looks for by name, and has no room for long ones: it does not find
/// these by their ids, though they are there.
fn long_names(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    // By fanotify only a sweep finds these names.
    let often = Options::new().sweep_interval(Duration::from_millis(200));
    let recording = Recording::of_tree(environment, &tree, often)?;
    let siblings = siblings(&tree)?;
    let name = "n".repeat(300);
    let mut path = name.clone();
    let mut nested = Vec::new();
    for _ in 0..5 {
        let next = tree.make(&path)?;
        recording.until_appeared(&next)?;
        nested.push(next);
        look_at_everything(&siblings)?;
        reclaim(&Evidence::on(&siblings[0].file("cgroup.procs"))?)?;
        for (state, frozen) in [("1", 1), ("0", 0)] {
            nested[0].write("cgroup.freeze", state)?;
            let last = &nested[nested.len() - 1];
            recording.until(format_args!("frozen {frozen} of {last:?}"), |event| {
                let EventKind::Changed { cgroup, new, .. } = &event.kind else { return false };
                cgroup.id == Some(last.id) && new.get("frozen") == Some(frozen)
            })?;
        }
        path = format!("{path}/{name}");
    }
    for cgroup in nested.iter().rev() {
        reclaim(&Evidence::on(&siblings[0].file("cgroup.procs"))?)?;
        tree.remove(cgroup)?;
        recording.until_removed(cgroup)?;
    }
    judge(recording, &tree).map(drop)
}
