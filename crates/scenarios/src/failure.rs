//! Why a scenario did not pass.

use std::{
    io,
    path::{Path, PathBuf},
};

use contract::Breach;

/// Not shown, or not to be shown here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// What was to be shown is not so.
    #[error("{0}")]
    Broken(String),
    /// It cannot be shown here, and why.
    #[error("{0}")]
    Skip(String),
    /// The driver itself could not do its work.
    #[error("driver: cannot {action} {}: {source}", .path.display())]
    Driver {
        /// What it tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A system call of the driver's own failed.
    #[error("driver: {0}")]
    System(#[from] rustix::io::Errno),
    /// A notification call of the driver's own failed.
    #[error("driver: {0}")]
    Notify(#[from] linux_notify::Error),
    /// cgwatch gave an error.
    #[error("cgwatch: {0}: {0:?}")]
    Cgwatch(#[from] cgwatch::Error),
}

impl Failure {
    /// For `map_err`: what the driver tried, and on what.
    pub fn driver(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Driver { action, path: path.as_ref().into(), source }
    }

    /// A claim that is not so.
    pub fn broken(claim: impl Into<String>) -> Self {
        Self::Broken(claim.into())
    }
}

impl From<Breach> for Failure {
    fn from(Breach(rule): Breach) -> Self {
        Self::Broken(rule)
    }
}

/// Fails with what is told unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($told:tt)+) => {
        if !$condition {
            return Err($crate::Failure::Broken(format!($($told)+)));
        }
    };
}
pub(crate) use ensure;
