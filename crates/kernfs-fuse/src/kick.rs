//! The system calls on the own mount that make the kernel speak.
//!
//! Two ways lead to an inode. By *path*, where a name that the kernel does not
//! know is looked up, which takes the directory's lock; so a modification
//! reaches the watchers of the directory even after the file's dentry was
//! reclaimed. Or by *handle*, which asks nobody and takes no lock, but needs
//! `CAP_DAC_READ_SEARCH`, and finds a reclaimed file without its directory.
//! Without that privilege a path is followed as far as the kernel's cache goes
//! (`RESOLVE_CACHED`), which takes no lock either.

use std::{
    ffi::{CString, OsStr},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    sync::Arc,
};

use fuser::{INodeNo, Notifier};
use kernfs::Node;
use linux_notify::{FileHandle, open_by_handle_at};
use rustix::{
    fs::{
        AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps, UTIME_NOW,
        UTIME_OMIT,
    },
    io::Errno,
};

use crate::{announce::Leftover, names::NAME_MAX, shared::Shared};

/// Kernel: `FILEID_INO64_GEN`, what FUSE's `fuse_encode_fh` makes.
const FUSE_HANDLE: i32 = 0x81;
/// How often something is sought in the kernel's cache before it is not there.
const TRIES: usize = 8;

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

    /// What the kernel has in its cache of a node, without a directory's lock.
    fn reach(&self, shared: &Shared, node: &Arc<Node>) -> Result<OwnedFd, Errno> {
        if self.by_handle {
            return self.open(node);
        }
        let path = path(&shared.root, node).ok_or(Errno::NOENT)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (no_mode, cached) = (Mode::empty(), ResolveFlags::CACHED);
        let open = || rustix::fs::openat2(self.root.as_fd(), &path, flags, no_mode, cached);
        // It is also said if anything on the way was just being changed.
        let again = |opened: &Result<_, _>| opened.as_ref().err() == Some(&Errno::AGAIN);
        (1..TRIES).fold(open(), |opened, _| if again(&opened) { open() } else { opened })
    }

    /// Holds a directory that a client's `rmdir` is removing, for
    /// [`drop_leftover`](Self::drop_leftover), where there will be no other
    /// way to it. It holds its announcement back.
    pub(crate) fn hold(&self, shared: &Shared, directory: &Arc<Node>) -> Option<OwnedFd> {
        if self.by_handle { None } else { self.reach(shared, directory).ok() }
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
            return self.modify_without_lock(shared, node);
        }
        let Some(path) = path(&shared.root, node) else { return };
        loop {
            let revealed = shared.known.reveal(node);
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let touched = rustix::fs::utimensat(self.root.as_fd(), &path, &TOUCH, flags);
            match touched {
                // Removed at this moment, or what it is in: not revealed yet.
                Err(Errno::NOENT) if !revealed.is_all_of(node) => {}
                // Too deep for a path.
                Err(Errno::NAMETOOLONG) => return self.modify_without_lock(shared, node),
                _ => return,
            }
        }
    }

    /// As [`modify`](Self::modify), without a directory's lock.
    pub(crate) fn modify_without_lock(&self, shared: &Shared, node: &Arc<Node>) {
        if let Ok(file) = self.reach(shared, node) {
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
            self.unlink(shared, node);
        }
    }

    /// After a client's `rmdir` of a directory: what the kernel still knows of
    /// its files is told that it is to die with its last user. From Linux 7.0
    /// on `FUSE_NOTIFY_DELETE` refuses a dead directory (kernel:
    /// `start_removing_dentry`); but an open that is refused with `ESTALE` has
    /// the kernel look the name up once more, and drop it.
    pub(crate) fn drop_leftover(&self, shared: &Shared, leftover: Leftover) {
        let Leftover { directory, held, files } = leftover;
        self.await_rmdir(shared, &directory);
        let left = || files.iter().filter(|file| shared.known.contains(file.id()));
        // The kernel has it only if one of its files holds it, or someone who is in it.
        let is_known = shared.known.contains(directory.id());
        let reach = || if is_known { self.open(&directory).ok() } else { None };
        if let Some(directory) = held.or_else(reach) {
            for file in left() {
                let name = file.name();
                ask_for_links(&directory, &name);
                // As the mode lets even one who is not root.
                for access in [OFlags::RDONLY, OFlags::WRONLY] {
                    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let opened = rustix::fs::openat(&directory, &*name, flags, Mode::empty());
                    if !matches!(opened, Err(Errno::ACCESS)) {
                        break;
                    }
                }
            }
        }
        // An answer of before the removal, to a client's `chmod`, may have given it a link again.
        if self.by_handle {
            left().for_each(|file| self.unlink(shared, file));
        }
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

    /// The kernel asks for the attributes and learns that there is no link;
    /// if no dentry holds the inode, the close announces it.
    pub(crate) fn unlink(&self, shared: &Shared, file: &Arc<Node>) {
        if let Ok(file) = self.reach(shared, file) {
            ask_for_links(&file, b"");
        }
    }

    fn unlink_by_path(&self, shared: &Shared, node: &Arc<Node>) {
        let Some(path) = path(&shared.root, node) else { return };
        let _revealed = shared.known.reveal(node);
        ask_for_links(&self.root, path.as_bytes());
    }
}

/// Has the kernel ask for a file's attributes, whatever it believes.
fn ask_for_links(from: &OwnedFd, path: &[u8]) {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    let _ = rustix::fs::statx(from, path, flags, StatxFlags::NLINK);
}

/// The modification time alone, which is what `MODIFY` is.
const TOUCH: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
};
