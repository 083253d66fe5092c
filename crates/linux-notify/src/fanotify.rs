//! fanotify groups that report file handles instead of open descriptors.
//!
//! Only such groups are offered: they tell of births and deaths, may mark a whole superblock, and
//! their records own nothing, so that decoding them is pure ([`Events`]).

mod flags;
mod record;

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{self, Errno};

pub use flags::{InitFlags, MarkFlags, Mask};
pub use record::{Event, Events, Info, Infos, Relation};

use crate::error::{Call, Error, path};
use crate::fd_path::FdPath;

/// What a mark is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The inode, and with [`Mask::EVENT_ON_CHILD`] the entries of the directory it is.
    #[doc(alias = "FAN_MARK_INODE")]
    Inode,
    /// Every file reached through the mount. Births, deaths, moves and what kernfs reports by
    /// itself are never seen this way.
    #[doc(alias = "FAN_MARK_MOUNT")]
    Mount,
    /// Every file of the superblock, by whatever mount.
    #[doc(alias = "FAN_MARK_FILESYSTEM")]
    Filesystem,
}

impl Scope {
    const fn bits(self) -> u32 {
        match self {
            Self::Inode => libc::FAN_MARK_INODE,
            Self::Mount => libc::FAN_MARK_MOUNT,
            Self::Filesystem => libc::FAN_MARK_FILESYSTEM,
        }
    }
}

/// A fanotify group: its marks and its queue. Closing it removes all marks.
#[derive(Debug)]
pub struct Fanotify {
    fd: OwnedFd,
}

impl Fanotify {
    /// `fanotify_init` with `FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK`, `FAN_REPORT_FID` and
    /// `flags`.
    ///
    /// # Errors
    /// `EINVAL`: unknown flags, or flags that need others ([`InitFlags`] says which). `EMFILE`:
    /// `fs.fanotify.max_user_groups`, or the process's limit of open files. `EPERM`: flags for
    /// which `CAP_SYS_ADMIN` is needed and missing (before 5.13: any). `ENOSYS`: not built in.
    #[doc(alias = "fanotify_init")]
    pub fn new(flags: InitFlags) -> Result<Self, Error> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_REPORT_FID
            | flags.bits();
        // SAFETY: the call takes two integers and no pointer.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as libc::c_uint) };
        if fd < 0 {
            return Err(Error::Call { call: Call::FanotifyInit, errno: last_errno() });
        }
        // SAFETY: the call succeeded, so `fd` is open, and nothing else knows it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Marks the object `target` is open on (`O_PATH` will do), by `/proc/self/fd`, or adds `mask`
    /// to the mark it has.
    ///
    /// # Errors
    /// As [`add_at`](Self::add_at). `EINVAL` also with [`MarkFlags::DONT_FOLLOW`], which would
    /// mark the link in `/proc` instead.
    pub fn add(
        &self,
        scope: Scope,
        flags: MarkFlags,
        mask: Mask,
        target: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        self.mark_fd(libc::FAN_MARK_ADD, scope, flags, mask, target)
    }

    /// Marks the object that `path` leads to from `dir`, or adds `mask` to the mark it has.
    ///
    /// # Errors
    /// `EEXIST`: an evictable mark asked for where another kind stands. `EINVAL`: `mask` has
    /// unknown bits, or bits refused for this scope or group. `ENODEV`: the file system has no
    /// identity (cgroup v2 before 6.6, FUSE). `EOPNOTSUPP`: it cannot decode handles (sysfs).
    /// `ENOSPC`: `fs.fanotify.max_user_marks`. `ENOTDIR`: [`MarkFlags::ONLYDIR`] given, or bits
    /// about entries asked of a file. `EPERM`: mount or superblock scope without `CAP_SYS_ADMIN`.
    /// `EXDEV`: file systems with and without an identity in one group.
    #[doc(alias = "fanotify_mark")]
    pub fn add_at(
        &self,
        scope: Scope,
        flags: MarkFlags,
        mask: Mask,
        dir: BorrowedFd<'_>,
        path: &CStr,
    ) -> Result<(), Error> {
        self.mark(libc::FAN_MARK_ADD, scope, flags, mask, dir, path)
    }

    /// Takes `mask` off the mark of the object `target` is open on; without bits left, the mark
    /// is gone. Records that are queued already stay so.
    ///
    /// # Errors
    /// `ENOENT`: no such mark. Else as [`add`](Self::add).
    pub fn remove(
        &self,
        scope: Scope,
        flags: MarkFlags,
        mask: Mask,
        target: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        self.mark_fd(libc::FAN_MARK_REMOVE, scope, flags, mask, target)
    }

    /// Removes all marks of one scope.
    ///
    /// # Errors
    /// None is known.
    #[doc(alias = "FAN_MARK_FLUSH")]
    pub fn flush(&self, scope: Scope) -> Result<(), Error> {
        let flags = libc::FAN_MARK_FLUSH | scope.bits();
        let no_path = std::ptr::null();
        // SAFETY: the descriptor is open while `self` lives. A flush is about no object: the
        // kernel does not look at the path, and a null pointer is a path it accepts anyway.
        let result =
            unsafe { libc::fanotify_mark(self.fd.as_raw_fd(), flags, 0, libc::AT_FDCWD, no_path) };
        if result < 0 {
            return Err(Error::Call { call: Call::Flush, errno: last_errno() });
        }
        Ok(())
    }

    fn mark_fd(
        &self,
        action: u32,
        scope: Scope,
        flags: MarkFlags,
        mask: Mask,
        target: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        // With no path at all the kernel would refuse an O_PATH descriptor (EBADF).
        let through = FdPath::of(target);
        let through = through.as_c_str();
        if flags.contains(MarkFlags::DONT_FOLLOW) {
            return Err(Error::Mark { path: path(through.to_bytes()), errno: Errno::INVAL });
        }
        // The path is absolute, so that the directory is of no account.
        self.mark(action, scope, flags, mask, target, through)
    }

    fn mark(
        &self,
        action: u32,
        scope: Scope,
        flags: MarkFlags,
        mask: Mask,
        dir: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<(), Error> {
        let flags = action | scope.bits() | flags.bits();
        // SAFETY: both descriptors are open while they are borrowed, and `name` is NUL-terminated
        // and lives through the call, which only reads it.
        let result = unsafe {
            libc::fanotify_mark(
                self.fd.as_raw_fd(),
                flags,
                mask.bits(),
                dir.as_raw_fd(),
                name.as_ptr(),
            )
        };
        if result < 0 {
            return Err(Error::Mark { path: path(name.to_bytes()), errno: last_errno() });
        }
        Ok(())
    }

    /// Takes as many whole records as fit into `buffer`, oldest first; none if the queue is
    /// empty. Never blocks.
    ///
    /// A buffer of 4,096 bytes always holds at least one record.
    ///
    /// # Errors
    /// `EINVAL`: the first record is larger than `buffer`; it stays queued.
    pub fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<Events<'b>, Error> {
        match io::retry_on_intr(|| io::read(&self.fd, &mut *buffer)) {
            Ok(length) => Ok(Events::parse(buffer.get(..length).unwrap_or_default())),
            Err(Errno::AGAIN) => Ok(Events::parse(&[])),
            Err(errno) => Err(Error::Call { call: Call::Read, errno }),
        }
    }

    /// How many bytes of records are queued. An estimate: the kernel counts 24 bytes a record
    /// and leaves out what follows its fixed part.
    ///
    /// # Errors
    /// None is known.
    #[doc(alias = "FIONREAD")]
    pub fn queued_bytes(&self) -> Result<u64, Error> {
        io::ioctl_fionread(&self.fd).map_err(|errno| Error::Call { call: Call::QueuedBytes, errno })
    }
}

impl AsFd for Fanotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The errno of the libc call that has just failed on this thread.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
