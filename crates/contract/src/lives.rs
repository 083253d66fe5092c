//! Births and deaths: numbering, one life each, families, gaps.

use std::collections::{BTreeMap, HashMap, HashSet};

use cgwatch::{Event, EventKind};

use super::{Breach, Rule};

/// `seq` is 1, 2, 3, … without holes.
///
/// # Errors
/// The first event with another number.
pub fn numbered(events: &[Event]) -> Rule {
    for (index, event) in events.iter().enumerate() {
        if event.seq != index as u64 + 1 {
            return Err(Breach::at(event, format_args!("expected seq {}", index + 1)));
        }
    }
    Ok(())
}

/// Each `n` appears once, is removed at most once, and is spoken of in between only, always by the
/// same name; each id belongs to one `n`; what existed at the start has no `lived_ns`.
///
/// # Errors
/// The first event out of its life.
pub fn one_life(events: &[Event]) -> Rule {
    let mut alive = HashMap::new();
    let mut dead = HashSet::new();
    let mut ids = HashMap::new();
    for event in events {
        let Some(cgroup) = event.kind.cgroup() else { continue };
        if dead.contains(&cgroup.n) {
            return Err(Breach::at(event, "told of an instance after its removal"));
        }
        if let EventKind::Appeared { existing, .. } = event.kind {
            if alive.insert(cgroup.n, (cgroup, existing)).is_some() {
                return Err(Breach::at(event, "appeared twice"));
            }
            if let Some(other) = cgroup.id.and_then(|id| ids.insert(id, cgroup.n)) {
                return Err(Breach::at(
                    event,
                    format_args!("its id was told before, as n {other}"),
                ));
            }
            continue;
        }
        let Some(&(first, existing)) = alive.get(&cgroup.n) else {
            return Err(Breach::at(event, "told of an instance that had not appeared"));
        };
        if first != cgroup {
            return Err(Breach::at(event, format_args!("it appeared as {first:?}")));
        }
        if let EventKind::Removed { lived_ns, .. } = event.kind {
            alive.remove(&cgroup.n);
            dead.insert(cgroup.n);
            if lived_ns.is_some() == existing {
                return Err(Breach::at(event, "lived_ns is for what was born while watching"));
            }
        }
    }
    Ok(())
}

/// Parents appear before their children and are removed after them; one living instance a path.
/// (One without an id was gone before it could be opened; it may be told beside the next bearer of
/// its path, which was found first.)
///
/// # Errors
/// The first orphan, the first parent removed too early, the first second bearer of a path.
pub fn families(events: &[Event]) -> Rule {
    let mut living: BTreeMap<(u64, Vec<u8>), u64> = BTreeMap::new();
    for event in events {
        let Some(cgroup) = event.kind.cgroup() else { continue };
        let path = cgroup.path.as_bytes();
        let key = (cgroup.root_id, path.to_vec());
        match event.kind {
            EventKind::Appeared { .. } => {
                if let Some(parent) = parent(path)
                    && !living.contains_key(&(cgroup.root_id, parent.to_vec()))
                {
                    return Err(Breach::at(event, "appeared before its parent, or after its end"));
                }
                if cgroup.id.is_none() {
                    continue;
                }
                if let Some(other) = living.insert(key, cgroup.n) {
                    return Err(Breach::at(event, format_args!("its path is n {other}'s")));
                }
            }
            EventKind::Removed { .. } if cgroup.id.is_some() => {
                living.remove(&key);
                let below = if path == b"/" { b"/".to_vec() } else { [path, b"/"].concat() };
                let child = living.range((cgroup.root_id, below.clone())..).next();
                if let Some(((root, path), n)) = child
                    && *root == cgroup.root_id
                    && path.starts_with(&below)
                {
                    return Err(Breach::at(event, format_args!("removed before its child n {n}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The path of the parent; none for the watched root.
pub(crate) fn parent(path: &[u8]) -> Option<&[u8]> {
    if path == b"/" {
        return None;
    }
    let end = path.iter().rposition(|&byte| byte == b'/')?;
    Some(if end == 0 { b"/" } else { &path[..end] })
}

/// Each gap ends with a `ready` that says so, or with that of a baseline, and no `ready` says so
/// without one; each baseline ends with a `ready` of its own, which is no gap's, and nothing that
/// existed at the start appears after it.
///
/// # Errors
/// The first `ready` or `appeared` of the wrong kind, or a gap or a baseline that is left open.
pub fn cycles(events: &[Event]) -> Rule {
    let (mut told, mut based) = (HashSet::new(), HashSet::new());
    let mut gap = None;
    for event in events {
        match &event.kind {
            EventKind::Gap { .. } => gap = Some(event),
            EventKind::Ready { after_gap, .. } => {
                let in_baseline = told.iter().any(|root| !based.contains(root));
                if *after_gap != gap.is_some() && (*after_gap || !in_baseline) {
                    return Err(Breach::at(event, "after_gap does not fit what came before"));
                }
                if !after_gap {
                    based.extend(told.iter().copied());
                }
                gap = None;
            }
            EventKind::Appeared { cgroup, existing, .. } => {
                told.insert(cgroup.root_id);
                if *existing && based.contains(&cgroup.root_id) {
                    return Err(Breach::at(event, "existing after the baseline"));
                }
            }
            _ => {}
        }
    }
    if let Some(event) = gap {
        return Err(Breach::at(event, "no ready after it"));
    }
    match told.difference(&based).min() {
        Some(root) => Err(Breach(format!("the baseline of root {root} did not end"))),
        None => Ok(()),
    }
}
