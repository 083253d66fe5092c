//! What can go wrong, with the errno Linux gives for it.

use rustix::io::Errno;
use thiserror::Error;

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// No node of that name, or none that is active.
    #[error("{name}: no such node")]
    NotFound {
        /// The name, as far as it is UTF-8.
        name: String,
    },
    /// The name is taken.
    #[error("{name}: exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// A name that no node can have: empty, `.`, `..`, or with a `/` or NUL.
    #[error("{name:?}: not a name")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A name of more than 4095 bytes.
    #[error("a name of {bytes} bytes")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Something in the middle of a path, or asked to hold names, is a file.
    #[error("{name}: not a directory")]
    NotDirectory {
        /// The name.
        name: String,
    },
    /// The request makes sense for files only.
    #[error("{name}: is a directory")]
    IsDirectory {
        /// The name.
        name: String,
    },
    /// A directory would get under itself.
    #[error("{name}: is an ancestor of where it is to go")]
    UnderItself {
        /// The name.
        name: String,
    },
    /// A node of this tree stays in its directory.
    #[error("{name}: cannot leave its directory")]
    FixedParent {
        /// The name.
        name: String,
    },
    /// The node was removed or hidden, or this open file was released.
    #[error("node {id}: removed")]
    Removed {
        /// The node's id.
        id: u64,
    },
    /// A handle that no active node has.
    #[error("stale file handle")]
    Stale,
    /// The tree has no such operation.
    #[error("{operation}: not permitted")]
    NotPermitted {
        /// What was asked.
        operation: &'static str,
    },
    /// The tree's profile cannot deliver what was asked for.
    #[error("this tree cannot deliver {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The attribute or the tree's own operation refused.
    #[error("{name}: refused")]
    Refused {
        /// The node's name.
        name: String,
        /// With this.
        errno: Errno,
    },
    /// The group refused.
    #[error(transparent)]
    Notify(#[from] fsnotify::Error),
}

impl Error {
    /// The errno of the system call this models.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::NotFound { .. } => Errno::NOENT,
            Self::Exists { .. } => Errno::EXIST,
            Self::InvalidName { .. } | Self::UnderItself { .. } | Self::FixedParent { .. } => {
                Errno::INVAL
            }
            Self::NameTooLong { .. } => Errno::NAMETOOLONG,
            Self::NotDirectory { .. } => Errno::NOTDIR,
            Self::IsDirectory { .. } => Errno::ISDIR,
            Self::Removed { .. } => Errno::NODEV,
            Self::Stale => Errno::STALE,
            Self::NotPermitted { .. } => Errno::PERM,
            Self::Unsupported { .. } => Errno::OPNOTSUPP,
            Self::Refused { errno, .. } => *errno,
            Self::Notify(error) => error.errno(),
        }
    }
}

/// A name in an error's text.
pub(crate) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
