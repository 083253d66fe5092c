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

#[cfg(test)]
mod tests {
    use kernfs::{Options, Tree};

    use super::*;

    #[test]
    fn a_directory_is_found_by_its_number_until_it_is_closed() {
        let handles = Handles::default();
        let (one, other) = (handles.add_directory(), handles.add_directory());
        let listing = handles.directory(one).unwrap();
        assert!(Arc::ptr_eq(&listing, &handles.directory(one).unwrap()));
        assert!(!Arc::ptr_eq(&listing, &handles.directory(other).unwrap()));
        handles.remove_directory(one);
        assert!(handles.directory(one).is_none() && handles.directory(other).is_some());
    }

    #[test]
    fn an_order_is_kept_from_the_start_of_a_listing_to_its_end() {
        let tree = Tree::new(Options::default());
        let root = tree.root();
        let ids = ["a", "b"].map(|name| root.make_dir(name).unwrap().id());
        let listing = Listing::default();
        let read = |after| {
            let mut read = Vec::new();
            listing.read(root, after, |node| {
                read.push(node.id());
                false
            });
            read
        };
        assert_eq!(read(0), ids);
        assert!(lock(&listing.0).is_some(), "the kernel asks once more");
        assert_eq!(read(ids[1]), []);
        assert!(lock(&listing.0).is_none());
    }
}
