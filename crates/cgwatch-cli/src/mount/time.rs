//! The hierarchy's time is real time: whatever a client does, happens now, and the loop sleeps
//! until something that was put off is due.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use cgroup_sim::Clock;
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

/// Readable when something has become due earlier than was known.
#[derive(Debug)]
pub(crate) struct RealTime {
    began: Instant,
    waker: OwnedFd,
}

impl RealTime {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let waker = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { began: Instant::now(), waker })
    }

    /// Takes note of what woke the loop.
    pub(crate) fn awake(&self) -> anyhow::Result<()> {
        match rustix::io::read(&self.waker, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Clock for RealTime {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn due(&self, _: u64) {
        // Fails only when it is about to be read anyway.
        let _ = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
    }
}

impl AsFd for RealTime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}
