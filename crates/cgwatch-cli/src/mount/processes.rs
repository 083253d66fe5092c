//! Real processes as tasks of the simulated hierarchy, each held by a
//! descriptor of its own, so that its number cannot become another's.
//!
//! Who may move whom: on Linux a delegated user cannot take a process from
//! outside of what was delegated. Here all come from outside, so a client may
//! bring its own user's processes, and root any.

use std::{
    collections::HashMap,
    fs,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::{Mutex, MutexGuard},
};

use cgroup_sim::Processes;
use rustix::{
    event::{
        PollFd, PollFlags, Timespec,
        epoll::{self, EventData, EventFlags},
        poll,
    },
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// Readable when one has ended.
pub(crate) struct RealProcesses {
    all: Mutex<HashMap<u32, OwnedFd>>,
    ends: OwnedFd,
}

impl RealProcesses {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { all: Mutex::default(), ends: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, OwnedFd>> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Processes that have ended; told again until they are [forgotten](Self::forget).
    pub(crate) fn ended(&self) -> anyhow::Result<Vec<u32>> {
        let mut ended = Vec::with_capacity(64);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.ends, rustix::buffer::spare_capacity(&mut ended), Some(&now))?;
        // As it was put in.
        Ok(ended.iter().map(|event| event.data.u64() as u32).collect())
    }

    pub(crate) fn forget(&self, pid: u32) {
        self.lock().remove(&pid);
    }
}

impl AsFd for RealProcesses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ends.as_fd()
    }
}

impl Processes for RealProcesses {
    fn adopt(&self, pid: u32) -> Result<(), Errno> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        // A thread that does not lead its process is none.
        let process = pidfd_open(number, PidfdFlags::empty()).map_err(|_| Errno::SRCH)?;
        let caller = kernfs_fuse::caller().ok_or(Errno::PERM)?;
        if caller.uid != 0 {
            let owner = fs::metadata(format!("/proc/{pid}")).map_err(|_| Errno::SRCH)?.uid();
            if owner != caller.uid {
                return Err(Errno::ACCESS);
            }
        }
        // What was looked at is what is held only if it has not ended.
        let mut ready = [PollFd::new(&process, PollFlags::IN)];
        if poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
            return Err(Errno::SRCH);
        }
        epoll::add(&self.ends, &process, EventData::new_u64(pid.into()), EventFlags::IN)?;
        self.lock().insert(pid, process);
        Ok(())
    }

    fn kill(&self, pid: u32) {
        if let Some(process) = self.lock().get(&pid) {
            // It has ended by itself.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}
