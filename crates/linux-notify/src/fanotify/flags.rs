//! The flags of `fanotify_init` and `fanotify_mark`, and the bits of an event mask.

bitflags::bitflags! {
    /// Flags of a group, beside those that every [`Fanotify`](super::Fanotify) has. Unknown bits
    /// are kept.
    ///
    /// `FAN_REPORT_PIDFD` and `FAN_REPORT_FD_ERROR` are not offered: a descriptor that arrives as
    /// a number among bytes has no owner.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct InitFlags: u32 {
        /// No bound on the queue, hence no overflow. Needs `CAP_SYS_ADMIN`.
        #[doc(alias = "FAN_UNLIMITED_QUEUE")]
        const UNLIMITED_QUEUE = libc::FAN_UNLIMITED_QUEUE;
        /// No bound on the number of marks. Needs `CAP_SYS_ADMIN`.
        #[doc(alias = "FAN_UNLIMITED_MARKS")]
        const UNLIMITED_MARKS = libc::FAN_UNLIMITED_MARKS;
        /// The id of the thread in place of that of the process. Needs `CAP_SYS_ADMIN`.
        #[doc(alias = "FAN_REPORT_TID")]
        const REPORT_TID = libc::FAN_REPORT_TID;
        /// The handle of the object itself; always on, and named here for completeness.
        #[doc(alias = "FAN_REPORT_FID")]
        const REPORT_FID = libc::FAN_REPORT_FID;
        /// The handle of the directory as well (5.9).
        #[doc(alias = "FAN_REPORT_DIR_FID")]
        const REPORT_DIR_FID = libc::FAN_REPORT_DIR_FID;
        /// The name in the directory as well (5.9). Needs `REPORT_DIR_FID`.
        #[doc(alias = "FAN_REPORT_NAME")]
        const REPORT_NAME = libc::FAN_REPORT_NAME;
        /// The handle of the entry a directory event is about (5.17). Needs `REPORT_NAME`.
        #[doc(alias = "FAN_REPORT_TARGET_FID")]
        const REPORT_TARGET_FID = libc::FAN_REPORT_TARGET_FID;

        const _ = !0;
    }
}

bitflags::bitflags! {
    /// Flags of a mark. Unknown bits are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct MarkFlags: u32 {
        /// Mark a symbolic link, not what it leads to.
        #[doc(alias = "FAN_MARK_DONT_FOLLOW")]
        const DONT_FOLLOW = libc::FAN_MARK_DONT_FOLLOW;
        /// Only mark a directory, else `ENOTDIR`.
        #[doc(alias = "FAN_MARK_ONLYDIR")]
        const ONLYDIR = libc::FAN_MARK_ONLYDIR;
        /// The mask is one of events to leave out; its `ONDIR` and `EVENT_ON_CHILD` have no
        /// effect.
        #[doc(alias = "FAN_MARK_IGNORED_MASK")]
        const IGNORED_MASK = libc::FAN_MARK_IGNORED_MASK;
        /// What is left out stays left out after the file was modified.
        #[doc(alias = "FAN_MARK_IGNORED_SURV_MODIFY")]
        const IGNORED_SURV_MODIFY = libc::FAN_MARK_IGNORED_SURV_MODIFY;
        /// The mark does not keep the inode in memory and goes with it (5.19); on kernfs that is
        /// when the directory entry is reclaimed.
        #[doc(alias = "FAN_MARK_EVICTABLE")]
        const EVICTABLE = libc::FAN_MARK_EVICTABLE;
        /// The mask is one of events to leave out (6.0).
        #[doc(alias = "FAN_MARK_IGNORE")]
        const IGNORE = libc::FAN_MARK_IGNORE;

        const _ = !0;
    }
}

bitflags::bitflags! {
    /// What to watch for, and what happened. Unknown bits are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[repr(transparent)]
    pub struct Mask: u64 {
        /// The file was read.
        #[doc(alias = "FAN_ACCESS")]
        const ACCESS = libc::FAN_ACCESS;
        /// The file was written or truncated; on kernfs also: its contents changed by themselves.
        #[doc(alias = "FAN_MODIFY")]
        const MODIFY = libc::FAN_MODIFY;
        /// Owner, mode, times, links or extended attributes changed.
        #[doc(alias = "FAN_ATTRIB")]
        const ATTRIB = libc::FAN_ATTRIB;
        /// A descriptor open for writing was closed.
        #[doc(alias = "FAN_CLOSE_WRITE")]
        const CLOSE_WRITE = libc::FAN_CLOSE_WRITE;
        /// A descriptor not open for writing was closed.
        #[doc(alias = "FAN_CLOSE_NOWRITE")]
        const CLOSE_NOWRITE = libc::FAN_CLOSE_NOWRITE;
        /// Opened.
        #[doc(alias = "FAN_OPEN")]
        const OPEN = libc::FAN_OPEN;
        /// An entry was moved out of a directory.
        #[doc(alias = "FAN_MOVED_FROM")]
        const MOVED_FROM = libc::FAN_MOVED_FROM;
        /// An entry was moved into a directory.
        #[doc(alias = "FAN_MOVED_TO")]
        const MOVED_TO = libc::FAN_MOVED_TO;
        /// An entry was made.
        #[doc(alias = "FAN_CREATE")]
        const CREATE = libc::FAN_CREATE;
        /// An entry was removed.
        #[doc(alias = "FAN_DELETE")]
        const DELETE = libc::FAN_DELETE;
        /// The object itself was deleted.
        #[doc(alias = "FAN_DELETE_SELF")]
        const DELETE_SELF = libc::FAN_DELETE_SELF;
        /// The object itself was moved.
        #[doc(alias = "FAN_MOVE_SELF")]
        const MOVE_SELF = libc::FAN_MOVE_SELF;
        /// Opened to be executed.
        #[doc(alias = "FAN_OPEN_EXEC")]
        const OPEN_EXEC = libc::FAN_OPEN_EXEC;
        /// Reported, asked or not: events were dropped here.
        #[doc(alias = "FAN_Q_OVERFLOW")]
        const Q_OVERFLOW = libc::FAN_Q_OVERFLOW;
        /// The file system met an error (5.16; superblock scope only).
        #[doc(alias = "FAN_FS_ERROR")]
        const FS_ERROR = libc::FAN_FS_ERROR;
        /// Asked: events on the entries of the marked directory.
        #[doc(alias = "FAN_EVENT_ON_CHILD")]
        const EVENT_ON_CHILD = libc::FAN_EVENT_ON_CHILD;
        /// An entry was renamed, with both places in one record (5.17).
        #[doc(alias = "FAN_RENAME")]
        const RENAME = libc::FAN_RENAME;
        /// Asked: events on directories too. Reported: the event is about a directory.
        #[doc(alias = "FAN_ONDIR")]
        const ONDIR = libc::FAN_ONDIR;

        const _ = !0;
    }
}
