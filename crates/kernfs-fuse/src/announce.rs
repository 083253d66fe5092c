//! What is to be raised as kernel events, and the two threads that do it
//! (kernel: the list of `kernfs_notify_workfn`).
//!
//! The tree's worker fills the queues and never waits. A node has at most one
//! place in the queue of changes, so a client that holds everything up costs
//! no memory beyond that.
//!
//! While a client's `rmdir` of a directory is in flight, what the worker says
//! of that directory and all below it is held in the [`Removal`]. The worker
//! tells children before parents, so the removal is whole when the directory
//! itself is told; then the removals thread takes it. What the changes thread
//! had queued, or is at, for a file of that directory is done again there, by
//! handle, since it may be waiting for the directory's lock.
//!
//! A file that is in use while the kernel finishes the `rmdir` (a client is
//! opening it, has it open, looks at it) keeps its name in the kernel's cache,
//! and would never be announced. So what is left of the directory is dropped
//! by the changes thread once the `rmdir` is over ([`Leftover`]).

use std::{
    collections::{HashMap, VecDeque},
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex},
};

use fuser::ReplyEmpty;
use kernfs::Node;

use crate::{kick::Kick, known::Known, lock::lock, shared::Shared};

/// What a node has to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) modified: bool,
    pub(crate) removed: bool,
}

/// A client's `rmdir` in flight.
pub(crate) struct Removal {
    directory: Arc<Node>,
    /// In the order in which the worker told it.
    held: Vec<(Arc<Node>, Pending)>,
    /// Not before the tree has done it.
    reply: Option<ReplyEmpty>,
    /// Whether the worker told the directory itself.
    told: bool,
}

/// What a client's `rmdir` may have left in the kernel's cache.
pub(crate) struct Leftover {
    pub(crate) directory: Arc<Node>,
    pub(crate) held: Option<OwnedFd>,
    pub(crate) files: Vec<Arc<Node>>,
}

/// What the changes thread does next.
enum Next {
    Change(Arc<Node>, Pending),
    Leftover(Leftover),
}

#[derive(Default)]
pub(crate) struct Queues {
    state: Mutex<State>,
    change: Condvar,
    removal: Condvar,
}

#[derive(Default)]
struct State {
    changes: VecDeque<Arc<Node>>,
    pending: HashMap<u64, Pending>,
    /// The node that the changes thread is at, and what it tells of it.
    current: Option<(u64, Pending)>,
    /// By the directory's id.
    in_flight: HashMap<u64, Removal>,
    removals: VecDeque<Removal>,
    leftovers: VecDeque<Leftover>,
    closed: bool,
}

impl State {
    /// The `rmdir` in flight that a node falls under.
    fn removal_of(&mut self, node: &Arc<Node>) -> Option<&mut Removal> {
        if self.in_flight.is_empty() {
            return None;
        }
        let mut at = Some(Arc::clone(node));
        while let Some(above) = at {
            if self.in_flight.contains_key(&above.id()) {
                return self.in_flight.get_mut(&above.id());
            }
            at = above.parent();
        }
        None
    }

    fn queue(&mut self, node: &Arc<Node>, add: Pending) {
        let pending = self.pending.entry(node.id()).or_default();
        if *pending == Pending::default() {
            self.changes.push_back(Arc::clone(node));
        }
        pending.modified |= add.modified;
        pending.removed |= add.removed;
    }
}

const MODIFIED: Pending = Pending { modified: true, removed: false };
const REMOVED: Pending = Pending { modified: false, removed: true };

impl Queues {
    pub(crate) fn modified(&self, node: &Arc<Node>) {
        let mut state = lock(&self.state);
        match state.removal_of(node) {
            Some(removal) => removal.held.push((Arc::clone(node), MODIFIED)),
            None => {
                state.queue(node, MODIFIED);
                self.change.notify_one();
            }
        }
    }

    pub(crate) fn removed(&self, node: &Arc<Node>, known: &Known) {
        let mut state = lock(&self.state);
        let Some(removal) = state.removal_of(node) else {
            // Nobody can watch what the kernel does not know, unless it will
            // be made known by a modification that is still to be told.
            let to_tell = state.pending.contains_key(&node.id());
            let told_now = state.current.is_some_and(|(id, _)| id == node.id());
            if known.contains(node.id()) || to_tell || told_now {
                state.queue(node, REMOVED);
                self.change.notify_one();
            }
            return;
        };
        removal.held.push((Arc::clone(node), REMOVED));
        let id = node.id();
        if id == removal.directory.id() {
            removal.told = true;
            self.finish_if_whole(&mut state, id);
        }
    }

    /// A client's `rmdir` begins: what is told of the directory is held.
    /// `false` if another one is in flight, which cannot be while the kernel
    /// holds the directory's lock.
    pub(crate) fn begin_removal(&self, directory: &Arc<Node>) -> bool {
        let mut state = lock(&self.state);
        if state.in_flight.contains_key(&directory.id()) {
            return false;
        }
        let removal = Removal {
            directory: Arc::clone(directory),
            held: Vec::new(),
            reply: None,
            told: false,
        };
        state.in_flight.insert(directory.id(), removal);
        true
    }

    /// The tree did not remove it; what was held is told as usual.
    pub(crate) fn cancel_removal(&self, directory: &Node, known: &Known) {
        let removal = lock(&self.state).in_flight.remove(&directory.id());
        for (node, pending) in removal.into_iter().flat_map(|removal| removal.held) {
            if pending.modified {
                self.modified(&node);
            }
            if pending.removed {
                self.removed(&node, known);
            }
        }
    }

    /// The tree removed it: the reply is due when all of it was told.
    pub(crate) fn complete_removal(&self, directory: &Node, reply: ReplyEmpty) {
        let mut state = lock(&self.state);
        if let Some(removal) = state.in_flight.get_mut(&directory.id()) {
            removal.reply = Some(reply);
            self.finish_if_whole(&mut state, directory.id());
        }
    }

    fn finish_if_whole(&self, state: &mut State, directory: u64) {
        let whole = |removal: &Removal| removal.told && removal.reply.is_some();
        if state.in_flight.get(&directory).is_some_and(whole)
            && let Some(removal) = state.in_flight.remove(&directory)
        {
            state.removals.push_back(removal);
            self.removal.notify_one();
        }
    }

    /// Ends both threads. Clients that wait for an `rmdir` get `EIO`.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.changes.clear();
        state.pending.clear();
        state.leftovers.clear();
        let dropped = (std::mem::take(&mut state.in_flight), std::mem::take(&mut state.removals));
        self.change.notify_all();
        self.removal.notify_all();
        drop(state);
        // Their replies answer themselves.
        drop(dropped);
    }

    /// The next thing to do; `None` at the end.
    fn next(&self) -> Option<Next> {
        let mut state = lock(&self.state);
        state.current = None;
        loop {
            if state.closed {
                return None;
            }
            if let Some(leftover) = state.leftovers.pop_front() {
                return Some(Next::Leftover(leftover));
            }
            while let Some(node) = state.changes.pop_front() {
                // Another may have taken what there was to tell.
                if let Some(pending) = state.pending.remove(&node.id()) {
                    state.current = Some((node.id(), pending));
                    return Some(Next::Change(node, pending));
                }
            }
            state = self.change.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn next_removal(&self) -> Option<Removal> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(removal) = state.removals.pop_front() {
                return Some(removal);
            }
            state = self.removal.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Takes over what the changes thread was to tell of a node. Whether it
    /// was modified.
    fn take_over(&self, node: &Node) -> bool {
        let mut state = lock(&self.state);
        let queued = state.pending.remove(&node.id()).is_some_and(|pending| pending.modified);
        let current = state.current.is_some_and(|(id, now)| id == node.id() && now.modified);
        queued || current
    }

    fn leave(&self, leftover: Leftover) {
        lock(&self.state).leftovers.push_back(leftover);
        self.change.notify_one();
    }

    fn requeue_removed(&self, node: &Arc<Node>) {
        lock(&self.state).queue(node, REMOVED);
        self.change.notify_one();
    }
}

/// The life of the changes thread.
pub(crate) fn tell_changes(shared: &Arc<Shared>, kick: &Kick) {
    let _own = crate::OwnThread::enter(shared);
    while let Some(next) = shared.queues.next() {
        let (node, pending) = match next {
            Next::Change(node, pending) => (node, pending),
            Next::Leftover(leftover) => {
                kick.drop_leftover(shared, leftover);
                continue;
            }
        };
        if pending.modified {
            kick.modify(shared, &node);
        }
        if pending.removed {
            kick.remove(shared, &node);
        }
    }
}

/// The life of the removals thread.
pub(crate) fn finish_removals(shared: &Arc<Shared>, kick: &Kick) {
    let _own = crate::OwnThread::enter(shared);
    while let Some(Removal { directory, held, reply, .. }) = shared.queues.next_removal() {
        let known = |node: &Node| shared.known.contains(node.id());
        let files = |(node, _): &&(Arc<Node>, Pending)| !node.is_dir() && known(node);
        let mut dead = Vec::new();
        for (node, pending) in held.iter().filter(files) {
            if shared.queues.take_over(node) || pending.modified {
                kick.modify_without_lock(shared, node);
            }
            if pending.removed {
                dead.push(Arc::clone(node));
            }
        }
        dead.iter().for_each(|file| kick.unlink(shared, file));
        // Queued before anybody can know that the `rmdir` is done.
        if !dead.is_empty() {
            let held = kick.hold(shared, &directory);
            let directory = Arc::clone(&directory);
            shared.queues.leave(Leftover { directory, held, files: dead });
        }
        if let Some(reply) = reply {
            reply.ok();
        }
        // Directories below, of which only the removal is told, need the locks that the kernel held.
        for (node, _) in &held {
            let below = node.is_dir() && node.id() != directory.id();
            if known(node) && below {
                shared.queues.requeue_removed(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kernfs::{Options, Tree};

    use super::*;

    const BOTH: Pending = Pending { modified: true, removed: true };

    fn nodes() -> (Tree, [Arc<Node>; 2], Known) {
        let tree = Tree::new(Options::default());
        let nodes = ["a", "b"].map(|name| tree.root().make_dir(name).unwrap());
        let known = Known::new(tree.root());
        (tree, nodes, known)
    }

    /// The next change, if there is one, without waiting.
    fn next(queues: &Queues) -> Option<(u64, Pending)> {
        let queued = !lock(&queues.state).pending.is_empty();
        match queued.then(|| queues.next()).flatten()? {
            Next::Change(node, pending) => Some((node.id(), pending)),
            Next::Leftover(_) => None,
        }
    }

    #[test]
    fn a_removal_follows_a_modification_that_makes_the_node_known() {
        let (_tree, [a, b], known) = nodes();
        let queues = Queues::default();
        queues.removed(&a, &known);
        assert_eq!(next(&queues), None, "unknown, so that nobody watches it");
        // Queued.
        queues.modified(&a);
        queues.removed(&a, &known);
        assert_eq!(next(&queues), Some((a.id(), BOTH)));
        // Being raised now.
        queues.removed(&b, &known);
        queues.removed(&a, &known);
        assert_eq!(next(&queues), Some((a.id(), REMOVED)));
        assert_eq!(next(&queues), None);
        known.add(&b);
        queues.removed(&b, &known);
        assert_eq!(next(&queues), Some((b.id(), REMOVED)));
    }

    #[test]
    fn the_removals_thread_takes_over_a_modification_queued_or_being_raised() {
        let (_tree, [a, b], known) = nodes();
        let queues = Queues::default();
        assert!(!queues.take_over(&a));
        queues.modified(&a);
        assert!(queues.take_over(&a));
        assert_eq!(next(&queues), None);
        queues.modified(&a);
        assert_eq!(next(&queues), Some((a.id(), MODIFIED)));
        assert!(queues.take_over(&a) && !queues.take_over(&b));
        known.add(&b);
        queues.removed(&b, &known);
        assert_eq!(next(&queues), Some((b.id(), REMOVED)));
        assert!(!queues.take_over(&b) && !queues.take_over(&a));
    }
}
