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
    Account, Error, Reader,
    channel::Channel,
    group::{Dialect, Group},
};
pub(crate) use telling::handle;

/// What a fanotify group has beside its marks.
pub(crate) struct Backend {
    pub(crate) channel: Channel<queue::Queue>,
    flags: InitFlags,
    only_pid: Option<i32>,
}

/// A fanotify group: a [`Reader`] that can mark.
#[derive(Debug)]
pub struct Fanotify {
    reader: Reader,
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
        let reader = Reader::new(group, flags.contains(InitFlags::NONBLOCK));
        Ok(Self { reader, flags, privileged })
    }

    /// The flags it was made with.
    #[must_use]
    pub fn flags(&self) -> InitFlags {
        self.flags
    }
}

impl std::ops::Deref for Fanotify {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}
