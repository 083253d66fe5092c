//! What can go wrong, with the errno Linux gives for it.

use rustix::io::Errno;
use thiserror::Error;

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The tree or a file of it refused.
    #[error(transparent)]
    Tree(#[from] kernfs::Error),
    /// No cgroup has this id, or none that is alive where one is needed.
    #[error("cgroup {id}: no such cgroup")]
    NoCgroup {
        /// The id.
        id: u64,
    },
    /// The cgroup has not this controller.
    #[error("cgroup {id}: the controller {controller} is not enabled here")]
    NoController {
        /// The cgroup's id.
        id: u64,
        /// The controller's name.
        controller: &'static str,
    },
    /// No task has this number.
    #[error("task {pid}: no such task")]
    NoTask {
        /// The number.
        pid: u32,
    },
    /// A defect of this crate: a sum is not the sum of its parts.
    #[error("cgroup {id}: {what} is {found}, its parts are {expected}")]
    Unbalanced {
        /// The cgroup's id.
        id: u64,
        /// What is summed up.
        what: &'static str,
        /// The sum.
        found: u64,
        /// Of the parts.
        expected: u64,
    },
    /// A rule of cgroup v2 forbids it.
    #[error("{what}: refused")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// With this.
        errno: Errno,
    },
}

impl Error {
    /// The errno of the system call this models.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Tree(error) => error.errno(),
            Self::NoCgroup { .. } => Errno::NOENT,
            Self::NoController { .. } => Errno::OPNOTSUPP,
            Self::NoTask { .. } => Errno::SRCH,
            Self::Unbalanced { .. } => Errno::IO,
            Self::Refused { errno, .. } => *errno,
        }
    }
}
