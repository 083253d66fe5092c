//! The flags of `fanotify_init` and `fanotify_mark`.

use bitflags::bitflags;

use crate::Mask;

bitflags! {
    /// How a group is made (`fanotify_init`, `FAN_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct InitFlags: u32 {
        /// Accepted, and without meaning in a process.
        #[doc(alias = "FAN_CLOEXEC")]
        const CLOEXEC = 0x1;
        /// Reads of an empty queue fail instead of sleeping.
        #[doc(alias = "FAN_NONBLOCK")]
        const NONBLOCK = 0x2;
        /// A class for permission events; not supported.
        #[doc(alias = "FAN_CLASS_CONTENT")]
        const CLASS_CONTENT = 0x4;
        /// A class for permission events; not supported.
        #[doc(alias = "FAN_CLASS_PRE_CONTENT")]
        const CLASS_PRE_CONTENT = 0x8;
        /// No limit on queued records.
        #[doc(alias = "FAN_UNLIMITED_QUEUE")]
        const UNLIMITED_QUEUE = 0x10;
        /// No limit on marks.
        #[doc(alias = "FAN_UNLIMITED_MARKS")]
        const UNLIMITED_MARKS = 0x20;
        /// Audit of permission events; not supported.
        #[doc(alias = "FAN_ENABLE_AUDIT")]
        const ENABLE_AUDIT = 0x40;
        /// Records carry a pidfd; not supported.
        #[doc(alias = "FAN_REPORT_PIDFD")]
        const REPORT_PIDFD = 0x80;
        /// Records carry a thread's id: that is, what the event gives as pid.
        #[doc(alias = "FAN_REPORT_TID")]
        const REPORT_TID = 0x100;
        /// Records name the object by handle.
        #[doc(alias = "FAN_REPORT_FID")]
        const REPORT_FID = 0x200;
        /// Records name the directory by handle.
        #[doc(alias = "FAN_REPORT_DIR_FID")]
        const REPORT_DIR_FID = 0x400;
        /// Records carry the name in the directory.
        #[doc(alias = "FAN_REPORT_NAME")]
        const REPORT_NAME = 0x800;
        /// Records of a name also name the object it stands for.
        #[doc(alias = "FAN_REPORT_TARGET_FID")]
        const REPORT_TARGET_FID = 0x1000;
        /// Errors in place of descriptors; without meaning, as there are none.
        #[doc(alias = "FAN_REPORT_FD_ERROR")]
        const REPORT_FD_ERROR = 0x2000;
        /// Mount events; not supported.
        #[doc(alias = "FAN_REPORT_MNT")]
        const REPORT_MNT = 0x4000;
        /// Also the events that a file system tells later. Not a flag of
        /// Linux: it is how such events are opted into.
        const REPORT_DEFERRED = 1 << 31;
        // Unknown bits are kept, to be refused.
        const _ = !0;
    }
}

impl InitFlags {
    /// What makes a group report handles instead of descriptors.
    pub(crate) const FID_BITS: Self = Self::REPORT_FID
        .union(Self::REPORT_DIR_FID)
        .union(Self::REPORT_NAME)
        .union(Self::REPORT_TARGET_FID);
    /// What only the privileged may ask for.
    pub(super) const ADMIN_BITS: Self = Self::CLASS_BITS
        .union(Self::REPORT_TID)
        .union(Self::REPORT_PIDFD)
        .union(Self::REPORT_FD_ERROR)
        .union(Self::UNLIMITED_QUEUE)
        .union(Self::UNLIMITED_MARKS);
    pub(super) const CLASS_BITS: Self = Self::CLASS_CONTENT.union(Self::CLASS_PRE_CONTENT);
}

bitflags! {
    /// What to do with which mark (`fanotify_mark`, `FAN_MARK_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct MarkFlags: u32 {
        /// Add to the mark, or make it.
        #[doc(alias = "FAN_MARK_ADD")]
        const ADD = 0x1;
        /// Take from the mark.
        #[doc(alias = "FAN_MARK_REMOVE")]
        const REMOVE = 0x2;
        /// For whoever looks the object up; without meaning here.
        #[doc(alias = "FAN_MARK_DONT_FOLLOW")]
        const DONT_FOLLOW = 0x4;
        /// Only if the object is a directory.
        #[doc(alias = "FAN_MARK_ONLYDIR")]
        const ONLYDIR = 0x8;
        /// A mount mark; not supported.
        #[doc(alias = "FAN_MARK_MOUNT")]
        const MOUNT = 0x10;
        /// The ignore mask, by the older rules.
        #[doc(alias = "FAN_MARK_IGNORED_MASK")]
        const IGNORED_MASK = 0x20;
        /// The ignore mask outlives a modification.
        #[doc(alias = "FAN_MARK_IGNORED_SURV_MODIFY")]
        const IGNORED_SURV_MODIFY = 0x40;
        /// Remove all marks of a kind.
        #[doc(alias = "FAN_MARK_FLUSH")]
        const FLUSH = 0x80;
        /// A mark on a whole file system.
        #[doc(alias = "FAN_MARK_FILESYSTEM")]
        const FILESYSTEM = 0x100;
        /// The mark does not hold its inode.
        #[doc(alias = "FAN_MARK_EVICTABLE")]
        const EVICTABLE = 0x200;
        /// The ignore mask, which says itself whether it covers directories
        /// and children.
        #[doc(alias = "FAN_MARK_IGNORE")]
        const IGNORE = 0x400;
        // Unknown bits are kept, to be refused.
        const _ = !0;
    }
}

impl MarkFlags {
    pub(super) const CMD_BITS: Self = Self::ADD.union(Self::REMOVE).union(Self::FLUSH);
    pub(super) const TYPE_BITS: Self = Self::MOUNT.union(Self::FILESYSTEM);
    pub(super) const IGNORE_BITS: Self = Self::IGNORED_MASK.union(Self::IGNORE);
    pub(super) const KNOWN: Self = Self::from_bits_retain(0x7ff);
}

/// Remarks a mask may have beside events (kernel: `FANOTIFY_EVENT_FLAGS`).
pub(super) const EVENT_FLAGS: Mask = Mask::EVENT_ON_CHILD.union(Mask::ISDIR);
/// Permission events: `OPEN_PERM`, `ACCESS_PERM`, `OPEN_EXEC_PERM`, `PRE_ACCESS`.
pub(super) const PERMISSION: u64 = 0x17_0000;
/// Events about a file system or its mounts: `FS_ERROR`, `MNT_ATTACH`,
/// `MNT_DETACH`.
pub(super) const FS_ERROR: u64 = 0x8000;
/// Events of a path (kernel: `FANOTIFY_PATH_EVENTS` and `FAN_OPEN_EXEC`).
pub(super) const PATH_EVENTS: Mask =
    Mask::ACCESS.union(Mask::MODIFY).union(Mask::CLOSE).union(Mask::OPEN).union(Mask::OPEN_EXEC);
/// Events that need a handle (kernel: `FANOTIFY_INODE_EVENTS`).
pub(super) const INODE_EVENTS: Mask =
    Mask::DIRENT.union(Mask::ATTRIB).union(Mask::MOVE_SELF).union(Mask::DELETE_SELF);
