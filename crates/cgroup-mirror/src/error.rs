//! What can go wrong with a mirror.

use thiserror::Error;

/// A hierarchy that cannot be mirrored, or no longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The path is no cgroup, or the monitor cannot watch it.
    #[error(transparent)]
    Monitor(#[from] cgwatch::Error),
    /// It cannot be mounted.
    #[error(transparent)]
    Mount(#[from] kernfs_fuse::Error),
    /// Waiting for the host's notifications failed.
    #[error("cannot wait for notifications")]
    Wait {
        /// The errno.
        source: rustix::io::Errno,
    },
}
