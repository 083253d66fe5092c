//! A node of the tree (kernel: `struct kernfs_node`).
//!
//! A node knows no marks, inodes or dentries. It is a directory with children
//! or a file with an attribute, for life. `Arc<Node>` is what the kernel's
//! `count` is; being usable is another matter, see [`crate::active`].
//!
//! Invariants:
//! * A node that is linked is in its parent's map under its own name.
//! * `REMOVING` of a directory is set under the lock of its children: from
//!   then on no child is added.
//! * `pending` changes under the notifier's lock only.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use bitflags::bitflags;

use crate::{
    Attribute, Error, OpenFile, Permissions,
    children::Children,
    core::Core,
    error::text,
    sync::{AtomicI32, AtomicU32, Mutex, Ordering, lock},
    xattr::Xattrs,
};

/// Bytes a name can have: kernfs has no limit of its own, so whatever a path can (kernel:
/// `PATH_MAX`, with the NUL).
pub(crate) const NAME_MAX: usize = 4095;

/// A file or directory of a [`Tree`](crate::Tree).
#[doc(alias = "kernfs_node")]
pub struct Node {
    id: u64,
    core: Arc<Core>,
    body: Body,
    place: Mutex<Place>,
    rare: Mutex<Option<Box<Rare>>>,
    /// Operations in flight, plus a large negative number if none may start.
    pub(crate) active: AtomicI32,
    flags: AtomicU32,
    /// How often it notified; starts at 1, so that a file that was never read
    /// is ready at once.
    pub(crate) notified: AtomicU32,
    pub(crate) pending: AtomicU32,
}

/// What most nodes never have.
#[derive(Default)]
struct Rare {
    /// Open files that are to be told when they end.
    opened: Vec<Weak<OpenFile>>,
    permissions: Option<Permissions>,
    xattrs: Xattrs,
}

struct Place {
    name: Arc<[u8]>,
    parent: Weak<Node>,
}

enum Body {
    /// Boxed, since most nodes are files.
    Directory(Box<Mutex<Children>>),
    File(Arc<dyn Attribute>),
}

bitflags! {
    /// Where a node is in its life (kernel: `KERNFS_*` flags).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct NodeFlags: u32 {
        /// It was activated once.
        const ACTIVATED = 1;
        /// It is hidden.
        const HIDDEN = 2;
        /// Its removal has begun.
        const REMOVING = 4;
        /// It is out of its parent's map for good.
        const UNLINKED = 8;
        /// One of its operations is removing it.
        const SUICIDAL = 16;
        /// And has done so.
        const SUICIDED = 32;
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("name", &text(&self.name()))
            .field("directory", &self.is_dir())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node that is not linked yet; `attribute` makes it a file. It has the
    /// id that is asked for, if that is free.
    pub(crate) fn new(
        core: &Arc<Core>,
        parent: &Weak<Self>,
        name: &[u8],
        attribute: Option<Arc<dyn Attribute>>,
        id: Option<u64>,
    ) -> Arc<Self> {
        let body = match attribute {
            Some(attribute) => Body::File(attribute),
            None => Body::Directory(Box::default()),
        };
        core.pending.make_room();
        core.ids.allocate(id, |id| {
            Arc::new(Self {
                id,
                core: Arc::clone(core),
                body,
                place: Mutex::new(Place { name: name.into(), parent: Weak::clone(parent) }),
                rare: Mutex::new(None),
                active: AtomicI32::new(crate::active::DEACTIVATED),
                flags: AtomicU32::new(0),
                notified: AtomicU32::new(1),
                pending: AtomicU32::new(0),
            })
        })
    }

    /// Its id: the inode number of its inodes, and its file handle. Not given
    /// to another node before 2^32 more were made.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    /// Its name; the last one, if it was removed. The root's is empty.
    #[must_use]
    pub fn name(&self) -> Arc<[u8]> {
        Arc::clone(&lock(&self.place).name)
    }

    /// The directory it is in, or was in when it was removed. `None` for the
    /// root, and when that directory is gone from memory.
    #[must_use]
    pub fn parent(&self) -> Option<Arc<Self>> {
        lock(&self.place).parent.upgrade()
    }

    /// The child with this name, active or not.
    #[must_use]
    pub fn child(&self, name: impl AsRef<[u8]>) -> Option<Arc<Self>> {
        lock(self.children()?).get(name.as_ref()).cloned()
    }

    /// The names of its active children, in order.
    #[must_use]
    pub fn child_names(&self) -> Vec<Arc<[u8]>> {
        let Some(children) = self.children() else { return Vec::new() };
        let children = lock(children);
        children
            .iter()
            .filter(|(_, node)| node.is_active())
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// All its children in the order of their names, also those that are not
    /// active.
    #[must_use]
    pub fn all_children(&self) -> Vec<Arc<Self>> {
        self.children().map_or_else(Vec::new, |children| lock(children).values().cloned().collect())
    }

    /// Its active children, in order of their names; `None` of a file.
    pub(crate) fn entries(&self) -> Option<Vec<Entry>> {
        let children = lock(self.children()?);
        let active = children.iter().filter(|(_, node)| node.is_active());
        let entry = |(name, node): (&Arc<[u8]>, &Arc<Self>)| Entry {
            name: Arc::clone(name),
            is_dir: node.is_dir(),
            ino: node.id(),
        };
        Some(active.map(entry).collect())
    }

    /// How many of its children are directories.
    #[must_use]
    pub fn subdirectories(&self) -> u64 {
        self.children().map_or(0, |children| lock(children).directories())
    }

    /// Whether operations on it can start: it is activated, shown and not
    /// removed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) >= 0
    }

    /// Whether it was removed, or its removal has begun.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.flags().contains(NodeFlags::REMOVING)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn flags(&self) -> NodeFlags {
        NodeFlags::from_bits_retain(self.flags.load(Ordering::Acquire))
    }

    pub(crate) fn set_flag(&self, flag: NodeFlags, on: bool) {
        if on {
            self.flags.fetch_or(flag.bits(), Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!flag.bits(), Ordering::AcqRel);
        }
    }

    pub(crate) fn children(&self) -> Option<&Mutex<Children>> {
        match &self.body {
            Body::Directory(children) => Some(children),
            Body::File(_) => None,
        }
    }

    pub(crate) fn attribute(&self) -> Option<&dyn Attribute> {
        match &self.body {
            Body::File(attribute) => Some(&**attribute),
            Body::Directory(_) => None,
        }
    }

    /// Both at once, as they are at one moment.
    pub(crate) fn place(&self) -> (Arc<[u8]>, Option<Arc<Self>>) {
        let place = lock(&self.place);
        (Arc::clone(&place.name), place.parent.upgrade())
    }

    pub(crate) fn move_to(&self, parent: &Arc<Self>, name: Arc<[u8]>) {
        let mut place = lock(&self.place);
        place.parent = Arc::downgrade(parent);
        place.name = name;
    }

    /// Enters an open file that is to be told when it ends.
    pub(crate) fn add_opened(&self, file: &Arc<OpenFile>) {
        let mut rare = lock(&self.rare);
        let list = &mut rare.get_or_insert_default().opened;
        list.retain(|other| other.strong_count() > 0);
        list.push(Arc::downgrade(file));
    }

    /// Takes out the open files that are to be told.
    pub(crate) fn take_opened(&self) -> Vec<Weak<OpenFile>> {
        let mut rare = lock(&self.rare);
        rare.as_mut().map_or_else(Vec::new, |rare| std::mem::take(&mut rare.opened))
    }

    pub(crate) fn own_permissions(&self) -> Option<Permissions> {
        lock(&self.rare).as_ref()?.permissions
    }

    pub(crate) fn set_own_permissions(&self, permissions: Permissions) {
        lock(&self.rare).get_or_insert_default().permissions = Some(permissions);
    }

    pub(crate) fn with_xattrs<T: Default>(&self, read: impl FnOnce(&Xattrs) -> T) -> T {
        lock(&self.rare).as_ref().map_or_else(T::default, |rare| read(&rare.xattrs))
    }

    pub(crate) fn with_xattrs_mut<T>(&self, change: impl FnOnce(&mut Xattrs) -> T) -> T {
        change(&mut lock(&self.rare).get_or_insert_default().xattrs)
    }

    pub(crate) fn text(&self) -> String {
        text(&self.name())
    }
}

/// What a directory has under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "dirent")]
pub struct Entry {
    /// The name.
    pub name: Arc<[u8]>,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The inode number: the node's id.
    pub ino: u64,
}

/// Nodes are dropped one by one, not each within its parent: a tree may be
/// deeper than the stack.
impl Drop for Node {
    fn drop(&mut self) {
        self.core.ids.free(self.id);
        self.core.pending.give_room_back();
        let Body::Directory(children) = &mut self.body else { return };
        let children = children.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut orphans: Vec<Arc<Self>> = std::mem::take(children).into_values().collect();
        while let Some(orphan) = orphans.pop() {
            let Some(mut node) = Arc::into_inner(orphan) else { continue };
            if let Body::Directory(children) = &mut node.body {
                let children = children.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
                orphans.extend(std::mem::take(children).into_values());
            }
        }
    }
}

/// Whether a node can have this name.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Error> {
    if name.len() > NAME_MAX {
        return Err(Error::NameTooLong { bytes: name.len() });
    }
    let special = matches!(name, b"" | b"." | b"..");
    if special || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Error::InvalidName { name: text(name) });
    }
    Ok(())
}
