//! The system calls on the own mount that make the kernel speak.
//!
//! Two ways lead to an inode. By *path*, where a name that the kernel does not
//! know is looked up, which takes the directory's lock; so a modification
//! reaches the watchers of the directory even after the file's dentry was
//! reclaimed. Or by *handle*, which asks nobody and takes no lock, but needs
//! `CAP_DAC_READ_SEARCH`, and finds a reclaimed file without its directory.

use std::{
    ffi::{CString, OsStr},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    sync::{Arc, mpsc},
    time::Duration,
};

use fuser::{INodeNo, Notifier};
use kernfs::Node;
use linux_notify::{FileHandle, open_by_handle_at};
use rustix::{
    fs::{AtFlags, OFlags, StatxFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT},
    io::Errno,
};

use crate::{OwnThread, requests::NAME_MAX, shared::Shared};

/// Kernel: `FILEID_INO64_GEN`, what FUSE's `fuse_encode_fh` makes.
const FUSE_HANDLE: i32 = 0x81;
/// How long an `rmdir` is kept waiting for what cannot be done by handle.
const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) struct Kick {
    /// The mount's root, on a mount of our own where that is permitted.
    root: Arc<OwnedFd>,
    notifier: Notifier,
    by_handle: bool,
}

/// A node's handle on the mount.
fn handle(node: &Node) -> Option<FileHandle> {
    let id = node.id();
    let mut bytes = [0; 12];
    // As the kernel packs them: high half, low half, generation.
    bytes[..4].copy_from_slice(&((id >> 32) as u32).to_ne_bytes());
    bytes[4..8].copy_from_slice(&(id as u32).to_ne_bytes());
    // The kernel made the root before it asked for any generation.
    let generation = if id == INodeNo::ROOT.0 { 0 } else { crate::facts::GENERATION.0 as u32 };
    bytes[8..].copy_from_slice(&generation.to_ne_bytes());
    FileHandle::new(FUSE_HANDLE, &bytes)
}

/// Its path from the root; `.` for the root itself. `None` if a directory
/// above is gone from memory, or a name is none for system calls.
pub(crate) fn path(root: &Node, node: &Arc<Node>) -> Option<CString> {
    let mut names = Vec::new();
    let mut at = Arc::clone(node);
    while at.id() != root.id() {
        names.push(at.name());
        at = at.parent()?;
    }
    if names.is_empty() {
        return Some(c".".into());
    }
    names.reverse();
    CString::new(names.join(&b'/')).ok()
}

impl Kick {
    /// Finds out whether handles may be used.
    pub(crate) fn new(root: Arc<OwnedFd>, notifier: Notifier, root_node: &Node) -> Self {
        let mut kick = Self { root, notifier, by_handle: true };
        kick.by_handle = kick.open(root_node).is_ok();
        kick
    }

    pub(crate) fn another(&self) -> Self {
        let (root, notifier) = (Arc::clone(&self.root), self.notifier.clone());
        Self { root, notifier, by_handle: self.by_handle }
    }

    pub(crate) fn uses_handles(&self) -> bool {
        self.by_handle
    }

    fn open(&self, node: &Node) -> Result<OwnedFd, Errno> {
        let handle = handle(node).ok_or(Errno::INVAL)?;
        let opened = open_by_handle_at(self.root.as_fd(), &handle, OFlags::PATH);
        opened.map_err(|error| error.errno())
    }

    /// Raises `MODIFY` on a file and its directory.
    pub(crate) fn modify(&self, shared: &Shared, node: &Arc<Node>) {
        // The name of a removed file may be another's by now.
        let taken = node.parent().is_some_and(|parent| parent.child(node.name()).is_some());
        if self.by_handle && node.is_removed() && taken {
            return self.modify_by_handle(node);
        }
        let Some(path) = path(&shared.root, node) else { return };
        let _revealed = shared.known.reveal(node);
        // Gone or unreachable: then its removal follows, or nobody watches.
        let _ = rustix::fs::utimensat(self.root.as_fd(), path, &TOUCH, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// As [`modify`](Self::modify), without a directory's lock.
    pub(crate) fn modify_by_handle(&self, node: &Node) {
        if let Ok(file) = self.open(node) {
            let _ = rustix::fs::utimensat(file.as_fd(), c"", &TOUCH, AtFlags::EMPTY_PATH);
        }
    }

    /// Announces a removal that no system call of a client made.
    pub(crate) fn remove(&self, shared: &Shared, node: &Arc<Node>) {
        let parent = node.parent();
        let name = node.name();
        // A directory's dentry that was reclaimed is needed once more; so is a
        // file's, where it cannot be reached by handle.
        if node.is_dir() || !self.by_handle {
            self.unlink_by_path(shared, node);
        }
        if let Some(parent) = parent {
            let name = OsStr::from_bytes(&name);
            // Fails if the kernel has no such dentry: what follows is for that.
            let _ = self.notifier.delete(INodeNo(parent.id()), INodeNo(node.id()), name);
        }
        if !node.is_dir() {
            self.unlink_by_handle(node);
        }
    }

    /// After a client's `rmdir` of a directory: what the kernel still knows of
    /// its files is told that it is to die with its last user. From Linux 7.0
    /// on `FUSE_NOTIFY_DELETE` refuses a dead directory (kernel:
    /// `start_removing_dentry`); but an open that is refused with `ESTALE` has
    /// the kernel look the name up once more, and drop it.
    pub(crate) fn drop_leftover(&self, shared: &Shared, directory: &Node, files: &[Arc<Node>]) {
        self.await_rmdir(shared, directory);
        let left = || files.iter().filter(|file| shared.known.contains(file.id()));
        // The kernel has it only if one of its files holds it, or someone who is in it.
        if let Ok(directory) = self.open(directory) {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            for file in left() {
                let name = file.name();
                let _ = rustix::fs::openat(&directory, &*name, flags, rustix::fs::Mode::empty());
            }
        }
        // An answer of before the removal, to a client's `chmod`, may have given it a link again.
        left().for_each(|file| self.unlink_by_handle(file));
    }

    /// Waits until the kernel is through with an `rmdir`, all of which it does
    /// with the directory above locked: a name that is not in its cache is
    /// looked up with that lock.
    fn await_rmdir(&self, shared: &Shared, directory: &Node) {
        let Some(above) = directory.parent().and_then(|above| path(&shared.root, &above)) else {
            return;
        };
        // No name is so long.
        let mut no_name = above.into_bytes();
        no_name.push(b'/');
        no_name.extend([b'-'; NAME_MAX + 1]);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let _ = rustix::fs::statx(self.root.as_fd(), no_name, flags, StatxFlags::NLINK);
    }

    /// Makes the kernel learn that files have no links any more, while it
    /// holds their directory's lock for a client's `rmdir`.
    pub(crate) fn unlink_all(&self, shared: &Arc<Shared>, files: &[Arc<Node>]) {
        if self.by_handle {
            files.iter().for_each(|file| self.unlink_by_handle(file));
            return;
        }
        if files.is_empty() {
            return;
        }
        // Right for those whose dentry is cached. For another the look-up
        // waits for the very `rmdir` that waits for us: not for long, then.
        let (kick, shared, files) = (self.another(), Arc::clone(shared), files.to_vec());
        let (done, wait) = mpsc::channel();
        let spawned = std::thread::Builder::new().spawn(move || {
            let _own = OwnThread::enter(&shared);
            files.iter().for_each(|file| kick.unlink_by_path(&shared, file));
            // Nobody may be waiting any more.
            let _ = done.send(());
        });
        if spawned.is_ok() {
            // In time or not: the reply is due.
            let _ = wait.recv_timeout(PATIENCE);
        }
    }

    /// The kernel asks for the attributes and learns that there is no link;
    /// if no dentry holds the inode, the close announces it.
    fn unlink_by_handle(&self, node: &Node) {
        if let Ok(file) = self.open(node) {
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
            let _ = rustix::fs::statx(file.as_fd(), c"", flags, StatxFlags::NLINK);
        }
    }

    fn unlink_by_path(&self, shared: &Shared, node: &Arc<Node>) {
        let Some(path) = path(&shared.root, node) else { return };
        let _revealed = shared.known.reveal(node);
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        let _ = rustix::fs::statx(self.root.as_fd(), path, flags, StatxFlags::NLINK);
    }
}

/// The modification time alone, which is what `MODIFY` is.
const TOUCH: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
};
