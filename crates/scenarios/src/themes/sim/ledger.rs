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
const APPLIED: [&str; 11] = [
    "neighbours",
    "order-between-watches",
    "pressure",
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
const FILES: [&str; 22] = [
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
    "memory.max",
    "memory.oom.group",
    "memory.events",
    "memory.events.local",
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

/// Counted by how hard the kernel tries ("pressure").
const PRESSED: [&str; 5] = ["low", "high", "max", "oom", "fail"];

/// Not on every kernel ("keys").
const NEW_KEYS: [&str; 2] = ["oom_group_kill", "sock_throttled"];

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
