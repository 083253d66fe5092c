//! The reading side of a group, one for both dialects.

use std::{fmt, sync::Arc};

use crate::{Counts, Error, group::Group};

/// What the owner of a group reads from: [`Inotify`](crate::inotify::Inotify)
/// and [`Fanotify`](crate::fanotify::Fanotify) are readers that can also mark.
/// Dropping it removes the marks, telling nobody.
pub struct Reader {
    pub(crate) group: Arc<Group>,
    nonblocking: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("group", &self.group.id)
            .field("marks", &self.marks())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(group: Arc<Group>, nonblocking: bool) -> Self {
        Self { group, nonblocking }
    }

    /// Reads whole records, byte for byte as `read(2)` gives them; decode them
    /// with `records` of the dialect. Sleeps while there is none, unless the
    /// group was made with its `NONBLOCK`. No signal interrupts it.
    ///
    /// # Errors
    /// `EINVAL` if the buffer cannot hold the first record, `EAGAIN`.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.group.queue().read(buffer, self.nonblocking)
    }

    /// Bytes queued: the sum of the records' sizes (Linux counts 24 bytes for
    /// each of fanotify's, whatever follows).
    #[doc(alias = "FIONREAD")]
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.group.queue().bytes()
    }

    /// Records queued, an overflow record among them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.group.queue().len()
    }

    /// Marks it has.
    #[must_use]
    pub fn marks(&self) -> usize {
        self.group.table().len()
    }

    /// How many records were queued, merged and dropped so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.group.queue().counts()
    }

    /// Calls `hook` whenever the queue stops being empty, on the thread that
    /// queued, with no lock of this crate held; at once if it is not empty
    /// now. It replaces an earlier hook.
    pub fn on_ready(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.group.queue().set_hook(Arc::new(hook));
    }

    /// A descriptor that is readable while records are queued. Made at the
    /// first call; from then on filling an empty queue and emptying it cost a
    /// system call each.
    ///
    /// # Errors
    /// Those of `eventfd(2)`.
    #[cfg(feature = "fd")]
    pub fn readiness(&self) -> rustix::io::Result<Arc<crate::ReadinessFd>> {
        self.group.queue().fd()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.group.shut_down();
    }
}
