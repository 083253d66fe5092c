//! The event files of a cgroup: which there are, their watches, files that come and go.
//!
//! A controller switched off takes its files away from all children of a cgroup without a word;
//! the write to `cgroup.subtree_control` (or `cgroup.type`) is the hint, a sweep the fallback.

use rustix::io::Errno;

use super::{
    Monitor,
    books::{File, NodeKey, Watched},
    is_gone,
    names::Ahead,
    schema::FileId,
    settle::Loss,
    untold::{Lost, ToldFile, Touch},
};
use crate::{Confidence, LearnedFrom, Unseen, Values, world::World};

/// What a directory holds: the ids of its event files by their number (0: it is not there), and
/// its subdirectories with theirs.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    files: Vec<u64>,
    pub(crate) children: Vec<(Box<[u8]>, u64)>,
}

impl<W: World> Monitor<W> {
    /// Watches and reads every file that is there and not yet in the books. On a node that is being
    /// taken in they belong to its appearance; else they have come to it.
    pub(crate) fn add_files(&mut self, key: NodeKey, dir: &mut W::Dir) {
        let listing = self.list(key, dir);
        self.add_listed_files(key, dir, listing.as_ref());
    }

    /// [`Self::add_files`] after a listing, if there was one.
    pub(crate) fn add_listed_files(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        listing: Option<&Listing>,
    ) {
        for file in self.schemas.files() {
            let Some(node) = self.books.living(key) else { return };
            let id = listing.map(|listing| listing.files.get(usize::from(file)).copied());
            let id = id.map(Option::unwrap_or_default);
            if node.present(file).is_none() && id != Some(0) {
                self.add_file(key, dir, file, id.unwrap_or(0));
            }
        }
    }

    /// Lists a directory where that is of use before its files are. `None`: that is not so, or it could
    /// not be listed, which says nothing of what is there.
    pub(crate) fn list(&mut self, key: NodeKey, dir: &mut W::Dir) -> Option<Listing> {
        if !self.world.goes_by_id() && !self.schemas.has_patterns() {
            return None;
        }
        match self.list_all(dir) {
            Ok(listing) => Some(listing),
            // One that is being removed is not asked for its files by name: see `HostWorld`.
            Err(errno) if is_gone(errno) => Some(Listing::default()),
            Err(errno) => {
                self.could_not(key, errno);
                None
            }
        }
    }

    fn list_all(&mut self, dir: &mut W::Dir) -> Result<Listing, Errno> {
        let mut listing = Listing::default();
        let schemas = &mut self.schemas;
        self.world.list(dir, &mut |name, is_dir, id| {
            if is_dir {
                listing.children.push((name.into(), id));
            } else if let Some(file) = schemas.meet(name) {
                let at = usize::from(file);
                listing.files.resize(listing.files.len().max(at + 1), 0);
                listing.files[at] = id;
            }
        })?;
        Ok(listing)
    }

    fn add_file(&mut self, key: NodeKey, dir: &mut W::Dir, file: FileId, id: u64) {
        let spec = self.schemas.spec(file);
        let name = spec.name.clone();
        let mut wd = None;
        let read = if self.notified && spec.notifies {
            let (watched, read) = self.world.watch_and_read(dir, &name, id, &mut self.text);
            match watched {
                Ok(new) => {
                    self.books.watch(new, Watched::File(key, file));
                    wd = Some(new);
                }
                Err(errno) => self.could_not(key, errno),
            }
            read
        } else {
            self.world.read(dir, &name, id, &mut self.text)
        };
        let mut total = Vec::new();
        let schema = match read {
            Ok(()) => self.schemas.take(&self.text, 0, &mut total),
            Err(errno) => {
                if let Some(wd) = wd {
                    self.books.unwatch(wd);
                    self.world.unwatch(wd);
                }
                if errno != Errno::OPNOTSUPP {
                    self.could_not(key, errno);
                }
                return;
            }
        };
        self.schemas.spec_mut(file).seen = true;
        let now_ns = self.now_ns;
        let Some(node) = self.books.get_mut(key) else { return };
        node.read_ns = now_ns;
        let (has_kin, settled) = (node.flags.has_kin, node.flags.settled);
        let (newborn, parent) = (!node.flags.existing && !settled, node.parent);
        let slot = File {
            file,
            id,
            present: true,
            replaced: false,
            schema,
            wd,
            total: total.into(),
            kin: None,
        };
        let total = slot.total.clone();
        let total_counted = total.iter().any(|value| *value != 0);
        match node.files.iter_mut().find(|old| old.file == file) {
            Some(old) => *old = slot,
            None => node.files.push(slot),
        }
        if newborn {
            self.unproved.note(key, file, &[], &total);
            self.count(parent, file, (0, &[]), (schema, &total));
        }
        if settled {
            // What it shows is its baseline, but its parent may count it only now.
            if let Some(parent) = parent.filter(|_| total_counted) {
                self.books.note_stranger(parent);
            }
            let told = ToldFile { file, schema, total, own: None, added: true, lost: None };
            self.untold.told_mut(key).files.push(told);
            self.untold.touch(&mut self.books, key);
        }
        if settled && total_counted {
            self.open_account(key, dir, file);
        } else if has_kin {
            self.begin_kin_of_file(key, dir, file, settled || self.taking_baseline);
        }
    }

    /// Files could not be found: either the cgroup is being removed or a controller took them.
    ///
    /// rmdir(2) takes the files first and the directory last, so that finding the directory proves
    /// nothing. But it holds the directory's lock from before its first step until after its last,
    /// and a listing waits for that lock: what can be listed afterwards is not being removed.
    pub(crate) fn lose_files(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        gone: &[FileId],
        learned_from: LearnedFrom,
    ) {
        let listed = match self.list_all(dir) {
            // Without the permission to list it, whether it is found must do.
            Err(Errno::ACCESS) => {
                self.could_not(key, Errno::ACCESS);
                self.open(key).and_then(|again| {
                    self.world.close(again.ok_or(Errno::NOENT)?);
                    Ok(None)
                })
            }
            listed => listed.map(Some),
        };
        match listed {
            Ok(listing) => {
                for &file in gone {
                    self.lose_file(key, file, learned_from);
                }
                // One that was replaced is there again, with a new baseline.
                self.add_listed_files(key, dir, listing.as_ref());
            }
            Err(errno) if is_gone(errno) => self.bury_tree(key, learned_from),
            Err(errno) => self.could_not(key, errno), // a sweep must look
        }
    }

    /// A file is gone while its cgroup lives. The kernel takes it from the children first; but one that
    /// is dead by now may have gone before, and one that still has it was born after.
    pub(crate) fn lose_file(&mut self, key: NodeKey, file: FileId, learned_from: LearnedFrom) {
        let mut all = vec![key];
        let mut at = 0;
        while let Some(&key) = all.get(at) {
            let has =
                |child: &NodeKey| self.books.get(*child).is_some_and(|c| c.present(file).is_some());
            all.extend(self.books.children(key).filter(has));
            at += 1;
        }
        // Whose its counts were: of those too that were born and died in it, whose records may not have
        // been read yet.
        let _ = self.drain();
        for of in all.into_iter().rev() {
            self.take_deaths_in(of);
            if of == key || !self.keeps(of, file) {
                self.lose_file_alone(of, file, learned_from);
            }
        }
    }

    /// Whether the file need not be said to be gone: the cgroup has the very file that the books know,
    /// as far as its id is known, or is dead, which its removal says.
    fn keeps(&mut self, key: NodeKey, file: FileId) -> bool {
        let Some(node) = self.books.living(key) else { return true };
        let id = node.present(file).map_or(0, |slot| slot.id);
        let listed = match self.open(key) {
            Ok(Some(mut dir)) => {
                let listed = self.list_all(&mut dir);
                self.world.close(dir);
                listed
            }
            Ok(None) => Err(Errno::NOENT),
            Err(errno) => Err(errno),
        };
        match listed {
            Ok(listing) => id != 0 && listing.files.get(usize::from(file)) == Some(&id),
            Err(errno) if is_gone(errno) => {
                self.bury_tree(key, LearnedFrom::Lookup);
                true
            }
            Err(errno) => {
                self.could_not(key, errno);
                false
            }
        }
    }

    fn lose_file_alone(&mut self, key: NodeKey, file: FileId, learned_from: LearnedFrom) {
        self.close_file(key, file);
        let rest = if self.is_summed(file) { self.take_rest(key, file) } else { Values::default() };
        let Some(node) = self.books.get_mut(key) else { return };
        let Some(slot) = node.present_mut(file) else { return };
        self.untold.keep(key, slot);
        slot.present = false;
        let wd = slot.wd.take();
        let own = slot.kin.take().map(|kin| kin.own);
        let lost =
            Lost { schema: slot.schema, total: slot.total.clone(), own, unseen: Unseen::default() };
        let told = self.untold.told_mut(key);
        if let Some(at) = told.files.iter().position(|t| t.file == file && t.lost.is_none()) {
            told.files[at].lost = Some(Box::new(lost));
        }
        if !rest.is_empty() {
            let name = self.schemas.spec(file).name.clone();
            let files = vec![(name, Some(rest))];
            let confidence = Some(Confidence::Shared);
            let unseen = Unseen { files, confidence, ..Unseen::default() };
            self.untold.set_unseen_of_lost(key, file, unseen);
        }
        self.untold.fold_losses(&self.schemas, key, file);
        self.untold.touch(&mut self.books, key);
        if let Some(wd) = wd
            && self.books.unwatch(wd).is_some()
        {
            self.world.unwatch(wd);
        }
        self.losses.push(Loss { key, file: Some(file), learned_from });
        self.touched.extend(self.books.get(key).and_then(|node| node.parent));
    }

    /// Looks at cgroups of which something may be gone.
    pub(crate) fn take_suspects(&mut self) {
        if !self.hints.suspects.is_empty() {
            let suspects = std::mem::take(&mut self.hints.suspects).into_iter().collect();
            self.check_all(suspects, None, LearnedFrom::Itself);
        }
    }

    /// Looks at cgroups whose files may have come or gone.
    pub(crate) fn take_controls(&mut self) {
        let written = std::mem::take(&mut self.hints.controls);
        for (key, itself) in written.iter().copied().filter(|_| self.options.touches) {
            let what = if itself { Touch::Type } else { Touch::Control };
            self.untold.note_touch(&mut self.books, key, what);
        }
        self.check_controls(written);
    }

    /// A child that lacks a file may have had it for a while and have counted, which nobody read. One
    /// that was just found may have counted in another file than the one that was read.
    pub(crate) fn expect_strangers(&mut self, key: NodeKey) {
        let Some(node) = self.books.get(key) else { return };
        let is_new = |child| self.books.get(child).is_some_and(|c| c.born_ns >= self.before_ns);
        let found = self.books.children(key).any(is_new);
        let summed = self.schemas.files().filter(|file| self.has_twin(*file));
        let mut had = summed.filter(|file| node.present(*file).is_some());
        if had.any(|file| found || self.misses_files(key, file)) {
            self.books.note_stranger(key);
        }
    }

    /// Reads everything of a node anew, finds files that came or went, and sets missing watches.
    /// Tells whether it is alive.
    pub(crate) fn check_node(&mut self, key: NodeKey, learned_from: LearnedFrom) -> bool {
        let compare = self.turns.forget(&self.books, key);
        match self.open(key) {
            Ok(None) => {
                self.bury_tree(key, learned_from);
                false
            }
            Err(_) => true,
            Ok(Some(mut dir)) => {
                self.check_open(key, &mut dir, learned_from);
                self.world.close(dir);
                if compare {
                    self.compare_after_gap(key);
                }
                self.books.living(key).is_some()
            }
        }
    }

    fn check_open(&mut self, key: NodeKey, dir: &mut W::Dir, learned_from: LearnedFrom) {
        self.books.set_unwatched(key, false);
        let Some(node) = self.books.get(key) else { return };
        let (is_root, had_watch) = (node.depth == 0, node.wd.is_some());
        let wants_watch = is_root || self.goes_deeper(key);
        if is_root {
            self.retry_above(key);
        }
        if self.notified && !had_watch && wants_watch {
            self.watch_directory(key, dir);
        }
        self.check_watches(key, dir, learned_from);
        let all: Vec<FileId> = self.schemas.files().collect();
        self.read_files(key, dir, &all, learned_from);
        self.add_files(key, dir);
        if !had_watch && self.books.get(key).is_some_and(|node| node.wd.is_some()) {
            // Who was born before the watch was set is told of by nobody, and may be gone.
            self.books.note_stranger(key);
            self.compare_children(key, Ahead::LISTED, learned_from);
        }
    }

    /// Sets missing watches, and finds files that were replaced: watching the same inode gives the
    /// same watch.
    fn check_watches(&mut self, key: NodeKey, dir: &mut W::Dir, learned_from: LearnedFrom) {
        let Some(node) = self.books.get(key).filter(|_| self.notified) else { return };
        let present = node.files.iter().filter(|file| file.present);
        let had = |file: &File| (file.file, file.id, file.wd, file.replaced);
        let present: Vec<_> = present.map(had).collect();
        for (file, id, had, replaced) in present {
            let spec = self.schemas.spec(file);
            if !spec.notifies {
                continue;
            }
            let name = spec.name.clone();
            match self.world.watch_file(dir, &name, id) {
                Err(errno) if is_gone(errno) => {} // its reading tells
                Ok(wd) if had == Some(wd) => {}
                Ok(wd) if had.is_some() || replaced => {
                    // The new file is watched anew when it is added, if it is there then.
                    self.world.unwatch(wd);
                    self.lose_file(key, file, learned_from);
                }
                Ok(wd) => self.note_watch(wd, Watched::File(key, file)),
                Err(errno) => {
                    self.could_not(key, errno);
                    if replaced {
                        self.lose_file(key, file, learned_from);
                    }
                }
            }
        }
    }
}
