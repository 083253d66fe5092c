//! What can be marked, and the marks on it
//! (kernel: `struct fsnotify_mark_connector`, fs/notify/mark.c).
//!
//! Invariants:
//! * The list is sorted by group, one mark a group; a dispatch walks an
//!   immutable copy of it (where Linux reads under SRCU), so no lock of an
//!   object is held while a record is queued.
//! * `interest` is the union of what the marks on the list want, written only
//!   under the list's lock. It may lag behind a mark being added or removed at
//!   this moment, never behind one that was.
//! * A closed connector stays empty: marking an object in teardown fails
//!   (Linux 7.2.13, "prevent mark additions during connector teardown").

use std::sync::Arc;

use crate::{
    Error, Fsid, Mask,
    mark::Mark,
    sync::{AtomicU32, Mutex, Ordering, lock},
};

/// An immutable list of marks.
pub(crate) type MarkList = Arc<[Arc<Mark>]>;

/// Something that can be watched: a file system's inode, or a whole file
/// system. A mark holds the object (an evictable one does not), as a mark on
/// Linux pins the inode.
pub trait Object: Send + Sync {
    /// The place its marks hang on; always the same one.
    fn connector(&self) -> &Connector;

    /// Which kind it is.
    fn kind(&self) -> ObjectKind;

    /// The file system it is, or is part of; for records that name objects
    /// by handle.
    fn file_system(&self) -> FileSystem {
        FileSystem::default()
    }

    /// Whether whoever asks may read it; a watch needs that (`EACCES`).
    fn readable(&self) -> bool {
        true
    }

    /// Whether someone has it open for writing. An ignore mask that does not
    /// survive modifications is then not set at all, as on Linux.
    fn open_for_write(&self) -> bool {
        false
    }
}

/// What a group must know of a file system whose objects it marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// Tells it from all others of the process, also without an `fsid`.
    pub identity: u64,
    /// Its id in records.
    pub fsid: Fsid,
    /// Whether it can turn a handle back into an object.
    pub decodes_handles: bool,
}

/// The kinds of [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// An inode that is no directory.
    File,
    /// An inode that is a directory.
    Directory,
    /// A whole file system.
    SuperBlock,
}

/// The marks on one object and the union of what they want. Asking an unmarked
/// one is a single load.
#[derive(Default)]
#[doc(alias = "fsnotify_mark_connector")]
pub struct Connector {
    interest: AtomicU32,
    marks: Mutex<Marks>,
}

#[derive(Default)]
enum Marks {
    #[default]
    None,
    Some(MarkList),
    Closed,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("interest", &self.interest()).finish_non_exhaustive()
    }
}

impl Connector {
    /// One with no marks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What anyone wants to know of the object.
    #[must_use]
    #[doc(alias = "i_fsnotify_mask")]
    #[inline]
    pub fn interest(&self) -> Mask {
        Mask::from_bits_retain(self.interest.load(Ordering::Acquire))
    }

    /// How many marks are on the object.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list().map_or(0, |list| list.len())
    }

    /// Whether no mark is on the object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Destroys every mark: each inotify watch gets its `IGNORED`, whatever it
    /// asked for, and no mark can be added any more. For an object that has
    /// ended, after its last event.
    #[doc(alias = "fsnotify_destroy_marks")]
    pub fn close(&self) {
        let marks = std::mem::replace(&mut *lock(&self.marks), Marks::Closed);
        self.interest.store(0, Ordering::Release);
        if let Marks::Some(list) = marks {
            for mark in &*list {
                mark.group.forget(mark);
            }
        }
    }

    /// The marks as they are now.
    pub(crate) fn list(&self) -> Option<MarkList> {
        match &*lock(&self.marks) {
            Marks::Some(list) => Some(Arc::clone(list)),
            Marks::None | Marks::Closed => None,
        }
    }

    /// The mark of the group with this id.
    pub(crate) fn find(&self, group: u64) -> Option<Arc<Mark>> {
        let list = self.list()?;
        let at = list.binary_search_by_key(&group, |mark| mark.group.id).ok()?;
        Some(Arc::clone(&list[at]))
    }

    /// Puts a mark on the list. The caller holds the group's mark table, so
    /// the group has none here yet.
    pub(crate) fn add(&self, mark: Arc<Mark>) -> Result<(), Error> {
        let mut marks = lock(&self.marks);
        let wanted = mark.wanted();
        let list = match &*marks {
            Marks::Closed => return Err(Error::ObjectGone),
            Marks::None => [mark].into(),
            Marks::Some(old) => {
                let at = old.partition_point(|other| other.group.id < mark.group.id);
                let mut new = Vec::with_capacity(old.len() + 1);
                new.extend_from_slice(&old[..at]);
                new.push(mark);
                new.extend_from_slice(&old[at..]);
                new.into()
            }
        };
        *marks = Marks::Some(list);
        self.interest.fetch_or(wanted.bits(), Ordering::Release);
        Ok(())
    }

    /// Takes a mark off the list, if it is on it.
    pub(crate) fn remove(&self, mark: &Arc<Mark>) {
        let mut marks = lock(&self.marks);
        let Marks::Some(old) = &*marks else { return };
        let Some(at) = old.iter().position(|other| Arc::ptr_eq(other, mark)) else { return };
        let replaced = if old.len() == 1 {
            std::mem::take(&mut *marks)
        } else {
            let new = old[..at].iter().chain(&old[at + 1..]).cloned().collect();
            std::mem::replace(&mut *marks, Marks::Some(new))
        };
        self.refresh(&marks);
        drop(marks);
        // Not under the lock: it may hold the last reference to a group.
        drop(replaced);
    }

    /// Runs `change` on a mark's masks and renews the union.
    pub(crate) fn update<T>(&self, change: impl FnOnce() -> T) -> T {
        let marks = lock(&self.marks);
        let result = change();
        self.refresh(&marks);
        result
    }

    fn refresh(&self, marks: &Marks) {
        let union = match marks {
            Marks::Some(list) => list.iter().fold(Mask::empty(), |all, mark| all | mark.wanted()),
            Marks::None | Marks::Closed => Mask::empty(),
        };
        self.interest.store(union.bits(), Ordering::Release);
    }
}
