//! What a file of the tree is made of (kernel: `struct kernfs_ops`).

use rustix::io::Errno;

use crate::{Node, Permissions, active::Operation};

/// The content of a file. Its methods run under an active reference: removal
/// waits for them, so they may use what the removal will take away; and they
/// may not remove their own node except by [`Operation::remove_self`].
pub trait Attribute: Send + Sync {
    /// Appends the present content.
    ///
    /// # Errors
    /// Whatever the read shall fail with; by default `EINVAL`.
    #[doc(alias = "seq_show")]
    fn show(&self, operation: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        let _ = (operation, content);
        Err(Errno::INVAL)
    }

    /// Takes what was written, whole or not at all.
    ///
    /// # Errors
    /// Whatever the write shall fail with; by default `EINVAL`.
    #[doc(alias = "write")]
    fn store(&self, operation: &Operation<'_>, content: &[u8]) -> Result<(), Errno> {
        let _ = (operation, content);
        Err(Errno::INVAL)
    }

    /// The permissions of a node that has none of its own
    /// ([`Node::set_permissions`]).
    fn permissions(&self, node: &Node) -> Permissions {
        let _ = node;
        Permissions::of_new(false)
    }

    /// Whether open files must be told when they end. All files of a cgroup
    /// are so on Linux.
    fn has_release(&self) -> bool {
        false
    }

    /// An open file ended: it was closed, or its node removed or hidden,
    /// whichever came first. Called once for each open.
    fn release(&self, node: &Node) {
        let _ = node;
    }
}

/// A file whose content is a function.
impl<F> Attribute for F
where
    F: Fn() -> Vec<u8> + Send + Sync,
{
    fn show(&self, _: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        content.extend(self());
        Ok(())
    }
}
