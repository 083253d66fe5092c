//! The three removals: of a node, by name, and of itself (see
//! [`Operation::remove_self`](crate::Operation::remove_self)).
//! Kernel: `__kernfs_remove`, fs/kernfs/dir.c.
//!
//! First the whole subtree is made unusable, parents first, each directory
//! under the lock of its children: from then on none is added. Then, children
//! strictly before parents, each node is drained and unlinked. Several
//! removals of one subtree may run at once; all of them wait until it is
//! drained.
//!
//! To unlink a node, to clear the links of its inodes and to list it for the
//! worker is **one step** under `Core::moving` (kernel: `kernfs_rwsem`): a
//! removal that finds a child unlinked goes on to the parent, so the child's
//! announcement must be under way by then. The locks taken in that step, in
//! this order: `Core::moving`, the children of the parent; then, each for
//! itself, the list of mounts, a mount's inode table, the notifier's list. The
//! notifier's list stays a leaf: [`Node::notify`] waits for no removal.
//! What the step held (mounts, inodes) is dropped after it.

use std::sync::Arc;

use crate::{Error, Node, core::Held, error::text, node::NodeFlags, sync::lock};

impl Node {
    /// Removes it and all below it. Waits for operations in flight, not for
    /// open files: those fail with `ENODEV` from now on. Not to be called from
    /// an operation of a node that is removed by it.
    #[doc(alias = "kernfs_remove")]
    pub fn remove(self: &Arc<Self>) {
        if self.flags().contains(NodeFlags::UNLINKED) {
            return;
        }
        let mut held = Held::default();
        for node in self.deactivate_all().iter().rev() {
            node.drain();
            node.unlink(&mut held);
            held.clear();
        }
    }

    /// Removes the child with this name.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    #[doc(alias = "kernfs_remove_by_name")]
    pub fn remove_child(self: &Arc<Self>, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let name = name.as_ref();
        if !self.is_dir() {
            return Err(Error::NotDirectory { name: self.text() });
        }
        self.child(name).ok_or_else(|| Error::NotFound { name: text(name) })?.remove();
        Ok(())
    }

    /// The subtree, parents before children and last children first.
    fn deactivate_all(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut all = Vec::new();
        let mut stack = vec![Arc::clone(self)];
        while let Some(node) = stack.pop() {
            match node.children() {
                Some(children) => {
                    let children = lock(children);
                    node.deactivate();
                    stack.extend(children.values().cloned());
                }
                None => node.deactivate(),
            }
            all.push(node);
        }
        all
    }

    /// Takes it out of its parent's map and starts its announcement, unless
    /// another removal did.
    fn unlink(self: &Arc<Self>, held: &mut Held) {
        let still = lock(&self.core().moving);
        if self.flags().contains(NodeFlags::UNLINKED) {
            return;
        }
        let (name, parent) = self.place();
        let linked = parent
            .as_ref()
            .and_then(|parent| parent.children())
            .map(|children| lock(children).remove(&name));
        self.set_flag(NodeFlags::UNLINKED, true);
        let poll_sleeps = self.core().unlinked(self, held);
        drop(still);
        // The root has no parent; any other node was in the map. Dropping it
        // here cannot be its end: the caller holds it.
        drop(linked);
        if poll_sleeps {
            self.core().wake_poll();
        }
    }

    /// Moves it to another directory, or gives it another name. No event: on
    /// Linux those of a rename come from the system call alone.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` (it or the directory is being removed), `ENOTDIR`,
    /// `EINVAL` (the name, the directory is below it, or another one where
    /// [`Options::fixed_parents`](crate::Options::fixed_parents) holds),
    /// `ENAMETOOLONG`, `EPERM` (the root).
    #[doc(alias = "kernfs_rename_ns")]
    pub fn rename(self: &Arc<Self>, to: &Arc<Self>, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let name = name.as_ref();
        crate::node::check_name(name)?;
        let gone = |node: &Self| Error::NotFound { name: node.text() };
        let _still = lock(&self.core().moving);
        let (old_name, from) = self.place();
        let Some(from) = from else {
            let root = self.id() == crate::tree::ROOT_ID;
            return Err(if root {
                Error::NotPermitted { operation: "rename" }
            } else {
                gone(self)
            });
        };
        if self.core().options.fixed_parents && !Arc::ptr_eq(&from, to) {
            return Err(Error::FixedParent { name: self.text() });
        }
        let mut above = Some(Arc::clone(to));
        while let Some(node) = above {
            if Arc::ptr_eq(&node, self) {
                return Err(Error::UnderItself { name: self.text() });
            }
            above = node.parent();
        }
        let (Some(from_children), Some(to_children)) = (from.children(), to.children()) else {
            return Err(Error::NotDirectory { name: to.text() });
        };
        let name: Arc<[u8]> = name.into();
        let check = |new: &crate::children::Children| {
            for node in [self, &from, to] {
                if node.is_removed() {
                    return Err(gone(node));
                }
            }
            match new.get(&name) {
                Some(other) if !Arc::ptr_eq(other, self) => {
                    Err(Error::Exists { name: text(&name) })
                }
                _ => Ok(()),
            }
        };
        let mut from_children = lock(from_children);
        if Arc::ptr_eq(&from, to) {
            check(&from_children)?;
            from_children.remove(&old_name);
            from_children.insert(Arc::clone(&name), Arc::clone(self));
        } else {
            // Two children's locks at once are held under `moving` only.
            let mut to_children = lock(to_children);
            check(&to_children)?;
            from_children.remove(&old_name);
            to_children.insert(Arc::clone(&name), Arc::clone(self));
        }
        self.move_to(to, name);
        Ok(())
    }
}
