//! Bad input: a clear error, never a panic, and nothing left behind.

use std::path::Path;

use cgwatch::{Depth, Error, Options, Watcher};
use linux_notify::mountinfo::{self, MountInfo};
use rustix::{
    mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount},
    thread::UnshareFlags,
};

use crate::{Environment, Failure, Requirement::Host, Scenario, Tree, descriptors, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("input-cgroup-v1", cgroup_v1).needs(&[Host]),
    Scenario::new("input-no-cgroup", no_cgroup),
    Scenario::new("input-no-hierarchy", no_hierarchy),
    Scenario::new("input-overlap", overlap),
];

/// What [`Watcher::add`] says to a path; without watching it in the end.
fn refusal(path: &Path) -> Result<Error, Failure> {
    let before = descriptors("self")?;
    let error = match Watcher::new(Options::new()) {
        Ok(mut watcher) => watcher.add(path, Depth::All).err(),
        Err(error) => Some(error),
    };
    let after = descriptors("self")?;
    ensure!(before == after, "{}: before {before:?}, after {after:?}", path.display());
    error.ok_or_else(|| Failure::broken(format!("{} can be watched", path.display())))
}

fn cgroup_v1(_: &Environment) -> Result<(), Failure> {
    let mounts = MountInfo::all().map_err(Failure::driver("read", mountinfo::PATH))?;
    let v1 = mounts.into_iter().find(|mount| mount.file_system == "cgroup");
    let Some(v1) = v1 else {
        return Err(Failure::Skip("no cgroup v1 hierarchy is mounted".into()));
    };
    let error = refusal(&v1.point)?;
    ensure!(matches!(error, Error::CgroupV1 { .. }), "{}: {error:?}", v1.point.display());
    Ok(())
}

fn no_cgroup(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let error = refusal(&environment.scratch)?;
    ensure!(matches!(error, Error::NotACgroup { .. }), "a plain directory: {error:?}");
    let error = refusal(&tree.root().file("cgroup.events"))?;
    ensure!(matches!(error, Error::NotACgroup { .. }), "a control file: {error:?}");
    let error = refusal(&tree.path().join("never-was"))?;
    ensure!(matches!(error, Error::NotFound { .. }), "nothing: {error:?}");
    let gone = tree.make("gone")?;
    tree.remove(&gone)?;
    let error = refusal(&gone.directory)?;
    ensure!(matches!(error, Error::NotFound { .. }), "a vanished cgroup: {error:?}");
    let error = refusal(Path::new(""))?;
    ensure!(matches!(error, Error::NotFound { .. } | Error::NotACgroup { .. }), "{error:?}");
    Ok(())
}

/// A machine without the hierarchy: this process's own view of one.
fn no_hierarchy(environment: &Environment) -> Result<(), Failure> {
    #[expect(deprecated, reason = "sound for namespaces; its successor is unsafe")]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    unmount(&environment.cgroup_mount, UnmountFlags::DETACH)?;
    let error = refusal(&environment.cgroup_mount)?;
    ensure!(matches!(error, Error::NoCgroup2), "{error:?}");
    Ok(())
}

/// No cgroup is watched twice by one watcher, and a path can be given back.
fn overlap(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let child = tree.make("child")?;
    let sibling = tree.make("sibling")?;
    let mut watcher = Watcher::new(Options::new())?;
    watcher.add(&child.directory, Depth::All)?;
    for path in [&child.directory, tree.path()] {
        let error = watcher.add(path, Depth::All).err();
        let overlaps = matches!(error, Some(Error::Overlap { .. }));
        ensure!(overlaps, "{}: {error:?}", path.display());
    }
    watcher.add(&sibling.directory, Depth::All)?;
    watcher.remove(&sibling.directory)?;
    let error = watcher.remove(&sibling.directory).err();
    ensure!(matches!(error, Some(Error::NotWatched { .. })), "{error:?}");
    watcher.remove(&child.directory)?;
    watcher.add(tree.path(), Depth::All)?;
    let left = watcher.snapshot().len();
    ensure!(left == 3, "{left} cgroups are known");
    Ok(())
}
