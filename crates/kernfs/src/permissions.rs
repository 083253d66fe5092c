//! Who may do what with a node (kernel: `umode_t mode` of a node, and
//! `struct kernfs_iattrs`).
//!
//! The tree enforces none of it: whoever lets others in, such as a mount, does.

use fsnotify::Mask;

use crate::{Error, Node, Pin, SuperBlock};

/// Owner, group and mode of a node. Most never get any of their own, and cost
/// nothing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "kernfs_iattrs")]
pub struct Permissions {
    /// The lower twelve bits of `st_mode`; others are ignored.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Permissions {
    /// Root's; a directory's `rwxr-xr-x`, or a file's `rw-r--r--`.
    #[must_use]
    pub const fn of_new(is_dir: bool) -> Self {
        Self { mode: if is_dir { 0o755 } else { 0o644 }, uid: 0, gid: 0 }
    }
}

impl Node {
    /// Its permissions; if none were set, those its attribute says, or a new
    /// directory's.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.own_permissions().unwrap_or_else(|| match self.attribute() {
            Some(attribute) => attribute.permissions(self),
            None => Permissions::of_new(true),
        })
    }

    /// Sets them, and tells nobody: the tree's owner does so, as cgroup does
    /// for whom it delegates to.
    #[doc(alias = "kernfs_setattr")]
    pub fn set_permissions(&self, permissions: Permissions) {
        let mode = permissions.mode & 0o7777;
        self.set_own_permissions(Permissions { mode, ..permissions });
    }
}

impl SuperBlock {
    /// Sets the permissions of what a path leads to; its watches and its
    /// directory's see `ATTRIB`.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    #[doc(alias = "chmod")]
    #[doc(alias = "chown")]
    pub fn set_permissions(
        &self,
        path: impl AsRef<[u8]>,
        permissions: Permissions,
    ) -> Result<(), Error> {
        let pin = self.pin(path)?;
        pin.set_permissions(permissions);
        Ok(())
    }
}

impl Pin {
    /// Sets the permissions of what is pinned; its watches and its directory's
    /// see `ATTRIB`.
    #[doc(alias = "fchmodat")]
    pub fn set_permissions(&self, permissions: Permissions) {
        self.node().set_permissions(permissions);
        self.tell(Mask::ATTRIB);
    }
}
