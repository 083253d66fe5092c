//! Mounts that are not in this process's own cache (kernel: one more entry of
//! `kernfs_root->supers`).

use std::sync::{Arc, Weak};

use crate::{Node, Tree};

/// Told by the worker, after the tree's own mounts, what those are told: in
/// the same order, with the same folding.
///
/// It is called with the notifier's turn held: it must not drain the tree, and
/// must not wait for anything that does.
pub trait Listener: Send + Sync {
    /// The file was modified.
    fn modified(&self, node: &Arc<Node>);

    /// The node was removed; nothing about it follows. Called on
    /// [`Profile::Announced`](crate::Profile::Announced) only.
    fn removed(&self, node: &Arc<Node>);
}

impl Tree {
    /// Tells a listener from now on, for as long as it lives.
    pub fn listen(&self, listener: Weak<dyn Listener>) {
        self.root().core().add_listener(listener);
    }
}
