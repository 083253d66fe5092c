//! Real processes as tasks of the simulated hierarchy, each held by a descriptor of its own, so that
//! its number cannot become another's.
//!
//! Who may bring which: on Linux a delegated user cannot take a process from outside of what was
//! delegated. Here all come from outside, so a client may bring the processes that are its own user's
//! in every respect (real, effective and saved), and who is privileged any. That is judged by the
//! credentials the file was opened with. From then on the hierarchy's own rules say who moves it and
//! who may have it killed. It is killed only if who brought it could still do so himself: a
//! set-user-id program that it became is spared.
//!
//! How many: half as many as this process may have descriptors, so that clients cannot take those
//! that it needs to raise events.

use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard},
};

use cgroup_sim::Processes;
use kernfs::Credentials;
use kernfs_fuse::Status;
use rustix::{
    event::{
        PollFd, PollFlags, Timespec,
        epoll::{self, EventData, EventFlags},
        poll,
    },
    io::Errno,
    process::{
        Pid, PidfdFlags, Resource, Signal, getrlimit, pidfd_open, pidfd_send_signal, setrlimit,
    },
};

/// Readable when one has ended.
pub(crate) struct RealProcesses {
    all: Mutex<HashMap<u32, Adopted>>,
    ends: OwnedFd,
    /// How many there may be.
    most: usize,
}

struct Adopted {
    process: OwnedFd,
    /// Who brought it; nobody if he was privileged.
    by: Option<u32>,
}

impl Adopted {
    /// Whether it is, now, of nobody but who brought it, unless he was privileged.
    ///
    /// # Errors
    /// `ESRCH`: it has ended.
    fn is_his(&self, pid: u32) -> Result<bool, Errno> {
        let his = match self.by {
            Some(user) => Status::of(pid).ok_or(Errno::SRCH)?.users == [user; 3],
            None => true,
        };
        // What was looked at is what is held only if it has not ended.
        let mut ready = [PollFd::new(&self.process, PollFlags::IN)];
        if poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
            return Err(Errno::SRCH);
        }
        Ok(his)
    }
}

impl RealProcesses {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // If it cannot be raised, it stays what it is.
        let _ = setrlimit(Resource::Nofile, limit);
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Ok(Self {
            all: Mutex::default(),
            ends: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            most: usize::try_from(descriptors / 2).unwrap_or(usize::MAX),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Adopted>> {
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
    fn adopt(&self, pid: u32, by: Option<&Credentials>) -> Result<(), Errno> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        // In another namespace the number is of another process, if of any.
        let writer = kernfs_fuse::caller().and_then(Status::of);
        if by.is_some() && !writer.is_some_and(|writer| writer.shares_pid_namespace()) {
            return Err(Errno::SRCH);
        }
        // One at a time comes here: the hierarchy is locked.
        if self.lock().len() >= self.most {
            return Err(Errno::AGAIN);
        }
        let process = pidfd_open(number, PidfdFlags::empty()).map_err(|errno| match errno {
            // A thread that does not lead its process is none.
            Errno::INVAL | Errno::NOENT => Errno::SRCH,
            errno => errno,
        })?;
        let by = by.filter(|by| !by.privileged).map(|by| by.uid);
        let adopted = Adopted { process, by };
        if !adopted.is_his(pid)? {
            return Err(Errno::ACCESS);
        }
        let ends = EventData::new_u64(pid.into());
        epoll::add(&self.ends, &adopted.process, ends, EventFlags::IN)?;
        self.lock().insert(pid, adopted);
        Ok(())
    }

    fn kill(&self, pid: u32) {
        if let Some(adopted) = self.lock().get(&pid)
            && adopted.is_his(pid) == Ok(true)
        {
            // It has ended by itself.
            let _ = pidfd_send_signal(&adopted.process, Signal::KILL);
        }
    }
}
