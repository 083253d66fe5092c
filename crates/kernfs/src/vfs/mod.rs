//! The cache between nodes and marks, and the system calls that fill it.
//!
//! Nothing is in it that was not looked up. What holds what:
//!
//! | holder | inode | its dentry | dentries above |
//! |---|---|---|---|
//! | dentry | yes | | yes |
//! | open file, pin (`O_PATH` descriptor, working directory) | yes | yes | yes |
//! | mark | yes | no | no |
//! | evictable mark | no | no | no |

mod cache;
mod calls;
mod file;
mod inode;
mod pin;
mod settle;
mod tell;

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
};

use fsnotify::{Connector, FileSystem, Fsid, Object, ObjectKind};

pub(crate) use self::inode::Inode;
use self::{
    cache::{Cache, Fallout, ROOT},
    settle::Settling,
};
pub use self::{
    calls::SystemCalls,
    file::{Access, File, Ready},
    pin::Pin,
};
use crate::{
    Error, Node, Permissions,
    core::Core,
    error::text,
    node::NodeFlags,
    sync::{Mutex, lock},
};

/// A mount of a tree. Dropping it unmounts: each mark on an inode gets
/// `UNMOUNT` and `IGNORED`, those on the super block go.
#[doc(alias = "super_block")]
pub struct SuperBlock {
    volume: Arc<Volume>,
}

/// What open files and pins share with the mount.
pub(crate) struct Volume {
    pub(crate) core: Arc<Core>,
    connector: Connector,
    file_system: FileSystem,
    cache: Mutex<Cache>,
    settling: Settling,
    inodes: Mutex<HashMap<u64, Weak<Inode>>>,
}

/// What a mount has in its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Inodes, the root's among them.
    pub inodes: usize,
    /// Dentries, the root's among them.
    pub dentries: usize,
    /// Dentries that nobody holds: [`SuperBlock::reclaim`] takes them.
    pub unused: usize,
}

/// What is known of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The inode number: the node's id.
    pub ino: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether the link count is zero: it was removed. Never on `Linux70`.
    pub is_unlinked: bool,
    /// The node's permissions.
    pub permissions: Permissions,
}

impl Stat {
    fn of(inode: &Inode) -> Self {
        let node = inode.node();
        Self {
            ino: node.id(),
            is_dir: node.is_dir(),
            is_unlinked: inode.is_unlinked(),
            permissions: node.permissions(),
        }
    }
}

impl fmt::Debug for SuperBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuperBlock").field("cached", &self.cached()).finish_non_exhaustive()
    }
}

/// Tells mounts apart; a plain counter, which no schedule depends on.
static NEXT_IDENTITY: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl SuperBlock {
    pub(crate) fn new(core: &Arc<Core>, root: &Arc<Node>) -> Self {
        let identity = NEXT_IDENTITY.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Random per mount, as on Linux, and never zero, which means "none".
        let fsid = Fsid((RandomState::new().hash_one(identity) | 1).to_ne_bytes());
        let decodes_handles = core.options.decodes_handles;
        let file_system = FileSystem { identity, fsid, decodes_handles };
        let volume = Arc::new_cyclic(|weak: &Weak<Volume>| {
            let root = Inode::new_in(weak, file_system, root);
            let inodes = HashMap::from([(root.node().id(), Arc::downgrade(&root))]);
            Volume {
                core: Arc::clone(core),
                connector: Connector::new(),
                file_system,
                cache: Mutex::new(Cache::new(root, core.options.profile)),
                settling: Settling::default(),
                inodes: Mutex::new(inodes),
            }
        });
        core.add_volume(&volume);
        Self { volume }
    }

    /// The mount's id in fanotify records.
    #[must_use]
    pub fn fsid(&self) -> Fsid {
        self.volume.file_system.fsid
    }

    /// How much is cached.
    #[must_use]
    pub fn cached(&self) -> Cached {
        let (dentries, unused) = self.volume.with_cache(|cache, _| (cache.len(), cache.unused()));
        Cached { inodes: lock(&self.volume.inodes).len(), dentries, unused }
    }

    /// Drops every dentry that nobody holds, as memory pressure may on Linux:
    /// on `Linux71` this announces what was removed and held until now, and
    /// silences for ever what is removed later and was not looked up again.
    #[doc(alias = "shrink_dcache_sb")]
    pub fn reclaim(&self) {
        self.volume.with_cache(Cache::reclaim);
    }
}

impl Drop for SuperBlock {
    fn drop(&mut self) {
        self.volume.core.remove_volume(&self.volume);
        self.volume.unmount();
    }
}

impl Object for Volume {
    fn connector(&self) -> &Connector {
        &self.connector
    }

    fn kind(&self) -> ObjectKind {
        ObjectKind::SuperBlock
    }

    fn file_system(&self) -> FileSystem {
        self.file_system
    }
}

impl Volume {
    /// The node's inode, if it is cached (kernel: `ilookup`).
    fn cached_inode(&self, id: u64) -> Option<Arc<Inode>> {
        lock(&self.inodes).get(&id).and_then(Weak::upgrade)
    }

    /// The node's inode (kernel: `kernfs_get_inode`). `None` if it was removed
    /// meanwhile: the removal sees the inode in the table, or the inode's
    /// maker sees the removal, so that none is missed (the bug that 7.3.2
    /// fixed for handles).
    fn inode(self: &Arc<Self>, node: &Arc<Node>, fallout: &mut Fallout) -> Option<Arc<Inode>> {
        let inode = {
            let mut inodes = lock(&self.inodes);
            match inodes.get(&node.id()).and_then(Weak::upgrade) {
                Some(inode) => inode,
                None => {
                    let inode = Inode::new(self, node);
                    inodes.insert(node.id(), Arc::downgrade(&inode));
                    inode
                }
            }
        };
        if node.flags().contains(NodeFlags::UNLINKED) {
            fallout.inodes.push((inode, false));
            return None;
        }
        Some(inode)
    }

    /// An inode was dropped; another of the same node may be there already.
    fn forget_inode(&self, id: u64) {
        let mut inodes = lock(&self.inodes);
        if inodes.get(&id).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(&id);
        }
    }

    /// Clears the links of a node's inode, if it is cached. The caller drops
    /// it, when it holds no lock: it may be the last to hold it.
    #[must_use]
    pub(crate) fn clear_links(&self, id: u64) -> Option<Arc<Inode>> {
        let inode = self.cached_inode(id)?;
        inode.clear_links();
        Some(inode)
    }

    fn inode_at(&self, dentry: usize) -> Arc<Inode> {
        Arc::clone(&lock(&self.cache).get(dentry).inode)
    }

    /// Gives up a hold on a dentry.
    fn release(&self, dentry: usize) {
        self.with_cache(|cache, fallout| cache.release(dentry, fallout));
    }

    /// Follows a path from a dentry, or from the root if it starts with `/`,
    /// and holds where it leads.
    fn walk(self: &Arc<Self>, from: usize, path: &[u8]) -> Result<usize, Error> {
        self.with_cache(|cache, fallout| {
            let mut at = if path.starts_with(b"/") { ROOT } else { from };
            cache.hold(at);
            for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
                let next = self.step(cache, at, name, fallout);
                cache.release(at, fallout);
                at = next?;
            }
            Ok(at)
        })
    }

    /// One name of a walk. A cached one is believed only if it still means
    /// the same; else it is dropped, which on `Linux71` is what announces a
    /// file whose removal nobody announced (kernel: `kernfs_dop_revalidate`,
    /// `kernfs_iop_lookup`).
    fn step(
        self: &Arc<Self>,
        cache: &mut Cache,
        at: usize,
        name: &[u8],
        fallout: &mut Fallout,
    ) -> Result<usize, Error> {
        let dir = Arc::clone(cache.get(at).inode.node());
        match name {
            b"." => {
                cache.hold(at);
                return Ok(at);
            }
            b".." => {
                let above = cache.get(at).parent.unwrap_or(ROOT);
                cache.hold(above);
                return Ok(above);
            }
            _ if name.len() > crate::node::NAME_MAX => {
                return Err(Error::NameTooLong { bytes: name.len() });
            }
            _ if !dir.is_dir() => return Err(Error::NotDirectory { name: dir.text() }),
            _ => {}
        }
        if let Some(child) = cache.child(at, name) {
            let node = cache.get(child).inode.node();
            let (now, parent) = node.place();
            let same = *now == *name && parent.is_some_and(|parent| Arc::ptr_eq(&parent, &dir));
            if same && node.is_active() {
                cache.hold(child);
                return Ok(child);
            }
            cache.invalidate(child, fallout);
        }
        let missing = || Error::NotFound { name: text(name) };
        let node = dir.child(name).filter(|node| node.is_active()).ok_or_else(missing)?;
        let inode = self.inode(&node, fallout).ok_or_else(missing)?;
        Ok(cache.insert(Some(at), name.into(), inode))
    }

    fn unmount(&self) {
        let mut inodes: Vec<_> = lock(&self.inodes).values().filter_map(Weak::upgrade).collect();
        inodes.sort_by_key(|inode| inode.node().id());
        for inode in &inodes {
            self.tell_inode(fsnotify::Mask::UNMOUNT, inode);
            inode.connector().close();
        }
        self.connector.close();
    }
}
