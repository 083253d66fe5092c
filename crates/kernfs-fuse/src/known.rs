//! Nodes that the kernel has an inode of, or is about to.
//!
//! A watch pins the kernel's inode, and the kernel says `FORGET` only when it
//! is gone: who is not known here has no watcher. The kernel's count of
//! look-ups is kept per node (kernel: `fuse_inode->nlookup`).
//!
//! Invariant: a node is entered *before* it is asked whether it was removed,
//! and a removal asks whether a node is known *after* the node says that it is
//! removed. So a node that is looked up while it is removed is either not
//! given to the kernel or announced to it.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use hashbrown::HashMap;
use kernfs::Node;

use crate::lock::lock;

pub(crate) struct Known(Mutex<State>);

struct State {
    nodes: HashMap<u64, Entry>,
    /// Removed nodes that the look-ups of a thread of our own find, now.
    revealed: Vec<(u32, Arc<Node>)>,
}

struct Entry {
    node: Arc<Node>,
    lookups: u64,
    times: Times,
}

/// What the kernel was told of a node's times: when it was first looked up,
/// as kernfs does, until someone sets them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) accessed: SystemTime,
    pub(crate) modified: SystemTime,
    pub(crate) changed: SystemTime,
}

impl Times {
    fn now() -> Self {
        let now = SystemTime::now();
        Self { accessed: now, modified: now, changed: now }
    }
}

impl Known {
    /// The root is known for ever.
    pub(crate) fn new(root: &Arc<Node>) -> Self {
        let entry = Entry { node: Arc::clone(root), lookups: 1, times: Times::now() };
        let nodes = HashMap::from([(root.id(), entry)]);
        Self(Mutex::new(State { nodes, revealed: Vec::new() }))
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Node>> {
        lock(&self.0).nodes.get(&id).map(|entry| Arc::clone(&entry.node))
    }

    pub(crate) fn times(&self, id: u64) -> Times {
        lock(&self.0).nodes.get(&id).map_or_else(Times::now, |entry| entry.times)
    }

    pub(crate) fn set_times(&self, id: u64, change: impl FnOnce(&mut Times)) {
        if let Some(entry) = lock(&self.0).nodes.get_mut(&id) {
            change(&mut entry.times);
        }
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        lock(&self.0).nodes.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).nodes.len()
    }

    /// One look-up more is answered with this node.
    pub(crate) fn add(&self, node: &Arc<Node>) {
        let mut state = lock(&self.0);
        let entry = state.nodes.entry(node.id()).or_insert_with(|| Entry {
            node: Arc::clone(node),
            lookups: 0,
            times: Times::now(),
        });
        entry.lookups += 1;
    }

    pub(crate) fn forget(&self, id: u64, lookups: u64) {
        let forgotten = {
            let mut state = lock(&self.0);
            let Some(entry) = state.nodes.get_mut(&id) else { return };
            entry.lookups = entry.lookups.saturating_sub(lookups);
            if entry.lookups > 0 || id == fuser::INodeNo::ROOT.0 {
                return;
            }
            state.nodes.remove(&id)
        };
        // May be the node's end, which takes locks of the tree.
        drop(forgotten);
    }

    /// Lets the present thread's look-ups find a removed node where it was, and
    /// the removed directories that lead to it, for as long as the guard lives.
    pub(crate) fn reveal(&self, node: &Arc<Node>) -> Revealed<'_> {
        let removed = removed_up_from(node);
        let thread = crate::own::thread_id();
        lock(&self.0).revealed.extend(removed.iter().map(|node| (thread, Arc::clone(node))));
        Revealed { known: self, thread, removed }
    }

    /// The node of a name that is revealed to a thread.
    pub(crate) fn revealed(&self, thread: u32, parent: u64, name: &[u8]) -> Option<Arc<Node>> {
        let revealed = lock(&self.0).revealed.clone();
        let is_it = |(to, node): &(u32, Arc<Node>)| {
            *to == thread
                && *node.name() == *name
                && node.parent().is_some_and(|above| above.id() == parent)
        };
        revealed.into_iter().find(is_it).map(|(_, node)| node)
    }
}

/// A removed node, and the removed directories that lead to it.
fn removed_up_from(node: &Arc<Node>) -> Vec<Arc<Node>> {
    let mut removed = Vec::new();
    let mut at = Some(Arc::clone(node));
    while let Some(node) = at.take_if(|node| node.is_removed()) {
        at = node.parent();
        removed.push(node);
    }
    removed
}

/// See [`Known::reveal`].
pub(crate) struct Revealed<'k> {
    known: &'k Known,
    thread: u32,
    removed: Vec<Arc<Node>>,
}

impl Revealed<'_> {
    /// Whether nothing was removed since.
    pub(crate) fn is_all_of(&self, node: &Arc<Node>) -> bool {
        self.removed.len() == removed_up_from(node).len()
    }
}

impl Drop for Revealed<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.known.0);
        for node in &self.removed {
            let is_it =
                |(to, other): &(u32, Arc<Node>)| *to == self.thread && Arc::ptr_eq(other, node);
            if let Some(at) = state.revealed.iter().position(is_it) {
                state.revealed.swap_remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kernfs::{Options, Tree};

    use super::*;

    fn tree() -> (Tree, Arc<Node>, Arc<Node>, Known) {
        let tree = Tree::new(Options::default());
        let outer = tree.root().make_dir("outer").unwrap();
        let inner = outer.make_dir("inner").unwrap();
        let known = Known::new(tree.root());
        (tree, outer, inner, known)
    }

    #[test]
    fn a_node_is_known_until_each_look_up_is_forgotten() {
        let (tree, outer, inner, known) = tree();
        assert!(known.contains(tree.root().id()) && !known.contains(outer.id()));
        known.add(&outer);
        known.add(&outer);
        known.add(&inner);
        known.add(&inner);
        assert_eq!(known.len(), 3);
        known.forget(outer.id(), 1);
        assert!(known.contains(outer.id()));
        known.forget(outer.id(), 1);
        assert!(!known.contains(outer.id()) && known.contains(inner.id()));
        known.forget(inner.id(), 2);
        assert!(!known.contains(inner.id()));
        known.forget(tree.root().id(), 5);
        assert!(known.contains(tree.root().id()), "for ever");
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn a_removed_node_is_revealed_to_one_thread_under_its_name_for_a_time() {
        let (tree, outer, inner, known) = tree();
        let other = outer.make_dir("other").unwrap();
        let root = tree.root().id();
        let thread = crate::own::thread_id();
        outer.remove();
        let found = |thread, above, name: &str| {
            known.revealed(thread, above, name.as_bytes()).map(|node| node.id())
        };
        let first = known.reveal(&inner);
        let second = known.reveal(&other);
        assert_eq!(found(thread, outer.id(), "inner"), Some(inner.id()));
        assert_eq!(found(thread, outer.id(), "other"), Some(other.id()));
        assert_eq!(found(thread, root, "outer"), Some(outer.id()), "the way there");
        assert_eq!(found(thread + 1, outer.id(), "inner"), None);
        assert_eq!(found(thread, root, "inner"), None);
        assert_eq!(found(thread, outer.id(), "name"), None);
        drop(second);
        assert_eq!(found(thread, outer.id(), "inner"), Some(inner.id()));
        assert_eq!(found(thread, outer.id(), "other"), None);
        assert_eq!(found(thread, root, "outer"), Some(outer.id()));
        // What another thread reveals is its own to end.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop(known.reveal(&inner));
                assert_eq!(found(thread, outer.id(), "inner"), Some(inner.id()));
            });
        });
        assert_eq!(found(thread, outer.id(), "inner"), Some(inner.id()));
        drop(first);
        assert_eq!(found(thread, outer.id(), "inner"), None);
        assert_eq!(found(thread, root, "outer"), None);
    }

    #[test]
    fn a_removal_meanwhile_is_noticed() {
        let (_tree, outer, inner, known) = tree();
        let nothing = known.reveal(&inner);
        assert!(nothing.is_all_of(&inner));
        inner.remove();
        assert!(!nothing.is_all_of(&inner));
        let it = known.reveal(&inner);
        assert!(it.is_all_of(&inner));
        outer.remove();
        assert!(!it.is_all_of(&inner));
    }
}
