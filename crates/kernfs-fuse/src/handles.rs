//! Open files and directories, by the number the kernel knows them by.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use hashbrown::HashMap;
use kernfs::{Node, OpenFile};

use crate::lock::lock;

#[derive(Default)]
pub(crate) struct Handles {
    next: AtomicU64,
    files: Mutex<HashMap<u64, Arc<OpenFile>>>,
    directories: Mutex<HashMap<u64, Arc<Listing>>>,
}

/// What an open directory lists: what was in it, active or not, when it was
/// last read from its start. Held only until it is read to its end, so that a
/// client that keeps directories open costs nothing.
#[derive(Default)]
pub(crate) struct Listing(Mutex<Vec<Arc<Node>>>);

impl Listing {
    /// Hands over the children from the given one on; they are taken anew from
    /// the start.
    pub(crate) fn read<T>(
        &self,
        directory: &Node,
        first: usize,
        take: impl FnOnce(&[Arc<Node>]) -> T,
    ) -> T {
        let mut listed = lock(&self.0);
        if first == 0 {
            *listed = directory.all_children();
        }
        let rest = listed.get(first..).unwrap_or_default();
        let taken = take(rest);
        if rest.is_empty() {
            *listed = Vec::new();
        }
        taken
    }
}

impl Handles {
    fn number(&self) -> u64 {
        // The kernel takes 0 for "none" in places.
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn add_file(&self, file: Arc<OpenFile>) -> u64 {
        let number = self.number();
        lock(&self.files).insert(number, file);
        number
    }

    pub(crate) fn file(&self, number: u64) -> Option<Arc<OpenFile>> {
        lock(&self.files).get(&number).cloned()
    }

    pub(crate) fn remove_file(&self, number: u64) -> Option<Arc<OpenFile>> {
        lock(&self.files).remove(&number)
    }

    pub(crate) fn add_directory(&self) -> u64 {
        let number = self.number();
        lock(&self.directories).insert(number, Arc::default());
        number
    }

    pub(crate) fn directory(&self, number: u64) -> Option<Arc<Listing>> {
        lock(&self.directories).get(&number).cloned()
    }

    pub(crate) fn remove_directory(&self, number: u64) {
        lock(&self.directories).remove(&number);
    }

    /// Files and directories that clients hold open.
    pub(crate) fn len(&self) -> usize {
        lock(&self.files).len() + lock(&self.directories).len()
    }
}
