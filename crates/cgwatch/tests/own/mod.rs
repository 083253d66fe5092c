//! A cgroup of a test's own on this machine's hierarchy.

#![allow(dead_code, reason = "not each test needs all of it")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cgwatch::Mount;

/// Removed at the end, with all below it.
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

    /// Makes one below it.
    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        fn remove(directory: &Path) {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                remove(&entry.path());
            }
            let _ = fs::remove_dir(directory);
        }
        remove(&self.0);
    }
}
