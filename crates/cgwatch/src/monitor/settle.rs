//! The last word: what a cgroup counted and nobody read is recovered from its parent.
//!
//! `rest = parent - parent.local - accounted`, where `accounted` is the sum of all children, living
//! and dead, kept up to date with every reading. So a settlement reads no sibling as long as the
//! rest is zero. Reading the parent first makes the rest an upper bound that each later reading can
//! only lower: first the parent's `.local`, then, after every birth before that is known, the
//! children, until nothing is left over. What is left then really was counted by those that died.
//!
//! The amount stands in exactly one event: the removal of the last that died in one settlement, or,
//! with no removal pending, as `late` in a `changed` of the parent.

use std::collections::HashMap;

use indexmap::IndexSet;

use super::{Monitor, books::NodeKey, is_gone, names::Ahead, schema::FileId};
use crate::{GapReason, LearnedFrom, Values, world::World};

/// What parents counted and nobody told.
pub(crate) type LeftOver = HashMap<(NodeKey, FileId), Values<u64>>;

/// A cgroup (or one of its files) that is gone and not settled yet.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) key: NodeKey,
    /// Only this file; `None`: the whole cgroup.
    pub(crate) file: Option<FileId>,
    pub(crate) learned_from: LearnedFrom,
}

/// Something may be left over of a parent that no removal has claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// When it is called late.
    pub(crate) due_ns: u64,
    /// It is looked at then, whatever is known before.
    kept: bool,
}

impl<W: World> Monitor<W> {
    /// Settles what was lost, and lets it be told. What was found lost meanwhile may remain for the
    /// next round.
    pub(crate) fn settle(&mut self) {
        if !self.losses.is_empty() {
            self.settle_with(LeftOver::new());
        }
    }

    /// With what is known to be left over already.
    fn settle_with(&mut self, mut left_over: LeftOver) {
        /// Whoever dies while others are settled is settled with them, but not for ever.
        const ROUNDS: usize = 8;
        let mut parents = IndexSet::new();
        let mut known = 0;
        for _ in 0..ROUNDS {
            for loss in &self.losses[known..] {
                let files = self.schemas.files().filter(|file| self.has_twin(*file));
                parents.extend(files.filter_map(|file| self.account_of(loss, file)));
            }
            if known == self.losses.len() {
                break;
            }
            known = self.losses.len();
            if !parents.is_empty() && !self.look_at_mount() {
                self.close_in(&parents, &mut left_over);
            }
            if self.hints.overflow {
                break;
            }
        }
        if self.hints.overflow && left_over.is_empty() {
            return; // settled after everything was compared
        }
        let newest = self.losses.split_off(known);
        let settled = std::mem::replace(&mut self.losses, newest);
        self.attribute(settled, left_over);
    }

    /// Where a file's counts of one that is lost are known: the nearest living ancestor that has the
    /// file. One that is being removed loses its files first.
    pub(crate) fn account_of(&self, loss: &Loss, file: FileId) -> Option<NodeKey> {
        self.nearest_with(loss.key, file)
    }

    /// The nearest living ancestor that is known to have a file.
    pub(crate) fn nearest_with(&self, key: NodeKey, file: FileId) -> Option<NodeKey> {
        let parent = self.books.get(key)?.parent;
        let parent_of = |key: &NodeKey| self.books.get(*key)?.parent;
        let has = |key: &NodeKey| self.books.living(*key)?.present(file);
        std::iter::successors(parent, parent_of).find(|key| has(key).is_some())
    }

    /// Reads the parents, and what else is needed to know what is left over, and takes that.
    pub(crate) fn close_in(&mut self, parents: &IndexSet<NodeKey>, left_over: &mut LeftOver) {
        let files: Vec<FileId> = self.schemas.files().filter(|file| self.has_twin(*file)).collect();
        let mut open = Vec::new();
        for &parent in parents {
            self.check_first(parent);
            if self.read_parent(parent, &files) {
                open.push(parent);
            }
        }
        if open.is_empty() {
            return;
        }
        // The deepest first: reading the children of one reads the others, which then would know
        // of births after the drain.
        open.sort_by_key(|key| std::cmp::Reverse(self.books.get(*key).map_or(0, |n| n.depth)));
        for parent in open {
            let proved = self.read_until_still(parent, &files);
            if self.hints.overflow {
                return; // births may be unknown: the comparison that follows finds them
            }
            if self.hides_some(parent) {
                continue;
            }
            if !proved {
                // Something may be left over still: nobody else is to be blamed for it alone.
                self.rests.entry(parent).or_insert(Rest { due_ns: self.now_ns, kept: false });
            }
            // At once: a later reading of the parent alone would be newer than its children's.
            let alive = self.books.living(parent).is_some();
            for &file in files.iter().filter(|_| alive) {
                let amount = self.take_rest(parent, file);
                if !amount.is_empty() {
                    left_over.entry((parent, file)).or_default().merge(amount);
                }
            }
        }
    }

    /// Reads the children of a parent that was just read, until it has stood still from one reading
    /// of its own to the next: then what is left over is exact. Tells whether that was so; if not,
    /// what is left over is still no more than what really is.
    fn read_until_still(&mut self, parent: NodeKey, files: &[FileId]) -> bool {
        const PASSES: usize = 8;
        for _ in 0..PASSES {
            let last = self.books.last_instance();
            if !self.drain_wholly() {
                return false;
            }
            self.take_all_lives();
            let hears = self.hears_of_births(parent);
            // The mark does not tell of names that are too long for its records.
            if !hears || self.hides_some(parent) || self.marked {
                let ahead = if hears { Ahead::SURE } else { Ahead::NO };
                self.compare_children(parent, ahead, LearnedFrom::Lookup);
            }
            self.read_children(parent, files);
            let before = self.totals(parent, files);
            let left = self.read_parent(parent, files);
            if !left {
                return true;
            }
            // One that was found just now may bear the name of another, born before the drain and gone
            // since, whose record was taken for its own: the next records tell.
            if before == self.totals(parent, files) && !self.has_younger(parent, last) {
                // A child's file may have been replaced before it was read: see `give`.
                let _ = self.drain();
                return true;
            }
        }
        if self.drain_wholly() {
            self.take_all_lives();
            self.read_children(parent, files);
        }
        false
    }

    /// A child lives that was found after the one with this number.
    fn has_younger(&self, parent: NodeKey, last: u64) -> bool {
        let mut children = self.books.children(parent).filter_map(|child| self.books.get(child));
        children.any(|child| child.n > last)
    }

    /// Reads a parent's files and, if anything is left over, their twins. Tells whether anything is
    /// left over after that.
    pub(crate) fn read_parent(&mut self, parent: NodeKey, files: &[FileId]) -> bool {
        let Some(node) = self.books.living(parent) else { return false };
        let files: Vec<_> = files.iter().copied().filter(|f| node.present(*f).is_some()).collect();
        if files.is_empty() {
            return false;
        }
        let Ok(Some(mut dir)) = self.open(parent) else {
            self.check_node(parent, LearnedFrom::Lookup);
            return false;
        };
        let left = self.read_sums(parent, &mut dir, &files);
        self.world.close(dir);
        left
    }

    /// Reads files and, as far as anything is left over, their twins, until these show nothing new:
    /// what the parent itself counted after a file was read would stand for as much that the dead had
    /// counted, which would be found later and be called another's. Tells whether anything is or may
    /// be left over.
    fn read_sums(&mut self, parent: NodeKey, dir: &mut W::Dir, files: &[FileId]) -> bool {
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            for &file in files {
                match self.read_total(parent, dir, file) {
                    Ok(true) if !self.is_summed(file) => {
                        self.read_own(parent, dir, file);
                    }
                    // It died meanwhile, and is settled with its children, or a controller went.
                    Err(errno) if is_gone(errno) => {
                        self.check_node(parent, LearnedFrom::Lookup);
                        return self.has_rest(parent);
                    }
                    _ => {}
                }
            }
            if !self.has_rest(parent) && !self.is_ahead(parent) {
                return false;
            }
            let mut newer = false;
            for &file in files {
                match self.read_own(parent, dir, file) {
                    Some(is) => newer |= is,
                    // It went after the file was read. Whose the counts are nobody can tell then.
                    None if self.schemas.spec(file).twin_seen => {
                        self.check_node(parent, LearnedFrom::Lookup);
                    }
                    None => {}
                }
            }
            if !newer {
                return self.has_rest(parent);
            }
        }
        true
    }

    /// Counts of its own may stand for those of others.
    fn is_ahead(&self, key: NodeKey) -> bool {
        let files = self.books.get(key).into_iter().flat_map(|node| &node.files);
        files.filter_map(|file| file.kin.as_ref()).any(|kin| kin.ahead)
    }

    /// Reads the children until nothing is left over; those that woke first.
    fn read_children(&mut self, parent: NodeKey, files: &[FileId]) {
        let awake: IndexSet<_> = self.hints.wakes.iter().map(|(key, _)| *key).collect();
        let mut children: Vec<_> = self.books.children(parent).collect();
        children.sort_by_key(|key| !(awake.contains(key) || self.turns.awaits(*key)));
        for child in children {
            if !self.has_rest(parent) {
                return;
            }
            if self.books.living(child).is_some() {
                self.read_node(child, files, LearnedFrom::Lookup);
            }
        }
    }

    /// A dying parent may have been read before its children: it counted at least what they did, so
    /// that much is accounted for above it.
    pub(crate) fn close_account(&mut self, key: NodeKey) {
        for file in self.schemas.files() {
            self.close_file(key, file);
        }
    }

    /// [`Self::close_account`] for one file.
    pub(crate) fn close_file(&mut self, key: NodeKey, file: FileId) {
        let Some(slot) = self.books.get(key).and_then(|node| node.present(file)) else { return };
        let Some(kin) = slot.kin.as_deref().filter(|_| self.is_summed(file)) else { return };
        let (schema, total) = (slot.schema, slot.total.clone());
        let at_least = |(at, total): (usize, &u64)| {
            let sum = kin.own[at].wrapping_add(kin.accounted[at]);
            if sum.wrapping_sub(*total).cast_signed() > 0 { sum } else { *total }
        };
        let least: Box<[u64]> = total.iter().enumerate().map(at_least).collect();
        let parent = self.books.get(key).and_then(|node| node.parent);
        self.count(parent, file, (schema, &total), (schema, &least));
    }

    /// What a file of a parent counts beyond what is accounted for, by key; may be below zero while
    /// a reading is older than its children's.
    pub(crate) fn rest(&self, key: NodeKey, file: FileId) -> impl Iterator<Item = i64> + '_ {
        let slot = self.books.get(key).and_then(|node| node.files.iter().find(|f| f.file == file));
        let kin = slot.and_then(|slot| slot.kin.as_deref().map(|kin| (slot, kin)));
        kin.into_iter().flat_map(|(slot, kin)| {
            let sums = kin.own.iter().zip(&kin.accounted);
            slot.total.iter().zip(sums).map(|(total, (own, accounted))| {
                total.wrapping_sub(*own).wrapping_sub(*accounted).cast_signed()
            })
        })
    }

    pub(crate) fn has_rest(&self, key: NodeKey) -> bool {
        self.schemas.files().any(|file| self.is_summed(file) && self.rest(key, file).any(|r| r > 0))
    }

    /// The file counts what descendants counted, as far as is known now.
    pub(crate) fn is_summed(&self, file: FileId) -> bool {
        let local = match &*self.schemas.spec(file).name {
            "memory.events" => self.mount.memory_localevents,
            "pids.events" => self.mount.pids_localevents,
            _ => false,
        };
        !local && self.has_twin(file)
    }

    /// Takes the rest of a file as accounted for, and gives it.
    pub(crate) fn take_rest(&mut self, key: NodeKey, file: FileId) -> Values<u64> {
        let rest: Vec<i64> = self.rest(key, file).collect();
        let node = self.books.get_mut(key);
        let slot = node.and_then(|node| node.files.iter_mut().find(|f| f.file == file));
        let mut taken = Values::default();
        let Some(slot) = slot else { return taken };
        let Some(kin) = &mut slot.kin else { return taken };
        for (at, rest) in rest.into_iter().enumerate().filter(|(_, rest)| *rest > 0) {
            let amount = rest.cast_unsigned();
            kin.accounted[at] = kin.accounted[at].wrapping_add(amount);
            taken.0.push((self.schemas.keys(slot.schema)[at].clone(), amount));
        }
        taken
    }

    /// Arms the timer for parents that have something left over and no removal to give it to.
    pub(crate) fn watch_rests(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            let Some(node) = self.books.living(key) else { continue };
            if node.flags.has_kin && self.has_rest(key) {
                self.doubt_rest(key, false);
            } else if self.rests.get(&key).is_some_and(|rest| !rest.kept) {
                // One that is kept is looked at when it is due.
                self.rests.swap_remove(&key);
            }
        }
    }

    /// What is left over of a parent is nobody's alone until it was looked at again. `kept`: even if
    /// nothing seems to be left over meanwhile, since a child was read later than the parent.
    pub(crate) fn doubt_rest(&mut self, key: NodeKey, kept: bool) {
        /// Twice the kernel's own rate limit on these notifications, and some more: until then the
        /// one that counted may still be announced.
        const GRACE_NS: u64 = 30_000_000;
        let grace = GRACE_NS.max(self.audit_ns.saturating_mul(50));
        let due_ns = self.now_ns.saturating_add(grace);
        self.rests.entry(key).or_insert(Rest { due_ns, kept }).kept |= kept;
    }

    /// Looks again at parents whose rest is due. What is still left over is late.
    pub(crate) fn audit_rests(&mut self) {
        if self.rests.is_empty() {
            return;
        }
        let due: IndexSet<NodeKey> = self
            .rests
            .iter()
            .filter(|(_, rest)| rest.due_ns <= self.now_ns)
            .map(|(key, _)| *key)
            .take(self.options.batch)
            .collect();
        if due.is_empty() {
            return;
        }
        let began = self.world.busy_ns();
        if self.look_at_mount() {
            self.rebase_all();
        }
        let mut left_over = LeftOver::new();
        self.close_in(&due, &mut left_over);
        self.settle_with(left_over);
        if !self.hints.overflow {
            self.rests.retain(|key, _| !due.contains(key));
        }
        self.audit_ns = self.world.busy_ns().saturating_sub(began);
    }

    /// Looks whether a mount option that changes the meaning of counters was switched.
    pub(crate) fn look_at_mount(&mut self) -> bool {
        let now = self.world.mount_options();
        self.mount_switched |= now != std::mem::replace(&mut self.mount, now);
        self.mount_switched
    }

    /// The counters mean something else from now on: all books are opened anew, those of the deepest
    /// first, since what a reading finds there is counted above. A file that shows less than before
    /// is not taken for another one meanwhile.
    pub(crate) fn rebase_all(&mut self) {
        let mount = self.mount;
        self.untold.push_gap(&self.books, GapReason::MountChanged);
        let files: Vec<FileId> = self.schemas.files().filter(|file| self.has_twin(*file)).collect();
        let living = self.books.iter().filter(|(_, node)| !node.flags.dead);
        let mut living: Vec<_> = living.map(|(key, node)| (node.depth, key)).collect();
        living.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        for (_, key) in living {
            match self.books.living(key).map(|node| node.flags.has_kin) {
                Some(true) => self.rebase(key),
                Some(false) => self.read_node(key, &files, LearnedFrom::Lookup),
                None => {}
            }
        }
        self.rests.clear();
        self.untold.push_ready(&self.books, true);
        self.look_at_mount();
        self.mount_switched = self.mount != mount;
    }

    /// Drains the queue. Tells whether nothing of it was lost.
    fn drain_wholly(&mut self) -> bool {
        self.drain().is_ok() && !self.hints.overflow
    }
}
