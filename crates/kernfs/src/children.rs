//! The children of a directory, and how many of them are directories (kernel: `struct
//! kernfs_elem_dir`, whose `subdirs` counts as this does: those that are linked, active or not).

use std::{
    collections::{BTreeMap, btree_map::Iter},
    sync::Arc,
};

use crate::Node;

/// By name.
#[derive(Default)]
pub(crate) struct Children {
    nodes: BTreeMap<Arc<[u8]>, Arc<Node>>,
    directories: u64,
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
        self.nodes.insert(name, node);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let node = self.nodes.remove(name)?;
        self.directories -= u64::from(node.is_dir());
        Some(node)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = Arc<Node>> {
        self.nodes.into_values()
    }
}
