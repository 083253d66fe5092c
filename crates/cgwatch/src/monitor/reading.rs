//! Reading event files: wake-ups are hints, the values decide.
//!
//! Order: parents before children, so that a parent's count is older than its children's and a
//! transient difference never looks like something lost; `cgroup.events` before the other files of
//! a cgroup, so that whoever emptied it has been counted when `populated` is seen to fall.

use rustix::io::Errno;

use super::{
    Monitor,
    books::NodeKey,
    is_gone,
    schema::{CGROUP_EVENTS, FileId, SchemaId},
    untold::Touch,
};
use crate::{LearnedFrom, world::World};

/// Room for what woke. Empty between two passes, and kept for the next.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    by_depth: Vec<(u32, NodeKey, FileId)>,
    files: Vec<FileId>,
}

impl Woken {
    /// Gives back what a storm had filled.
    fn clear(&mut self) {
        self.by_depth.clear();
        if self.by_depth.capacity() > 1024 {
            self.by_depth.shrink_to_fit();
        }
    }
}

impl<W: World> Monitor<W> {
    /// Reads the files that woke: as many as may be read at once.
    pub(crate) fn take_wakes(&mut self) {
        self.queue_wakes();
        let mut woken = std::mem::take(&mut self.woken.by_depth);
        for (key, file) in self.hints.wakes.drain(..) {
            if self.options.touches {
                self.untold.note_touch(&mut self.books, key, Touch::File(file));
            }
            woken.push((self.books.get(key).map_or(0, |node| node.depth), key, file));
        }
        self.woken.by_depth = woken;
        self.read_woken();
        self.hints.shrink();
    }

    /// Files are to be read.
    pub(crate) fn wake(&mut self, key: NodeKey, files: &[FileId]) {
        let depth = self.books.get(key).map_or(0, |node| node.depth);
        self.woken.by_depth.extend(files.iter().map(|file| (depth, key, *file)));
    }

    /// Reads what is to be read.
    pub(crate) fn read_woken(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        woken.by_depth.sort_unstable();
        for same in woken.by_depth.chunk_by(|one, next| one.1 == next.1) {
            woken.files.clear();
            woken.files.extend(same.iter().map(|&(.., file)| file));
            let key = same[0].1;
            if self.books.living(key).is_some() {
                self.read_node(key, &woken.files, LearnedFrom::Lookup);
            }
        }
        woken.clear();
        self.woken = woken;
    }

    /// Reads some files of a node; all if one may have been replaced.
    pub(crate) fn read_node(&mut self, key: NodeKey, files: &[FileId], learned_from: LearnedFrom) {
        self.check_first(key);
        match self.reach(key) {
            Ok(Some(mut dir)) => {
                self.read_files(key, &mut dir, files, learned_from);
                self.world.close(dir);
            }
            Ok(None) => self.bury_tree(key, learned_from),
            Err(_) => {} // noted
        }
    }

    /// Reads some files of an open node. If `populated` fell, the others are read after it.
    pub(crate) fn read_files(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        files: &[FileId],
        learned_from: LearnedFrom,
    ) {
        let populated = self.populated(key);
        let mut gone = Vec::new();
        for &file in files {
            self.read_file(key, dir, file, &mut gone);
            let fell = file == CGROUP_EVENTS && populated && !self.populated(key);
            if fell {
                for other in self.schemas.files().filter(|other| !files.contains(other)) {
                    self.read_file(key, dir, other, &mut gone);
                }
            }
        }
        if !gone.is_empty() {
            self.lose_files(key, dir, &gone, learned_from);
        }
    }

    fn populated(&self, key: NodeKey) -> bool {
        let file = self.books.get(key).and_then(|node| node.present(CGROUP_EVENTS));
        let Some(file) = file else { return false };
        let keys = self.schemas.keys(file.schema);
        keys.iter()
            .position(|k| &**k == "populated")
            .is_some_and(|at| file.total.get(at) == Some(&1))
    }

    fn read_file(&mut self, key: NodeKey, dir: &mut W::Dir, file: FileId, gone: &mut Vec<FileId>) {
        let Some(node) = self.books.living(key) else { return };
        let Some(slot) = node.present(file) else { return };
        let has_kin = slot.kin.is_some();
        match self.read_total(key, dir, file) {
            Err(errno) if is_gone(errno) || errno == Errno::OPNOTSUPP => gone.push(file),
            Err(_) => {} // noted
            Ok(true) if has_kin => {
                self.read_own(key, dir, file);
            }
            // It may have children that nobody told of.
            Ok(true) if !self.hears_of_births(key) => self.expect_kin(key, dir),
            Ok(_) => {}
        }
    }

    /// Reads a file's text into `self.text`.
    pub(crate) fn read_text(&mut self, dir: &mut W::Dir, name: &str) -> Result<(), Errno> {
        self.world.read(dir, name, 0, &mut self.text)
    }

    /// Reads a file into the books; tells whether it changed. Any error is noted. ESTALE: its counters
    /// fell, so it is another file than it was (its controller was switched off and on).
    pub(crate) fn read_total(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        file: FileId,
    ) -> Result<bool, Errno> {
        let name = self.schemas.spec(file).name.clone();
        let id = self.books.get(key).and_then(|node| node.present(file)).map_or(0, |slot| slot.id);
        if let Err(errno) = self.world.read(dir, &name, id, &mut self.text) {
            if errno != Errno::OPNOTSUPP {
                self.could_not(key, errno);
            }
            return Err(errno);
        }
        let Some(node) = self.books.get_mut(key) else { return Ok(false) };
        node.read_ns = self.now_ns;
        let parent = node.parent;
        let Some(slot) = node.present_mut(file) else { return Ok(false) };
        let before = slot.schema;
        self.values.clear();
        self.values.extend_from_slice(&slot.total);
        let schema = self.schemas.take(&self.text, before, &mut self.values);
        if schema == before && *self.values == *slot.total {
            return Ok(false);
        }
        let fell = slot.total.iter().zip(&self.values).any(|(old, new)| new < old);
        if fell && self.schemas.spec(file).counts() && !self.look_at_mount() {
            return Err(Errno::STALE);
        }
        let Some(slot) = self.books.get_mut(key).and_then(|node| node.present_mut(file)) else {
            return Ok(false);
        };
        self.untold.keep(key, slot);
        // Buffers, until the books are done with them.
        let [mut old, now] = [&mut self.values_before, &mut self.values].map(std::mem::take);
        old.clear();
        old.extend_from_slice(&slot.total);
        if old.len() == now.len() {
            slot.total.copy_from_slice(&now);
        } else {
            slot.total = now.as_slice().into();
        }
        slot.schema = schema;
        let alone = slot.kin.is_none();
        if let Some(kin) = slot.kin.as_mut().filter(|kin| kin.own.len() != now.len()) {
            kin.resize(now.len());
        }
        self.untold.touch(&mut self.books, key);
        if self.has_twin(file) {
            self.touched.insert(key);
            if alone {
                self.unproved.note(key, file, &old, &now);
            }
        }
        self.count(parent, file, (before, &old), (schema, &now));
        (self.values_before, self.values) = (old, now);
        Ok(true)
    }

    /// Reads the `.local` twin, by the keys of the file itself. `None` if there is none to be had.
    pub(crate) fn read_twin(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        file: FileId,
    ) -> Option<Box<[u64]>> {
        let twin = self.schemas.spec(file).twin.clone()?;
        if let Err(errno) = self.read_text(dir, &twin) {
            let mut trouble = errno;
            if !self.schemas.spec(file).twin_seen && errno == Errno::NOENT {
                let name = self.schemas.spec(file).name.clone();
                let shown = self.read_text(dir, &name);
                let again = shown.and_then(|()| self.read_text(dir, &twin));
                // Only a kernel without the twin has the file but never the twin.
                if shown.is_ok() && again == Err(Errno::NOENT) {
                    self.schemas.spec_mut(file).twin_absent = true;
                }
                trouble = again.err().unwrap_or(errno);
            }
            if trouble != Errno::OPNOTSUPP {
                self.could_not(key, trouble);
            }
            return None;
        }
        self.schemas.spec_mut(file).twin_seen = true;
        let slot = self.books.get(key)?.present(file)?;
        let mut own = vec![0; slot.total.len()];
        let schema = self.schemas.take(&self.text, slot.schema, &mut own);
        own.truncate(slot.total.len());
        debug_assert!(schema == slot.schema || own.len() == slot.total.len());
        Some(own.into())
    }

    /// Reads the `.local` twin into the books. `None` if it could not be read; whether it shows
    /// counts that it did not show before, so that the file itself may not have shown them yet.
    pub(crate) fn read_own(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        file: FileId,
    ) -> Option<bool> {
        let own = self.read_twin(key, dir, file)?;
        // It is read by its name: if it fell, it may be that of a file that took this one's place.
        if self.own_fell(key, file, &own) && self.read_total(key, dir, file).is_err_and(is_gone) {
            return None;
        }
        Some(self.set_own(key, file, own))
    }

    /// A `.local` twin shows less than is known to be the cgroup's own.
    fn own_fell(&self, key: NodeKey, file: FileId, read: &[u64]) -> bool {
        let slot = self.books.get(key).and_then(|node| node.present(file));
        let kin = slot.and_then(|slot| slot.kin.as_deref());
        kin.is_some_and(|kin| kin.own.iter().zip(read).any(|(own, read)| read < own))
    }

    fn set_own(&mut self, key: NodeKey, file: FileId, read: Box<[u64]>) -> bool {
        let summed = self.is_summed(file);
        let Some(slot) = self.books.get_mut(key).and_then(|node| node.present_mut(file)) else {
            return false;
        };
        let Some(kin) = &slot.kin else { return false };
        let own = match summed {
            true => kin.own_within(read.clone(), &slot.total),
            false => within(&read, &slot.total),
        };
        // What was a guess may be taken back; what a twin counted falls only if it means something else.
        let fell = own.iter().zip(&kin.own).any(|(new, old)| new < old);
        if fell && self.look_at_mount() {
            return false; // the books are opened anew
        }
        let Some(slot) = self.books.get_mut(key).and_then(|node| node.present_mut(file)) else {
            return false;
        };
        let Some(kin) = &slot.kin else { return false };
        let ahead = own != read;
        let differs = kin.own != own;
        if differs {
            self.untold.keep(key, slot);
        }
        if let Some(kin) = &mut slot.kin {
            (kin.own, kin.ahead, kin.unsure) = (own, ahead, false);
        }
        if differs {
            self.untold.touch(&mut self.books, key);
            self.touched.insert(key);
        }
        ahead || differs
    }

    /// A child's values went from one moment to the next: its parent's sum follows. Where the parent
    /// is not known yet to have the file, that of the next one above it does.
    pub(crate) fn count(
        &mut self,
        parent: Option<NodeKey>,
        file: FileId,
        (schema_before, before): (SchemaId, &[u64]),
        (schema, now): (SchemaId, &[u64]),
    ) {
        if self.schemas.spec(file).states {
            return;
        }
        let parent = self.counting(parent, file);
        let slot = parent.and_then(|key| self.books.get_mut(key)).and_then(|p| p.present_mut(file));
        let has_slot = slot.is_some();
        let mut accounts = slot.and_then(|slot| Some((slot.schema, slot.kin.as_mut()?)));
        for (at, value) in now.iter().enumerate() {
            let then = self.schemas.value(schema_before, before, schema, at);
            let delta = value.wrapping_sub(then);
            if delta == 0 {
                continue;
            }
            if !has_slot && &*self.schemas.keys(schema)[at] == "oom_kill" {
                self.told_kills = self.told_kills.wrapping_add(delta);
            }
            let Some((to, kin)) = &mut accounts else { continue };
            if let Some(at) = self.schemas.position(schema, at, *to)
                && let Some(sum) = kin.accounted.get_mut(at)
            {
                *sum = sum.wrapping_add(delta);
            }
        }
        if let Some(parent) = parent {
            self.touched.insert(parent);
        }
    }

    /// The one that is known to have the file, this or the next above it; this if there is none.
    fn counting(&self, parent: Option<NodeKey>, file: FileId) -> Option<NodeKey> {
        let has = |key: NodeKey| self.books.get(key).is_some_and(|n| n.present(file).is_some());
        parent.map(|key| match has(key) {
            true => key,
            false => self.nearest_with(key, file).unwrap_or(key),
        })
    }
}

/// The twin of a file that sums nothing up shows what that shows, or what it will show next.
pub(crate) fn within(own: &[u64], total: &[u64]) -> Box<[u64]> {
    own.iter().zip(total).map(|(own, total)| *own.min(total)).collect()
}

#[cfg(test)]
mod tests;
