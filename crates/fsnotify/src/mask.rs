//! Event bits (kernel: `FS_*` in include/linux/fsnotify_backend.h).

use bitflags::bitflags;

bitflags! {
    /// What happened, and to what: the kernel's `FS_*` bits with their values,
    /// which inotify's `IN_*` and fanotify's `FAN_*` share.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Mask: u32 {
        /// A file was read.
        const ACCESS = 0x1;
        /// A file was written, or announced a change by itself.
        const MODIFY = 0x2;
        /// Metadata changed.
        const ATTRIB = 0x4;
        /// A file open for writing was closed.
        const CLOSE_WRITE = 0x8;
        /// A file not open for writing was closed.
        const CLOSE_NOWRITE = 0x10;
        /// A file was opened.
        const OPEN = 0x20;
        /// A name was moved out of a directory.
        const MOVED_FROM = 0x40;
        /// A name was moved into a directory.
        const MOVED_TO = 0x80;
        /// A name was created in a directory.
        const CREATE = 0x100;
        /// A name was deleted from a directory.
        const DELETE = 0x200;
        /// The object itself is gone.
        const DELETE_SELF = 0x400;
        /// The object itself was moved.
        const MOVE_SELF = 0x800;
        /// A file was opened to be executed.
        const OPEN_EXEC = 0x1000;
        /// The file system was unmounted.
        const UNMOUNT = 0x2000;
        /// A queue overflowed.
        const Q_OVERFLOW = 0x4000;
        /// A watch was removed (inotify only).
        const IN_IGNORED = 0x8000;
        /// On an event: it is also told to the parent. On a mark: events of
        /// children are wanted.
        const EVENT_ON_CHILD = 0x0800_0000;
        /// A name was moved, told with both names (fanotify only).
        const RENAME = 0x1000_0000;
        /// The event's object is a directory.
        const ISDIR = 0x4000_0000;
        // What a newer kernel adds is kept, not dropped.
        const _ = !0;
    }
}

impl Mask {
    /// Both kinds of close.
    pub const CLOSE: Self = Self::CLOSE_WRITE.union(Self::CLOSE_NOWRITE);
    /// Both halves of a move.
    pub const MOVE: Self = Self::MOVED_FROM.union(Self::MOVED_TO);
    /// Events of a directory about one of its names: they carry the name and
    /// are told to the directory alone.
    #[doc(alias = "ALL_FSNOTIFY_DIRENT_EVENTS")]
    pub const DIRENT: Self = Self::CREATE.union(Self::DELETE).union(Self::MOVE).union(Self::RENAME);
    /// Everything that is an event and not a remark about one.
    #[doc(alias = "ALL_FSNOTIFY_EVENTS")]
    pub const EVENTS: Self = Self::from_bits_retain(0x1000_ffff);

    /// Whether `self` and `other` share a bit that is an event.
    #[inline]
    pub(crate) const fn has_event_of(self, other: Self) -> bool {
        self.bits() & other.bits() & Self::EVENTS.bits() != 0
    }
}
