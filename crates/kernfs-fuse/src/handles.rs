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

/// An open directory: nothing, but while it is between its start and its end a part in the order that
/// all who list it share.
#[derive(Default)]
pub(crate) struct Listing(Mutex<Option<kernfs::Listing>>);

/// Children that are taken at once: about as many as one answer has room for.
const PIECE: usize = 128;

impl Listing {
    /// Hands over the children with ids above the given one, in their order, until `add` says that
    /// there is no room.
    pub(crate) fn read(
        &self,
        directory: &Arc<Node>,
        after: u64,
        mut add: impl FnMut(&Arc<Node>) -> bool,
    ) {
        let mut listing = lock(&self.0);
        let mut last = after;
        loop {
            let piece = listing.get_or_insert_with(|| directory.listing()).after(last, PIECE);
            let Some(end) = piece.last() else { break };
            last = end.id();
            if piece.iter().any(&mut add) {
                return;
            }
        }
        // Its end, if it was there before: the kernel asks once more to learn that it is.
        if last == after {
            *listing = None;
        }
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
}
