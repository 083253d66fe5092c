//! A cgroup of a test's own on this machine's hierarchy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cgwatch::Mount;

/// Removed at the end, with what is directly below it.
pub(crate) struct Own(PathBuf);

impl Own {
    /// `None`, with the reason printed, if none can be made here.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let mounts = Mount::all().unwrap();
        let Some(mount) = mounts.first() else {
            println!("skipped: no cgroup v2 hierarchy is mounted");
            return None;
        };
        let path = mount.point.join(format!("cgwatch-test-{test}-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                println!("skipped: cannot create {}: {error}", path.display());
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            // Files cannot be removed, and need not be.
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}
