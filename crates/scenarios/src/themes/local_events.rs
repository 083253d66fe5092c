//! Mount options that change what the counters mean, switched while cgwatch runs.
//!
//! They belong to the whole hierarchy, so this is shown in guests only.

use cgwatch::{Event, EventKind, GapReason, Options};
use contract::{Breach, balance, complete, hold};
use rustix::{
    io::Errno,
    mount::{MountFlags, mount_remount},
};

use super::memory::{FILE, KILL, doomed, killed, memory_tree};
use crate::{
    Environment, Failure, Recording,
    Requirement::{Guest, Memory, Pids},
    Scenario, Tree, ensure,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("local-events-memory", memory).needs(&[Guest, Memory]),
    Scenario::new("local-events-pids", pids).needs(&[Guest, Pids]),
];

/// The option, until this is dropped.
struct Switched<'e>(&'e Environment);

impl<'e> Switched<'e> {
    fn on(environment: &'e Environment, option: &str) -> Result<Self, Failure> {
        let flags = MountFlags::empty();
        match mount_remount(&environment.cgroup_mount, flags, option) {
            Ok(()) => Ok(Self(environment)),
            Err(Errno::INVAL) => {
                Err(Failure::Skip(format!("this kernel has no mount option {option}")))
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Switched<'_> {
    fn drop(&mut self) {
        if let Err(errno) = mount_remount(&self.0.cgroup_mount, MountFlags::empty(), "") {
            eprintln!("the mount options stay: {errno}");
        }
    }
}

fn mount_changed(event: &Event) -> bool {
    matches!(event.kind, EventKind::Gap { reason: GapReason::MountChanged, .. })
}

/// A kill, and the removal at once, that nobody but the parent could tell of.
fn kill_one(tree: &Tree, recording: &Recording, name: &str) -> Result<(), Failure> {
    let cgroup = tree.make(name)?;
    recording.until_appeared(&cgroup)?;
    killed(tree, &cgroup, doomed(&cgroup)?)?;
    tree.remove(&cgroup)?;
    recording.until_removed(&cgroup)
}

/// Off, on, off: while the sums are missing nothing is recovered and nothing is invented, and it is
/// said that it cannot be known; once they are back, so are the books.
fn memory(environment: &Environment) -> Result<(), Failure> {
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    kill_one(&tree, &recording, "before")?;
    recording.until_counted(tree.root(), FILE, KILL, 1)?;

    let switched = Switched::on(environment, "memory_localevents")?;
    kill_one(&tree, &recording, "during")?;
    recording.until("the gap of the mount option", mount_changed)?;
    drop(switched);

    // The first settlement after the change may still not know.
    let mut left = 2;
    recording.settle(&tree)?;
    recording.until("the gap of its end", |event| {
        left -= usize::from(mount_changed(event));
        left == 0
    })?;
    let first = recording.so_far().len();
    let before = tree.root().count(FILE, KILL)?;
    for round in 0..5 {
        kill_one(&tree, &recording, &format!("after-{round}"))?;
    }
    let grown = tree.root().count(FILE, KILL)? - before;
    ensure!(grown == 5, "driver: 5 kills, but the kernel counted {grown}");
    recording.until_counted(tree.root(), FILE, KILL, before + grown)?;
    recording.settle(&tree)?;
    let (events, _) = recording.stop()?;
    hold(&events)?;
    complete(&events, &tree.truth())?;
    balance(&events[first..], FILE, KILL, grown)?;
    unknown_during(&events, "/during")
}

fn unknown_during(events: &[Event], path: &str) -> Result<(), Failure> {
    let removed = events.iter().find_map(|event| match &event.kind {
        EventKind::Removed { cgroup, unseen, .. } if cgroup.path.as_str() == Some(path) => {
            Some((cgroup, unseen))
        }
        _ => None,
    });
    let Some((cgroup, unseen)) = removed else {
        return Err(Failure::broken(format!("{path} was not removed")));
    };
    let told = events.iter().any(|event| match &event.kind {
        EventKind::Changed { cgroup: c, file, delta, .. } => {
            c.n == cgroup.n && &**file == FILE && delta.get(KILL).is_some()
        }
        _ => false,
    });
    let unknown = unseen.files.iter().any(|(file, values)| &**file == FILE && values.is_none());
    if told || unknown {
        return Ok(());
    }
    Err(Breach(format!("{path}: its kill is neither told nor said to be unknown: {unseen:?}"))
        .into())
}

/// The same option of the pids controller: nothing is invented, every removal is told.
fn pids(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    tree.root().write("cgroup.subtree_control", "+pids")?;
    if !tree.root().file("pids.events.local").exists() {
        return Err(Failure::Skip("pids.events has no hierarchical sum on this kernel".into()));
    }
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..3 {
        let switched = Switched::on(environment, "pids_localevents")?;
        let cgroup = tree.make(format!("{round}"))?;
        recording.until_appeared(&cgroup)?;
        tree.remove(&cgroup)?;
        recording.until_removed(&cgroup)?;
        drop(switched);
        recording.settle(&tree)?;
    }
    let (events, _) = recording.stop()?;
    hold(&events)?;
    complete(&events, &tree.truth())?;
    Ok(balance(&events, "pids.events", "max", 0)?)
}
