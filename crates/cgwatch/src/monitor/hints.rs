//! Collects notifications until they are worked off. They are hints: what they say is looked up.
//!
//! Bounded: what is many for one file or name is kept once; more than [`MANY`] names at once count
//! as an overflow.

use indexmap::{IndexMap, map::Entry};

use super::{
    Set,
    books::{Books, NodeKey, Watched},
    names::Records,
    schema::FileId,
};
use crate::world::Notification;

/// As many names as the kernel's queue holds by default, four times.
const MANY: usize = 1 << 16;

/// A cgroup that died, by a record that bears its id.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) id: u64,
    pub(crate) name: Box<[u8]>,
}

#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Names that came or went, by the watched directory.
    pub(crate) names: IndexMap<NodeKey, IndexMap<Box<[u8]>, Records>>,
    /// Cgroups that died, by the id of the directory they were in.
    pub(crate) deaths: IndexMap<u64, Vec<Death>>,
    /// How many names and deaths there are.
    many: usize,
    /// Event files that changed.
    pub(crate) wakes: Set<(NodeKey, FileId)>,
    /// Cgroups of which something may be gone.
    pub(crate) suspects: Set<NodeKey>,
    /// Cgroups whose children's files may come or go, or (`true`) their own.
    pub(crate) controls: Set<(NodeKey, bool)>,
    /// A name came to or went from the directory above a watched root.
    pub(crate) above: bool,
    pub(crate) overflow: bool,
}

impl Hints {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.deaths.is_empty()
            && self.wakes.is_empty()
            && self.suspects.is_empty()
            && self.controls.is_empty()
            && !self.above
            && !self.overflow
    }

    pub(crate) fn take(&mut self, books: &mut Books, notification: Notification<'_>) {
        match notification {
            Notification::Created(wd, name) => self.take_name(books.watched(wd), name, true),
            Notification::Deleted(wd, name) => self.take_name(books.watched(wd), name, false),
            Notification::Written(wd, name) => {
                if let Some(Watched::Directory(key)) = books.watched(wd) {
                    self.take_written(key, name);
                }
            }
            Notification::Modified(wd) => {
                if let Some(Watched::File(key, file)) = books.watched(wd) {
                    self.wakes.insert((key, file));
                }
            }
            Notification::Gone(wd) => self.suspect(books.watched(wd)),
            Notification::Ignored(wd) => {
                let was = books.unwatch(wd);
                self.suspect(was);
                if let Some(Watched::Directory(key) | Watched::File(key, _)) = was {
                    forget_watch(books, key, wd);
                }
            }
            Notification::Overflow => self.overflow = true,
            Notification::CreatedIn(parent, name) => {
                let on = books.with_id(parent).map(Watched::Directory);
                self.take_name(on, name, true);
            }
            Notification::DeletedIn { parent, name, id } => {
                self.deaths.entry(parent).or_default().push(Death { id, name: name.into() });
                self.count_one();
            }
            Notification::WrittenIn(parent, name) => {
                if let Some(key) = books.with_id(parent) {
                    self.take_written(key, name);
                }
            }
        }
    }

    fn take_written(&mut self, dir: NodeKey, name: &[u8]) {
        match name {
            b"cgroup.subtree_control" => self.controls.insert((dir, false)),
            b"cgroup.type" => self.controls.insert((dir, true)),
            _ => false,
        };
    }

    fn count_one(&mut self) {
        self.many += 1;
        if self.many > MANY {
            self.names.clear();
            self.deaths.clear();
            self.many = 0;
            self.overflow = true;
        }
    }

    fn take_name(&mut self, on: Option<Watched>, name: &[u8], birth: bool) {
        match on {
            Some(Watched::Directory(key)) => {
                let records = self.names.entry(key).or_default().entry(name.into());
                let is_new = matches!(records, Entry::Vacant(_));
                records
                    .and_modify(|records| records.push(birth))
                    .or_insert_with(|| Records::one(birth));
                if is_new {
                    self.count_one();
                }
            }
            Some(Watched::AboveRoots) => self.above |= !birth,
            _ => {}
        }
    }

    fn suspect(&mut self, on: Option<Watched>) {
        match on {
            Some(Watched::Directory(key) | Watched::File(key, _)) => {
                self.suspects.insert(key);
            }
            Some(Watched::AboveRoots) => self.above = true,
            None => {}
        }
    }

    /// All names that came or went, those of the deepest directories first: a directory's own death
    /// comes after all that happened in it.
    pub(crate) fn take_names(
        &mut self,
        depth: impl Fn(NodeKey) -> u32,
    ) -> IndexMap<NodeKey, IndexMap<Box<[u8]>, Records>> {
        let mut names = std::mem::take(&mut self.names);
        self.many = self.deaths.values().map(Vec::len).sum();
        names.sort_by_cached_key(|key, _| std::cmp::Reverse(depth(*key)));
        names
    }

    /// The names that came or went in one directory.
    pub(crate) fn take_names_in(&mut self, dir: NodeKey) -> IndexMap<Box<[u8]>, Records> {
        let names = self.names.swap_remove(&dir).unwrap_or_default();
        self.many = self.many.saturating_sub(names.len());
        names
    }

    /// Nothing was done yet with the names that came or went in one directory: they come before those
    /// whose records were read meanwhile.
    pub(crate) fn put_back(&mut self, dir: NodeKey, names: IndexMap<Box<[u8]>, Records>) {
        let newer = self.take_names_in(dir);
        self.many += names.len();
        let all = self.names.entry(dir).or_insert(names);
        for (name, records) in newer {
            let is_new = all.get_mut(&name).map(|older| older.append(records)).is_none();
            if is_new {
                all.insert(name, records);
                self.many += 1;
            }
        }
    }

    pub(crate) fn has_died(&self, parent: u64, id: u64) -> bool {
        self.deaths.get(&parent).is_some_and(|deaths| deaths.iter().any(|death| death.id == id))
    }

    /// The deaths in the directory with this id.
    pub(crate) fn take_deaths_in(&mut self, parent: u64) -> Vec<Death> {
        let deaths = self.deaths.swap_remove(&parent).unwrap_or_default();
        self.many = self.many.saturating_sub(deaths.len());
        deaths
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives back what a storm had filled.
    pub(crate) fn shrink(&mut self) {
        if self.names.is_empty() && self.names.capacity() > 1024 {
            self.names.shrink_to_fit();
        }
        if self.deaths.is_empty() && self.deaths.capacity() > 16 {
            self.deaths.shrink_to_fit();
        }
        if self.wakes.is_empty() && self.wakes.capacity() > 1024 {
            self.wakes.shrink_to_fit();
        }
    }
}

/// The kernel took the watch away.
fn forget_watch(books: &mut Books, key: NodeKey, wd: crate::world::Wd) {
    let Some(node) = books.get_mut(key) else { return };
    if node.wd == Some(wd) {
        node.wd = None;
    }
    for file in node.files.iter_mut().filter(|file| file.wd == Some(wd)) {
        file.wd = None;
        file.replaced = true;
    }
}

#[cfg(test)]
mod tests;
