//! The fanotify dialect (kernel: fs/notify/fanotify): records name objects by
//! file handle, also objects that nobody holds.
//!
//! A group made without any `REPORT_*FID` flag is accepted, as on Linux, but
//! hears only of events that come with a path, and its records carry no
//! descriptor (`FAN_NOFD`): a process has none to give.

mod check;
mod flags;
mod marking;
mod queue;
mod record;
mod telling;

use std::sync::Arc;

pub use self::{
    flags::{InitFlags, MarkFlags},
    record::{Info, InfoKind, Infos, Metadata, Record, Records, records},
};
use crate::{
    Account, Counts, Error,
    channel::{Channel, Records as _},
    group::{Dialect, Group},
};
pub(crate) use telling::handle;

/// What a fanotify group has beside its marks.
pub(crate) struct Backend {
    channel: Channel<queue::Queue>,
    flags: InitFlags,
    only_pid: Option<i32>,
}

/// A fanotify group. Dropping it removes its marks.
#[derive(Debug)]
pub struct Fanotify {
    group: Arc<Group>,
    flags: InitFlags,
    privileged: bool,
}

impl Fanotify {
    /// A new group; its queue's limit is `account`'s at this moment.
    ///
    /// # Errors
    /// `EINVAL` (flags), `EPERM` (not for the unprivileged), `EMFILE` (limit of
    /// groups), `EOPNOTSUPP` ([`Error::Unsupported`]).
    #[doc(alias = "fanotify_init")]
    pub fn new(account: &Arc<Account>, flags: InitFlags) -> Result<Self, Error> {
        let privileged = account.only_pid().is_none();
        check::init(flags, privileged)?;
        let unlimited = flags.contains(InitFlags::UNLIMITED_QUEUE);
        let max = if unlimited { usize::MAX } else { account.limits().queued_events };
        let fid = flags & InitFlags::FID_BITS;
        let format = queue::Format {
            handles: !fid.is_empty(),
            object_only: fid == InitFlags::REPORT_FID,
            names: fid.contains(InitFlags::REPORT_NAME),
        };
        let backend = Backend {
            channel: Channel::new(queue::Queue::new(max, format)),
            flags,
            only_pid: account.only_pid(),
        };
        let group = Group::new(account, Dialect::Fanotify(backend))?;
        Ok(Self { group, flags, privileged })
    }

    /// The flags it was made with.
    #[must_use]
    pub fn flags(&self) -> InitFlags {
        self.flags
    }

    fn backend(&self) -> &Backend {
        match &self.group.dialect {
            Dialect::Fanotify(backend) => backend,
            // `new` is the only maker of this type.
            Dialect::Inotify(_) => unreachable!("a Fanotify holds a fanotify group"),
        }
    }

    /// Reads whole records, byte for byte as `read(2)` gives them; decode them
    /// with [`records`]. Sleeps while there is none, unless the group was made
    /// with [`InitFlags::NONBLOCK`].
    ///
    /// # Errors
    /// `EINVAL` if the buffer cannot hold the first record, `EAGAIN`.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.backend().channel.read(buffer, self.flags.contains(InitFlags::NONBLOCK))
    }

    /// Bytes queued.
    #[doc(alias = "FIONREAD")]
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.backend().channel.with(|queue| queue.bytes())
    }

    /// Records queued, an overflow record among them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.backend().channel.with(|queue| queue.len())
    }

    /// Marks it has.
    #[must_use]
    pub fn marks(&self) -> usize {
        self.group.table().len()
    }

    /// How many records were queued, merged and dropped so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.backend().channel.counts()
    }

    /// As [`Inotify::on_ready`](crate::inotify::Inotify::on_ready).
    pub fn on_ready(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.backend().channel.set_hook(Arc::new(hook));
    }

    /// As [`Inotify::readiness`](crate::inotify::Inotify::readiness).
    ///
    /// # Errors
    /// Those of `eventfd(2)`.
    #[cfg(feature = "fd")]
    pub fn readiness(&self) -> rustix::io::Result<Arc<crate::ReadinessFd>> {
        self.backend().channel.fd()
    }
}

impl Drop for Fanotify {
    fn drop(&mut self) {
        self.group.shut_down();
    }
}
