//! A cgroup of a test's own on this machine's hierarchy.

#![allow(dead_code, reason = "not each test needs all of it")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use cgwatch::Mount;
use scenarios::{Environment, Offer, Requirement};

/// A cgroup of a test's own, with all below it.
#[derive(Debug)]
pub(crate) struct Top {
    pub(crate) path: PathBuf,
    /// All have one, so that none sees the controller's files come or go by another's.
    _offer: Option<Offer>,
}

impl Top {
    /// `None`, with a word, where there is no hierarchy to write in.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let environment = Environment::detect(false).filter(|e| e.meets(Requirement::HugeTlb));
        let _offer = environment.map(|environment| Offer::new(&environment).unwrap());
        let mount = Mount::all().ok()?.into_iter().next();
        let top =
            mount.map(|m| m.point.join(format!("cgwatch-mirror-{test}-{}", std::process::id())));
        match top.map(|path| fs::create_dir(&path).map(|()| Self { path, _offer })) {
            Some(Ok(top)) => Some(top),
            other => {
                assert!(std::env::var_os("CI").is_none(), "no hierarchy to write in: {other:?}");
                eprintln!("skipped: no cgroup v2 hierarchy that can be written");
                None
            }
        }
    }

    pub(crate) fn make(&self, path: &str) -> u64 {
        let path = self.path.join(path);
        fs::create_dir(&path).unwrap();
        fs::metadata(path).unwrap().ino()
    }

    pub(crate) fn remove(&self, path: &str) {
        // Busy for as long as the kernel takes to bury a process.
        let end = Instant::now() + Duration::from_secs(10);
        while let Err(error) = fs::remove_dir(self.path.join(path)) {
            assert!(Instant::now() < end, "{path}: {error}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        fn remove(path: &std::path::Path) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            let end = Instant::now() + Duration::from_secs(5);
            while fs::remove_dir(path).is_err() && path.exists() && Instant::now() < end {
                std::thread::yield_now();
            }
        }
        remove(&self.path);
    }
}
