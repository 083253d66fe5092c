//! Why a scenario did not pass.

use std::path::PathBuf;

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
    #[error("driver: {action} {}: {source}", .path.display())]
    Driver {
        /// What it tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// cgwatch gave an error.
    #[error("cgwatch: {0:?}")]
    Cgwatch(#[from] cgwatch::Error),
    /// A notification call of the driver's own failed.
    #[error("driver: {0}")]
    System(#[from] rustix::io::Errno),
}
