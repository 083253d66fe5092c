//! Real processes as tasks of the simulated hierarchy, each held by a
//! descriptor of its own, so that its number cannot become another's.
//!
//! Who may move whom: on Linux a delegated user cannot take a process from
//! outside of what was delegated. Here all come from outside, so a client may
//! bring its own user's processes, and root any.

use std::{
    collections::HashMap,
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    sync::{Mutex, MutexGuard},
};

use cgroup_sim::Processes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

#[derive(Default)]
pub(crate) struct RealProcesses(Mutex<HashMap<u32, OwnedFd>>);

impl RealProcesses {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, OwnedFd>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The processes that have ended. They are told again until they are
    /// [forgotten](Self::forget): one may end before it is a task.
    pub(crate) fn ended(&self) -> anyhow::Result<Vec<u32>> {
        let all = self.lock();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let pids: Vec<u32> = all.keys().copied().collect();
        let mut ready: Vec<_> = all.values().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        let over = ready.iter().map(|fd| !fd.revents().is_empty());
        Ok(pids.into_iter().zip(over).filter_map(|(pid, over)| over.then_some(pid)).collect())
    }

    pub(crate) fn forget(&self, pid: u32) {
        self.lock().remove(&pid);
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
