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

use indexmap::IndexSet;

use super::{Monitor, books::NodeKey, schema::FileId, untold::Removal};
use crate::{Confidence, GapReason, LearnedFrom, Unseen, Values, world::World};

/// How many instances a `shared_with` names at most.
const SHARERS: usize = 64;

/// A cgroup (or one of its files) that is gone and not settled yet.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) key: NodeKey,
    /// Only this file; `None`: the whole cgroup.
    pub(crate) file: Option<FileId>,
    pub(crate) learned_from: LearnedFrom,
}

impl<W: World> Monitor<W> {
    /// Settles what was lost, and lets it be told. What was found lost meanwhile may remain for the
    /// next round.
    pub(crate) fn settle(&mut self) {
        if self.losses.is_empty() {
            self.watch_rests();
            return;
        }
        let mut parents = IndexSet::new();
        let mut any_counters = false;
        for loss in &self.losses {
            if self.counts(loss) {
                any_counters = true;
                parents.extend(self.account_of(loss));
            }
        }
        let mount_changed = any_counters && self.look_at_mount();
        self.close_in(&parents);
        let losses = std::mem::take(&mut self.losses);
        let (now, later) = losses.into_iter().partition(|loss| {
            let account = self.account_of(loss);
            !self.counts(loss) || account.is_none_or(|parent| parents.contains(&parent))
        });
        self.losses = later;
        self.attribute(now, mount_changed);
        if mount_changed {
            self.rebase_all();
        }
        self.watch_rests();
    }

    /// Something of it may have counted.
    fn counts(&self, loss: &Loss) -> bool {
        let Some(node) = self.books.get(loss.key) else { return false };
        // Of one that was never seen, all that its parent has.
        let lost = loss.file;
        let counts = |file: FileId| !self.schemas.spec(file).states;
        node.id == 0
            || node.files.iter().any(|f| counts(f.file) && lost.is_none_or(|l| l == f.file))
    }

    /// The nearest living ancestor.
    fn account_of(&self, loss: &Loss) -> Option<NodeKey> {
        let mut at = self.books.get(loss.key)?.parent;
        while let Some(key) = at {
            let node = self.books.get(key)?;
            if !node.flags.dead {
                return Some(key);
            }
            at = node.parent;
        }
        None
    }

    /// Reads the parents, and what else is needed to know their rest.
    pub(crate) fn close_in(&mut self, parents: &IndexSet<NodeKey>) {
        let files: Vec<FileId> = self.schemas.files().filter(|file| self.has_twin(*file)).collect();
        let mut open = Vec::new();
        for &parent in parents {
            if self.read_parent(parent, &files) {
                open.push(parent);
            }
        }
        if open.is_empty() {
            return;
        }
        if self.drain().is_ok() {
            self.take_names();
        }
        for parent in open {
            self.read_children(parent, &files);
        }
    }

    /// Reads a parent's files and, if anything is left over, their twins. Tells whether anything is
    /// left over after that.
    fn read_parent(&mut self, parent: NodeKey, files: &[FileId]) -> bool {
        let Some(node) = self.books.living(parent) else { return false };
        let files: Vec<_> = files.iter().copied().filter(|f| node.present(*f).is_some()).collect();
        if files.is_empty() {
            return false;
        }
        let Ok(Some(mut dir)) = self.open(parent) else {
            self.check_node(parent, LearnedFrom::Lookup);
            return false;
        };
        for &file in &files {
            let _ = self.read_total(parent, &mut dir, file);
        }
        let mut left = self.has_rest(parent);
        if left {
            for &file in &files {
                if let Some(own) = self.read_twin(parent, &mut dir, file) {
                    self.set_own(parent, file, own);
                }
            }
            left = self.has_rest(parent);
        }
        self.world.close(dir);
        left
    }

    /// Reads the children until nothing is left over; those that woke first.
    fn read_children(&mut self, parent: NodeKey, files: &[FileId]) {
        let awake: IndexSet<_> = self.hints.wakes.iter().map(|(key, _)| *key).collect();
        let mut children: Vec<_> = self.books.children(parent).collect();
        children.sort_by_key(|key| !awake.contains(key));
        for child in children {
            if !self.has_rest(parent) {
                return;
            }
            if self.books.living(child).is_some() {
                self.read_node(child, files, LearnedFrom::Lookup);
            }
        }
    }

    /// What a file of a parent counts beyond what is accounted for, by key; may be below zero while
    /// a reading is older than its children's.
    fn rest(&self, key: NodeKey, file: FileId) -> impl Iterator<Item = i64> + '_ {
        let slot = self.books.get(key).and_then(|node| node.files.iter().find(|f| f.file == file));
        let kin = slot.and_then(|slot| slot.kin.as_deref().map(|kin| (slot, kin)));
        kin.into_iter().flat_map(|(slot, kin)| {
            let sums = kin.own.iter().zip(&kin.accounted);
            slot.total.iter().zip(sums).map(|(total, (own, accounted))| {
                total.wrapping_sub(*own).wrapping_sub(*accounted).cast_signed()
            })
        })
    }

    fn has_rest(&self, key: NodeKey) -> bool {
        self.schemas.files().any(|file| self.is_summed(file) && self.rest(key, file).any(|r| r > 0))
    }

    /// The file counts what descendants counted, as far as is known now.
    fn is_summed(&self, file: FileId) -> bool {
        let local = match &*self.schemas.spec(file).name {
            "memory.events" => self.mount.memory_localevents,
            "pids.events" => self.mount.pids_localevents,
            _ => false,
        };
        !local && self.has_twin(file)
    }

    /// Takes the rest of a file as accounted for, and gives it.
    fn take_rest(&mut self, key: NodeKey, file: FileId) -> Values<u64> {
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

    /// Gives what was left over to those that died, and lets their removals be told.
    fn attribute(&mut self, losses: Vec<Loss>, mount_changed: bool) {
        let mut unseen: Vec<Unseen> = losses.iter().map(|_| Unseen::default()).collect();
        // Dead parents first, by their last values; then the living.
        let mut accounts: IndexSet<(NodeKey, bool)> = IndexSet::new();
        for loss in &losses {
            if let Some(parent) = self.books.get(loss.key).and_then(|node| node.parent)
                && self.books.get(parent).is_some_and(|node| node.flags.dead)
            {
                accounts.insert((parent, true));
            }
        }
        for loss in &losses {
            accounts.extend(self.account_of(loss).map(|key| (key, false)));
        }
        for (account, dead) in accounts {
            for file in self.schemas.files() {
                if !self.schemas.spec(file).states {
                    self.attribute_file(&losses, &mut unseen, account, dead, file, mount_changed);
                }
            }
        }
        self.mark_unknowable(&losses, &mut unseen, mount_changed);
        for (loss, unseen) in losses.into_iter().zip(unseen) {
            match loss.file {
                Some(file) => self.untold.set_unseen_of_lost(loss.key, file, unseen),
                None => {
                    let removal = Removal { learned_from: loss.learned_from, unseen };
                    self.untold.settle_removal(loss.key, removal);
                }
            }
        }
    }

    /// One file of one parent: what is left over goes to the last that died below it.
    fn attribute_file(
        &mut self,
        losses: &[Loss],
        unseen: &mut [Unseen],
        account: NodeKey,
        dead: bool,
        file: FileId,
        mount_changed: bool,
    ) {
        if !self.is_summed(file) || mount_changed || !self.rest(account, file).any(|r| r > 0) {
            return;
        }
        let is_member = |loss: &Loss| {
            let Some(node) = self.books.get(loss.key) else { return false };
            let its = loss.file.is_none_or(|lost| lost == file);
            let had = node.id == 0 || node.files.iter().any(|f| f.file == file);
            let below = match dead {
                true => node.parent == Some(account),
                false => self.account_of(loss) == Some(account),
            };
            its && had && below
        };
        let members: Vec<usize> = (0..losses.len()).filter(|at| is_member(&losses[*at])).collect();
        let Some((&carrier, others)) = members.split_last() else { return };
        let name = self.schemas.spec(file).name.clone();
        let amount = self.take_rest(account, file);
        let n = |at: usize| self.books.get(losses[at].key).map_or(0, |node| node.n);
        let alone = others.is_empty() && !dead && !self.rests.contains_key(&account);
        unseen[carrier].files.push((name, Some(amount)));
        let confidence = if alone { Confidence::Bounded } else { Confidence::Shared };
        if unseen[carrier].confidence != Some(Confidence::Shared) {
            unseen[carrier].confidence = Some(confidence);
        }
        for &other in others {
            unseen[other].unseen_in = Some(n(carrier));
            let sharer = n(other);
            let known = &mut unseen[carrier];
            if !known.shared_with.contains(&sharer) {
                known.shared_count += 1;
                if known.shared_with.len() < SHARERS {
                    known.shared_with.push(sharer);
                }
            }
        }
    }

    /// Says of which files it cannot be known what was not seen.
    fn mark_unknowable(&mut self, losses: &[Loss], unseen: &mut [Unseen], mount_changed: bool) {
        let mut at_most = None;
        for (loss, unseen) in losses.iter().zip(unseen) {
            let Some(node) = self.books.get(loss.key) else { continue };
            let account = self.account_of(loss);
            for file in self.schemas.files() {
                let spec = self.schemas.spec(file);
                let its = loss.file.is_none_or(|lost| lost == file);
                let had = match node.id {
                    0 => spec.seen, // it may have had any that there is
                    _ => node.files.iter().any(|f| f.file == file),
                };
                if spec.states || !spec.name.ends_with(".events") || !its || !had {
                    continue;
                }
                let knowable = !mount_changed
                    && self.is_summed(file)
                    && account
                        .and_then(|key| self.books.get(key))
                        .is_some_and(|p| p.present(file).is_some());
                if knowable || unseen.files.iter().any(|(name, _)| *name == spec.name) {
                    continue;
                }
                unseen.files.push((spec.name.clone(), None));
                if &*spec.name == "memory.events" {
                    let at_most = at_most.get_or_insert_with(|| {
                        let now = self.world.host_oom_kills()?;
                        let since = now.saturating_sub(self.host_kills?);
                        Some(since.saturating_sub(self.told_kills))
                    });
                    unseen.host_oom_kill_at_most = *at_most;
                }
            }
        }
    }

    /// Arms the timer for parents that have something left over and no removal to give it to.
    fn watch_rests(&mut self) {
        /// Twice the kernel's own rate limit on these notifications, and some more: until then the
        /// one that counted may still be announced.
        const GRACE_NS: u64 = 30_000_000;
        for key in std::mem::take(&mut self.touched) {
            let Some(node) = self.books.living(key) else { continue };
            if node.flags.bereaved && node.flags.has_kin && self.has_rest(key) {
                let due =
                    self.now_ns.saturating_add(GRACE_NS.max(self.audit_ns.saturating_mul(50)));
                self.rests.entry(key).or_insert(due);
            } else if !self.rests.is_empty() {
                self.rests.swap_remove(&key);
            }
        }
    }

    /// Looks again at parents whose rest is due. What is still left over is late.
    pub(crate) fn audit_rests(&mut self) {
        let due: IndexSet<NodeKey> = self
            .rests
            .iter()
            .filter(|(_, due)| **due <= self.now_ns)
            .map(|(key, _)| *key)
            .collect();
        if due.is_empty() {
            return;
        }
        let began = self.world.now().boot_ns;
        if self.look_at_mount() {
            self.rebase_all();
        }
        self.close_in(&due);
        for key in due {
            let bereft = self.losses.iter().any(|loss| self.account_of(loss) == Some(key));
            if bereft || self.books.living(key).is_none() {
                continue; // a removal was learned meanwhile: it may own the rest
            }
            self.rests.swap_remove(&key);
            for file in self.schemas.files() {
                if self.is_summed(file) {
                    let amount = self.take_rest(key, file);
                    self.tell_late(key, file, &amount);
                }
            }
        }
        self.touched.clear();
        self.audit_ns = self.world.now().boot_ns.saturating_sub(began);
    }

    fn tell_late(&mut self, key: NodeKey, file: FileId, amount: &Values<u64>) {
        if amount.is_empty() {
            return;
        }
        let Some(slot) = self.books.get(key).and_then(|node| node.present(file)) else { return };
        let (schema, keys) = (slot.schema, self.schemas.keys(slot.schema));
        let amounts: Vec<u64> = keys.iter().map(|k| amount.get(k).unwrap_or(0)).collect();
        let late = &mut self.untold.told_mut(key).late;
        match late.iter_mut().find(|(f, s, _)| *f == file && *s == schema) {
            Some((.., sums)) => {
                sums.iter_mut()
                    .zip(amounts)
                    .for_each(|(sum, amount)| *sum = sum.saturating_add(amount));
            }
            None => late.push((file, schema, amounts)),
        }
        self.untold.touch(&mut self.books, key);
    }

    /// Looks whether a mount option that changes the meaning of counters was switched.
    fn look_at_mount(&mut self) -> bool {
        let now = self.world.mount_options();
        now != std::mem::replace(&mut self.mount, now)
    }

    /// The counters mean something else from now on: all books are opened anew.
    pub(crate) fn rebase_all(&mut self) {
        self.untold.push_gap(GapReason::MountChanged);
        let with_kin = self.books.iter().filter(|(_, node)| node.flags.has_kin && !node.flags.dead);
        let keys: Vec<_> = with_kin.map(|(key, _)| key).collect();
        for key in keys {
            self.rebase(key);
        }
        self.rests.clear();
        self.touched.clear();
        self.untold.push_ready(true);
    }
}
