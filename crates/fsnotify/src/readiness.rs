//! A descriptor that polls readable while a queue holds records.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd that is written when a queue stops being empty and read when it
/// becomes empty, both under the queue's lock. For `poll(2)` and `epoll(7)`
/// only: read the records from the group, not from here.
#[derive(Debug)]
pub struct ReadinessFd(OwnedFd);

impl ReadinessFd {
    pub(crate) fn new(ready: bool) -> rustix::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(u32::from(ready), flags)?))
    }

    /// Cannot fail: the count is 0 or 1 and the descriptor is ours.
    pub(crate) fn set(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Fails only if the count is already 0.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for ReadinessFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
