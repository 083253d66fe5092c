//! The one error type of the crate: which call failed, on what, with which errno.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::inotify::Wd;

/// A system call that is not about a path or a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// `inotify_init1`
    InotifyInit,
    /// `fanotify_init`
    FanotifyInit,
    /// `read` of a group's events
    Read,
    /// `ioctl(FIONREAD)`
    QueuedBytes,
    /// `fanotify_mark` with `FAN_MARK_FLUSH`
    Flush,
    /// `open_by_handle_at`
    OpenByHandle,
}

impl Call {
    /// The call's name in the manual.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InotifyInit => "inotify_init1",
            Self::FanotifyInit => "fanotify_init",
            Self::Read => "read",
            Self::QueuedBytes => "ioctl(FIONREAD)",
            Self::Flush => "fanotify_mark(FLUSH)",
            Self::OpenByHandle => "open_by_handle_at",
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call that concerns neither a path nor a watch failed.
    #[error("{}: {errno}", call.name())]
    Call {
        /// The call.
        call: Call,
        /// What the kernel answered.
        errno: Errno,
    },
    /// An inotify watch could not be added or changed.
    #[error("inotify_add_watch {}: {errno}", path.display())]
    AddWatch {
        /// The path, relative to the directory the caller gave, if it gave one.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// An inotify watch could not be removed.
    #[error("inotify_rm_watch {wd}: {errno}")]
    RemoveWatch {
        /// The watch descriptor.
        wd: Wd,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A fanotify mark could not be added, changed or removed.
    #[error("fanotify_mark {}: {errno}", path.display())]
    Mark {
        /// The path, relative to the directory the caller gave, if it gave one.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The file handle of a path could not be had.
    #[error("name_to_handle_at {}: {errno}", path.display())]
    NameToHandle {
        /// The path, relative to the directory the caller gave.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A name that no directory entry can have: empty, longer than 255 bytes, or with a `/` or a
    /// NUL in it. No call was made.
    #[error("not the name of a directory entry: {:?}", OsStr::from_bytes(name))]
    Name {
        /// The refused name.
        name: Vec<u8>,
    },
}

impl Error {
    /// What the kernel answered, or `EINVAL` for a name that was refused before any call.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Call { errno, .. }
            | Self::AddWatch { errno, .. }
            | Self::RemoveWatch { errno, .. }
            | Self::Mark { errno, .. }
            | Self::NameToHandle { errno, .. } => *errno,
            Self::Name { .. } => Errno::INVAL,
        }
    }
}

/// A path from the bytes that name it.
pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_path_buf()
}
