//! Where events come from: the host, or a simulation.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use cgwatch::{Event, Watcher};

/// What `watch` prints the events of.
pub(super) trait Source {
    /// The next event, if there is one now.
    fn next_event(&mut self) -> anyhow::Result<Option<Event>>;

    /// Takes in what has happened, without telling it.
    fn take_in(&mut self) -> anyhow::Result<()>;

    /// There will be no more.
    fn is_over(&self) -> bool;

    /// What becomes readable when there is something to do.
    fn readable(&self) -> Option<BorrowedFd<'_>>;

    /// When there is something to do, whatever becomes readable.
    fn due(&self) -> Option<Instant>;
}

impl Source for Watcher {
    fn next_event(&mut self) -> anyhow::Result<Option<Event>> {
        Ok(self.next()?)
    }

    fn take_in(&mut self) -> anyhow::Result<()> {
        Ok(self.update()?)
    }

    fn is_over(&self) -> bool {
        self.has_ended()
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn due(&self) -> Option<Instant> {
        None
    }
}
