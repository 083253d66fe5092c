//! What is compared, and in which form: the code of the ledger's entries.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{Failure, ensure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    accepted: Vec<Entry>,
}

/// An accepted difference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    what: String,
    reason: String,
}

const TEXT: &str = include_str!("ledger.toml");

/// The names of all entries that something here or in [`super`] stands for.
const APPLIED: [&str; 17] = [
    "neighbours",
    "order-between-watches",
    "pressure",
    "certain",
    "swap-max",
    "swap-order",
    "high-by-little",
    "one-victim",
    "group-kills",
    "exact-usage",
    "files",
    "keys",
    "controllers",
    "numbers",
    "dying",
    "whole-machine",
    "zombies",
];

/// The ledger is what the code does: every entry is applied, and nothing else.
pub(super) fn check() -> Result<(), Failure> {
    let ledger: Ledger =
        toml::from_str(TEXT).map_err(|error| Failure::broken(format!("the ledger: {error}")))?;
    let names: BTreeSet<_> = ledger.accepted.iter().map(|entry| entry.name.as_str()).collect();
    ensure!(names == BTreeSet::from(APPLIED), "the ledger has {names:?}, applied are {APPLIED:?}");
    let explained =
        ledger.accepted.iter().all(|entry| !entry.what.is_empty() && entry.reason.len() > 20);
    ensure!(explained, "an entry without a reason");
    Ok(())
}

/// Those that are compared ("files").
const FILES: [&str; 27] = [
    "cgroup.type",
    "cgroup.threads",
    "cgroup.procs",
    "cgroup.controllers",
    "cgroup.subtree_control",
    "cgroup.events",
    "cgroup.freeze",
    "cgroup.max.descendants",
    "cgroup.max.depth",
    "cgroup.stat",
    "cgroup.kill",
    "memory.low",
    "memory.high",
    "memory.max",
    "memory.oom.group",
    "memory.reclaim",
    "memory.events",
    "memory.events.local",
    "memory.swap.high",
    "memory.swap.max",
    "memory.swap.events",
    "pids.max",
    "pids.current",
    "pids.events",
    "pids.events.local",
    "hugetlb.2MB.events",
    "hugetlb.2MB.events.local",
];

/// Those of every cgroup and of these controllers.
pub(super) fn files(controllers: &[String]) -> impl Iterator<Item = &'static str> {
    FILES.into_iter().filter(|file| {
        let owner = file.split('.').next().unwrap_or_default();
        owner == "cgroup" || controllers.iter().any(|one| one == owner)
    })
}

/// Whether this is the name of a cgroup or of a file that is compared ("files").
pub(super) fn is_known(name: &[u8]) -> bool {
    name == b"." || !name.contains(&b'.') || FILES.iter().any(|file| file.as_bytes() == name)
}

/// Counted by how hard the kernel tries ("pressure").
const PRESSED: [&str; 5] = ["low", "high", "max", "oom", "fail"];

/// Not on every kernel ("keys").
const NEW_KEYS: [&str; 2] = ["oom_group_kill", "sock_throttled"];

/// Whether what Linux says is what the simulation says, which may be a range ("group-kills").
pub(super) fn agree(expected: &str, found: &str) -> bool {
    let same = |expected: &str, found: &str| {
        let range = expected.split_once(" to ").and_then(|(from, to)| {
            let (key, from) = from.rsplit_once(' ')?;
            Some((key, from.parse::<u64>().ok()?..=to.parse().ok()?))
        });
        match (range, found.rsplit_once(' ')) {
            (Some((key, range)), Some((name, number))) => {
                key == name && number.parse().is_ok_and(|number| range.contains(&number))
            }
            _ => expected == found,
        }
    };
    let parts = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let (expected, found) = (parts(expected), parts(found));
    expected.len() == found.len()
        && expected.iter().zip(&found).all(|(expected, found)| same(expected, found))
}

/// What a file says in the simulation, where `groups` cgroups were killed as one.
pub(super) fn expected(file: &str, text: &str, controllers: &[String], groups: u64) -> String {
    let text = essence(file, text, controllers);
    if groups == 0 || !file.starts_with("memory.events") {
        return text;
    }
    let forms = text.split(", ").map(|part| match part.split_once("oom_kill ") {
        Some((_, number)) if number != "0" => {
            let most = number.parse().unwrap_or(0) + groups;
            format!("{part} to {most}")
        }
        _ => part.to_owned(),
    });
    forms.collect::<Vec<_>>().join(", ")
}

/// What of a file's text must be the same on both sides.
pub(super) fn essence(file: &str, text: &str, controllers: &[String]) -> String {
    match file {
        // "numbers": processes are numbered by each side on its own; who they are is compared
        // apart.
        "cgroup.threads" | "cgroup.procs" => format!("{} lines", text.lines().count()),
        // "controllers".
        "cgroup.controllers" | "cgroup.subtree_control" => {
            let known = |name: &&str| controllers.iter().any(|one| one == name);
            text.split_whitespace().filter(known).collect::<Vec<_>>().join(" ")
        }
        // "dying".
        "cgroup.stat" => text.lines().next().unwrap_or_default().to_owned(),
        "memory.events" | "memory.events.local" | "memory.swap.events" => {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            let kept = lines.filter(|(key, _)| !NEW_KEYS.contains(key));
            let forms = kept.map(|(key, value)| match PRESSED.contains(&key) {
                true => format!("{key} {}", if value == "0" { "none" } else { "some" }),
                false => format!("{key} {value}"),
            });
            forms.collect::<Vec<_>>().join(", ")
        }
        _ => text.trim_end().replace('\n', ", "),
    }
}
