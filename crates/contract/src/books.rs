//! The books: what a tree counted is Σ own + Σ unseen + Σ late, each in the right account.

use std::collections::{BTreeMap, HashMap, HashSet};

use cgwatch::{Confidence, Event, EventKind, GapReason, Unseen};

use super::{Breach, Rule, Truth, lives::parent};

/// What was told of one counter, in sum over the whole stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Counted at the cgroups themselves, told while they lived.
    pub own: i128,
    /// Recovered from their parents at their removal, or at that of the file.
    pub unseen: i128,
    /// Counted by the dead after their removal was told.
    pub late: i128,
    /// Counted by those whose births and deaths were withheld together.
    pub cancelled: i128,
}

impl Sums {
    /// All of it.
    #[must_use]
    pub fn total(self) -> i128 {
        self.own + self.unseen + self.late + self.cancelled
    }
}

/// Adds up what was told of `key` of `file`.
#[must_use]
pub fn sums(events: &[Event], file: &str, key: &str) -> Sums {
    let mut sums = Sums::default();
    for event in events {
        match &event.kind {
            EventKind::Changed { file: changed, delta, own, late, .. } if &**changed == file => {
                let own = own.as_ref().unwrap_or(delta);
                sums.own += own.get(key).unwrap_or(0);
                sums.late += i128::from(late.get(key).unwrap_or(0));
            }
            EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
                sums.unseen += i128::from(unseen.get(file, key));
            }
            EventKind::Gap { cancelled, .. } => {
                let values = cancelled.get(file);
                sums.cancelled += i128::from(values.and_then(|v| v.get(key)).unwrap_or(0));
            }
            _ => {}
        }
    }
    sums
}

/// What was told adds up to what the tree's root really counted.
///
/// # Errors
/// What is missing, or too much.
pub fn balance(events: &[Event], file: &str, key: &str, grown: u64) -> Rule {
    let sums = sums(events, file, key);
    if sums.total() == i128::from(grown) {
        return Ok(());
    }
    Err(Breach(format!("the books of {file} {key}: the tree counted {grown}, told was {sums:?}")))
}

/// Nothing stands against a cgroup that counted nothing, and against none more than it counted,
/// itself or in those below it that were never told. An amount that several may share is held
/// against all of them together; after the kernel's queue overflowed others may share it that were
/// never told, so that only what is called bounded is held against anybody.
///
/// # Errors
/// The first that is blamed wrongly.
pub fn blame(events: &[Event], truth: &Truth, file: &str, key: &str) -> Rule {
    let known: HashSet<u64> = events.iter().filter_map(|event| event.kind.cgroup()?.id).collect();
    let mut told: HashMap<u64, i128> = HashMap::new();
    // Of all, before any is held to account: an amount may be shared with one whose birth is told
    // after it.
    let mut counted: HashMap<u64, i128> = HashMap::new();
    let mut born_at: HashMap<u64, &[u8]> = HashMap::new();
    let never_told = truth.counting_but(&known, file, key);
    let by_path = truth.counted_by_path(file, key);
    for event in events {
        let EventKind::Appeared { cgroup, .. } = &event.kind else { continue };
        let real = match cgroup.id {
            Some(id) => truth.counted(id, file, key),
            // Any of those that were there.
            None => by_path.get(cgroup.path.as_bytes()).copied().unwrap_or(0),
        };
        let below = never_told.counted_below(cgroup.path.as_bytes(), file, key);
        counted.insert(cgroup.n, i128::from(real + below));
        born_at.insert(cgroup.n, cgroup.path.as_bytes());
    }
    let mut overflowed = false;
    let mut came_with: Vec<(&[u8], u64)> = Vec::new();
    // What was told as a cgroup's own before its child was known is taken back later.
    for event in events {
        if let EventKind::Changed { cgroup, file: changed, delta, own, .. } = &event.kind
            && &**changed == file
        {
            let own = own.as_ref().unwrap_or(delta).get(key).unwrap_or(0);
            *told.entry(cgroup.n).or_default() += own;
        }
    }
    for event in events {
        if let EventKind::Gap { reason: GapReason::QueueOverflow, .. } = event.kind {
            overflowed = true;
        }
        if let EventKind::FileAdded { cgroup, files } = &event.kind {
            let amount = files.get(file).and_then(|values| values.get(key)).unwrap_or(0);
            came_with.push((cgroup.path.as_bytes(), amount));
        }
        let Some(cgroup) = event.kind.cgroup() else { continue };
        let amount = match &event.kind {
            // Told already.
            EventKind::Changed { .. } => 0,
            EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
                match unseen.get(file, key) {
                    0 => continue,
                    amount => i128::from(amount),
                }
            }
            _ => continue,
        };
        let others = match &event.kind {
            EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
                // With some who died before, or with more than could be named.
                let others = unseen.shared_with.len() as u64;
                let shared = unseen.confidence == Some(Confidence::Shared);
                if shared && (overflowed || others == 0) || others < unseen.shared_count {
                    continue;
                }
                unseen.shared_with.as_slice()
            }
            _ => &[],
        };
        let share = |all: &HashMap<u64, i128>| -> i128 {
            others.iter().chain([&cgroup.n]).map(|n| all.get(n).copied().unwrap_or(0)).sum()
        };
        let (all, mut most) = (share(&told) + amount, share(&counted));
        if unseen_of(event).is_some_and(|u| u.confidence == Some(Confidence::Shared)) {
            // Beside those it names some may have counted that were never told: born and gone in the
            // same directory before that was watched.
            let paths = others.iter().filter_map(|n| born_at.get(n).copied());
            let top = paths.chain([cgroup.path.as_bytes()]).min_by_key(|path| path.len());
            let directory = top.and_then(parent).unwrap_or(b"/");
            most += i128::from(never_told.counted_below(directory, file, key));
            // Or some that live: what a file had counted when it came is told as its baseline only.
            let inside = came_with.iter().filter(|(path, _)| path.starts_with(directory));
            most += inside.map(|(_, amount)| i128::from(*amount)).sum::<i128>();
        }
        if all > most {
            let what = format_args!(
                "{file} {key}: {all} told of what counted {most} (shared with {others:?})"
            );
            return Err(Breach::at(event, what));
        }
        // What others may have counted is not held against it later, when another file of it goes.
        if others.is_empty() {
            *told.entry(cgroup.n).or_default() += amount;
        }
    }
    Ok(())
}

/// What can be held against those it names. What is shared may also have been counted by some that
/// were never told: born and gone where nobody watched.
#[must_use]
pub fn attributable(events: &[Event]) -> Vec<Event> {
    let is_shared =
        |event: &&Event| unseen_of(event).is_some_and(|u| u.confidence == Some(Confidence::Shared));
    events.iter().filter(|event| !is_shared(event)).cloned().collect()
}

/// `unseen_in` names an instance whose removal, or that of its file, says that it is shared with this
/// one; `shared_with` names others that were told, or whose births and deaths were withheld; what is
/// shared is not called bounded; no file stands there twice.
///
/// # Errors
/// The first reference that leads nowhere, or a file's second amount.
pub fn references(events: &[Event]) -> Rule {
    let mut shares: BTreeMap<u64, Vec<&Unseen>> = BTreeMap::new();
    let mut told = HashSet::new();
    let is_withheld =
        |event: &Event| matches!(event.kind, EventKind::Gap { cancelled_pairs: 1.., .. });
    let withheld = events.iter().any(is_withheld);
    for event in events {
        let Some(cgroup) = event.kind.cgroup() else { continue };
        told.insert(cgroup.n);
        if let Some(unseen) = unseen_of(event) {
            shares.entry(cgroup.n).or_default().push(unseen);
        }
    }
    for event in events {
        let (Some(cgroup), Some(unseen)) = (event.kind.cgroup(), unseen_of(event)) else {
            continue;
        };
        let twice = |at: usize| unseen.files[..at].iter().any(|(f, _)| *f == unseen.files[at].0);
        if let Some(at) = (0..unseen.files.len()).find(|at| twice(*at)) {
            return Err(Breach::at(event, format_args!("{} twice", unseen.files[at].0)));
        }
        if unseen.shared_with.contains(&cgroup.n) {
            return Err(Breach::at(event, "shared with itself"));
        }
        let untold = unseen.shared_with.iter().find(|&n| !withheld && !told.contains(n));
        if let Some(other) = untold {
            return Err(Breach::at(event, format_args!("shared with n {other}, never told")));
        }
        if unseen.confidence == Some(Confidence::Bounded) && !unseen.shared_with.is_empty() {
            let what = format_args!("{:?} but {:?}", unseen.confidence, unseen.shared_with);
            return Err(Breach::at(event, what));
        }
        if let Some(other) = unseen.unseen_in {
            let stands = other == cgroup.n
                || shares.get(&other).into_iter().flatten().any(|in_other| {
                    let named = in_other.shared_with.len() as u64;
                    in_other.shared_with.contains(&cgroup.n) || named < in_other.shared_count
                });
            if !stands && !withheld {
                return Err(Breach::at(event, format_args!("n {other} does not share with it")));
            }
        }
    }
    Ok(())
}

fn unseen_of(event: &Event) -> Option<&Unseen> {
    match &event.kind {
        EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => Some(unseen),
        _ => None,
    }
}
