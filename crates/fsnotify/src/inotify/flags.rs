//! The flags of `inotify_init1` and `inotify_add_watch`.

use bitflags::bitflags;

use crate::{Error, Mask};

bitflags! {
    /// How a group is made (`inotify_init1`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct InitFlags: u32 {
        /// Reads of an empty queue fail instead of sleeping (`IN_NONBLOCK`).
        #[doc(alias = "IN_NONBLOCK")]
        const NONBLOCK = 0o4000;
        /// Accepted, and without meaning in a process (`IN_CLOEXEC`).
        #[doc(alias = "IN_CLOEXEC")]
        const CLOEXEC = 0o2_000_000;
        /// Only local events, none that the file system tells later. Not a
        /// flag of Linux.
        const LOCAL_ONLY = 1 << 31;
        // Unknown bits are kept, to be refused.
        const _ = !0;
    }
}

bitflags! {
    /// What a watch wants (`IN_*`): the event bits of [`Mask`], and these.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct WatchMask: u32 {
        #[doc = "See [`Mask::ACCESS`]."]
        #[doc(alias = "IN_ACCESS")]
        const ACCESS = Mask::ACCESS.bits();
        #[doc = "See [`Mask::MODIFY`]."]
        #[doc(alias = "IN_MODIFY")]
        const MODIFY = Mask::MODIFY.bits();
        #[doc = "See [`Mask::ATTRIB`]."]
        #[doc(alias = "IN_ATTRIB")]
        const ATTRIB = Mask::ATTRIB.bits();
        #[doc = "See [`Mask::CLOSE_WRITE`]."]
        #[doc(alias = "IN_CLOSE_WRITE")]
        const CLOSE_WRITE = Mask::CLOSE_WRITE.bits();
        #[doc = "See [`Mask::CLOSE_NOWRITE`]."]
        #[doc(alias = "IN_CLOSE_NOWRITE")]
        const CLOSE_NOWRITE = Mask::CLOSE_NOWRITE.bits();
        #[doc = "See [`Mask::OPEN`]."]
        #[doc(alias = "IN_OPEN")]
        const OPEN = Mask::OPEN.bits();
        #[doc = "See [`Mask::MOVED_FROM`]."]
        #[doc(alias = "IN_MOVED_FROM")]
        const MOVED_FROM = Mask::MOVED_FROM.bits();
        #[doc = "See [`Mask::MOVED_TO`]."]
        #[doc(alias = "IN_MOVED_TO")]
        const MOVED_TO = Mask::MOVED_TO.bits();
        #[doc = "See [`Mask::CREATE`]."]
        #[doc(alias = "IN_CREATE")]
        const CREATE = Mask::CREATE.bits();
        #[doc = "See [`Mask::DELETE`]."]
        #[doc(alias = "IN_DELETE")]
        const DELETE = Mask::DELETE.bits();
        #[doc = "See [`Mask::DELETE_SELF`]."]
        #[doc(alias = "IN_DELETE_SELF")]
        const DELETE_SELF = Mask::DELETE_SELF.bits();
        #[doc = "See [`Mask::MOVE_SELF`]."]
        #[doc(alias = "IN_MOVE_SELF")]
        const MOVE_SELF = Mask::MOVE_SELF.bits();
        /// Every event a watch can ask for.
        #[doc(alias = "IN_ALL_EVENTS")]
        const ALL_EVENTS = 0xfff;
        /// Accepted and delivered in any case.
        #[doc(alias = "IN_UNMOUNT")]
        const UNMOUNT = Mask::UNMOUNT.bits();
        /// Accepted and delivered in any case.
        #[doc(alias = "IN_Q_OVERFLOW")]
        const Q_OVERFLOW = Mask::Q_OVERFLOW.bits();
        /// Accepted and delivered in any case.
        #[doc(alias = "IN_IGNORED")]
        const IGNORED = Mask::IN_IGNORED.bits();
        /// Only if the object is a directory.
        #[doc(alias = "IN_ONLYDIR")]
        const ONLYDIR = 0x0100_0000;
        /// For whoever looks the object up; without meaning here.
        #[doc(alias = "IN_DONT_FOLLOW")]
        const DONT_FOLLOW = 0x0200_0000;
        /// No events of a path whose name is gone.
        #[doc(alias = "IN_EXCL_UNLINK")]
        const EXCL_UNLINK = 0x0400_0000;
        /// Fail if the object is already watched.
        #[doc(alias = "IN_MASK_CREATE")]
        const MASK_CREATE = 0x1000_0000;
        /// Add to the mask of a watch that exists, instead of replacing it.
        #[doc(alias = "IN_MASK_ADD")]
        const MASK_ADD = 0x2000_0000;
        /// Accepted; the file system decides.
        #[doc(alias = "IN_ISDIR")]
        const ISDIR = Mask::ISDIR.bits();
        /// The watch ends with its first record.
        #[doc(alias = "IN_ONESHOT")]
        const ONESHOT = 0x8000_0000;
    }
}

impl InitFlags {
    pub(super) fn check(self) -> Result<Self, Error> {
        let known = Self::NONBLOCK | Self::CLOEXEC | Self::LOCAL_ONLY;
        let unknown = self.bits() & !known.bits();
        if unknown == 0 { Ok(self) } else { Err(Error::InvalidFlags { flags: self.bits() }) }
    }
}

impl WatchMask {
    /// Kernel: the checks of `inotify_add_watch(2)`.
    pub(super) fn check(self) -> Result<Self, Error> {
        let known = self.bits() & Self::all().bits();
        let contradiction = Self::MASK_ADD | Self::MASK_CREATE;
        if known == 0 || known != self.bits() || self.contains(contradiction) {
            return Err(Error::InvalidMask { mask: self.bits().into() });
        }
        Ok(self)
    }

    /// The events it asks for.
    pub(super) fn events(self) -> Mask {
        Mask::from_bits_retain((self & Self::ALL_EVENTS).bits())
    }
}
