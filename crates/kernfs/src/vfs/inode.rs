//! An inode: the cached face of a node in one mount, and what marks hang on.
//!
//! It lives while a dentry, an open file or a mark that is not evictable holds
//! it, and is gone at once after that (kernel: kernfs drops inodes without
//! keeping them unused).

use std::sync::{Arc, Weak};

use fsnotify::{Connector, FileHandle, FileSystem, Object, ObjectKind};

use super::Volume;
use crate::{
    Node,
    sync::{AtomicBool, AtomicU32, Ordering},
};

/// The type of a handle that is a node's id (kernel: `FILEID_KERNFS`).
pub(crate) const HANDLE_KIND: i32 = 0xfe;

pub(crate) struct Inode {
    connector: Connector,
    file_system: FileSystem,
    volume: Weak<Volume>,
    node: Arc<Node>,
    unlinked: AtomicBool,
    /// Dentries that refer to it; changes under the dentry cache's lock.
    pub(super) dentries: AtomicU32,
}

impl Inode {
    pub(super) fn new(volume: &Arc<Volume>, node: &Arc<Node>) -> Arc<Self> {
        Self::new_in(&Arc::downgrade(volume), volume.file_system(), node)
    }

    /// For a volume that is still being made.
    pub(super) fn new_in(
        volume: &Weak<Volume>,
        file_system: FileSystem,
        node: &Arc<Node>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connector: Connector::new(),
            file_system,
            volume: Weak::clone(volume),
            node: Arc::clone(node),
            unlinked: AtomicBool::new(false),
            dentries: AtomicU32::new(0),
        })
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn handle(&self) -> FileHandle {
        handle_of(&self.node)
    }

    /// The link count is zero (kernel: `clear_nlink`).
    pub(super) fn clear_links(&self) {
        self.unlinked.store(true, Ordering::Release);
    }

    pub(super) fn is_unlinked(&self) -> bool {
        self.unlinked.load(Ordering::Acquire)
    }
}

pub(super) fn handle_of(node: &Node) -> FileHandle {
    FileHandle::of_id(HANDLE_KIND, node.id())
}

impl Object for Inode {
    fn connector(&self) -> &Connector {
        &self.connector
    }

    fn kind(&self) -> ObjectKind {
        if self.node.is_dir() { ObjectKind::Directory } else { ObjectKind::File }
    }

    fn file_system(&self) -> FileSystem {
        self.file_system
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // Only evictable marks can be left: others hold the inode.
        self.connector.close();
        if let Some(volume) = self.volume.upgrade() {
            volume.forget_inode(self.node.id());
        }
    }
}
