//! The scenario's hand: system calls on the mount, as any program makes them,
//! so that its watchers see births and deaths.

use std::{os::fd::OwnedFd, sync::Arc};

use cgroup_sim::scenario::Front;
use rustix::{
    fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat},
    io::Errno,
};

#[derive(Debug)]
pub(crate) struct OnTheMount {
    pub(crate) root: Arc<OwnedFd>,
}

/// From the root, not from this process's own.
fn below(path: &str) -> &str {
    path.trim_start_matches('/')
}

impl Front for OnTheMount {
    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        mkdirat(&self.root, below(path), Mode::from_raw_mode(0o755))
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        unlinkat(&self.root, below(path), AtFlags::REMOVEDIR)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.root, below(path), flags, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    }
}
