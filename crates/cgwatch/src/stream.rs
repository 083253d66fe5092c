//! The events as a [`futures_core::Stream`] that runs on any executor.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

use async_io::Async;
use futures_core::Stream;
use rustix::io::Errno;

use crate::{Error, Event, Watcher};

/// The events of a [`Watcher`]; ends with it, or after its first error.
///
/// Work is done while it is polled, and only then: a stream that is not polled lets the kernel's
/// queue fill, which a `gap` tells of. The first one made starts the `async-io` crate's thread,
/// which waits for all of them.
#[derive(Debug)]
pub struct EventStream {
    watcher: Watcher,
    readable: Async<OwnedFd>,
    failed: bool,
}

fn failed(error: &io::Error) -> Error {
    let source = Errno::from_io_error(error).unwrap_or(Errno::IO);
    Error::System { action: "wait for notifications", source }
}

impl EventStream {
    /// Takes the watcher over.
    ///
    /// # Errors
    /// [`Error::System`] if its fd cannot be duplicated (EMFILE) or waited for.
    pub fn new(watcher: Watcher) -> Result<Self, Error> {
        let fd = watcher.as_fd().try_clone_to_owned();
        // Nothing is read through it, so that it may block does not matter.
        let readable = fd.and_then(Async::new_nonblocking).map_err(|error| failed(&error))?;
        Ok(Self { watcher, readable, failed: false })
    }

    /// The watcher, to look at or to add paths to.
    pub fn watcher(&mut self) -> &mut Watcher {
        &mut self.watcher
    }

    /// Gives the watcher back.
    #[must_use]
    pub fn into_watcher(self) -> Watcher {
        self.watcher
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        loop {
            let error = match self.watcher.next() {
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Ok(None) if self.watcher.has_ended() => return Poll::Ready(None),
                Ok(None) => match self.readable.poll_readable(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) => failed(&error),
                },
                Err(error) => error,
            };
            self.failed = true;
            return Poll::Ready(Some(Err(error)));
        }
    }
}
