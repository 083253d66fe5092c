//! One group's interest in one object (kernel: `struct fsnotify_mark`).

use std::sync::Arc;

use bitflags::bitflags;

use crate::{
    Mask, ObjectKind,
    group::Group,
    sync::{AtomicBool, AtomicU32, Ordering},
};

bitflags! {
    /// How a mark behaves (kernel: `FSNOTIFY_MARK_FLAG_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct MarkFlags: u32 {
        /// Gone after its first record.
        const ONESHOT = 1;
        /// Deaf to events of an unlinked path.
        const EXCL_UNLINK = 2;
        /// The ignore mask outlives a modification.
        const IGNORED_SURV_MODIFY = 4;
        /// Does not hold its inode.
        const EVICTABLE = 8;
        /// The ignore mask says itself whether it covers directories and children.
        const HAS_IGNORE_FLAGS = 16;
    }
}

/// A mark. Its masks change under the lock of the object's connector; a
/// dispatch reads them without.
pub(crate) struct Mark {
    pub(crate) group: Arc<Group>,
    /// Its key in the group's table; inotify's watch descriptor.
    pub(crate) key: i32,
    mask: AtomicU32,
    ignore: AtomicU32,
    flags: AtomicU32,
    /// Whether it may still queue records. Cleared under the queue's lock, in
    /// the critical section that queues `IGNORED`: nothing can come after it.
    attached: AtomicBool,
}

impl Mark {
    pub(crate) fn new(group: &Arc<Group>, key: i32, mask: Mask, flags: MarkFlags) -> Arc<Self> {
        Arc::new(Self {
            group: Arc::clone(group),
            key,
            mask: AtomicU32::new(mask.bits()),
            ignore: AtomicU32::new(0),
            flags: AtomicU32::new(flags.bits()),
            attached: AtomicBool::new(true),
        })
    }

    pub(crate) fn mask(&self) -> Mask {
        Mask::from_bits_retain(self.mask.load(Ordering::Relaxed))
    }

    pub(crate) fn set_mask(&self, mask: Mask) {
        self.mask.store(mask.bits(), Ordering::Relaxed);
    }

    pub(crate) fn ignore_mask(&self) -> Mask {
        Mask::from_bits_retain(self.ignore.load(Ordering::Relaxed))
    }

    pub(crate) fn set_ignore_mask(&self, mask: Mask) {
        self.ignore.store(mask.bits(), Ordering::Relaxed);
    }

    pub(crate) fn flags(&self) -> MarkFlags {
        MarkFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    pub(crate) fn set_flags(&self, flags: MarkFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
    }

    /// To be called under the lock of the group's queue.
    pub(crate) fn detach(&self) {
        self.attached.store(false, Ordering::Relaxed);
    }

    /// What the object must be asked about because of this mark (kernel:
    /// `fsnotify_calc_mask`): a modification also clears ignore masks.
    pub(crate) fn wanted(&self) -> Mask {
        let ignore = self.ignore_mask();
        if !ignore.intersects(Mask::EVENTS) {
            return self.mask();
        }
        let clearing = if self.flags().contains(MarkFlags::IGNORED_SURV_MODIFY) {
            Mask::empty()
        } else {
            Mask::MODIFY
        };
        self.mask() | ignore | clearing
    }

    /// A modification makes what was ignored interesting again.
    pub(crate) fn forget_ignored(&self) {
        if !self.ignore_mask().is_empty() && !self.flags().contains(MarkFlags::IGNORED_SURV_MODIFY)
        {
            self.set_ignore_mask(Mask::empty());
        }
    }

    /// Whether, on a directory, it has to do with events of children.
    pub(crate) fn watches_children(&self) -> bool {
        (self.mask() | self.ignore_mask()).contains(Mask::EVENT_ON_CHILD)
    }

    /// Which events it suppresses for its group (kernel:
    /// `fsnotify_effective_ignore_mask`).
    pub(crate) fn suppresses(&self, is_dir: bool, as_parent: bool) -> Mask {
        let ignore = self.ignore_mask();
        // The older call: directories always, and children if they are watched, as they are if an
        // event of one came here.
        let covered = !self.flags().contains(MarkFlags::HAS_IGNORE_FLAGS)
            || ((!is_dir || ignore.contains(Mask::ISDIR))
                && (!as_parent || ignore.contains(Mask::EVENT_ON_CHILD)));
        if covered { ignore & Mask::EVENTS } else { Mask::empty() }
    }
}

/// Whether an object of this kind can have children that report to it.
pub(crate) fn has_children(kind: ObjectKind) -> bool {
    kind == ObjectKind::Directory
}
