//! The one error type of the crate.

use std::path::{Path, PathBuf};

use crate::Printable;

/// A path as it is safe to show.
pub(crate) fn show(path: &Path) -> Printable<'_> {
    Printable::new(path.as_os_str().as_encoded_bytes())
}

/// What can go wrong. Each carries the path, and where there is one the errno.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No cgroup v2 hierarchy is mounted.
    #[error("no cgroup v2 hierarchy is mounted")]
    NoCgroup2,
    /// The path lies in a cgroup v1 hierarchy.
    #[error("{} lies in a cgroup v1 hierarchy", show(.path))]
    CgroupV1 {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path exists but is no cgroup v2 directory.
    #[error("{} is not a cgroup", show(.path))]
    NotACgroup {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is not there (ENOENT), or it vanished while it was being added.
    #[error("{} does not exist", show(.path))]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is already watched, or lies above or below a path that is.
    #[error("{} overlaps {}, which is watched already", show(.path), show(.watched))]
    Overlap {
        /// The path asked for.
        path: PathBuf,
        /// The path that is watched.
        watched: PathBuf,
    },
    /// The path is not watched.
    #[error("{} is not watched", show(.path))]
    NotWatched {
        /// The path to be removed.
        path: PathBuf,
    },
    /// A system call on a path failed.
    #[error("cannot {action} {}", show(.path))]
    Path {
        /// What was tried, such as `open`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The errno.
        source: rustix::io::Errno,
    },
    /// A system call without a path failed.
    #[error("cannot {action}")]
    System {
        /// What was tried, such as `read the notifications`.
        action: &'static str,
        /// The errno.
        source: rustix::io::Errno,
    },
    /// An instance of inotify was asked for by name but cannot be had: EMFILE
    /// (`fs.inotify.max_user_instances`, or the process's own limit on open files), ENOSYS.
    #[error("cannot create an inotify instance")]
    NoInotify {
        /// The errno.
        source: rustix::io::Errno,
    },
    /// A fanotify mark on the hierarchy's superblock was asked for by name but cannot be had: EPERM
    /// (CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH in the first user namespace), ENODEV (Linux before
    /// 6.6), EMFILE (`fs.fanotify.max_user_groups`), ENOSYS.
    #[error("cannot mark the superblock of the hierarchy with fanotify")]
    NoFanotify {
        /// The errno.
        source: rustix::io::Errno,
    },
    /// A file name given to [`Options::files`](crate::Options::files) is no plain file name.
    #[error("{name:?} is not the name of a control file")]
    BadFileName {
        /// The name.
        name: String,
    },
    /// A path filter cannot be understood.
    #[error("{glob:?} is not a path pattern")]
    BadGlob {
        /// The pattern.
        glob: String,
        /// Why.
        source: globset::Error,
    },
}
