//! A bounded queue of records and those who wait for it (kernel: the
//! notification list and wait queue of `struct fsnotify_group`).
//!
//! The lock is a leaf: nothing is called and no other lock taken under it. The
//! readiness hook runs after it is free, once each time the queue stops being
//! empty. Sleepers are woken only if there are some: the usual insert makes no
//! system call.

use std::sync::Arc;

use crate::{
    Error,
    sync::{Condvar, Mutex, MutexGuard, lock},
};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is a record of its own.
    Queued,
    /// It went into one that was there.
    Merged,
    /// The queue was full; the overflow record stands for it.
    Overflowed,
    /// The queue was full, and the overflow record already there.
    Dropped,
}

/// A queue of one dialect's records.
pub(crate) trait Records {
    /// Bytes a reader would get in all (`FIONREAD`).
    fn bytes(&self) -> usize;

    /// Bytes of the first record.
    fn first(&self) -> Option<usize>;

    /// Takes out as many whole records as fit and returns their bytes.
    fn take(&mut self, buffer: &mut [u8]) -> usize;

    /// The records queued, the overflow record among them.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a group's queue has fared since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records that got a place of their own.
    pub queued: u64,
    /// Records that were merged into one already queued.
    pub merged: u64,
    /// Records lost to a full queue.
    pub dropped: u64,
}

pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// What a reader does, whatever the records are.
pub(crate) trait Readable {
    /// As `read(2)`: whole records, as many as fit.
    fn read(&self, buffer: &mut [u8], nonblocking: bool) -> Result<usize, Error>;

    /// Bytes a reader would get in all.
    fn bytes(&self) -> usize;

    /// The records queued, the overflow record among them.
    fn len(&self) -> usize;

    fn counts(&self) -> Counts;

    /// Sets the hook, and runs it at once if there is something already.
    fn set_hook(&self, hook: Hook);

    /// The descriptor that is readable while there are records.
    #[cfg(feature = "fd")]
    fn fd(&self) -> rustix::io::Result<Arc<crate::readiness::ReadinessFd>>;
}

pub(crate) struct Channel<R> {
    state: Mutex<State<R>>,
    arrived: Condvar,
}

pub(crate) struct State<R> {
    pub(crate) records: R,
    counts: Counts,
    sleepers: usize,
    hook: Option<Hook>,
    #[cfg(feature = "fd")]
    fd: Option<Arc<crate::readiness::ReadinessFd>>,
}

impl<R: Records> Channel<R> {
    pub(crate) fn new(records: R) -> Self {
        Self {
            state: Mutex::new(State {
                records,
                counts: Counts::default(),
                sleepers: 0,
                hook: None,
                #[cfg(feature = "fd")]
                fd: None,
            }),
            arrived: Condvar::new(),
        }
    }

    /// Runs `insert` on the records, counts what it did, and tells who waits.
    /// `None` from it means that nothing was to be queued.
    pub(crate) fn push(&self, insert: impl FnOnce(&mut R) -> Option<Pushed>) -> Option<Pushed> {
        let mut state = lock(&self.state);
        let was_empty = state.records.is_empty();
        let pushed = insert(&mut state.records)?;
        match pushed {
            Pushed::Queued => state.counts.queued += 1,
            Pushed::Merged => state.counts.merged += 1,
            Pushed::Overflowed | Pushed::Dropped => state.counts.dropped += 1,
        }
        if was_empty && !state.records.is_empty() {
            self.tell(state);
        }
        Some(pushed)
    }

    fn tell(&self, state: MutexGuard<'_, State<R>>) {
        #[cfg(feature = "fd")]
        if let Some(fd) = &state.fd {
            fd.set();
        }
        if state.sleepers > 0 {
            self.arrived.notify_all();
        }
        let hook = state.hook.clone();
        drop(state);
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl<R: Records> Readable for Channel<R> {
    fn read(&self, buffer: &mut [u8], nonblocking: bool) -> Result<usize, Error> {
        let mut state = lock(&self.state);
        loop {
            match state.records.first() {
                Some(needed) if needed > buffer.len() => {
                    return Err(Error::BufferTooSmall { needed, given: buffer.len() });
                }
                Some(_) => {
                    let read = state.records.take(buffer);
                    // Others that sleep were woken when the first record came.
                    state.after_read();
                    return Ok(read);
                }
                None if nonblocking => return Err(Error::WouldBlock),
                None => {
                    state.sleepers += 1;
                    state = self.arrived.wait(state).unwrap_or_else(|p| p.into_inner());
                    state.sleepers -= 1;
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        lock(&self.state).records.bytes()
    }

    fn len(&self) -> usize {
        lock(&self.state).records.len()
    }

    fn counts(&self) -> Counts {
        lock(&self.state).counts
    }

    fn set_hook(&self, hook: Hook) {
        let mut state = lock(&self.state);
        let replaced = state.hook.replace(Arc::clone(&hook));
        let ready = !state.records.is_empty();
        drop(state);
        drop(replaced);
        if ready {
            hook();
        }
    }

    #[cfg(feature = "fd")]
    fn fd(&self) -> rustix::io::Result<Arc<crate::readiness::ReadinessFd>> {
        let mut state = lock(&self.state);
        if let Some(fd) = &state.fd {
            return Ok(Arc::clone(fd));
        }
        let fd = Arc::new(crate::readiness::ReadinessFd::new(!state.records.is_empty())?);
        state.fd = Some(Arc::clone(&fd));
        Ok(fd)
    }
}

impl<R: Records> State<R> {
    fn after_read(&self) {
        #[cfg(feature = "fd")]
        if let Some(fd) = &self.fd
            && self.records.is_empty()
        {
            fd.clear();
        }
    }
}
