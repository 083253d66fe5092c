//! Open files and directories, by the number the kernel knows them by.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use kernfs::{Node, OpenFile};

use crate::lock::lock;

#[derive(Default)]
pub(crate) struct Handles {
    next: AtomicU64,
    files: Mutex<Files>,
    directories: Mutex<HashMap<u64, Arc<Listing>>>,
}

#[derive(Default)]
struct Files {
    by_number: HashMap<u64, Arc<OpenFile>>,
    /// How many there are of a node, by its id.
    of_node: HashMap<u64, usize>,
}

/// What an open directory lists: what was in it when it was last read from
/// its start. Held only until it is read to its end, so that a client that
/// keeps directories open costs nothing.
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
            listed.retain(|node| node.is_active());
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
        let mut files = lock(&self.files);
        *files.of_node.entry(file.node().id()).or_default() += 1;
        files.by_number.insert(number, file);
        number
    }

    pub(crate) fn file(&self, number: u64) -> Option<Arc<OpenFile>> {
        lock(&self.files).by_number.get(&number).cloned()
    }

    pub(crate) fn remove_file(&self, number: u64) -> Option<Arc<OpenFile>> {
        let mut files = lock(&self.files);
        let file = files.by_number.remove(&number)?;
        let id = file.node().id();
        if let Some(count) = files.of_node.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                files.of_node.remove(&id);
            }
        }
        Some(file)
    }

    /// Whether a client has the node open; or had, and its close is still on
    /// its way.
    pub(crate) fn is_open(&self, node: u64) -> bool {
        lock(&self.files).of_node.contains_key(&node)
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
        lock(&self.files).by_number.len() + lock(&self.directories).len()
    }
}
