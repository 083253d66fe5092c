//! Against the driver's truth: none invented, none forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cgwatch::{Event, EventKind};

use super::{Breach, Rule};

/// What the driver did, by cgroup id.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Every cgroup that ever was under the watched root, the root too.
    pub lives: BTreeMap<u64, Life>,
}

/// One cgroup as its driver knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// From the watched root, as cgwatch spells it.
    pub path: Vec<u8>,
    /// The driver removed it.
    pub ended: bool,
    /// What the driver made it count at itself, by file and key. Absent: nothing.
    pub counted: BTreeMap<(String, String), u64>,
    /// How often the driver took each file from it while it lived, by a controller that it switched
    /// off. Absent: never.
    pub taken: BTreeMap<String, u64>,
}

impl Truth {
    /// What a cgroup counted at itself.
    #[must_use]
    pub fn counted(&self, id: u64, file: &str, key: &str) -> u64 {
        let counted = self.lives.get(&id).map(|life| &life.counted);
        counted.and_then(|all| all.get(&(file.into(), key.into()))).copied().unwrap_or(0)
    }

    /// What all that ever were at a path counted at themselves, by the path.
    #[must_use]
    pub fn counted_by_path(&self, file: &str, key: &str) -> HashMap<&[u8], u64> {
        let mut sums = HashMap::new();
        for (&id, life) in self.lives.iter().filter(|(_, life)| !life.counted.is_empty()) {
            *sums.entry(life.path.as_slice()).or_default() += self.counted(id, file, key);
        }
        sums
    }
}

impl Truth {
    /// Those that counted something, except those with a known id.
    #[must_use]
    pub fn counting_but(&self, known: &HashSet<u64>, file: &str, key: &str) -> Self {
        let unknown = |id: &u64| !known.contains(id) && self.counted(*id, file, key) > 0;
        let lives = self.lives.iter().filter(|(id, _)| unknown(id));
        Self { lives: lives.map(|(&id, life)| (id, life.clone())).collect() }
    }

    /// What all that ever were below a path counted.
    #[must_use]
    pub fn counted_below(&self, path: &[u8], file: &str, key: &str) -> u64 {
        let below = if path == b"/" { b"/".to_vec() } else { [path, b"/"].concat() };
        let inside = self
            .lives
            .iter()
            .filter(|(_, life)| life.path.len() > below.len() && life.path.starts_with(&below));
        inside.map(|(&id, _)| self.counted(id, file, key)).sum()
    }

    /// The same as seen by a watch on a cgroup further down.
    #[must_use]
    pub fn under(&self, id: u64) -> Self {
        let Some(root) = self.lives.get(&id).map(|life| life.path.clone()) else {
            return Self::default();
        };
        let below = [root.as_slice(), b"/"].concat();
        let lives = self.lives.iter().filter_map(|(&other, life)| {
            let path = match life.path.strip_prefix(root.as_slice()) {
                Some([]) if other == id => b"/".to_vec(),
                Some(rest) if life.path.starts_with(&below) => rest.to_vec(),
                _ => return None,
            };
            Some((other, Life { path, ..life.clone() }))
        });
        Self { lives: lives.collect() }
    }
}

/// Each id told is one the driver made, at that path; one told as removed was removed; at no path
/// were more births told than there were.
///
/// # Errors
/// The first invention.
pub fn existence(events: &[Event], truth: &Truth) -> Rule {
    let mut left: HashMap<&[u8], u64> = HashMap::new();
    for life in truth.lives.values() {
        *left.entry(&life.path).or_default() += 1;
    }
    for event in events {
        let Some(cgroup) = event.kind.cgroup() else { continue };
        if let Some(id) = cgroup.id {
            let Some(life) = truth.lives.get(&id) else {
                return Err(Breach::at(event, format_args!("no cgroup had the id {id}")));
            };
            if life.path != cgroup.path.as_bytes() {
                let path = String::from_utf8_lossy(&life.path);
                return Err(Breach::at(event, format_args!("id {id} was at {path}")));
            }
            if matches!(event.kind, EventKind::Removed { .. }) && !life.ended {
                return Err(Breach::at(event, format_args!("id {id} is alive")));
            }
        }
        if matches!(event.kind, EventKind::Appeared { .. }) {
            match left.get_mut(cgroup.path.as_bytes()) {
                Some(births @ 1..) => *births -= 1,
                _ => return Err(Breach::at(event, "more births told than there were")),
            }
        }
    }
    Ok(())
}

/// Every cgroup that lives was told and not removed; every one that was told and died was removed.
///
/// # Errors
/// One that was forgotten.
pub fn complete(events: &[Event], truth: &Truth) -> Rule {
    let mut open = BTreeMap::new();
    for event in events {
        match &event.kind {
            EventKind::Appeared { cgroup, .. } => {
                open.insert(cgroup.n, cgroup);
            }
            EventKind::Removed { cgroup, .. } => {
                open.remove(&cgroup.n);
            }
            _ => {}
        }
    }
    let gone = |id: Option<u64>| id.is_none_or(|id| truth.lives.get(&id).is_none_or(|l| l.ended));
    if let Some(forgotten) = open.values().find(|cgroup| gone(cgroup.id)) {
        return Err(Breach(format!("never removed: {forgotten:?}")));
    }
    let told: BTreeSet<u64> = open.values().filter_map(|cgroup| cgroup.id).collect();
    match truth.lives.iter().find(|(id, life)| !life.ended && !told.contains(id)) {
        Some((id, life)) => {
            let path = String::from_utf8_lossy(&life.path);
            Err(Breach(format!("id {id} at {path} lives and was not told")))
        }
        None => Ok(()),
    }
}

/// `file-removed` is told only of a file that was taken from a living cgroup, and no oftener than that
/// was done: rmdir(2) takes the files too, but they go with their cgroup.
///
/// # Errors
/// The first file that nobody took.
pub fn files_taken(events: &[Event], truth: &Truth) -> Rule {
    let mut told: BTreeMap<(u64, &str), u64> = BTreeMap::new();
    for event in events {
        let EventKind::FileRemoved { cgroup, file, .. } = &event.kind else { continue };
        let times = told.entry((cgroup.n, file)).or_default();
        *times += 1;
        let life = cgroup.id.and_then(|id| truth.lives.get(&id));
        let taken = life.and_then(|life| life.taken.get(&**file)).copied().unwrap_or(0);
        if *times > taken {
            return Err(Breach::at(event, format_args!("{file} was taken {taken} times")));
        }
    }
    Ok(())
}

/// Every birth right below the watched root was told, be it without an id: that directory is
/// watched all along. For a stream without a gap.
///
/// # Errors
/// How many are missing, and where.
pub fn every_birth(events: &[Event], truth: &Truth) -> Rule {
    let mut left: BTreeMap<&[u8], i64> = BTreeMap::new();
    for life in truth.lives.values().filter(|life| !life.path[1..].contains(&b'/')) {
        *left.entry(&life.path).or_default() += 1;
    }
    for event in events {
        if let EventKind::Appeared { cgroup, .. } = &event.kind
            && let Some(births) = left.get_mut(cgroup.path.as_bytes())
        {
            *births -= 1;
        }
    }
    match left.iter().find(|(_, left)| **left != 0) {
        Some((path, left)) => {
            let path = String::from_utf8_lossy(path);
            Err(Breach(format!("{left} births at {path} were not told")))
        }
        None => Ok(()),
    }
}

/// Each of these ids appeared.
///
/// # Errors
/// The first that did not.
pub fn awaited(events: &[Event], ids: impl IntoIterator<Item = u64>) -> Rule {
    let told = events.iter().filter_map(|event| match &event.kind {
        EventKind::Appeared { cgroup, .. } => cgroup.id,
        _ => None,
    });
    let told: BTreeSet<u64> = told.collect();
    match ids.into_iter().find(|id| !told.contains(id)) {
        Some(id) => Err(Breach(format!("id {id} did not appear"))),
        None => Ok(()),
    }
}
