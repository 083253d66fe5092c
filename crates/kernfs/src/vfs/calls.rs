//! System calls on a mount, and the events the VFS sends for them
//! (kernel: fs/namei.c, include/linux/fsnotify.h).

use std::sync::Arc;

use fsnotify::{FileHandle, Mask, Object, fanotify, inotify};
use rustix::io::Errno;

use super::{Access, File, Pin, Stat, SuperBlock, Volume, cache::ROOT, inode::HANDLE_KIND};
use crate::{Error, Node, error::text, node::NodeFlags};

/// The type of a handle of inode number and generation, the two halves of an id
/// (kernel: `FILEID_INO32_GEN`).
const INO32_GEN: i32 = 1;

/// What `mkdir`, `rmdir` and `rename` do to the tree (kernel:
/// `struct kernfs_syscall_ops`).
pub trait SystemCalls: Send + Sync {
    /// Makes a directory.
    ///
    /// # Errors
    /// What the system call shall fail with; by default `EPERM`.
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let _ = (parent, name);
        Err(Errno::PERM)
    }

    /// Removes a directory, files in it included.
    ///
    /// # Errors
    /// What the system call shall fail with; by default `EPERM`.
    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        let _ = node;
        Err(Errno::PERM)
    }

    /// Moves a node. cgroup v2 has no such operation.
    ///
    /// # Errors
    /// What the system call shall fail with; by default `EPERM`.
    fn rename(&self, node: &Arc<Node>, to: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let _ = (node, to, name);
        Err(Errno::PERM)
    }
}

/// The next cookie of a rename (kernel: `fsnotify_get_cookie`).
fn next_cookie() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The id that a handle of kernfs is, in either form (kernel:
/// `__kernfs_fh_to_dentry`).
fn id_of(handle: &FileHandle) -> Option<u64> {
    match handle.kind() {
        HANDLE_KIND => handle.id(),
        INO32_GEN => {
            let (low, high) = handle.bytes().split_first_chunk::<4>()?;
            let high: [u8; 4] = high.try_into().ok()?;
            Some(u64::from(u32::from_ne_bytes(high)) << 32 | u64::from(u32::from_ne_bytes(*low)))
        }
        _ => None,
    }
}

/// A path's directory and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..=at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl SuperBlock {
    fn root(&self) -> Result<Pin, Error> {
        self.pin("/")
    }

    /// Looks a path up; nothing is held afterwards, but what was found stays
    /// cached.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Result<Stat, Error> {
        Ok(self.pin(path)?.stat())
    }

    /// Holds what a path leads to.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn pin(&self, path: impl AsRef<[u8]>) -> Result<Pin, Error> {
        let dentry = self.volume.walk(ROOT, path.as_ref())?;
        Ok(Pin { volume: Arc::clone(&self.volume), dentry })
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); `EISDIR`; `ENODEV` if it is just removed.
    pub fn open(&self, path: impl AsRef<[u8]>, access: Access) -> Result<File, Error> {
        self.root()?.open(path, access)
    }

    /// The names in a directory.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); `ENOTDIR`.
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Vec<Arc<[u8]>>, Error> {
        let pin = self.pin(path)?;
        let node = Arc::clone(self.volume.inode_at(pin.dentry).node());
        if node.is_dir() {
            Ok(node.child_names())
        } else {
            Err(Error::NotDirectory { name: node.text() })
        }
    }

    /// Watches what a path leads to.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); those of [`inotify::Inotify::add_watch`];
    /// `EOPNOTSUPP` if the group wants local events only and the tree cannot
    /// tell.
    #[doc(alias = "inotify_add_watch")]
    pub fn watch(
        &self,
        inotify: &inotify::Inotify,
        path: impl AsRef<[u8]>,
        mask: inotify::WatchMask,
    ) -> Result<i32, Error> {
        self.pin(path)?.watch(inotify, mask)
    }

    /// Adds, changes or removes the mark on what a path leads to, or, with
    /// [`fanotify::MarkFlags::FILESYSTEM`], on the mount.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); those of [`fanotify::Fanotify::mark`];
    /// `EOPNOTSUPP` if the group wants deferred events apart and the tree
    /// cannot tell.
    #[doc(alias = "fanotify_mark")]
    pub fn mark(
        &self,
        group: &fanotify::Fanotify,
        flags: fanotify::MarkFlags,
        mask: u64,
        path: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let deferred = group.flags().contains(fanotify::InitFlags::REPORT_DEFERRED);
        self.volume.refuse_undeliverable(deferred)?;
        let pin = self.pin(path)?;
        // A super block is none; the path that leads to it may be.
        if flags.contains(fanotify::MarkFlags::ONLYDIR) && !pin.stat().is_dir {
            return Err(fsnotify::Error::NotDirectory.into());
        }
        let object: Arc<dyn Object> = if flags.contains(fanotify::MarkFlags::FILESYSTEM) {
            Arc::clone(&self.volume) as _
        } else {
            self.volume.inode_at(pin.dentry)
        };
        Ok(group.mark(flags, mask, &object)?)
    }

    /// Finds the file of a handle again, and holds it.
    ///
    /// # Errors
    /// `ESTALE` if no active node has it; `EOPNOTSUPP` if the tree does not
    /// decode handles.
    #[doc(alias = "open_by_handle_at")]
    pub fn pin_handle(&self, handle: &FileHandle) -> Result<Pin, Error> {
        if !self.volume.core.options.decodes_handles {
            return Err(Error::Unsupported { what: "decoding of handles" });
        }
        let id = id_of(handle).ok_or(Error::Stale)?;
        let node = self.volume.core.ids.find(id).ok_or(Error::Stale)?;
        if !node.is_active() {
            return Err(Error::Stale);
        }
        // Reconnect it: look up the path it has now.
        let mut names = Vec::new();
        let mut at = node;
        while let (name, Some(parent)) = at.place() {
            names.push(name);
            at = parent;
        }
        names.push([].into());
        names.reverse();
        let path = names.join(&b'/');
        let pin = self.pin(if path.is_empty() { b"/".as_slice() } else { &path });
        pin.ok().filter(|pin| pin.stat().ino == id).ok_or(Error::Stale)
    }

    /// Makes a directory; the parent's watches see `CREATE`. The new name is
    /// not cached: nobody looked it up yet.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup) for the parent; `EEXIST`; `EPERM` without
    /// [`SystemCalls`]; what those say.
    pub fn mkdir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let (dir, name) = split(path.as_ref());
        crate::node::check_name(name)?;
        let calls = self.calls("mkdir")?;
        let dir = self.pin(dir)?;
        if dir.lookup(name).is_ok() {
            return Err(Error::Exists { name: text(name) });
        }
        let inode = self.volume.inode_at(dir.dentry);
        if !inode.node().is_active() {
            return Err(Error::Removed { id: inode.node().id() });
        }
        let refused = |errno| Error::Refused { name: text(name), errno };
        calls.mkdir(inode.node(), name).map_err(refused)?;
        if let Some(node) = inode.node().child(name) {
            self.volume.tell_entry(Mask::CREATE, &inode, name, &node, false, 0);
        }
        Ok(())
    }

    /// Removes a directory: the nodes, then the dentries below it that nobody
    /// holds, then its own, then the parent's watches see `DELETE`.
    ///
    /// On `Announced` what is pending up to the directory's own removal is
    /// delivered before that, in this thread: children, directory, parent, as
    /// on Linux. So there it must not be called from a readiness hook.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); `ENOTDIR`; `EPERM` without
    /// [`SystemCalls`]; what those say.
    pub fn rmdir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let (dir, name) = split(path.as_ref());
        let calls = self.calls("rmdir")?;
        let dir = self.pin(dir)?;
        let pin = dir.pin(name)?;
        let node = Arc::clone(self.volume.inode_at(pin.dentry).node());
        if !node.is_dir() {
            return Err(Error::NotDirectory { name: text(name) });
        }
        let refused = |errno| Error::Refused { name: text(name), errno };
        calls.rmdir(&node).map_err(refused)?;
        self.volume.with_cache(|cache, fallout| {
            cache.shrink(pin.dentry, fallout);
            cache.unhash(pin.dentry);
        });
        // Its dentry dies here, unless someone holds it.
        drop(pin);
        self.volume.settle_all();
        let core = &self.volume.core;
        if core.options.profile.announces() && node.flags().contains(NodeFlags::UNLINKED) {
            core.deliver_removal(&node);
        }
        let above = self.volume.inode_at(dir.dentry);
        self.volume.tell_entry(Mask::DELETE, &above, name, &node, true, 0);
        Ok(())
    }

    /// Moves a file or directory. Watches see `MOVED_FROM`, `MOVED_TO` and
    /// `MOVE_SELF`.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); `EPERM` without [`SystemCalls`]; what
    /// those say.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        let (old_dir, old_name) = split(from.as_ref());
        let (new_dir, new_name) = split(to.as_ref());
        crate::node::check_name(new_name)?;
        let calls = self.calls("rename")?;
        let (old_dir, new_dir) = (self.pin(old_dir)?, self.pin(new_dir)?);
        let pin = old_dir.pin(old_name)?;
        let inode = |pin: &Pin| self.volume.inode_at(pin.dentry);
        let (moved, old, new) = (inode(&pin), inode(&old_dir), inode(&new_dir));
        let node = moved.node();
        let refused = |errno| Error::Refused { name: text(old_name), errno };
        calls.rename(node, new.node(), new_name).map_err(refused)?;
        self.volume.with_cache(|cache, fallout| {
            cache.rename(pin.dentry, new_dir.dentry, new_name.into(), fallout);
        });
        let cookie = next_cookie();
        self.volume.tell_entry(Mask::MOVED_FROM, &old, old_name, node, true, cookie);
        self.volume.tell_entry(Mask::MOVED_TO, &new, new_name, node, true, cookie);
        self.volume.tell_inode(Mask::MOVE_SELF, &moved);
        Ok(())
    }

    fn calls(&self, operation: &'static str) -> Result<Arc<dyn SystemCalls>, Error> {
        let calls = self.volume.core.options.system_calls.clone();
        calls.ok_or(Error::NotPermitted { operation })
    }
}

impl Volume {
    /// An error, not silence, for a group that wants deferred and local events
    /// kept apart by a tree that cannot.
    pub(super) fn refuse_undeliverable(&self, wants_difference: bool) -> Result<(), Error> {
        if wants_difference && !self.core.options.profile.knows_deferred() {
            return Err(Error::Unsupported { what: "local events apart from deferred ones" });
        }
        Ok(())
    }
}
