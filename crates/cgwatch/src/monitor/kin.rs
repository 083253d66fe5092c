//! Whose a cgroup's counts are: as long as no child of it is known all are its own; from the first
//! child on its `.local` twins tell what is, and the sum of the children what is not.
//!
//! For what exists at the start, and for a file that came later, what had been counted so far is a
//! baseline; for a newborn nothing is, so that what was told before its first child was known may have
//! to be corrected.

use super::{
    Monitor,
    books::{File, Kin, NodeKey},
    is_gone,
    reading::within,
    schema::FileId,
};
use crate::{LearnedFrom, world::World};

impl<W: World> Monitor<W> {
    /// From now on the counts of a node are not all its own: its first child was found.
    pub(crate) fn begin_kin(&mut self, key: NodeKey) {
        let Some(node) = self.books.get_mut(key).filter(|node| !node.flags.dead) else { return };
        if std::mem::replace(&mut node.flags.has_kin, true) {
            return;
        }
        let files: Vec<_> = node.files.iter().filter(|f| f.present).map(|f| f.file).collect();
        if !files.iter().any(|file| self.has_twin(*file)) {
            return;
        }
        if let Ok(Some(mut dir)) = self.open(key) {
            for &file in &files {
                self.begin_kin_of_file(key, &mut dir, file, self.taking_baseline);
            }
            self.world.close(dir);
        }
        if !self.taking_baseline {
            files.into_iter().for_each(|file| self.begin_kin_blindly(key, file));
        }
    }

    /// One has counted, perhaps in children that are not known: of those that are gone already the mark
    /// will tell, of others nobody if the directory is not watched. If it is gone itself by now, it
    /// depends on whether there were any.
    pub(crate) fn expect_kin(&mut self, key: NodeKey, dir: &mut W::Dir) {
        if self.books.get(key).is_none_or(|node| node.flags.has_kin) {
            return;
        }
        for file in self.schemas.files() {
            self.begin_kin_of_file(key, dir, file, false);
        }
        let Some(node) = self.books.get(key) else { return };
        let mut twins = node.files.iter().filter(|f| f.present && self.has_twin(f.file));
        let has_kin = twins.all(|file| file.kin.is_some());
        if let Some(node) = self.books.get_mut(key) {
            node.flags.has_kin = has_kin;
        }
    }

    pub(crate) fn has_twin(&self, file: FileId) -> bool {
        let spec = self.schemas.spec(file);
        spec.twin.is_some() && !spec.twin_absent
    }

    /// With a `baseline`, what others had counted so far is history; without, nothing had been
    /// counted before the node was found.
    pub(crate) fn begin_kin_of_file(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        file: FileId,
        baseline: bool,
    ) {
        let has_kin = |slot: &File| slot.kin.is_some();
        if !self.has_twin(file)
            || self.books.get(key).and_then(|node| node.present(file)).is_none_or(has_kin)
        {
            return;
        }
        let Some((own, sure)) = self.read_first_twin(key, dir, file, !baseline) else { return };
        let summed = self.is_summed(file);
        let Some(node) = self.books.get_mut(key) else { return };
        node.flags.had_stranger |= !sure;
        let Some(slot) = node.present_mut(file) else { return };
        let own = match summed {
            true => Kin::default().own_within(own, &slot.total),
            false => within(&own, &slot.total),
        };
        let mut accounted: Box<[u64]> = vec![0; slot.total.len()].into();
        if baseline {
            for (at, total) in slot.total.iter().enumerate() {
                accounted[at] = total.wrapping_sub(own.get(at).copied().unwrap_or(0));
            }
            self.untold.own_so_far(key, slot, &own);
        }
        self.set_kin(key, file, Kin { own, accounted, ..Kin::default() }, !baseline);
    }

    /// Reads the twin and, unless the file showed nothing yet, the file once more, until that stands
    /// still: what the cgroup counted itself in between would stand for as much that one had counted
    /// which nobody knew. Tells whether it stood still.
    fn read_first_twin(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        file: FileId,
        exactly: bool,
    ) -> Option<(Box<[u64]>, bool)> {
        const TRIES: usize = 4;
        let mut own = self.read_twin(key, dir, file)?;
        let total = &self.books.get(key)?.present(file)?.total;
        if !exactly || !self.is_summed(file) || total.iter().all(|value| *value == 0) {
            return Some((own, true));
        }
        for _ in 0..TRIES {
            match self.read_total(key, dir, file) {
                Ok(true) => own = self.read_twin(key, dir, file)?,
                // The file was replaced, and the twin that was read is another file's.
                Err(errno) if is_gone(errno) => return None,
                still => return Some((own, still.is_ok())),
            }
        }
        Some((own, false))
    }

    /// A file came that has counted already. What of that is not its own and was counted by nobody
    /// who is known may still be told by those below it, as all others are told what they counted:
    /// its parent must not tell that once more.
    pub(crate) fn open_account(&mut self, key: NodeKey, dir: &mut W::Dir, file: FileId) {
        self.begin_kin_of_file(key, dir, file, true);
        let Some(node) = self.books.get_mut(key) else { return };
        let had_kin = node.flags.has_kin;
        let Some(slot) = node.present_mut(file) else { return };
        let alone = slot.kin.as_ref().is_none_or(|kin| kin.own == slot.total);
        if alone && !had_kin {
            slot.kin = None;
            return;
        }
        self.begin_kin(key); // its other files count what those did, too
        if !self.is_summed(file) {
            return;
        }
        let known = self.counted_in_children(key, file);
        let Some(account) = self.nearest_with(key, file) else { return };
        // Newer than the file, so that it shows all that this does.
        self.read_parent(account, &[file]);
        let rests: Vec<i64> = self.rest(account, file).collect();
        let schema_above = self.books.get(account).and_then(|node| node.present(file));
        let Some(schema_above) = schema_above.map(|slot| slot.schema) else { return };
        let node = self.books.get_mut(key).filter(|node| !node.flags.dead);
        let Some(slot) = node.and_then(|node| node.present_mut(file)) else { return };
        let (schema, mut open) = (slot.schema, vec![0; slot.total.len()]);
        let Some(kin) = &mut slot.kin else { return };
        for (at, accounted) in kin.accounted.iter_mut().enumerate() {
            let above = self.schemas.position(schema, at, schema_above);
            let rest = above.and_then(|at| rests.get(at)).copied().unwrap_or(0).max(0);
            let unknown = accounted.saturating_sub(known.get(at).copied().unwrap_or(0));
            open[at] = unknown.min(rest.cast_unsigned());
            *accounted -= open[at];
        }
        if open.iter().any(|amount| *amount != 0) {
            self.books.note_stranger(key);
            self.touched.insert(key);
            self.count(Some(account), file, (schema, &[]), (schema, &open));
        }
    }

    /// What the children that are known show of a file, by the keys of the parent's.
    fn counted_in_children(&self, key: NodeKey, file: FileId) -> Vec<u64> {
        let Some(slot) = self.books.get(key).and_then(|node| node.present(file)) else {
            return Vec::new();
        };
        let mut sums = vec![0_u64; slot.total.len()];
        for child in self.books.children(key) {
            let Some(its) = self.books.get(child).and_then(|node| node.present(file)) else {
                continue;
            };
            for (at, sum) in sums.iter_mut().enumerate() {
                let value = self.schemas.value(its.schema, &its.total, slot.schema, at);
                *sum = sum.saturating_add(value);
            }
        }
        sums
    }

    /// The twin cannot be read any more. Nobody else had counted before it was last known that there
    /// was no child; whose the rest is nobody can tell.
    fn begin_kin_blindly(&mut self, key: NodeKey, file: FileId) {
        if !self.has_twin(file) {
            return;
        }
        let Some(slot) = self.books.get_mut(key).and_then(|node| node.present_mut(file)) else {
            return;
        };
        if slot.kin.is_some() {
            return;
        }
        let mut own = slot.total.clone();
        if let Some(sure) = self.unproved.get(key, file) {
            own.iter_mut().enumerate().for_each(|(at, own)| *own = *sure.get(at).unwrap_or(&0));
        }
        let (accounted, unsure) = (vec![0; own.len()].into(), own != slot.total);
        self.set_kin(key, file, Kin { own, accounted, unsure, ..Kin::default() }, true);
    }

    /// Whose the counts of a file are, which were all called the cgroup's own until now. If that was
    /// wrong, counts of a child that was not known yet were told so.
    fn set_kin(&mut self, key: NodeKey, file: FileId, kin: Kin, corrects: bool) {
        let Some(node) = self.books.get_mut(key) else { return };
        let Some(slot) = node.present_mut(file) else { return };
        let corrects = corrects && kin.own != slot.total;
        if corrects {
            self.untold.keep(key, slot);
        }
        slot.kin = Some(Box::new(kin));
        if corrects {
            node.flags.had_stranger = true;
            self.untold.touch(&mut self.books, key);
            self.touched.insert(key);
        }
    }

    /// Anything that may not all be its own.
    pub(crate) fn has_counted(&self, key: NodeKey) -> bool {
        let files = self.books.get(key).into_iter().flat_map(|node| &node.files);
        let counted = |file: &&File| file.present && file.total.iter().any(|value| *value != 0);
        files.filter(counted).any(|file| self.has_twin(file.file))
    }

    /// A cgroup that existed at the start may have counts of children long dead: its `.local` twins
    /// tell what is its own. Where nothing was counted yet there is nothing to tell apart.
    pub(crate) fn learn_history(&mut self, key: NodeKey, dir: &mut W::Dir) {
        if !self.has_counted(key) {
            return;
        }
        if let Some(node) = self.books.get_mut(key) {
            node.flags.has_kin = true;
        }
        self.rebase_open(key, dir, false);
    }

    /// Takes everything a node counts beyond its own as accounted for. Reads until nothing was
    /// counted between two readings; after some tries rather accounts for too much than too little.
    pub(crate) fn rebase(&mut self, key: NodeKey) {
        if let Ok(Some(mut dir)) = self.open(key) {
            self.rebase_open(key, &mut dir, true);
            self.world.close(dir);
        }
    }

    fn rebase_open(&mut self, key: NodeKey, dir: &mut W::Dir, with_children: bool) {
        const TRIES: usize = 4;
        let files: Vec<FileId> = self.schemas.files().filter(|file| self.has_twin(*file)).collect();
        let has = |this: &Self| {
            this.books
                .living(key)
                .is_some_and(|node| files.iter().any(|f| node.present(*f).is_some()))
        };
        if !has(self) {
            return;
        }
        for attempt in 0..TRIES {
            let before = self.totals(key, &files);
            if attempt > 0 && with_children {
                let children: Vec<_> = self.books.children(key).collect();
                for child in children {
                    self.read_node(child, &files, LearnedFrom::Lookup);
                }
            }
            let owns: Vec<_> = files.iter().map(|file| self.read_twin(key, dir, *file)).collect();
            for file in &files {
                let _ = self.read_total(key, dir, *file);
            }
            for (file, own) in files.iter().zip(owns) {
                let slot = self.books.get_mut(key).and_then(|node| node.present_mut(*file));
                let (Some(slot), Some(own)) = (slot, own) else { continue };
                let mut accounted = slot.total.clone();
                for (at, accounted) in accounted.iter_mut().enumerate() {
                    *accounted = accounted.wrapping_sub(own.get(at).copied().unwrap_or(0));
                }
                if slot.kin.is_none() {
                    self.untold.own_so_far(key, slot, &own);
                }
                slot.kin = Some(Box::new(Kin { own, accounted, ..Kin::default() }));
            }
            if before == self.totals(key, &files) {
                return;
            }
        }
    }

    pub(crate) fn totals(&self, key: NodeKey, files: &[FileId]) -> Vec<Option<Box<[u64]>>> {
        let node = self.books.get(key);
        let total = |file: &FileId| Some(node?.present(*file)?.total.clone());
        files.iter().map(total).collect()
    }
}
