//! The inotify dialect (kernel: fs/notify/inotify).
//!
//! ```
//! use std::sync::Arc;
//! use fsnotify::{Account, Connector, Event, Limits, Mask, Object, ObjectKind, notify};
//! use fsnotify::inotify::{InitFlags, Inotify, WatchMask, records};
//!
//! struct File(Connector);
//! impl Object for File {
//!     fn connector(&self) -> &Connector { &self.0 }
//!     fn kind(&self) -> ObjectKind { ObjectKind::File }
//! }
//!
//! # fn main() -> Result<(), fsnotify::Error> {
//! let file = Arc::new(File(Connector::new()));
//! let inotify = Inotify::new(&Account::new(Limits::default()), InitFlags::NONBLOCK)?;
//! let wd = inotify.add_watch(file.clone(), WatchMask::MODIFY)?;
//! notify(&Event::on(Mask::MODIFY, &*file));
//!
//! let mut buffer = [0; 64];
//! let read = inotify.read(&mut buffer)?;
//! let record = records(&buffer[..read]).next().expect("one record");
//! assert_eq!((record.wd, record.mask), (wd, Mask::MODIFY));
//! # Ok(())
//! # }
//! ```

mod flags;
mod queue;
mod record;

use std::sync::Arc;

pub use self::{
    flags::{InitFlags, WatchMask},
    record::{Record, Records, records},
};
use crate::{
    Account, Error, Event, Mask, Object, Origin, PathData, Reader,
    channel::Channel,
    dispatch::Met,
    group::{Dialect, Group, Pin},
    mark::{Mark, MarkFlags, has_children},
};

/// What an inotify group has beside its marks.
pub(crate) struct Backend {
    pub(crate) channel: Channel<queue::Queue>,
    local_only: bool,
}

/// An inotify instance: a [`Reader`] that can watch.
#[derive(Debug)]
pub struct Inotify {
    reader: Reader,
    local_only: bool,
}

impl Inotify {
    /// A new instance; its queue's limit is `account`'s at this moment.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EMFILE` at the limit of groups.
    #[doc(alias = "inotify_init1")]
    pub fn new(account: &Arc<Account>, flags: InitFlags) -> Result<Self, Error> {
        let flags = flags.check()?;
        let local_only = flags.contains(InitFlags::LOCAL_ONLY);
        let channel = Channel::new(queue::Queue::new(account.limits().queued_events));
        let group = Group::new(account, Dialect::Inotify(Backend { channel, local_only }))?;
        let reader = Reader::new(group, flags.contains(InitFlags::NONBLOCK));
        Ok(Self { reader, local_only })
    }

    /// Whether it was made with [`InitFlags::LOCAL_ONLY`].
    #[must_use]
    pub fn is_local_only(&self) -> bool {
        self.local_only
    }

    /// Watches an object and returns the watch descriptor. An object that is
    /// already watched keeps its descriptor; its mask is replaced, or added to
    /// with [`WatchMask::MASK_ADD`].
    ///
    /// # Errors
    /// `EINVAL` (mask), `ENOTDIR` (`ONLYDIR`), `EACCES` (not readable),
    /// `EEXIST` (`MASK_CREATE`), `ENOSPC` (limit of watches), `ENOENT` (the
    /// object is gone).
    #[doc(alias = "inotify_add_watch")]
    pub fn add_watch(&self, object: Arc<dyn Object>, mask: WatchMask) -> Result<i32, Error> {
        let mask = mask.check()?;
        let is_dir = has_children(object.kind());
        if mask.contains(WatchMask::ONLYDIR) && !is_dir {
            return Err(Error::NotDirectory);
        }
        if !object.readable() {
            return Err(Error::AccessDenied);
        }
        // A directory's watch covers its children, and none asks for UNMOUNT.
        let mut events = mask.events();
        events.insert(Mask::UNMOUNT);
        events.set(Mask::EVENT_ON_CHILD, is_dir);
        let mut flags = MarkFlags::empty();
        flags.set(MarkFlags::ONESHOT, mask.contains(WatchMask::ONESHOT));
        flags.set(MarkFlags::EXCL_UNLINK, mask.contains(WatchMask::EXCL_UNLINK));

        let mut table = self.reader.group.table();
        let connector = object.connector();
        if let Some(mark) = connector.find(self.reader.group.id) {
            if mask.contains(WatchMask::MASK_CREATE) {
                return Err(Error::AlreadyWatched { wd: mark.key });
            }
            let add = mask.contains(WatchMask::MASK_ADD);
            connector.update(|| {
                mark.set_mask(if add { mark.mask() | events } else { events });
                mark.set_flags(if add { mark.flags() | flags } else { flags });
            });
            return Ok(mark.key);
        }
        let charge = self.reader.group.charge_mark(false)?;
        let Some(wd) = table.free_key() else {
            return Err(Error::TooManyMarks { limit: i32::MAX as u64 });
        };
        let mark = Mark::new(&self.reader.group, wd, events, flags);
        connector.add(Arc::clone(&mark))?;
        table.enter(mark, Pin::Held(object), charge);
        Ok(wd)
    }

    /// Removes a watch. Its last record is `IGNORED`; what was queued before
    /// stays queued.
    ///
    /// # Errors
    /// `EINVAL` if there is no such watch.
    #[doc(alias = "inotify_rm_watch")]
    pub fn rm_watch(&self, wd: i32) -> Result<(), Error> {
        if self.reader.group.destroy(wd) { Ok(()) } else { Err(Error::UnknownWatch { wd }) }
    }

    /// Watches it has.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.marks()
    }
}

impl std::ops::Deref for Inotify {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// Kernel: `fsnotify_handle_event`. The directory's mark first, with the name;
/// then the object's own, with the name only if it is a directory's event.
pub(crate) fn handle(backend: &Backend, event: &Event<'_>, met: Met<'_>) {
    if backend.local_only && event.origin == Origin::Deferred {
        return;
    }
    if let Some(mark) = met.parent
        && mark.mask().contains(Mask::EVENT_ON_CHILD)
    {
        handle_mark(backend, event, mark, event.name);
    }
    if let Some(mark) = met.inode {
        let own = event.mask.contains(Mask::EVENT_ON_CHILD);
        handle_mark(backend, event, mark, if own { None } else { event.name });
    }
}

/// What a record can say (kernel: `inotify_mask_to_arg`).
const REPORTED: Mask =
    Mask::from_bits_retain(WatchMask::ALL_EVENTS.bits()).union(Mask::UNMOUNT).union(Mask::ISDIR);

/// Kernel: `inotify_handle_inode_event`.
fn handle_mark(backend: &Backend, event: &Event<'_>, mark: &Mark, name: Option<&[u8]>) {
    let flags = mark.flags();
    if flags.contains(MarkFlags::EXCL_UNLINK) && event.path == PathData::Unlinked {
        return;
    }
    if !event.mask.has_event_of(mark.mask()) {
        return;
    }
    let mut mask = event.mask & REPORTED;
    // Never said of an object itself, only of a name in a directory.
    if mask.intersects(Mask::DELETE_SELF | Mask::MOVE_SELF) {
        mask.remove(Mask::ISDIR);
    }
    let record = Record { wd: mark.key, mask, cookie: event.cookie, name };
    let oneshot = flags.contains(MarkFlags::ONESHOT);
    let pushed = backend.channel.push(|queue| {
        let pushed = mark.is_attached().then(|| queue.push(&record));
        if oneshot {
            // One record, also if two threads have an event at once.
            mark.detach();
        }
        pushed
    });
    if oneshot && pushed.is_some() {
        mark.group.destroy(mark.key);
    }
}

impl Backend {
    /// The mark's last record. Nothing of it is queued from here on.
    pub(crate) fn mark_freed(&self, mark: &Mark) {
        let record = Record { wd: mark.key, mask: Mask::IN_IGNORED, cookie: 0, name: None };
        self.channel.push(|queue| {
            mark.detach();
            Some(queue.push(&record))
        });
    }
}
