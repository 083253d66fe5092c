//! The last word (design.md 4.1, item 5): what a cgroup counted and nobody could read in time is
//! recovered from its parent. With a counter of the hugetlb controller, so that it can be shown on
//! a machine whose memory controller is elsewhere.

use std::thread;

use cgwatch::Options;
use contract::{balance, blame, kill_before_empty};

use super::judge;
use crate::{
    Environment, Failure, Recording,
    Requirement::HugeTlb,
    Scenario, Tree,
    huge_pages::{FILE, KEY, refuse},
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("last-word-counted", counted).needs(&[HugeTlb]),
    Scenario::new("last-word-removed-at-once", removed_at_once).needs(&[HugeTlb]),
    Scenario::new("last-word-siblings", siblings).needs(&[HugeTlb]),
    Scenario::new("last-word-nested", nested).needs(&[HugeTlb]),
    Scenario::new("last-word-before-empty", before_empty).needs(&[HugeTlb]),
    Scenario::new("last-word-under-load", under_load).needs(&[HugeTlb]),
];

pub(crate) fn options() -> Options {
    Options::new().files(["cgroup.events", FILE])
}

/// A tree whose children count.
pub(crate) fn counting_tree(environment: &Environment) -> Result<Tree, Failure> {
    let tree = Tree::plant(environment)?;
    tree.root().write("cgroup.subtree_control", "+hugetlb")?;
    Ok(tree)
}

/// The contract, the truth, and the books of the whole tree.
pub(crate) fn settle_books(recording: Recording, tree: &Tree) -> Result<(), Failure> {
    let grown = tree.root().count(FILE, KEY)?;
    recording.until_counted(tree.root(), FILE, KEY, grown)?;
    let events = judge(recording, tree)?;
    balance(&events, FILE, KEY, grown)?;
    Ok(blame(&events, &tree.truth(), FILE, KEY)?)
}

/// While a cgroup lives, the sum of the deltas is what its file says.
fn counted(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    let cgroup = tree.make("counts")?;
    for times in 1..=environment.scale(60, 10) {
        refuse(&tree, &cgroup, times as u64 % 3 + 1)?;
        if times % 10 == 0 {
            recording.until_counted(&cgroup, FILE, KEY, cgroup.count(FILE, KEY)?)?;
        }
    }
    recording.until_counted(&cgroup, FILE, KEY, cgroup.count(FILE, KEY)?)?;
    settle_books(recording, &tree)
}

/// A cgroup counts and is removed before anybody could read it, hundreds of times, with others
/// that counted nothing in between.
fn removed_at_once(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    for round in 0..environment.scale(600, 60) {
        let innocent = tree.make(format!("innocent-{round}"))?;
        let guilty = tree.make(format!("guilty-{round}"))?;
        if round % 3 == 0 {
            recording.until_appeared(&guilty)?;
        }
        refuse(&tree, &guilty, round as u64 % 4 + 1)?;
        if round % 2 == 0 {
            tree.remove(&innocent)?;
            tree.remove(&guilty)?;
        } else {
            tree.remove(&guilty)?;
            tree.remove(&innocent)?;
        }
    }
    settle_books(recording, &tree)
}

/// Several siblings count and die together.
fn siblings(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    for round in 0..environment.scale(60, 6) {
        let names = (0..8).map(|sibling| tree.make(format!("{round}-{sibling}")));
        let siblings = names.collect::<Result<Vec<_>, _>>()?;
        for sibling in &siblings {
            recording.until_appeared(sibling)?;
        }
        for (place, sibling) in siblings.iter().enumerate() {
            if place % 4 != 3 {
                refuse(&tree, sibling, place as u64 + 1)?;
            }
        }
        for sibling in &siblings {
            tree.remove(sibling)?;
        }
    }
    settle_books(recording, &tree)
}

/// A whole branch counts at its leaf and is removed at once, so that nobody between the leaf and
/// the tree's root could be read either.
fn nested(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    for round in 0..environment.scale(120, 12) {
        let top = tree.make(format!("{round}"))?;
        top.write("cgroup.subtree_control", "+hugetlb")?;
        let middle = tree.make(format!("{round}/middle"))?;
        middle.write("cgroup.subtree_control", "+hugetlb")?;
        let leaf = tree.make(format!("{round}/middle/leaf"))?;
        if round % 3 > 0 {
            recording.until_appeared(&leaf)?;
        }
        refuse(&tree, &leaf, 2)?;
        if round % 2 == 0 {
            recording.until_counted(&top, FILE, KEY, 2)?;
        }
        for cgroup in [&leaf, &middle, &top] {
            tree.remove(cgroup)?;
        }
    }
    settle_books(recording, &tree)
}

/// What a process counted is told before the exit that emptied its cgroup.
fn before_empty(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    for round in 0..environment.scale(120, 12) {
        let cgroup = tree.make(format!("once-{round}"))?;
        recording.until_appeared(&cgroup)?;
        refuse(&tree, &cgroup, 1)?;
        if round % 2 == 0 {
            recording.until_counted(&cgroup, FILE, KEY, 1)?;
        }
        tree.remove(&cgroup)?;
    }
    let grown = tree.root().count(FILE, KEY)?;
    recording.until_counted(tree.root(), FILE, KEY, grown)?;
    let events = judge(recording, &tree)?;
    balance(&events, FILE, KEY, grown)?;
    Ok(kill_before_empty(&events, FILE, KEY)?)
}

/// The same while other cgroups are born and die as fast as the machine can.
fn under_load(environment: &Environment) -> Result<(), Failure> {
    let tree = counting_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, options())?;
    let rounds = environment.scale(300, 30);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            (0..rounds * 8).try_for_each(|n| tree.remove(&tree.make(format!("load-{n}"))?))
        });
        for round in 0..rounds {
            let guilty = tree.make(format!("guilty-{round}"))?;
            refuse(&tree, &guilty, 1)?;
            tree.remove(&guilty)?;
        }
        load.join().map_err(|_| Failure::broken("driver: a thread panicked"))?
    })?;
    settle_books(recording, &tree)
}
