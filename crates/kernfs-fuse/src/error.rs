//! What can go wrong with a mount.

use std::{io, path::PathBuf};

use thiserror::Error;

/// A tree that could not be mounted, or a mount that could not be ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no FUSE: the module is not loaded, or the device is not here.
    #[error("/dev/fuse cannot be opened")]
    NoDevice(#[source] io::Error),
    /// No procfs is mounted at `/proc`: one mount cannot be told from another.
    #[error("no procfs is mounted at /proc")]
    NoProc(#[source] io::Error),
    /// The mount point lies in a mount of this server's own kind.
    #[error("{}: lies in the mount at {}, which is of the same kind", path.display(), mount.display())]
    OwnMount {
        /// The mount point.
        path: PathBuf,
        /// Where that mount is.
        mount: PathBuf,
    },
    /// The mount point does not exist, or cannot be looked at.
    #[error("{}: not usable as a mount point", path.display())]
    MountPoint {
        /// The mount point.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The mount point is no directory.
    #[error("{}: not a directory", path.display())]
    NotDirectory {
        /// The mount point.
        path: PathBuf,
    },
    /// The mount point has something in it that the mount would hide.
    #[error("{}: not empty", path.display())]
    NotEmpty {
        /// The mount point.
        path: PathBuf,
    },
    /// The tree does not announce all removals, so that its watchers would
    /// wait for ever.
    #[error("the tree's profile does not announce every removal")]
    Profile,
    /// Mounting failed.
    #[error("{}: cannot be mounted", path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("no thread for the mount")]
    Thread(#[source] io::Error),
}
