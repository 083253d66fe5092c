//! Dentries: names that were looked up (kernel: fs/dcache.c).
//!
//! Invariants:
//! * `holds` counts open files, pins, walks in progress, and children.
//! * A dentry that nobody holds is kept while it is hashed, and killed at once
//!   when it is not.
//! * A hashed dentry is in its parent's `children`; an unhashed one is not,
//!   but still holds its parent.
//!
//! Nothing is announced and no inode dropped under the cache's lock: both are
//! put into a [`Fallout`], to be settled when the lock is free, in the order of
//! the deaths.

use std::{collections::BTreeMap, sync::Arc};

use slab::Slab;

use super::inode::Inode;
use crate::{Profile, sync::Ordering};

/// The root's dentry; held for ever.
pub(super) const ROOT: usize = 0;

pub(super) struct Cache {
    dentries: Slab<Dentry>,
    profile: Profile,
    births: u64,
}

pub(super) struct Dentry {
    pub(super) name: Arc<[u8]>,
    pub(super) parent: Option<usize>,
    pub(super) inode: Arc<Inode>,
    pub(super) hashed: bool,
    holds: usize,
    born: u64,
    children: BTreeMap<Arc<[u8]>, usize>,
}

/// Inodes that lost a dentry, in order, each with whether this was the end of
/// a file that is to be announced.
#[derive(Default)]
#[must_use = "it is to be settled"]
pub(super) struct Fallout {
    pub(super) inodes: Vec<(Arc<Inode>, bool)>,
}

impl Cache {
    pub(super) fn new(root: Arc<Inode>, profile: Profile) -> Self {
        let mut cache = Self { dentries: Slab::new(), profile, births: 0 };
        cache.insert(None, [].into(), root);
        cache
    }

    pub(super) fn len(&self) -> usize {
        self.dentries.len()
    }

    pub(super) fn get(&self, id: usize) -> &Dentry {
        &self.dentries[id]
    }

    /// Dentries that nobody holds.
    pub(super) fn unused(&self) -> usize {
        self.dentries.iter().filter(|(_, dentry)| dentry.holds == 0).count()
    }

    pub(super) fn child(&self, parent: usize, name: &[u8]) -> Option<usize> {
        self.dentries[parent].children.get(name).copied()
    }

    /// A new hashed dentry, held once.
    pub(super) fn insert(
        &mut self,
        parent: Option<usize>,
        name: Arc<[u8]>,
        inode: Arc<Inode>,
    ) -> usize {
        inode.dentries.fetch_add(1, Ordering::Relaxed);
        self.births += 1;
        let id = self.dentries.insert(Dentry {
            name: Arc::clone(&name),
            parent,
            inode,
            hashed: true,
            holds: 1,
            born: self.births,
            children: BTreeMap::new(),
        });
        if let Some(parent) = parent {
            self.dentries[parent].holds += 1;
            self.dentries[parent].children.insert(name, id);
        }
        id
    }

    /// Kernel: `dget`.
    pub(super) fn hold(&mut self, id: usize) {
        self.dentries[id].holds += 1;
    }

    /// Kernel: `dput`.
    pub(super) fn release(&mut self, id: usize, fallout: &mut Fallout) {
        let dentry = &mut self.dentries[id];
        dentry.holds -= 1;
        if dentry.holds == 0 && !dentry.hashed {
            self.kill(id, fallout);
        }
    }

    /// Takes the name out of the cache; who holds the dentry keeps it
    /// (kernel: `__d_drop`).
    pub(super) fn unhash(&mut self, id: usize) {
        let dentry = &mut self.dentries[id];
        if !std::mem::take(&mut dentry.hashed) {
            return;
        }
        let name = Arc::clone(&dentry.name);
        if let Some(parent) = dentry.parent {
            self.dentries[parent].children.remove(&name);
        }
    }

    /// The name means something else now (kernel: `d_invalidate`).
    pub(super) fn invalidate(&mut self, id: usize, fallout: &mut Fallout) {
        self.hold(id);
        self.unhash(id);
        self.shrink(id, fallout);
        self.release(id, fallout);
    }

    /// Kills what nobody holds below a dentry, youngest first (kernel:
    /// `shrink_dcache_parent`).
    pub(super) fn shrink(&mut self, id: usize, fallout: &mut Fallout) {
        self.hold(id);
        let mut below = vec![id];
        let mut at = 0;
        while at < below.len() {
            let children = self.dentries[below[at]].children.values().copied();
            let mut children: Vec<_> = children.collect();
            children.sort_by_key(|child| self.dentries[*child].born);
            below.extend(children);
            at += 1;
        }
        // Breadth first, so that in reverse children come before parents.
        for child in below.drain(1..).rev() {
            if self.dentries[child].holds == 0 {
                self.kill(child, fallout);
            }
        }
        self.release(id, fallout);
    }

    /// Kills all that nobody holds, wherever it is: children of unhashed
    /// directories too.
    pub(super) fn reclaim(&mut self, fallout: &mut Fallout) {
        let is_unused =
            |(id, dentry): (usize, &Dentry)| (dentry.holds == 0).then_some((dentry.born, id));
        loop {
            // The youngest first. Those above that nobody holds any more come next.
            let mut unused: Vec<_> = self.dentries.iter().filter_map(is_unused).collect();
            if unused.is_empty() {
                return;
            }
            unused.sort_unstable();
            for (_, id) in unused.into_iter().rev() {
                self.kill(id, fallout);
            }
        }
    }

    /// Kernel: `__dentry_kill`. An unhashed parent that it alone held goes too.
    fn kill(&mut self, mut id: usize, fallout: &mut Fallout) {
        loop {
            self.unhash(id);
            let dentry = self.dentries.remove(id);
            let others = dentry.inode.dentries.fetch_sub(1, Ordering::Relaxed) - 1;
            let announce = self.profile.announces_at_dentry_death()
                && others == 0
                && dentry.inode.is_unlinked();
            fallout.inodes.push((dentry.inode, announce));
            let Some(parent) = dentry.parent else { return };
            self.dentries[parent].holds -= 1;
            if self.dentries[parent].holds > 0 || self.dentries[parent].hashed {
                return;
            }
            id = parent;
        }
    }

    /// Gives a dentry another place (kernel: `d_move`).
    pub(super) fn rename(&mut self, id: usize, to: usize, name: Arc<[u8]>, fallout: &mut Fallout) {
        let Some(from) = self.dentries[id].parent else { return };
        self.unhash(id);
        self.dentries[id].name = Arc::clone(&name);
        self.dentries[id].parent = Some(to);
        self.dentries[id].hashed = true;
        self.dentries[to].holds += 1;
        self.dentries[to].children.insert(name, id);
        self.release(from, fallout);
    }
}
