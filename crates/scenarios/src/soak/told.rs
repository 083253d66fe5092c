//! What a watcher has told of those that live, as the shortest stream that says the same.
//!
//! A stream that goes on for hours is judged a minute at a time: the minute's events, with this
//! before them. Of the dead it keeps nothing, since nothing may be told of them any more.

use std::collections::BTreeMap;

use cgwatch::{Cgroup, Event, EventKind, FileName, Files, Time, Values};

/// All that was told, folded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The number of the last event.
    seq: u64,
    living: BTreeMap<u64, Life>,
}

#[derive(Clone, Debug)]
struct Life {
    cgroup: Cgroup,
    existing: bool,
    files: BTreeMap<FileName, Account>,
}

/// What was told of one file, from its baseline on.
#[derive(Clone, Debug, Default)]
struct Account {
    /// It came to a living cgroup.
    added: bool,
    first: Values<u64>,
    last: Values<u64>,
    own: Option<Values<i128>>,
    late: Values<u64>,
}

impl Told {
    /// Takes in what was told after all that was taken in before.
    pub(crate) fn take<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>) {
        for event in events {
            self.seq = event.seq;
            self.take_one(&event.kind);
        }
    }

    fn take_one(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Appeared { cgroup, existing, files } => {
                let mut life =
                    Life { cgroup: cgroup.clone(), existing: *existing, files: BTreeMap::new() };
                life.open(files, false);
                self.living.insert(cgroup.n, life);
            }
            EventKind::Removed { cgroup, .. } => {
                self.living.remove(&cgroup.n);
            }
            EventKind::FileAdded { cgroup, files } => {
                if let Some(life) = self.living.get_mut(&cgroup.n) {
                    life.open(files, true);
                }
            }
            EventKind::FileRemoved { cgroup, file, .. } => {
                if let Some(life) = self.living.get_mut(&cgroup.n) {
                    life.files.remove(file);
                }
            }
            EventKind::Changed { cgroup, file, new, own, late, .. } => {
                let life = self.living.get_mut(&cgroup.n);
                let Some(account) = life.and_then(|life| life.files.get_mut(file)) else { return };
                for (key, value) in new.iter() {
                    *entry(&mut account.last, key) = value;
                }
                // With a twin nothing may be its own: that is told, too.
                if let Some(own) = own {
                    let sums = account.own.get_or_insert_default();
                    own.iter().for_each(|(key, amount)| *entry(sums, key) += amount);
                }
                for (key, amount) in late.iter() {
                    *entry(&mut account.late, key) += amount;
                }
            }
            _ => {}
        }
    }

    /// How many live.
    #[must_use]
    pub(crate) fn living(&self) -> usize {
        self.living.len()
    }

    /// The value last told of a file of a cgroup; `None` if it is not known to have that file.
    #[must_use]
    pub(crate) fn values(&self, id: u64, file: &str) -> Option<&Values<u64>> {
        let life = self.living.values().find(|life| life.cgroup.id == Some(id))?;
        life.files.get(file).map(|account| &account.last)
    }

    /// The shortest stream that tells this, then `events`, renumbered so that they follow on it.
    #[must_use]
    pub(crate) fn before(&self, events: &[Event]) -> Vec<Event> {
        let mut stream = Vec::with_capacity(events.len() + 4 * self.living.len());
        let mut tell = |kind| {
            let seq = stream.len() as u64 + 1;
            stream.push(Event { seq, time: Time::default(), kind });
        };
        let depth = |life: &&Life| life.cgroup.path.as_bytes().split(|&b| b == b'/').count();
        let mut parents_first: Vec<&Life> = self.living.values().collect();
        parents_first.sort_by_key(|life| (life.cgroup.path.as_bytes().len() > 1, depth(life)));
        for life in parents_first {
            life.tell(&mut tell);
        }
        if self.seq > 0 {
            tell(EventKind::Ready { cgroups: self.living.len() as u64, after_gap: false });
        }
        let begin = stream.len() as u64;
        stream.extend(events.iter().map(|event| {
            // What has the wrong number keeps it.
            let seq = event.seq.wrapping_sub(self.seq).wrapping_add(begin);
            Event { seq, ..event.clone() }
        }));
        stream
    }
}

impl Life {
    fn open(&mut self, files: &Files<u64>, added: bool) {
        for (name, values) in &files.0 {
            let (first, last) = (values.clone(), values.clone());
            self.files.insert(name.clone(), Account { added, first, last, ..Account::default() });
        }
    }

    fn tell(&self, mut tell: impl FnMut(EventKind)) {
        let files = |added| {
            let files = self.files.iter().filter(|(_, account)| account.added == added);
            Files(files.map(|(name, account)| (name.clone(), account.first.clone())).collect())
        };
        let cgroup = &self.cgroup;
        tell(EventKind::Appeared {
            cgroup: cgroup.clone(),
            existing: self.existing,
            files: files(false),
        });
        let added = files(true);
        if !added.is_empty() {
            tell(EventKind::FileAdded { cgroup: cgroup.clone(), files: added });
        }
        for (name, account) in &self.files {
            account.tell(cgroup, name, &mut tell);
        }
    }
}

impl Account {
    /// All its changes as one.
    fn tell(&self, cgroup: &Cgroup, file: &FileName, tell: &mut impl FnMut(EventKind)) {
        let (mut old, mut new) = (Values::default(), Values::default());
        let mut delta = Values::default();
        for (key, last) in &self.last.0 {
            let first = self.first.get(key).unwrap_or(0);
            if first == *last {
                continue;
            }
            old.0.push((key.clone(), first));
            new.0.push((key.clone(), *last));
            if &**file != "cgroup.events" {
                delta.0.push((key.clone(), i128::from(*last) - i128::from(first)));
            }
        }
        let claims = self.own.iter().flat_map(|own| own.iter()).any(|(_, amount)| amount != 0);
        if new.is_empty() && self.late.is_empty() && !claims {
            return;
        }
        let (own, late) = (self.own.clone(), self.late.clone());
        let (cgroup, file) = (cgroup.clone(), file.clone());
        tell(EventKind::Changed { cgroup, file, old, new, delta, own, late });
    }
}

fn entry<'v, T: Default>(values: &'v mut Values<T>, key: &str) -> &'v mut T {
    let place = values.0.iter().position(|(known, _)| &**known == key).unwrap_or_else(|| {
        values.0.push((key.into(), T::default()));
        values.0.len() - 1
    });
    &mut values.0[place].1
}

#[cfg(test)]
mod tests {
    use contract::{hold, sums};

    use super::*;

    const FILE: &str = "memory.events";

    fn values<T>(high: T) -> Values<T> {
        Values(vec![("high".into(), high)])
    }

    /// The root's file counts to 7 and then to 9, of which 2 are its own.
    fn minute() -> Vec<Event> {
        let root =
            Cgroup { n: 1, id: Some(100), root_id: 100, path: cgwatch::CgroupPath::new(b"/") };
        let changed = |old, new, own| EventKind::Changed {
            cgroup: root.clone(),
            file: FILE.into(),
            old: values(old),
            new: values(new),
            delta: values(i128::from(new) - i128::from(old)),
            own: Some(own),
            late: Values::default(),
        };
        let files = Files(vec![(FILE.into(), values(0))]);
        let kinds = [
            EventKind::Appeared { cgroup: root.clone(), existing: true, files },
            EventKind::Ready { cgroups: 1, after_gap: false },
            changed(0, 7, Values::default()),
            changed(7, 9, values(2)),
        ];
        let event = |(seq, kind)| Event { seq, time: Time::default(), kind };
        (1..).zip(kinds).map(event).collect()
    }

    #[test]
    fn the_shortest_stream_says_the_same() {
        let events = minute();
        for taken in 2..=events.len() {
            let mut told = Told::default();
            told.take(&events[..taken]);
            let stream = told.before(&events[taken..]);
            assert_eq!(hold(&stream), Ok(()), "{stream:#?}");
            assert_eq!(sums(&stream, FILE, "high"), sums(&events, FILE, "high"), "{stream:#?}");
        }
    }
}
