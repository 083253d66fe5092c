//! Node ids (kernel: `kernfs_root->ino_idr`, include/linux/kernfs.h).
//!
//! 64 bits: the low half cycles from 1, the high half counts the cycles. An id
//! is therefore not given again before 2^32 nodes were made, and the node of
//! an id can be found.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use crate::{
    Node,
    sync::{Mutex, lock},
};

pub(crate) struct Ids {
    state: Mutex<State>,
}

struct State {
    /// By the low half.
    nodes: BTreeMap<u32, Weak<Node>>,
    next: u32,
    cycle: u32,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { nodes: BTreeMap::new(), next: 1, cycle: 0 }) }
    }

    /// Makes a node with a new id: the wanted one, unless a node in memory has
    /// its low half.
    pub(crate) fn allocate(
        &self,
        wanted: Option<u64>,
        make: impl FnOnce(u64) -> Arc<Node>,
    ) -> Arc<Node> {
        let mut state = lock(&self.state);
        // The low half is the key.
        let free = |id: &u64| *id as u32 != 0 && !state.nodes.contains_key(&(*id as u32));
        if let Some(id) = wanted.filter(free) {
            let node = make(id);
            state.nodes.insert(id as u32, Arc::downgrade(&node));
            return node;
        }
        while state.nodes.contains_key(&state.next) {
            state.advance();
        }
        let low = state.next;
        let node = make(u64::from(state.cycle) << 32 | u64::from(low));
        state.nodes.insert(low, Arc::downgrade(&node));
        state.advance();
        node
    }

    /// The node with this id, if it is still in memory.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Node>> {
        // The low half is the key.
        let node = lock(&self.state).nodes.get(&(id as u32))?.upgrade()?;
        (node.id() == id).then_some(node)
    }

    pub(crate) fn free(&self, id: u64) {
        lock(&self.state).nodes.remove(&(id as u32));
    }

    /// Nodes in memory.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).nodes.len()
    }

    /// Goes on as if this many ids had been given.
    #[cfg(test)]
    pub(crate) fn skip_to(&self, next: u32) {
        lock(&self.state).next = next;
    }
}

impl State {
    fn advance(&mut self) {
        self.next = self.next.checked_add(1).unwrap_or_else(|| {
            self.cycle = self.cycle.wrapping_add(1);
            1
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Options, Tree};

    fn file(tree: &Tree, name: &str) -> Arc<crate::Node> {
        tree.root().make_file(name, Arc::new(Vec::new)).unwrap()
    }

    /// kernel-semantics 2.1: low half cyclic, high half a count of cycles.
    #[test]
    fn ids_cycle_through_the_low_half_and_count_the_cycles() {
        let tree = Tree::new(Options::default());
        let core = tree.root().core();
        core.ids.skip_to(u32::MAX);
        assert_eq!(file(&tree, "last").id(), u64::from(u32::MAX));
        // 1 is the root's, in use; the next free one follows.
        assert_eq!(file(&tree, "first").id(), (1 << 32) | 2);
    }

    /// A mirror's nodes have the ids of what they mirror.
    #[test]
    fn an_id_can_be_asked_for_and_is_had_unless_it_is_in_use() {
        let tree = Tree::new(Options::default());
        let content = || Arc::new(Vec::new) as Arc<dyn crate::Attribute>;
        let directory = tree.root().make_dir_with_id("a", 2).unwrap();
        let file = directory.make_file_with_id("f", 7 << 32 | 3, content()).unwrap();
        assert_eq!((directory.id(), file.id()), (2, 7 << 32 | 3));
        let other = tree.root().make_dir_with_id("b", 3).unwrap();
        assert_eq!(other.id(), 4, "in use, and so is each id before");
        assert_ne!(tree.root().make_dir_with_id("zero", 0).unwrap().id(), 0);
        drop((other, file));
        directory.remove();
        drop(directory);
        tree.drain();
        assert_eq!(tree.root().make_dir_with_id("a", 3).unwrap().id(), 3, "free again");
    }

    #[test]
    fn an_id_finds_its_node_and_no_other_bearer_of_the_low_half() {
        let tree = Tree::new(Options::default());
        let node = file(&tree, "a");
        let ids = &tree.root().core().ids;
        assert!(ids.find(node.id()).is_some_and(|found| Arc::ptr_eq(&found, &node)));
        assert!(ids.find(node.id() | 1 << 32).is_none());
        assert!(ids.find(0).is_none());
        let id = node.id();
        node.remove();
        drop(node);
        tree.drain();
        assert!(ids.find(id).is_none(), "removed and dropped");
    }
}
