//! The notifications that the kernel keeps for another process, seen from outside.

use std::{
    ffi::OsStr,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::{Failure, ensure};

/// The inotify instances and fanotify groups of a process.
#[derive(Debug)]
pub(crate) struct Queues {
    queues: Vec<OwnedFd>,
    patience: Duration,
}

impl Queues {
    /// Those that it has open now.
    pub(crate) fn of(process: Pid, patience: Duration) -> Result<Self, Failure> {
        let directory = PathBuf::from(format!("/proc/{}/fd", process.as_raw_nonzero()));
        let handle = pidfd_open(process, PidfdFlags::empty())?;
        let mut queues = Vec::new();
        for entry in fs::read_dir(&directory).map_err(Failure::driver("list", &directory))? {
            let path = entry.map_err(Failure::driver("list", &directory))?.path();
            // It may open and close files meanwhile.
            let Ok(target) = fs::read_link(&path) else { continue };
            if !is_queue(&target) {
                continue;
            }
            let number = path.file_name().and_then(OsStr::to_str).and_then(|n| n.parse().ok());
            let number = number.ok_or_else(|| Failure::broken("a descriptor without a number"))?;
            queues.push(pidfd_getfd(&handle, number, PidfdGetfdFlags::empty())?);
        }
        ensure!(!queues.is_empty(), "cgwatch has no queue of notifications");
        Ok(Self { queues, patience })
    }

    /// Waits until all in them is read.
    ///
    /// # Errors
    /// Nothing is read.
    pub(crate) fn until_read(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        for queue in &self.queues {
            // Nothing tells another process that a queue became empty.
            while rustix::io::ioctl_fionread(queue)? > 0 {
                ensure!(Instant::now() < deadline, "cgwatch reads no notifications");
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

fn is_queue(target: &Path) -> bool {
    ["anon_inode:inotify", "anon_inode:[fanotify]"].iter().any(|name| target == Path::new(name))
}
