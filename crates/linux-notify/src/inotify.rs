//! inotify: a queue of events about the inodes that were put under watch.

mod event;
mod mask;

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify as sys;
use rustix::io::{self, Errno};

pub(crate) use event::until_nul;
pub use event::{Event, Events};
pub use mask::Mask;

use crate::error::{Call, Error, path};
use crate::fd_path::FdPath;

/// A watch descriptor: the number of a watch within one [`Inotify`].
///
/// The kernel counts up from 1 and uses a freed number again only after `i32::MAX`
/// (`idr_alloc_cyclic` in `fs/notify/inotify/inotify_user.c`). Adding a watch on an inode that is
/// watched already gives its old number, whatever the path, hard link or mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wd(pub i32);

impl Wd {
    /// Stands in the overflow record ([`Mask::Q_OVERFLOW`]), which is about no watch.
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for Wd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An inotify group: its watches and its queue. Closing it removes all watches.
///
/// The queue holds `fs.inotify.max_queued_events` records (16,384 by default, sampled here), then
/// one [`Mask::Q_OVERFLOW`] record; further events are dropped until there is room.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    /// `inotify_init1(IN_CLOEXEC | IN_NONBLOCK)`.
    ///
    /// # Errors
    /// `EMFILE`: `fs.inotify.max_user_instances`, or the process's limit of open files.
    /// `ENFILE`, `ENOMEM`: the system's limits.
    #[doc(alias = "inotify_init1")]
    pub fn new() -> Result<Self, Error> {
        sys::init(sys::CreateFlags::CLOEXEC | sys::CreateFlags::NONBLOCK)
            .map(|fd| Self { fd })
            .map_err(|errno| Error::Call { call: Call::InotifyInit, errno })
    }

    /// Watches the inode `path` leads to, or changes the watch it has.
    ///
    /// An existing watch gets `mask` in place of its own, unless `mask` says
    /// [`Mask::MASK_ADD`] (both apply) or [`Mask::MASK_CREATE`] (an error).
    ///
    /// # Errors
    /// `EACCES`: no read permission. `EEXIST`: watched, and `MASK_CREATE` given. `EINVAL`: `mask`
    /// is empty, has a bit unknown to the kernel, or both `MASK_ADD` and `MASK_CREATE`.
    /// `ENOENT`: nothing there, or (7.2.13, 7.3 on) the inode is being removed. `ENOSPC`:
    /// `fs.inotify.max_user_watches` of this user, here or in an outer user namespace.
    /// `ENOTDIR`: `ONLYDIR` given. `ENOMEM`, `ENAMETOOLONG`, `ELOOP` as usual.
    #[doc(alias = "inotify_add_watch")]
    pub fn add(&self, path: &CStr, mask: Mask) -> Result<Wd, Error> {
        self.add_watch(path, mask, path.to_bytes())
    }

    /// Watches the very inode `target` is open on (`O_PATH` will do), by `/proc/self/fd`.
    ///
    /// # Errors
    /// As [`add`](Self::add); the path in the error is that below `/proc`. `ENOENT` also if
    /// `/proc` is not mounted. `EINVAL` with [`Mask::DONT_FOLLOW`], which would watch the link in
    /// `/proc` instead.
    pub fn add_fd(&self, target: BorrowedFd<'_>, mask: Mask) -> Result<Wd, Error> {
        let through = FdPath::of(target);
        let name = through.as_c_str().to_bytes();
        if mask.contains(Mask::DONT_FOLLOW) {
            return Err(Error::AddWatch { path: path(name), errno: Errno::INVAL });
        }
        self.add_watch(through.as_c_str(), mask, name)
    }

    /// Watches the entry `name` of the very directory `dir` is open on (`O_PATH` will do), by
    /// `/proc/self/fd`.
    ///
    /// # Errors
    /// As [`add`](Self::add); the path in the error is `name` alone. `ENOENT` also if the
    /// directory is gone or `/proc` is not mounted. [`Error::Name`], with no call made, if `name`
    /// is empty, longer than 255 bytes, or holds a `/` or a NUL.
    pub fn add_at(&self, dir: BorrowedFd<'_>, name: &[u8], mask: Mask) -> Result<Wd, Error> {
        self.add_watch(FdPath::at(dir, name)?.as_c_str(), mask, name)
    }

    fn add_watch(&self, through: &CStr, mask: Mask, name: &[u8]) -> Result<Wd, Error> {
        sys::add_watch(&self.fd, through, sys::WatchFlags::from_bits_retain(mask.bits()))
            .map(Wd)
            .map_err(|errno| Error::AddWatch { path: path(name), errno })
    }

    /// Removes a watch. An [`Mask::IGNORED`] record follows; records of this watch that are
    /// queued already stay so.
    ///
    /// # Errors
    /// `EINVAL`: no such watch; it may have ended by itself, with its `IGNORED` still unread.
    #[doc(alias = "inotify_rm_watch")]
    pub fn remove(&self, wd: Wd) -> Result<(), Error> {
        sys::remove_watch(&self.fd, wd.0).map_err(|errno| Error::RemoveWatch { wd, errno })
    }

    /// Takes as many whole records as fit into `buffer`, oldest first; none if the queue is
    /// empty. Never blocks.
    ///
    /// A buffer of 16 + 256 bytes always holds at least one record.
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

    /// How many bytes of records are queued.
    ///
    /// # Errors
    /// None is known.
    #[doc(alias = "FIONREAD")]
    pub fn queued_bytes(&self) -> Result<u64, Error> {
        io::ioctl_fionread(&self.fd).map_err(|errno| Error::Call { call: Call::QueuedBytes, errno })
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
