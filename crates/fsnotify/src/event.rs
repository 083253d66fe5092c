//! What a file system says happened, and whom it concerns
//! (kernel: the arguments of `fsnotify()`).

use crate::{FileHandle, Fsid, Mask, Object};

/// Whether the event came with a path, as those of system calls on open files
/// do (kernel: `FSNOTIFY_EVENT_PATH` against `_INODE` and `_DENTRY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PathData {
    /// None: a notification from within the file system.
    #[default]
    None,
    /// A path whose name is still in its directory.
    Linked,
    /// A path whose name is gone.
    Unlinked,
}

/// Where an event arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Origin {
    /// In an operation of this machine on the object.
    #[default]
    Local,
    /// In the file system, told later. Groups that do not want such events
    /// mixed with local ones do not get them.
    Deferred,
}

/// One event, borrowed for the time of [`notify`](crate::notify).
///
/// Three kinds differ in `inode` and `dir`, as on Linux:
/// * a *dirent* event (create, delete, move): `inode` is `None`, `dir` is the
///   directory; its own marks are asked, and records carry the name;
/// * an event on a child: `mask` has `EVENT_ON_CHILD`; the directory's marks
///   that watch children are asked first, with the name, then the object's
///   own, without. Either may be `None` if it is in no cache and so unmarked;
/// * an event on an object alone: `dir` is `None`.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// One event bit, and what is remarked about it.
    pub mask: Mask,
    /// The object it happened to.
    pub inode: Option<&'a dyn Object>,
    /// The directory that holds its name.
    pub dir: Option<&'a dyn Object>,
    /// The file system both are in.
    pub super_block: Option<&'a dyn Object>,
    /// The name in `dir`.
    pub name: Option<&'a [u8]>,
    /// Pairs the two halves of a move.
    pub cookie: u32,
    /// The file system's id.
    pub fsid: Fsid,
    /// The object's handle; of a dirent event the child's, if it is known.
    pub target: Option<FileHandle>,
    /// The directory's handle.
    pub parent: Option<FileHandle>,
    /// The process that caused it, or the worker that tells it.
    pub pid: i32,
    /// Whether it came with a path.
    pub path: PathData,
    /// Where it arose.
    pub origin: Origin,
}

impl<'a> Event<'a> {
    /// An event that concerns nobody yet: fill in the rest with `..`.
    #[must_use]
    #[inline]
    pub fn new(mask: Mask) -> Self {
        Self {
            mask,
            inode: None,
            dir: None,
            super_block: None,
            name: None,
            cookie: 0,
            fsid: Fsid::default(),
            target: None,
            parent: None,
            pid: 0,
            path: PathData::None,
            origin: Origin::Local,
        }
    }

    /// An event on an object alone.
    #[must_use]
    #[inline]
    pub fn on(mask: Mask, inode: &'a dyn Object) -> Self {
        Self { inode: Some(inode), ..Self::new(mask) }
    }

    /// An event on an object, told to its directory too.
    #[must_use]
    #[inline]
    pub fn on_child(
        mask: Mask,
        dir: &'a dyn Object,
        name: &'a [u8],
        inode: &'a dyn Object,
    ) -> Self {
        Self {
            inode: Some(inode),
            dir: Some(dir),
            name: Some(name),
            ..Self::new(mask | Mask::EVENT_ON_CHILD)
        }
    }

    /// An event of a directory about one of its names.
    #[must_use]
    #[inline]
    pub fn in_dir(mask: Mask, dir: &'a dyn Object, name: &'a [u8]) -> Self {
        Self { dir: Some(dir), name: Some(name), ..Self::new(mask) }
    }
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("mask", &self.mask)
            .field("name", &self.name.map(String::from_utf8_lossy))
            .field("target", &self.target)
            .field("parent", &self.parent)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}
