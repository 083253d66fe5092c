//! Where things are in this workspace.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    // The manifest of this crate lies one directory below the root.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where everything that is built or downloaded goes.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}
