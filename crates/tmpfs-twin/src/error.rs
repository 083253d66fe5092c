//! Why a program did not agree.

use std::{io, path::PathBuf};

/// The two sides differ, or one could not be driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// They differ.
    #[error("{what}: ours {ours}, Linux {linux}")]
    Differ {
        /// In what.
        what: String,
        /// What `fsnotify` said.
        ours: String,
        /// What the kernel said.
        linux: String,
    },
    /// The real file system refused.
    #[error("{}: {source}", .path.display())]
    File {
        /// What was to be done something to.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A notification call of the driver's own failed.
    #[error(transparent)]
    Notify(#[from] linux_notify::Error),
    /// A system call of the driver's own failed.
    #[error(transparent)]
    System(#[from] rustix::io::Errno),
    /// A call of `fsnotify`'s that cannot fail did.
    #[error(transparent)]
    Own(#[from] fsnotify::Error),
}

impl Error {
    /// Fails unless both sides are the same.
    pub(crate) fn unless_same<T: PartialEq + std::fmt::Debug>(
        ours: &T,
        linux: &T,
        what: impl std::fmt::Debug,
    ) -> Result<(), Self> {
        if ours == linux {
            return Ok(());
        }
        let [what, ours, linux] = [format!("{what:?}"), format!("{ours:?}"), format!("{linux:?}")];
        Err(Self::Differ { what, ours, linux })
    }
}
