//! Active references: operations in flight, and waiting for them to end
//! (kernel: fs/kernfs/dir.c, `kernfs_get_active` to `kernfs_drain`).
//!
//! `Node::active` is the count of operations that run. Deactivating adds a
//! large negative number: no operation starts any more, and when the count is
//! that number exactly, none is left. Those that wait do so under one lock of
//! the tree, which the last operation takes to wake them: an operation that
//! ends after the waiter looked finds it asleep, and one that ends before is
//! seen by it.
//!
//! Every change of that number's presence, and of the flags that say why, is
//! made under the same lock, so that activation, hiding and removal of one
//! node cannot cross.

use std::sync::Arc;

use crate::{
    Credentials, Error, Node,
    node::NodeFlags,
    sync::{Ordering, lock, wait},
};

/// Kernel: `KN_DEACTIVATED_BIAS`.
pub(crate) const DEACTIVATED: i32 = i32::MIN + 1;

/// An operation on a node, which the node's removal waits for.
#[derive(Debug)]
pub struct Operation<'a> {
    node: &'a Arc<Node>,
    credentials: Option<&'a Credentials>,
}

impl<'a> Operation<'a> {
    /// Starts one.
    #[doc(alias = "kernfs_get_active")]
    pub(crate) fn start(
        node: &'a Arc<Node>,
        credentials: Option<&'a Credentials>,
    ) -> Result<Self, Error> {
        let mut active = node.active.load(Ordering::Acquire);
        while active >= 0 {
            let (order, relaxed) = (Ordering::AcqRel, Ordering::Acquire);
            match node.active.compare_exchange_weak(active, active + 1, order, relaxed) {
                Ok(_) => return Ok(Self { node, credentials }),
                Err(now) => active = now,
            }
        }
        Err(Error::Removed { id: node.id() })
    }

    /// The node operated on.
    #[must_use]
    pub fn node(&self) -> &'a Arc<Node> {
        self.node
    }

    /// Who opened the file that is read or written. `None`: this process
    /// itself, which may do everything.
    #[must_use]
    #[doc(alias = "f_cred")]
    pub fn credentials(&self) -> Option<&'a Credentials> {
        self.credentials
    }

    /// Removes the node from within its own operation, which removal from
    /// outside would wait for. Of several operations that do so at once one
    /// wins (`true`); the others wait until the winner's whole operation is
    /// over.
    #[doc(alias = "kernfs_remove_self")]
    #[must_use = "only the winner may finish what the removal began"]
    pub fn remove_self(&self) -> bool {
        let node = self.node;
        // Stop counting as in flight: break the active protection.
        node.put_active();
        let wins = {
            let _guard = lock(&node.core().draining);
            let first = !node.flags().contains(NodeFlags::SUICIDAL);
            node.set_flag(NodeFlags::SUICIDAL, true);
            first
        };
        if wins {
            node.remove();
            let _guard = lock(&node.core().draining);
            node.set_flag(NodeFlags::SUICIDED, true);
            // In flight again before anyone can see that it is done.
            node.active.fetch_add(1, Ordering::AcqRel);
        } else {
            let mut guard = lock(&node.core().draining);
            while !(node.flags().contains(NodeFlags::SUICIDED)
                && node.active.load(Ordering::Acquire) == DEACTIVATED)
            {
                guard = wait(&node.core().drained, guard);
            }
            node.active.fetch_add(1, Ordering::AcqRel);
        }
        wins
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.node.put_active();
    }
}

impl Node {
    fn put_active(&self) {
        let left = self.active.fetch_sub(1, Ordering::AcqRel) - 1;
        if left == DEACTIVATED {
            let _guard = lock(&self.core().draining);
            self.core().drained.notify_all();
        }
    }

    /// Makes it and all below it usable: what was created deactivated appears.
    #[doc(alias = "kernfs_activate")]
    pub fn activate(self: &Arc<Self>) {
        // Children first: a whole directory appears at once.
        for node in self.descendants().iter().rev() {
            let _guard = lock(&self.core().draining);
            if !node.flags().intersects(NodeFlags::ACTIVATED | NodeFlags::REMOVING) {
                node.set_flag(NodeFlags::ACTIVATED, true);
                if !node.flags().contains(NodeFlags::HIDDEN) {
                    node.active.fetch_sub(DEACTIVATED, Ordering::AcqRel);
                }
            }
        }
    }

    /// Shows or hides a file. Hiding waits for operations in flight and ends
    /// open files that are to be told (`Attribute::has_release`): those stay
    /// dead after it is shown again. No event on Linux, and none here.
    ///
    /// # Errors
    /// `EISDIR` for directories.
    #[doc(alias = "kernfs_show")]
    pub fn show(self: &Arc<Self>, show: bool) -> Result<(), Error> {
        if self.is_dir() {
            return Err(Error::IsDirectory { name: self.text() });
        }
        let guard = lock(&self.core().draining);
        let was = !self.flags().contains(NodeFlags::HIDDEN);
        self.set_flag(NodeFlags::HIDDEN, !show);
        let counts = self.flags().contains(NodeFlags::ACTIVATED)
            && !self.flags().contains(NodeFlags::REMOVING);
        if show && !was && counts {
            self.active.fetch_sub(DEACTIVATED, Ordering::AcqRel);
            // Who hid it waits for operations in flight, which are none of its any more.
            self.core().drained.notify_all();
        }
        if !show && was && counts {
            self.active.fetch_add(DEACTIVATED, Ordering::AcqRel);
        }
        drop(guard);
        if !show {
            self.drain();
        }
        Ok(())
    }

    /// No operation starts any more. Part of removal.
    pub(crate) fn deactivate(&self) {
        let _guard = lock(&self.core().draining);
        self.set_flag(NodeFlags::REMOVING, true);
        if self.active.load(Ordering::Acquire) >= 0 {
            self.active.fetch_add(DEACTIVATED, Ordering::AcqRel);
        }
    }

    /// Waits for operations in flight, then ends open files. Does not wait
    /// for open files.
    #[doc(alias = "kernfs_drain")]
    pub(crate) fn drain(&self) {
        if self.active.load(Ordering::Acquire) != DEACTIVATED {
            let mut guard = lock(&self.core().draining);
            // A file that was shown again meanwhile is not waited for.
            while self.active.load(Ordering::Acquire) < 0
                && self.active.load(Ordering::Acquire) != DEACTIVATED
            {
                guard = wait(&self.core().drained, guard);
            }
        }
        for file in self.take_opened() {
            if let Some(file) = file.upgrade() {
                file.release();
            }
        }
    }

    /// This node and all below it, parents before children.
    pub(crate) fn descendants(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut all = vec![Arc::clone(self)];
        let mut at = 0;
        while let Some(node) = all.get(at) {
            if let Some(children) = node.children() {
                let children: Vec<_> = lock(children).values().cloned().collect();
                all.extend(children);
            }
            at += 1;
        }
        all
    }
}
