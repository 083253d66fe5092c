//! Turns what is untold of a node into events, in the order the contract asks for.
//!
//! For one node: its appearance; files that went; files that came; changes, with `populated` first
//! when it rises and last when it falls, since what a cgroup counted (an OOM kill) comes before the
//! exit it caused. Its removal has an entry of its own in the queue.

use std::sync::Arc;

use super::{
    books::{Books, File, Node, NodeKey},
    schema::{CGROUP_EVENTS, FileId, SchemaId, Schemas},
    untold::{Lost, Told, ToldFile, Touch, Untold},
};
use crate::{Cgroup, CgroupPath, EventKind, Files, LearnedFrom, Unseen, Values};

/// A file's values at one moment.
#[derive(Clone, Copy)]
struct Moment<'a> {
    schema: SchemaId,
    total: &'a [u64],
    /// `None` while all counts are the cgroup's own.
    own: Option<&'a [u64]>,
}

impl<'a> Moment<'a> {
    fn now(file: &'a File) -> Self {
        let own = file.kin.as_ref().map(|kin| &*kin.own);
        Self { schema: file.schema, total: &file.total, own }
    }

    fn told(told: &'a ToldFile) -> Self {
        Self { schema: told.schema, total: &told.total, own: told.own.as_deref() }
    }

    fn lost(lost: &'a Lost) -> Self {
        Self { schema: lost.schema, total: &lost.total, own: lost.own.as_deref() }
    }

    /// Before anything was counted.
    fn zero() -> Self {
        Self { schema: 0, total: &[], own: None }
    }
}

/// Who a node is, for the reader. `roots` are the ids of the watched roots.
pub(crate) fn cgroup(books: &Books, key: NodeKey, node: &Node, roots: &[u64]) -> Cgroup {
    Cgroup {
        n: node.n,
        id: (node.id != 0).then_some(node.id),
        root_id: roots.get(node.root as usize).copied().unwrap_or(0),
        path: CgroupPath(books.path(key)),
    }
}

/// Every file of a node with its values last read.
pub(crate) fn files(node: &Node, schemas: &Schemas) -> Files<u64> {
    let mut files: Vec<&File> = node.files.iter().filter(|file| file.present).collect();
    files.sort_by_key(|file| file.file);
    Files(
        files.into_iter().map(|file| entry(schemas, file.file, file.schema, &file.total)).collect(),
    )
}

fn entry(
    schemas: &Schemas,
    file: FileId,
    schema: SchemaId,
    values: &[u64],
) -> (Arc<str>, Values<u64>) {
    let keys = schemas.keys(schema).iter().cloned();
    (schemas.spec(file).name.clone(), Values(keys.zip(values.iter().copied()).collect()))
}

/// Tells a node as it is now. Afterwards the reader knows what the books say.
pub(crate) fn living(
    books: &mut Books,
    untold: &mut Untold,
    schemas: &Schemas,
    roots: &[u64],
    key: NodeKey,
    out: &mut Vec<EventKind>,
) {
    let Some(node) = books.get_mut(key) else { return };
    node.flags.queued = false;
    let first = !std::mem::replace(&mut node.flags.told, true);
    if first && node.flags.dead && !node.flags.existing {
        untold.pair_was_told();
    }
    let Some(node) = books.get(key) else { return };
    let mut told = untold.take_told(key);
    let none = Told::default();
    let known = told.as_ref().unwrap_or(&none);
    let who = cgroup(books, key, node, roots);
    let newborn = first && !node.flags.existing;
    if first {
        out.push(EventKind::Appeared {
            cgroup: who.clone(),
            existing: node.flags.existing,
            files: first_files(node, known, schemas),
        });
    }
    let late_of = |file| known.late.iter().find(|(f, ..)| *f == file);
    // Where the file has not come back, before it went.
    let late_of_lost = |file| late_of(file).filter(|_| node.present(file).is_none());
    for t in &known.files {
        let Some(lost) = &t.lost else { continue };
        let before = if newborn && !t.added { Moment::zero() } else { Moment::told(t) };
        if t.added {
            let files = Files(vec![entry(schemas, t.file, t.schema, &t.total)]);
            out.push(EventKind::FileAdded { cgroup: who.clone(), files });
        }
        push_change(out, schemas, &who, t.file, before, Moment::lost(lost), late_of_lost(t.file));
        let file = schemas.spec(t.file).name.clone();
        out.push(EventKind::FileRemoved { cgroup: who.clone(), file, unseen: lost.unseen.clone() });
    }
    let added = known.files.iter().filter(|t| t.added && t.lost.is_none());
    let added: Vec<_> = added.map(|t| entry(schemas, t.file, t.schema, &t.total)).collect();
    if !added.is_empty() {
        out.push(EventKind::FileAdded { cgroup: who.clone(), files: Files(added) });
    }
    let is_lost = |file| known.files.iter().any(|t| t.file == file && t.lost.is_some());
    let without_file = |file| node.present(file).is_none() && !is_lost(file);
    for late in known.late.iter().filter(|(file, ..)| without_file(*file)) {
        push_change(out, schemas, &who, late.0, Moment::zero(), Moment::zero(), Some(late));
    }
    let changes = out.len();
    for file in node.files.iter().filter(|file| file.present) {
        let t = known.files.iter().find(|t| t.file == file.file && t.lost.is_none());
        let late = late_of(file.file);
        let before = match t {
            Some(t) if !newborn || t.added => Moment::told(t),
            _ if newborn => Moment::zero(),
            _ if late.is_some() => Moment::now(file),
            _ => continue,
        };
        push_change(out, schemas, &who, file.file, before, Moment::now(file), late);
    }
    place_populated(&mut out[changes..], schemas);
    push_touches(out, changes, schemas, &who, &known.touches);
    if let Some(removal) = told.as_mut().and_then(|told| told.removal.take()) {
        let unseen = &removal.unseen;
        if unseen.unseen_in.is_some() || unseen.files.iter().any(|(_, amount)| amount.is_some()) {
            leave_end_to_removal(out, changes, schemas);
        }
        untold.told_mut(key).removal = Some(removal);
    }
}

/// The values an appearance is told with: a newborn's counters are zero.
fn first_files(node: &Node, known: &Told, schemas: &Schemas) -> Files<u64> {
    let mut files = Vec::new();
    let mut push = |file: FileId, schema: SchemaId, values: &[u64]| {
        let counted = node.flags.existing || schemas.spec(file).states;
        let zeros = vec![0; values.len()];
        files.push((file, entry(schemas, file, schema, if counted { values } else { &zeros })));
    };
    for file in node.files.iter().filter(|file| file.present) {
        match known.files.iter().find(|t| t.file == file.file && t.lost.is_none()) {
            Some(t) if t.added => {}
            Some(t) if node.flags.existing => push(file.file, t.schema, &t.total),
            _ => push(file.file, file.schema, &file.total),
        }
    }
    for t in known.files.iter().filter(|t| !t.added && t.lost.is_some()) {
        push(t.file, t.schema, &t.total);
    }
    files.sort_by_key(|(file, _)| *file);
    Files(files.into_iter().map(|(_, entry)| entry).collect())
}

/// The difference between two moments of a file, as a `changed`, if there is one.
fn push_change(
    out: &mut Vec<EventKind>,
    schemas: &Schemas,
    who: &Cgroup,
    file: FileId,
    before: Moment<'_>,
    now: Moment<'_>,
    late: Option<&(FileId, SchemaId, Vec<u64>)>,
) {
    let spec = schemas.spec(file);
    if spec.states && before.total.is_empty() {
        return; // a newborn's states are told as they are
    }
    let mut old = Values::default();
    let mut new = Values::default();
    let mut delta = Values::default();
    let mut own = Values::default();
    let has_twin = spec.twin.is_some() && !spec.twin_absent;
    for (at, (key, &value)) in schemas.keys(now.schema).iter().zip(now.total).enumerate() {
        let value_before = schemas.value(before.schema, before.total, now.schema, at);
        if value != value_before {
            old.0.push((key.clone(), value_before));
            new.0.push((key.clone(), value));
            if !spec.states {
                delta.0.push((key.clone(), i128::from(value) - i128::from(value_before)));
            }
        }
        if has_twin {
            let own_now = now.own.unwrap_or(now.total).get(at).copied().unwrap_or(0);
            let own_before = before.own.unwrap_or(before.total);
            let own_before = schemas.value(before.schema, own_before, now.schema, at);
            if own_now != own_before {
                own.0.push((key.clone(), i128::from(own_now) - i128::from(own_before)));
            }
        }
    }
    let late = late.map(|(_, schema, amounts)| {
        let keys = schemas.keys(*schema).iter().cloned().zip(amounts.iter().copied());
        Values(keys.filter(|(_, amount)| *amount != 0).collect())
    });
    let late = late.unwrap_or_default();
    if new.is_empty() && own.is_empty() && late.is_empty() {
        return;
    }
    let own = has_twin.then_some(own);
    let file = spec.name.clone();
    out.push(EventKind::Changed { cgroup: who.clone(), file, old, new, delta, own, late });
}

/// What was written and shows no difference.
fn push_touches(
    out: &mut Vec<EventKind>,
    changes: usize,
    schemas: &Schemas,
    who: &Cgroup,
    touches: &[Touch],
) {
    for touch in touches {
        let file: Arc<str> = match touch {
            Touch::File(file) => schemas.spec(*file).name.clone(),
            Touch::Control => "cgroup.subtree_control".into(),
            Touch::Type => "cgroup.type".into(),
        };
        let explains = |kind: &EventKind| match kind {
            EventKind::Changed { file: changed, new, .. } => *changed == file && !new.is_empty(),
            _ => false,
        };
        if !out[changes..].iter().any(explains) {
            out.push(EventKind::Touched { cgroup: who.clone(), file });
        }
    }
}

/// Moves the change of `populated` to the front if it rose, to the end if it fell.
fn place_populated(changes: &mut [EventKind], schemas: &Schemas) {
    let name = &schemas.spec(CGROUP_EVENTS).name;
    let is = |kind: &EventKind| matches!(kind, EventKind::Changed { file, .. } if file == name);
    let Some(at) = changes.iter().position(is) else { return };
    let EventKind::Changed { new, .. } = &changes[at] else { return };
    if new.get("populated") == Some(0) {
        changes[at..].rotate_left(1);
    } else {
        changes[..=at].rotate_right(1);
    }
}

/// What emptied a cgroup is told before that it is empty. Where that could not be read any more and
/// stands in the removal, the removal alone tells the end, as it implies.
fn leave_end_to_removal(out: &mut Vec<EventKind>, changes: usize, schemas: &Schemas) {
    let name = &schemas.spec(CGROUP_EVENTS).name;
    let is = |kind: &EventKind| match kind {
        EventKind::Changed { file, new, .. } => file == name && new.get("populated") == Some(0),
        _ => false,
    };
    if let Some(at) = out.iter().skip(changes).position(is) {
        out.remove(changes + at);
    }
}

/// Tells a removal and forgets the node.
pub(crate) fn removal(
    books: &mut Books,
    untold: &mut Untold,
    schemas: &Schemas,
    roots: &[u64],
    key: NodeKey,
    out: &mut Vec<EventKind>,
) {
    if books.get(key).is_some_and(|node| node.flags.queued) {
        living(books, untold, schemas, roots, key, out);
    }
    let told = untold.take_told(key);
    let Some(node) = books.get(key) else { return };
    let removal = told.and_then(|told| told.removal);
    let (learned_from, unseen) = match removal {
        Some(removal) => (removal.learned_from, removal.unseen),
        None => (LearnedFrom::Lookup, Unseen::default()),
    };
    out.push(EventKind::Removed {
        cgroup: cgroup(books, key, node, roots),
        lived_ns: (!node.flags.existing).then(|| node.read_ns.saturating_sub(node.born_ns)),
        files: files(node, schemas),
        unseen,
        learned_from,
    });
    books.forget(key);
}

#[cfg(test)]
mod tests;
