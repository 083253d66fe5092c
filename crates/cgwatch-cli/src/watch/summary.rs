//! What was told in a whole run, for the end of it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use cgwatch::{EventKind, Values};

use crate::people::printable;

/// Counts what is told. Memory is bounded by the number of different keys of event files.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    events: BTreeMap<&'static str, u64>,
    /// How often and how much a key changed, by file and key.
    keys: BTreeMap<(String, String), Key>,
    existing: u64,
    unseen: u64,
}

#[derive(Debug, Default)]
struct Key {
    changes: u64,
    /// How much was counted, each amount at one cgroup only: own, unseen and late (design.md 4.1,
    /// item 5); for a file without a `.local` twin the deltas. `None` for a state.
    sum: Option<i128>,
}

impl Summary {
    /// Takes an event into account.
    pub(crate) fn count(&mut self, kind: &EventKind) {
        *self.events.entry(kind.name()).or_default() += 1;
        match kind {
            EventKind::Appeared { existing: true, .. } => self.existing += 1,
            EventKind::Changed { file, new, delta, own, late, .. } => {
                for (key, _) in new.iter() {
                    let entry = self.key(file, key);
                    entry.changes += 1;
                    if let Some(delta) = delta.get(key) {
                        entry.add(own.as_ref().map_or(delta, |own| own.get(key).unwrap_or(0)));
                    }
                }
                self.add_all(file, late);
            }
            EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
                let known = unseen.files.iter();
                let known = known.filter_map(|(file, values)| Some((file, values.as_ref()?)));
                let mut any = false;
                for (file, values) in known {
                    any |= !values.is_empty();
                    self.add_all(file, values);
                }
                self.unseen += u64::from(any);
            }
            _ => {}
        }
    }

    fn key(&mut self, file: &str, key: &str) -> &mut Key {
        self.keys.entry((file.to_owned(), key.to_owned())).or_default()
    }

    fn add_all(&mut self, file: &str, amounts: &Values<u64>) {
        for (key, amount) in amounts.iter() {
            self.key(file, key).add(amount.into());
        }
    }
}

impl Key {
    fn add(&mut self, amount: i128) {
        let sum = self.sum.get_or_insert_default();
        *sum = sum.saturating_add(amount);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |name| self.events.get(name).copied().unwrap_or(0);
        let appeared = count("appeared");
        writeln!(
            f,
            "{} cgroups seen: {} existed, {} were born; {} removed",
            appeared,
            self.existing,
            appeared - self.existing,
            count("removed")
        )?;
        let mut others = String::new();
        for name in ["changed", "file-added", "file-removed", "gap"] {
            if count(name) > 0 {
                write!(
                    others,
                    "{}{name} {}",
                    if others.is_empty() { "" } else { ", " },
                    count(name)
                )?;
            }
        }
        if !others.is_empty() {
            writeln!(f, "{others}")?;
        }
        if self.unseen > 0 {
            writeln!(f, "{} removals with counts that nothing else had told", self.unseen)?;
        }
        for ((file, key), Key { changes, sum }) in &self.keys {
            let name = format!("{} {}", printable(file.as_bytes()), printable(key.as_bytes()));
            match sum {
                Some(sum) => writeln!(f, "  {name:<32} {changes:>8} changes  {sum:+}")?,
                None => writeln!(f, "  {name:<32} {changes:>8} changes")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cgwatch::{Cgroup, CgroupPath, Files, LearnedFrom, Unseen};

    use super::*;

    fn cgroup() -> Cgroup {
        Cgroup { n: 1, id: Some(7), root_id: 1, path: CgroupPath::new(b"/a") }
    }

    /// Half of the delta is the cgroup's own.
    fn changed(file: &str, key: &str, delta: Option<i128>) -> EventKind {
        EventKind::Changed {
            cgroup: cgroup(),
            file: file.into(),
            old: Values::default(),
            new: Values(vec![(key.into(), 1)]),
            delta: Values(delta.map(|delta| (key.into(), delta)).into_iter().collect()),
            own: delta.map(|delta| Values(vec![(key.into(), delta / 2)])),
            late: Values::default(),
        }
    }

    #[test]
    fn a_run() {
        let mut summary = Summary::default();
        for existing in [true, false, false] {
            summary.count(&EventKind::Appeared {
                cgroup: cgroup(),
                existing,
                files: Files::default(),
            });
        }
        summary.count(&changed("memory.events", "high", Some(100)));
        summary.count(&changed("memory.events", "high", Some(52)));
        summary.count(&changed("cgroup.events", "populated", None));
        summary.count(&EventKind::Removed {
            cgroup: cgroup(),
            lived_ns: None,
            files: Files::default(),
            unseen: Unseen {
                files: vec![("memory.events".into(), Some(Values(vec![("oom_kill".into(), 1)])))],
                ..Unseen::default()
            },
            learned_from: LearnedFrom::Parent,
        });
        assert_eq!(
            summary.to_string(),
            "3 cgroups seen: 1 existed, 2 were born; 1 removed\n\
             changed 3\n\
             1 removals with counts that nothing else had told\n  \
             cgroup.events populated                 1 changes\n  \
             memory.events high                      2 changes  +76\n  \
             memory.events oom_kill                  0 changes  +1\n"
        );
    }
}
