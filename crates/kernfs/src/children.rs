//! The children of a directory, and how many of them are directories (kernel: `struct
//! kernfs_elem_dir`, whose `subdirs` counts as this does: those that are linked, active or not).
//!
//! They are found by name. While somebody lists the directory piece by piece they are in the order of
//! their ids, too: an id is a node's for life, so that whoever goes on after the last one he got gets
//! each child that stays exactly once, whatever comes and goes. All that list one directory share
//! that order.
//!
//! Invariant: `by_id` is there if and only if `listings` is not 0, and then has what `nodes` has.

use std::{
    collections::{BTreeMap, btree_map::Iter},
    ops::Bound,
    sync::Arc,
};

use crate::{Node, sync::lock};

/// By name.
#[derive(Default)]
pub(crate) struct Children {
    nodes: BTreeMap<Arc<[u8]>, Arc<Node>>,
    directories: u64,
    listings: usize,
    by_id: Option<BTreeMap<u64, Arc<Node>>>,
}

impl Children {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    pub(crate) fn iter(&self) -> Iter<'_, Arc<[u8]>, Arc<Node>> {
        self.nodes.iter()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    pub(crate) fn directories(&self) -> u64 {
        self.directories
    }

    /// Under a name that nobody has.
    pub(crate) fn insert(&mut self, name: Arc<[u8]>, node: Arc<Node>) {
        self.directories += u64::from(node.is_dir());
        if let Some(by_id) = &mut self.by_id {
            by_id.insert(node.id(), Arc::clone(&node));
        }
        self.nodes.insert(name, node);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let node = self.nodes.remove(name)?;
        self.directories -= u64::from(node.is_dir());
        if let Some(by_id) = &mut self.by_id {
            by_id.remove(&node.id());
        }
        Some(node)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = Arc<Node>> {
        self.nodes.into_values()
    }
}

/// A directory that is being listed piece by piece. The first of a directory costs it 30 bytes a
/// child or so, until the last ends; the others nothing.
#[derive(Debug)]
pub struct Listing(Arc<Node>);

impl Node {
    /// Begins to list a directory; a file has nothing in it.
    #[must_use]
    #[doc(alias = "readdir")]
    pub fn listing(self: &Arc<Self>) -> Listing {
        if let Some(children) = self.children() {
            let mut children = lock(children);
            children.listings += 1;
            if children.by_id.is_none() {
                let all = children.values().map(|node| (node.id(), Arc::clone(node))).collect();
                children.by_id = Some(all);
            }
        }
        Listing(Arc::clone(self))
    }
}

impl Listing {
    /// At most `limit` of its children, active or not, with ids above the given one, in their order.
    /// What is there from the first call to the last is had exactly once by who goes on after the
    /// last that he got.
    #[must_use]
    pub fn after(&self, id: u64, limit: usize) -> Vec<Arc<Node>> {
        let Some(children) = self.0.children() else { return Vec::new() };
        let children = lock(children);
        let rest = (Bound::Excluded(id), Bound::Unbounded);
        let all = children.by_id.iter().flat_map(|by_id| by_id.range(rest));
        all.map(|(_, node)| Arc::clone(node)).take(limit).collect()
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let Some(children) = self.0.children() else { return };
        let mut children = lock(children);
        children.listings -= 1;
        let unused = if children.listings == 0 { children.by_id.take() } else { None };
        // A node may be held by this alone, and its end needs no lock held.
        drop(children);
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Node, Options, Tree, sync::lock};

    fn names(nodes: &[Arc<Node>]) -> Vec<String> {
        nodes.iter().map(|node| node.text()).collect()
    }

    #[test]
    fn a_listing_goes_on_where_it_was_whatever_changed() {
        let tree = Tree::new(Options::default());
        let root = tree.root();
        let make = |name: &str| root.make_dir(name).unwrap();
        let [d, b, c, a] = ["d", "b", "c", "a"].map(make);
        let listing = root.listing();
        let first = listing.after(0, 2);
        assert_eq!(names(&first), ["d", "b"], "by their ids");
        let here = first[1].id();
        // What was had, what it stopped at, and what is next.
        [d, b, c].iter().for_each(Node::remove);
        make("b");
        make("0");
        assert_eq!(names(&listing.after(here, 9)), ["a", "b", "0"]);
        assert_eq!(names(&listing.after(a.id(), 1)), ["b"]);
        assert_eq!(names(&listing.after(u64::MAX, 9)), [""; 0]);
    }

    #[test]
    fn all_listings_share_one_order_that_ends_with_the_last() {
        let tree = Tree::new(Options::default());
        let root = tree.root();
        let kept = || lock(root.children().unwrap()).by_id.as_ref().map(|all| all.len());
        root.make_dir("a").unwrap();
        assert_eq!(kept(), None);
        let (one, other) = (root.listing(), root.listing());
        root.make_dir("b").unwrap();
        assert_eq!(kept(), Some(2));
        drop(one);
        assert_eq!(names(&other.after(0, 9)), ["a", "b"]);
        drop(other);
        assert_eq!(kept(), None);
        assert_eq!(names(&root.listing().after(0, 9)), ["a", "b"]);
    }

    #[test]
    fn a_listing_of_a_directory_that_was_removed_holds_nothing() {
        let tree = Tree::new(Options::default());
        let directory = tree.root().make_dir("d").unwrap();
        let below = Arc::downgrade(&directory.make_dir("e").unwrap());
        let listing = directory.listing();
        directory.remove();
        tree.drain();
        assert!(listing.after(0, 9).is_empty());
        assert!(below.upgrade().is_none());
    }

    #[test]
    fn a_move_keeps_the_order_of_both_directories() {
        let tree = Tree::new(Options::default());
        let root = tree.root();
        let [from, to] = ["from", "to"].map(|name| root.make_dir(name).unwrap());
        let moved = from.make_dir("x").unwrap();
        let (left, joined) = (from.listing(), to.listing());
        moved.rename(&to, "y").unwrap();
        assert!(left.after(0, 9).is_empty());
        assert_eq!(names(&joined.after(0, 9)), ["y"]);
    }
}
