//! Notifications: collected under a leaf lock, told later by a worker
//! (kernel: `kernfs_notify`, `kernfs_notify_workfn`, fs/kernfs/file.c).
//!
//! A node has a word of pending bits and at most one place in the list.
//! Bits **accumulate**: a removal is added to a pending modification, and both
//! are told, in this order. A node is taken off the list before it is told,
//! so that what happens meanwhile lists it again; but nothing follows its
//! removal.
//!
//! Listing a node allocates nothing: the list has room for every node in
//! memory, made when the node was.
//!
//! One deliverer at a time: what was pending when [`Notifier::deliver`] was
//! called has been told when it returns, whoever told it.

use std::{collections::VecDeque, sync::Arc};

use bitflags::bitflags;

use crate::{
    Node,
    core::Core,
    sync::{Condvar, Mutex, Ordering, lock},
};

bitflags! {
    /// What a node has to tell.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Pending: u32 {
        /// It was modified.
        const MODIFIED = 1;
        /// It was removed.
        const REMOVED = 2;
        /// It was modified, and its owner's rate limit holds that back. Does
        /// not list the node.
        const HELD_BACK = 4;
        /// Its removal was taken off the list: nothing is added any more.
        const ANNOUNCED = 8;
    }
}

impl Pending {
    const LISTED: Self = Self::MODIFIED.union(Self::REMOVED);
}

pub(crate) struct Notifier {
    state: Mutex<State>,
    arrived: Condvar,
    delivery: Mutex<()>,
}

struct State {
    list: VecDeque<Arc<Node>>,
    /// Nodes in memory: the list has room for so many.
    nodes: usize,
    worker_sleeps: bool,
    /// How many sleep in a poll.
    sleepers: usize,
    closed: bool,
}

impl Notifier {
    pub(crate) fn new() -> Self {
        let list = VecDeque::new();
        let state = State { list, nodes: 0, worker_sleeps: false, sleepers: 0, closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), delivery: Mutex::new(()) }
    }

    /// One node more is in memory.
    pub(crate) fn make_room(&self) {
        let mut state = lock(&self.state);
        state.nodes += 1;
        let wanted = state.nodes - state.list.len();
        state.list.reserve(wanted);
    }

    /// One node less.
    pub(crate) fn give_room_back(&self) {
        let mut state = lock(&self.state);
        state.nodes -= 1;
        if state.list.capacity() > 1024 && state.nodes < state.list.capacity() / 4 {
            let keep = state.nodes * 2;
            state.list.shrink_to(keep);
        }
    }

    /// One more sleeps in a poll, or one less.
    pub(crate) fn count_sleeper(&self, more: bool) {
        let mut state = lock(&self.state);
        state.sleepers = if more { state.sleepers + 1 } else { state.sleepers - 1 };
    }

    /// Adds to what a node has to tell. Whether someone sleeps in a poll.
    pub(crate) fn push(&self, node: &Arc<Node>, add: Pending) -> bool {
        let mut state = lock(&self.state);
        let sleepers = state.sleepers > 0;
        let had = Pending::from_bits_retain(node.pending.load(Ordering::Relaxed));
        if state.closed || had.contains(Pending::ANNOUNCED) {
            return sleepers;
        }
        // A change to be told anyway is not held back.
        let told_anyway = had.contains(Pending::MODIFIED);
        let add = if told_anyway { add - Pending::HELD_BACK } else { add };
        let mut has = had | add;
        // A modification told now is no longer held back; and a removal tells
        // what would never be told otherwise.
        if has.intersects(Pending::HELD_BACK) && add.intersects(Pending::LISTED) {
            has = (has - Pending::HELD_BACK) | Pending::MODIFIED;
        }
        node.pending.store(has.bits(), Ordering::Relaxed);
        if has.intersects(Pending::LISTED) && !had.intersects(Pending::LISTED) {
            state.list.push_back(Arc::clone(node));
            if state.worker_sleeps {
                state.worker_sleeps = false;
                self.arrived.notify_one();
            }
        }
        sleepers
    }

    fn pop(&self, last_first: bool) -> Option<(Arc<Node>, Pending)> {
        let mut state = lock(&self.state);
        let list = &mut state.list;
        let node = if last_first { list.pop_back() } else { list.pop_front() }?;
        let has = Pending::from_bits_retain(node.pending.load(Ordering::Relaxed));
        let mut left = has - Pending::LISTED;
        left.set(Pending::ANNOUNCED, has.contains(Pending::REMOVED));
        node.pending.store(left.bits(), Ordering::Relaxed);
        Some((node, has & Pending::LISTED))
    }

    /// Tells all that is pending, and what becomes so meanwhile. Returns how
    /// many nodes had something to tell.
    pub(crate) fn deliver(&self, core: &Core) -> usize {
        self.deliver_while(core, || true)
    }

    /// As [`deliver`](Self::deliver), for as long as `wanted`, which is asked
    /// when nobody else delivers.
    pub(crate) fn deliver_while(&self, core: &Core, wanted: impl Fn() -> bool) -> usize {
        let _one_at_a_time = lock(&self.delivery);
        let mut volumes = Vec::new();
        let mut listeners = Vec::new();
        let mut told = 0;
        while wanted() {
            let Some((node, has)) = self.pop(core.options.profile.last_first()) else { break };
            core.volumes(&mut volumes);
            for volume in &volumes {
                if has.contains(Pending::MODIFIED) {
                    volume.tell_modified(&node);
                }
                if has.contains(Pending::REMOVED) {
                    volume.tell_removed(&node);
                }
            }
            core.listeners(&mut listeners);
            for listener in &listeners {
                if has.contains(Pending::MODIFIED) {
                    listener.modified(&node);
                }
                if has.contains(Pending::REMOVED) {
                    listener.removed(&node);
                }
            }
            told += 1;
        }
        told
    }

    /// Nodes that have something to tell.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).list.len()
    }

    /// Delivers until the notifier is closed. The models drain by hand.
    #[cfg(not(loom))]
    pub(crate) fn work(&self, core: &Core) {
        loop {
            let mut state = lock(&self.state);
            while state.list.is_empty() {
                if state.closed {
                    return;
                }
                state.worker_sleeps = true;
                state = crate::sync::wait(&self.arrived, state);
            }
            drop(state);
            self.deliver(core);
        }
    }

    /// Nothing is listed from here on; what is listed is forgotten.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let rest = std::mem::take(&mut state.list);
        self.arrived.notify_all();
        drop(state);
        drop(rest);
    }
}

impl Node {
    /// The file changed. Wakes who polls it at once; those who watch it are
    /// told by the worker. Allocates nothing and waits for no callback: it may
    /// be called from anywhere, also from an attribute's own `show`. On a
    /// directory it does nothing (Linux warns).
    #[doc(alias = "kernfs_notify")]
    pub fn notify(self: &Arc<Self>) {
        if self.is_dir() {
            return;
        }
        self.notified.fetch_add(1, Ordering::AcqRel);
        self.core().tell_later(self, Pending::MODIFIED);
    }

    /// Whether its removal was taken off the list, and told once the turn of
    /// who took it is over. Nothing about the node follows.
    pub(crate) fn is_announced(&self) -> bool {
        let pending = Pending::from_bits_retain(self.pending.load(Ordering::Relaxed));
        pending.contains(Pending::ANNOUNCED)
    }

    /// The file changed, and its owner will [`notify`](Self::notify) later:
    /// its rate limit says not yet (kernel: the timer of
    /// `cgroup_file_notify`). If the node is removed before, the change is
    /// told on `Announced` and lost on Linux.
    pub fn notify_later(self: &Arc<Self>) {
        if !self.is_dir() {
            self.core().pending.push(self, Pending::HELD_BACK);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Notifier, lock};
    use crate::{Attribute, Options, Tree};

    impl Notifier {
        /// How many sleep in a poll.
        pub(crate) fn sleepers(&self) -> usize {
            lock(&self.state).sleepers
        }
    }

    /// Room for each node in memory, and not much more for ever: of what was there once.
    #[test]
    fn the_list_has_room_for_the_nodes_there_are() {
        let tree = Tree::new(Options::default());
        let room = || {
            let state = lock(&tree.root().core().pending.state);
            assert_eq!(state.nodes, tree.nodes());
            assert!(state.list.capacity() >= state.nodes);
            state.list.capacity()
        };
        let content: Arc<dyn Attribute> = Arc::new(Vec::new);
        for _ in 0..2 {
            let name = |at: usize| format!("f{at}");
            for at in 0..10_000 {
                tree.root().make_file(name(at), Arc::clone(&content)).unwrap();
                room();
            }
            for at in 0..10_000 {
                tree.root().remove_child(name(at)).unwrap();
                tree.drain();
                room();
            }
            assert!(room() < 4096, "{}", room());
        }
    }
}
