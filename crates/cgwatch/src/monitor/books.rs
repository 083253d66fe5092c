//! The books: every cgroup that is known, in a tree, with the values last read.
//!
//! Invariants:
//! * A node is in `named` and in its parent's chain of children exactly while it is alive. A dead
//!   one stays until its removal has been told.
//! * `named` finds a living child by its parent and name; `watches` finds what a watch is on; `ids`
//!   finds a living node by its id, where that is asked for.
//! * Counters are `u64` and all sums wrap, so a difference read as `i64` is right even if a sum is
//!   not what the kernel meant by it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::{HashMap, HashTable};
use slotmap::{SlotMap, new_key_type};

use super::{
    fair::{LEVELS, Route},
    names::Ahead,
    schema::{FileId, SchemaId},
};
use crate::world::{Wd, has_long_name};

new_key_type! {
    /// Names a node; the key of a node that is no more names nothing.
    pub(crate) struct NodeKey;
}

/// One cgroup, from when it was found until its removal was told.
#[derive(Debug)]
pub(crate) struct Node {
    /// The number of the instance.
    pub(crate) n: u64,
    /// The cgroup id; 0 if it was never seen.
    pub(crate) id: u64,
    /// The number of the watched root it lies under.
    pub(crate) root: u32,
    /// Levels below that root.
    pub(crate) depth: u32,
    pub(crate) parent: Option<NodeKey>,
    first_child: Option<NodeKey>,
    next: Option<NodeKey>,
    previous: Option<NodeKey>,
    pub(crate) name: Box<[u8]>,
    /// When it was found (boot time).
    pub(crate) born_ns: u64,
    /// When its files were last read, and at last when its removal was learned.
    pub(crate) read_ns: u64,
    /// The watch on the directory.
    pub(crate) wd: Option<Wd>,
    pub(crate) files: Vec<File>,
    pub(crate) flags: Flags,
    pub(crate) ahead: Ahead,
}

/// What is so of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// It was there when the watch began.
    pub(crate) existing: bool,
    pub(crate) dead: bool,
    /// The kernel may not find it by its id, since it or one above it has a long name: see `way`.
    pub(crate) long: bool,
    /// On the way to it, or to one below it, it was found removed. It is not dead in the books yet.
    pub(crate) removed: bool,
    /// Its `appeared` has been told.
    pub(crate) told: bool,
    /// It waits in the queue of what is to be told.
    pub(crate) queued: bool,
    /// It lacks a watch, so a sweep must look at what notifications would have told.
    pub(crate) unwatched: bool,
    /// Since the sweep last began to look at it, something of it could not be looked at, by no limit.
    pub(crate) inaccessible: bool,
    /// That is told, or waits to be.
    pub(crate) inaccessible_said: bool,
    /// It has been watched, read and listed once.
    pub(crate) settled: bool,
    /// It has or had a child, so its counters are not all its own: see [`Kin`].
    pub(crate) has_kin: bool,
    /// A child that nobody knew may have counted in it: one that was born before the directory was
    /// watched and died before it was listed, one whose records were lost in part, or one that had
    /// counted when its file came.
    pub(crate) had_stranger: bool,
}

/// One control file of a cgroup.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) file: FileId,
    /// Its inode number, as a listing gave it; 0 if none did.
    pub(crate) id: u64,
    /// It is there. The slot of one that went stays, for what is still to be told of it.
    pub(crate) present: bool,
    /// The kernel took its watch away: what is there now under its name is another file.
    pub(crate) replaced: bool,
    pub(crate) schema: SchemaId,
    pub(crate) wd: Option<Wd>,
    /// The values last read.
    pub(crate) total: Box<[u64]>,
    /// Whose they are, where the file has a `.local` twin and the cgroup has or had a child.
    pub(crate) kin: Option<Box<Kin>>,
}

/// Whose a hierarchical file's counts are. `total - own - accounted` is what is still unaccounted
/// for: counts of descendants that no event has told yet.
#[derive(Debug, Default, Clone)]
pub(crate) struct Kin {
    /// The `.local` twin, by the keys of the file.
    pub(crate) own: Box<[u64]>,
    /// The sum of what is known of the children, living and dead; for what existed at the start
    /// also what the dead had counted before.
    pub(crate) accounted: Box<[u64]>,
    /// The twin showed more than could be its own of what the file showed: whose the last counts
    /// are is known once both are read again.
    pub(crate) ahead: bool,
    /// The twin could not be read any more, so that `own` is no more than is sure.
    pub(crate) unsure: bool,
}

impl Kin {
    /// The `.local` twin is read after the file: what it counted in between waits until the file
    /// shows it too, so that no more is called a cgroup's own than it was told to have counted.
    pub(crate) fn own_within(&self, mut own: Box<[u64]>, total: &[u64]) -> Box<[u64]> {
        let exceeds = |one: u64, other: u64| one.wrapping_sub(other).cast_signed() > 0;
        for (at, own) in own.iter_mut().enumerate() {
            let value = |values: &[u64]| values.get(at).copied().unwrap_or(0);
            let room = value(total).wrapping_sub(value(&self.accounted));
            let before = value(&self.own);
            if exceeds(*own, room) {
                *own = if exceeds(before, room) { before } else { room };
            }
        }
        own
    }

    /// The file has more keys than before.
    pub(crate) fn resize(&mut self, keys: usize) {
        for values in [&mut self.own, &mut self.accounted] {
            let mut longer = std::mem::take(values).into_vec();
            longer.resize(keys, 0);
            *values = longer.into();
        }
    }
}

impl Node {
    pub(crate) fn present(&self, file: FileId) -> Option<&File> {
        self.files.iter().find(|f| f.file == file && f.present)
    }

    pub(crate) fn present_mut(&mut self, file: FileId) -> Option<&mut File> {
        self.files.iter_mut().find(|f| f.file == file && f.present)
    }
}

/// What a watch is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The directory of a cgroup.
    Directory(NodeKey),
    /// One of its files.
    File(NodeKey, FileId),
    /// The directory that holds one or several watched roots.
    AboveRoots,
}

/// Every cgroup that is known.
#[derive(Debug, Default)]
pub(crate) struct Books {
    nodes: SlotMap<NodeKey, Node>,
    named: HashTable<NodeKey>,
    hasher: RandomState,
    watches: HashMap<Wd, Watched>,
    ids: Option<HashMap<u64, NodeKey>>,
    born: u64,
    alive: usize,
    unwatched: usize,
}

impl Books {
    pub(crate) fn get(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        self.nodes.get_mut(key)
    }

    /// A node that is known and alive.
    pub(crate) fn living(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(key).filter(|node| !node.flags.dead)
    }

    /// From now on nodes are found by their ids too.
    pub(crate) fn index_ids(&mut self) {
        self.ids = Some(HashMap::new());
    }

    /// The living node with this id.
    pub(crate) fn with_id(&self, id: u64) -> Option<NodeKey> {
        self.ids.as_ref()?.get(&id).copied()
    }

    /// The number of the next instance.
    pub(crate) fn next_instance(&mut self) -> u64 {
        self.born += 1;
        self.born
    }

    /// The number of the last instance so far.
    pub(crate) fn last_instance(&self) -> u64 {
        self.born
    }

    fn hash(&self, parent: NodeKey, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    /// A node without place in the tree: a watched root, or one that was gone before it was found.
    pub(crate) fn insert_apart(&mut self, node: Node) -> NodeKey {
        let (id, dead) = (node.id, node.flags.dead);
        let key = self.nodes.insert(node);
        if !dead {
            self.enliven(key, id);
        }
        key
    }

    fn enliven(&mut self, key: NodeKey, id: u64) {
        self.alive += 1;
        if let Some(ids) = &mut self.ids {
            ids.insert(id, key);
        }
    }

    /// A living child of `node.parent`.
    pub(crate) fn insert(&mut self, mut node: Node) -> NodeKey {
        let Some(parent) = node.parent else { return self.insert_apart(node) };
        let hash = self.hash(parent, &node.name);
        let is_below_long = self.nodes.get(parent).is_some_and(|parent| parent.flags.long);
        node.flags.long = is_below_long || has_long_name(&node.name);
        let next = self.nodes.get(parent).and_then(|p| p.first_child);
        node.next = next;
        let id = node.id;
        let key = self.nodes.insert(node);
        self.enliven(key, id);
        if let Some(next) = next.and_then(|next| self.nodes.get_mut(next)) {
            next.previous = Some(key);
        }
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.first_child = Some(key);
        }
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let rehash = |&key: &NodeKey| {
            nodes
                .get(key)
                .map_or(0, |node| hasher.hash_one((node.parent.unwrap_or_default(), &*node.name)))
        };
        self.named.insert_unique(hash, key, rehash);
        key
    }

    /// The living child of this name.
    pub(crate) fn child(&self, parent: NodeKey, name: &[u8]) -> Option<NodeKey> {
        let is = |key: &NodeKey| {
            self.nodes
                .get(*key)
                .is_some_and(|node| node.parent == Some(parent) && *node.name == *name)
        };
        self.named.find(self.hash(parent, name), is).copied()
    }

    /// The living children.
    pub(crate) fn children(&self, parent: NodeKey) -> impl Iterator<Item = NodeKey> + '_ {
        let first = self.nodes.get(parent).and_then(|node| node.first_child);
        std::iter::successors(first, |&key| self.nodes.get(key).and_then(|node| node.next))
    }

    /// A node and all that live below it, parents before children.
    pub(crate) fn subtree(&self, top: NodeKey) -> Vec<NodeKey> {
        let mut all = vec![top];
        let mut at = 0;
        while let Some(&key) = all.get(at) {
            all.extend(self.children(key));
            at += 1;
        }
        all
    }

    /// Takes a node out of the living; it stays known. Its children must be dead.
    pub(crate) fn bury(&mut self, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        if std::mem::replace(&mut node.flags.dead, true) {
            return;
        }
        self.alive -= 1;
        if node.flags.unwatched {
            self.unwatched -= 1;
        }
        if let Some(ids) = &mut self.ids {
            ids.remove(&node.id);
            if ids.len() * 8 < ids.capacity() {
                ids.shrink_to(ids.len() * 2);
            }
        }
        let (next, previous) = (node.next.take(), node.previous.take());
        let Some(parent) = node.parent else { return };
        let name = std::mem::take(&mut node.name);
        if let Ok(entry) =
            self.named.find_entry(self.hasher.hash_one((parent, &*name)), |k| *k == key)
        {
            entry.remove();
        }
        if let Some(node) = self.nodes.get_mut(key) {
            node.name = name;
        }
        if let Some(next) = next.and_then(|next| self.nodes.get_mut(next)) {
            next.previous = previous;
        }
        match previous {
            Some(previous) => {
                if let Some(previous) = self.nodes.get_mut(previous) {
                    previous.next = next;
                }
            }
            None => {
                if let Some(parent) = self.nodes.get_mut(parent) {
                    parent.first_child = next;
                }
            }
        }
    }

    /// Forgets a dead node.
    pub(crate) fn forget(&mut self, key: NodeKey) -> Option<Node> {
        self.bury(key);
        self.nodes.remove(key)
    }

    pub(crate) fn set_unwatched(&mut self, key: NodeKey, unwatched: bool) {
        let Some(node) = self.nodes.get_mut(key).filter(|node| !node.flags.dead) else { return };
        match (std::mem::replace(&mut node.flags.unwatched, unwatched), unwatched) {
            (false, true) => self.unwatched += 1,
            (true, false) => self.unwatched -= 1,
            _ => {}
        }
    }

    /// A child that nobody knows may have counted in it.
    pub(crate) fn note_stranger(&mut self, key: NodeKey) {
        if let Some(node) = self.nodes.get_mut(key) {
            node.flags.had_stranger = true;
        }
    }

    pub(crate) fn watch(&mut self, wd: Wd, on: Watched) {
        self.watches.insert(wd, on);
    }

    pub(crate) fn watched(&self, wd: Wd) -> Option<Watched> {
        self.watches.get(&wd).copied()
    }

    pub(crate) fn unwatch(&mut self, wd: Wd) -> Option<Watched> {
        let was = self.watches.remove(&wd);
        if self.watches.len() * 8 < self.watches.capacity() {
            self.watches.shrink_to(self.watches.len() * 2);
        }
        was
    }

    /// Living cgroups.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// Living cgroups that lack a watch.
    pub(crate) fn unwatched(&self) -> usize {
        self.unwatched
    }

    pub(crate) fn watches(&self) -> usize {
        self.watches.len()
    }

    /// Every node, living and dead.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes.iter()
    }

    /// The path from the watched root with its leading `/`; `/` for the root itself.
    pub(crate) fn path(&self, key: NodeKey) -> Arc<[u8]> {
        let length: usize = self.upwards(key).map(|node| node.name.len() + 1).sum();
        let mut path: Arc<[u8]> = std::iter::repeat_n(b'/', length.max(1)).collect();
        // Nobody else has it yet. From its end on, each name goes before those below it.
        let mut left = Arc::get_mut(&mut path).unwrap_or_default();
        for node in self.upwards(key) {
            let (above, name) = left.split_at_mut(left.len() - node.name.len());
            name.copy_from_slice(&node.name);
            (left, _) = above.split_at_mut(above.len() - 1);
        }
        path
    }

    /// The lanes of a node and of the uppermost above it. Names are hashed by a key of our own, so that
    /// nobody can choose two that share one.
    pub(crate) fn route(&self, key: NodeKey) -> Route {
        let mut route = Route::default();
        let Some(node) = self.nodes.get(key) else { return route };
        let mut lane = self.hasher.hash_one(node.root);
        route.push(lane);
        let mut names: [Option<&[u8]>; LEVELS] = [None; LEVELS];
        for node in self.upwards(key) {
            if let Some(name) = names.get_mut(node.depth as usize) {
                *name = Some(&node.name);
            }
        }
        for name in names.into_iter().flatten() {
            lane = self.hasher.hash_one((lane, name));
            route.push(lane);
        }
        route
    }

    /// A node and all above it, without the watched root.
    fn upwards(&self, key: NodeKey) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.nodes.get(key), |node| self.nodes.get(node.parent?))
            .take_while(|node| node.depth > 0)
    }

    /// Appends `/name` of each level below the watched root, the uppermost first.
    pub(crate) fn push_path(&self, key: NodeKey, path: &mut Vec<u8>) {
        let start = path.len();
        for node in self.upwards(key) {
            path.extend(node.name.iter().rev());
            path.push(b'/');
        }
        path[start..].reverse();
    }
}

impl Node {
    pub(crate) fn new(n: u64, id: u64, root: u32, now_ns: u64) -> Self {
        Self {
            n,
            id,
            root,
            depth: 0,
            parent: None,
            first_child: None,
            next: None,
            previous: None,
            name: Box::default(),
            born_ns: 0,
            read_ns: now_ns,
            wd: None,
            files: Vec::new(),
            flags: Flags::default(),
            ahead: Ahead::NO,
        }
    }
}

#[cfg(test)]
mod tests;
