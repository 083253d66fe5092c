//! The bits of an inotify mask: asked for, reported, or both.

bitflags::bitflags! {
    /// What to watch for and how, and what happened. Unknown bits are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[repr(transparent)]
    pub struct Mask: u32 {
        /// The file was read.
        #[doc(alias = "IN_ACCESS")]
        const ACCESS = 0x0000_0001;
        /// The file was written or truncated; on kernfs also: its contents changed by themselves.
        #[doc(alias = "IN_MODIFY")]
        const MODIFY = 0x0000_0002;
        /// Owner, mode, times, links or extended attributes changed.
        #[doc(alias = "IN_ATTRIB")]
        const ATTRIB = 0x0000_0004;
        /// A descriptor open for writing was closed.
        #[doc(alias = "IN_CLOSE_WRITE")]
        const CLOSE_WRITE = 0x0000_0008;
        /// A descriptor not open for writing was closed.
        #[doc(alias = "IN_CLOSE_NOWRITE")]
        const CLOSE_NOWRITE = 0x0000_0010;
        /// Opened.
        #[doc(alias = "IN_OPEN")]
        const OPEN = 0x0000_0020;
        /// An entry was moved out of the directory.
        #[doc(alias = "IN_MOVED_FROM")]
        const MOVED_FROM = 0x0000_0040;
        /// An entry was moved into the directory.
        #[doc(alias = "IN_MOVED_TO")]
        const MOVED_TO = 0x0000_0080;
        /// An entry was made in the directory.
        #[doc(alias = "IN_CREATE")]
        const CREATE = 0x0000_0100;
        /// An entry was removed from the directory.
        #[doc(alias = "IN_DELETE")]
        const DELETE = 0x0000_0200;
        /// The watched inode itself was deleted. Never comes with [`ISDIR`](Self::ISDIR).
        #[doc(alias = "IN_DELETE_SELF")]
        const DELETE_SELF = 0x0000_0400;
        /// The watched inode itself was moved. Never comes with [`ISDIR`](Self::ISDIR).
        #[doc(alias = "IN_MOVE_SELF")]
        const MOVE_SELF = 0x0000_0800;

        /// Reported, asked or not: the file system was unmounted.
        #[doc(alias = "IN_UNMOUNT")]
        const UNMOUNT = 0x0000_2000;
        /// Reported, asked or not, with [`Wd::NONE`](super::Wd::NONE): events were dropped here.
        #[doc(alias = "IN_Q_OVERFLOW")]
        const Q_OVERFLOW = 0x0000_4000;
        /// Reported, asked or not: the watch has ended.
        #[doc(alias = "IN_IGNORED")]
        const IGNORED = 0x0000_8000;

        /// Asked: only watch a directory, else `ENOTDIR`.
        #[doc(alias = "IN_ONLYDIR")]
        const ONLYDIR = 0x0100_0000;
        /// Asked: watch a symbolic link, not what it leads to.
        #[doc(alias = "IN_DONT_FOLLOW")]
        const DONT_FOLLOW = 0x0200_0000;
        /// Asked: no events on entries that are unlinked; has no effect on what kernfs reports.
        #[doc(alias = "IN_EXCL_UNLINK")]
        const EXCL_UNLINK = 0x0400_0000;
        /// Asked: make a new watch, else `EEXIST`.
        #[doc(alias = "IN_MASK_CREATE")]
        const MASK_CREATE = 0x1000_0000;
        /// Asked: add to the mask of an existing watch.
        #[doc(alias = "IN_MASK_ADD")]
        const MASK_ADD = 0x2000_0000;
        /// Reported: the event is about a directory.
        #[doc(alias = "IN_ISDIR")]
        const ISDIR = 0x4000_0000;
        /// Asked: the watch ends after one event.
        #[doc(alias = "IN_ONESHOT")]
        const ONESHOT = 0x8000_0000;

        const _ = !0;
    }
}
