//! Event files that come and go while their cgroup lives: no kernel says so.

use std::fs;

use cgwatch::{Event, EventKind, Options};
use contract::{Breach, sums};

use super::{
    last_word::{counting_tree, options, settle_books},
    memory,
};
use crate::{
    Cgroup, Environment, Failure, Recording,
    Requirement::{HugeTlb, Memory},
    Scenario, Tree, ensure,
    huge_pages::{FILE, KEY, refuse},
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("controllers-toggled", toggled).needs(&[HugeTlb]),
    Scenario::new("controllers-last-word", last_word).needs(&[HugeTlb]),
    Scenario::new("controllers-toggled-then-removed", then_removed).needs(&[HugeTlb]),
    Scenario::new("controllers-threaded", threaded).needs(&[HugeTlb]),
    Scenario::new("controllers-memory-toggled", memory_toggled).needs(&[Memory]),
    Scenario::new("controllers-memory-kept-alive", memory_kept_alive).needs(&[Memory]),
];

/// Waits until the file of a cgroup has gone, or come, so many times.
fn until_file(
    recording: &Recording,
    cgroup: &Cgroup,
    file: &str,
    comes: bool,
    times: usize,
) -> Result<(), Failure> {
    let matches = |event: &Event| match &event.kind {
        EventKind::FileAdded { cgroup: c, files } => {
            comes && c.id == Some(cgroup.id) && files.get(file).is_some()
        }
        EventKind::FileRemoved { cgroup: c, file: gone, .. } => {
            !comes && c.id == Some(cgroup.id) && &**gone == file
        }
        _ => false,
    };
    let mut left = times;
    let what = if comes { "added" } else { "removed" };
    recording.until(format_args!("{file} {what} {times} times at {cgroup:?}"), |event| {
        left -= usize::from(matches(event));
        left == 0
    })
}

fn switch(tree: &Tree, on: bool) -> Result<(), Failure> {
    tree.root().write("cgroup.subtree_control", if on { "+hugetlb" } else { "-hugetlb" })
}

/// Off and on again: the file is told as gone and as come, and what is counted in between times is
/// told as ever.
fn toggled(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    let cgroup = tree.make("c")?;
    recording.until_appeared(&cgroup)?;
    for round in 1..=environment.scale(20, 3) {
        refuse(&tree, &cgroup, 2)?;
        let grown = tree.root().count(FILE, KEY)?;
        recording.until_counted(tree.root(), FILE, KEY, grown)?;
        switch(&tree, false)?;
        until_file(&recording, &cgroup, FILE, false, round)?;
        switch(&tree, true)?;
        until_file(&recording, &cgroup, FILE, true, round)?;
    }
    tree.remove(&cgroup)?;
    recording.until_removed(&cgroup)?;
    settle_books(recording, &tree)
}

/// What was counted right before the file went is recovered like that of a dead cgroup.
fn last_word(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    let cgroup = tree.make("c")?;
    let innocent = tree.make("innocent")?;
    recording.until_appeared(&innocent)?;
    for round in 1..=environment.scale(20, 3) {
        refuse(&tree, &cgroup, 3)?;
        switch(&tree, false)?;
        until_file(&recording, &cgroup, FILE, false, round)?;
        until_file(&recording, &innocent, FILE, false, round)?;
        switch(&tree, true)?;
        until_file(&recording, &cgroup, FILE, true, round)?;
        until_file(&recording, &innocent, FILE, true, round)?;
    }
    settle_books(recording, &tree)
}

/// The file goes, and the cgroup right after it.
fn then_removed(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    for round in 0..environment.scale(40, 4) {
        let cgroup = tree.make(format!("{round}"))?;
        recording.until_appeared(&cgroup)?;
        refuse(&tree, &cgroup, 1)?;
        switch(&tree, false)?;
        if round % 2 == 0 {
            until_file(&recording, &cgroup, FILE, false, 1)?;
        }
        tree.remove(&cgroup)?;
        switch(&tree, true)?;
        recording.until_removed(&cgroup)?;
    }
    settle_books(recording, &tree)
}

/// A cgroup that becomes threaded loses the files of all but a few controllers. Only a child of the
/// hierarchy's root can become so under a parent that has such controllers, so the watched root
/// does; what it counted last cannot be known, since nobody counts above it.
fn threaded(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    ensure!(tree.root().file(FILE).exists(), "driver: no {FILE} to lose");
    tree.root().write("cgroup.type", "threaded")?;
    ensure!(!tree.root().file(FILE).exists(), "driver: {FILE} is still there");
    until_file(&recording, tree.root(), FILE, false, 1)?;
    let child = tree.make("child")?;
    recording.until_appeared(&child)?;
    let events = super::judge(recording, &tree)?;
    let known = events.iter().find(|event| match &event.kind {
        EventKind::FileRemoved { unseen, .. } => {
            !unseen.files.iter().any(|(file, values)| &**file == FILE && values.is_none())
        }
        _ => false,
    });
    match known {
        Some(event) => {
            let told =
                format!("seq {}: nobody can know what it had not told: {event:?}", event.seq);
            Err(Breach(told).into())
        }
        None => Ok(()),
    }
}

/// The memory controller off and on again, alone: its counters may begin anew, and the books of
/// the tree hold in any case.
fn memory_toggled(environment: &Environment) -> Result<(), Failure> {
    memory_off_and_on(environment, "")
}

/// The same while the io controller keeps the hidden counters alive.
fn memory_kept_alive(environment: &Environment) -> Result<(), Failure> {
    let list = environment.cgroup_mount.join("cgroup.subtree_control");
    let list = fs::read_to_string(&list).map_err(Failure::driver("read", list))?;
    if !list.split_whitespace().any(|controller| controller == "io") {
        return Err(Failure::Skip("no io controller in the cgroup v2 hierarchy".into()));
    }
    memory_off_and_on(environment, "+io")
}

fn memory_off_and_on(environment: &Environment, also: &str) -> Result<(), Failure> {
    let rounds = environment.scale(24, 4);
    let tree = memory::memory_tree(environment)?;
    if !also.is_empty() {
        tree.root().write("cgroup.subtree_control", also)?;
    }
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    let cgroup = tree.make("c")?;
    recording.until_appeared(&cgroup)?;
    for round in 1..=rounds {
        memory::killed(&tree, &cgroup, memory::doomed(&cgroup)?)?;
        if round % 2 == 0 {
            recording.until_counted(tree.root(), memory::FILE, memory::KILL, round as u64)?;
        }
        tree.root().write("cgroup.subtree_control", "-memory")?;
        until_file(&recording, &cgroup, memory::FILE, false, round)?;
        tree.root().write("cgroup.subtree_control", "+memory")?;
        until_file(&recording, &cgroup, memory::FILE, true, round)?;
    }
    let events = memory::settle_books(recording, &tree, rounds as u64)?;
    let told = sums(&events, memory::FILE, memory::KILL);
    ensure!(told.total() == rounds as i128, "{told:?} of {rounds} kills");
    Ok(())
}
