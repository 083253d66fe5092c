//! The fanotify dialect (kernel: fs/notify/fanotify): records name objects by
//! file handle, also objects that nobody holds.
//!
//! A group made without any `REPORT_*FID` flag is accepted, as on Linux, but
//! hears only of events that come with a path, and its records carry no
//! descriptor (`FAN_NOFD`): a process has none to give.

mod check;
mod flags;
mod queue;
mod record;

use std::sync::Arc;

use check::Command;
use queue::Key;

pub use self::{
    flags::{InitFlags, MarkFlags},
    record::{Info, InfoKind, Infos, Metadata, Record, Records, records},
};
use crate::{
    Account, Counts, Error, Event, Mask, Object, ObjectKind, Origin, PathData,
    channel::{Channel, Records as _},
    dispatch::Met,
    group::{Dialect, Group, Pin},
    mark::{self, Mark, has_children},
};

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

    /// Adds to, takes from or removes marks. With [`MarkFlags::FILESYSTEM`] the
    /// object is a super block. `FLUSH` removes all marks of the kind.
    ///
    /// # Errors
    /// `EINVAL` (flags, mask), `EPERM` (not for the unprivileged), `ENOTDIR`,
    /// `EISDIR`, `EACCES`, `ENODEV` (no fsid), `EXDEV` (two file systems
    /// without fsid), `EOPNOTSUPP` (handles do not decode, or
    /// [`Error::Unsupported`]), `EEXIST` ([`Error::MarkIsStronger`]), `ENOENT`
    /// (nothing to remove, or the object is gone), `ENOSPC` (limit of marks).
    #[doc(alias = "fanotify_mark")]
    pub fn mark(&self, flags: MarkFlags, mask: u64, object: &Arc<dyn Object>) -> Result<(), Error> {
        let command = check::mark(self.flags, self.privileged, flags, mask)?;
        if command == Command::Flush {
            self.flush(flags);
            return Ok(());
        }
        check::object(self.flags, flags, mask, &**object)?;
        if flags.contains(MarkFlags::MOUNT) {
            return Err(Error::Unsupported { what: "mount marks" });
        }
        // Checked to be 32 bits.
        let mut mask = Mask::from_bits_retain(mask as u32);
        let ignore = flags.intersects(MarkFlags::IGNORE_BITS);
        // Remarks the older ignore mask, or anything but a directory, has no
        // use for; a mark of which only they remain goes.
        let mut idle = Mask::empty();
        if flags.contains(MarkFlags::IGNORED_MASK) {
            idle |= flags::EVENT_FLAGS;
        }
        if !has_children(object.kind()) {
            idle |= Mask::EVENT_ON_CHILD;
        }
        mask -= idle;
        match command {
            Command::Add => self.add(flags, mask, ignore, object),
            Command::Remove => self.remove(mask, ignore, idle, object),
            Command::Flush => Ok(()),
        }
    }

    fn add(
        &self,
        flags: MarkFlags,
        mask: Mask,
        ignore: bool,
        object: &Arc<dyn Object>,
    ) -> Result<(), Error> {
        // Declared first, to be dropped when the table is unlocked: it may turn
        // out to be the last reference to an object.
        let sample;
        let survives = flags.contains(MarkFlags::IGNORED_SURV_MODIFY);
        if ignore && !survives && object.open_for_write() {
            return Ok(());
        }
        let mut table = self.group.table();
        let connector = object.connector();
        let evictable = flags.contains(MarkFlags::EVICTABLE);
        if let Some(mark) = connector.find(self.group.id) {
            refuse_weaker(&mark, flags)?;
            check::supported(mask)?;
            connector.update(|| widen(&mark, flags, mask, ignore));
            if !evictable {
                table.hold(mark.key, Arc::clone(object));
            }
            return Ok(());
        }
        if self.flags.intersects(InitFlags::FID_BITS) {
            sample = table.sample();
            refuse_other_file_system(sample.as_deref(), &**object)?;
        }
        check::supported(mask)?;
        let charge = self.group.charge_mark(self.flags.contains(InitFlags::UNLIMITED_MARKS))?;
        let Some(key) = table.free_key() else {
            return Err(Error::TooManyMarks { limit: i32::MAX as u64 });
        };
        let own = if evictable { mark::MarkFlags::EVICTABLE } else { mark::MarkFlags::empty() };
        let mark = Mark::new(&self.group, key, Mask::empty(), own);
        widen(&mark, flags, mask, ignore);
        connector.add(Arc::clone(&mark))?;
        let pin = if evictable {
            Pin::Evictable(Arc::downgrade(object))
        } else {
            Pin::Held(Arc::clone(object))
        };
        table.enter(mark, pin, charge);
        Ok(())
    }

    fn remove(
        &self,
        mask: Mask,
        ignore: bool,
        idle: Mask,
        object: &Arc<dyn Object>,
    ) -> Result<(), Error> {
        let connector = object.connector();
        let table = self.group.table();
        let mark = connector.find(self.group.id).ok_or(Error::NoMark)?;
        connector.update(|| {
            if ignore {
                mark.set_ignore_mask(mark.ignore_mask() - mask);
            } else {
                mark.set_mask(mark.mask() - mask);
            }
        });
        drop(table);
        if (mark.mask() | mark.ignore_mask()) - idle == Mask::empty() {
            self.group.destroy(mark.key);
        }
        Ok(())
    }

    fn flush(&self, flags: MarkFlags) {
        let super_blocks = flags.contains(MarkFlags::FILESYSTEM);
        let (keys, objects) = {
            let table = self.group.table();
            table.select(|object| {
                !flags.contains(MarkFlags::MOUNT)
                    && (object.kind() == ObjectKind::SuperBlock) == super_blocks
            })
        };
        for key in keys {
            self.group.destroy(key);
        }
        drop(objects);
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

/// Kernel: `fanotify_may_update_existing_mark`.
fn refuse_weaker(mark: &Mark, flags: MarkFlags) -> Result<(), Error> {
    let has = mark.flags();
    let downgrade = flags.contains(MarkFlags::EVICTABLE)
        && !has.contains(mark::MarkFlags::EVICTABLE)
        || flags.contains(MarkFlags::IGNORED_MASK)
            && has.contains(mark::MarkFlags::HAS_IGNORE_FLAGS)
        || flags.contains(MarkFlags::IGNORE)
            && !flags.contains(MarkFlags::IGNORED_SURV_MODIFY)
            && has.contains(mark::MarkFlags::IGNORED_SURV_MODIFY);
    if downgrade { Err(Error::MarkIsStronger) } else { Ok(()) }
}

/// Kernel: `fanotify_set_mark_fsid`. File systems without an id cannot be told
/// apart in records, so a group may mark one of them and nothing else.
fn refuse_other_file_system(sample: Option<&dyn Object>, object: &dyn Object) -> Result<(), Error> {
    let new = object.file_system();
    let Some(sample) = sample else { return Ok(()) };
    let old = sample.file_system();
    let weak = new.fsid.is_none();
    if weak != old.fsid.is_none() || (weak && new.identity != old.identity) {
        return Err(Error::CrossFileSystem);
    }
    Ok(())
}

/// Kernel: `fanotify_mark_add_to_mask`, `fanotify_mark_update_flags`.
fn widen(mark: &Mark, flags: MarkFlags, mask: Mask, ignore: bool) {
    let mut own = mark.flags();
    if ignore {
        mark.set_ignore_mask(mark.ignore_mask() | mask);
        if flags.contains(MarkFlags::IGNORE) {
            own |= mark::MarkFlags::HAS_IGNORE_FLAGS;
        }
        if flags.contains(MarkFlags::IGNORED_SURV_MODIFY) {
            own |= mark::MarkFlags::IGNORED_SURV_MODIFY;
        }
    } else {
        mark.set_mask(mark.mask() | mask);
    }
    if !flags.contains(MarkFlags::EVICTABLE) {
        own -= mark::MarkFlags::EVICTABLE;
    }
    mark.set_flags(own);
}

/// Kernel: `fanotify_handle_event`.
pub(crate) fn handle(backend: &Backend, event: &Event<'_>, met: Met<'_>) {
    if event.origin == Origin::Deferred && !backend.flags.contains(InitFlags::REPORT_DEFERRED) {
        return;
    }
    let mask = mask_for(backend.flags, event, met);
    if mask.is_empty() {
        return;
    }
    let attached = || met.marks().any(|(mark, _)| mark.is_attached());
    let key = key_for(backend, event);
    backend.channel.push(|queue| attached().then(|| queue.push(mask, key)));
}

/// What of the event the group gets; empty for nothing (kernel:
/// `fanotify_group_event_mask`).
fn mask_for(flags: InitFlags, event: &Event<'_>, met: Met<'_>) -> Mask {
    let is_dir = event.mask.contains(Mask::ISDIR);
    let handles = flags.intersects(InitFlags::FID_BITS);
    let speechless = if handles {
        // Only directories are named, and there is none.
        !flags.contains(InitFlags::REPORT_FID)
            && event.dir.is_none()
            && event.parent.is_none()
            && !is_dir
    } else {
        event.path == PathData::None
    };
    if speechless {
        return Mask::empty();
    }
    let mut wanted = Mask::empty();
    let mut suppressed = Mask::empty();
    for (mark, as_parent) in met.marks() {
        suppressed |= mark.suppresses(is_dir, as_parent);
        let own = mark.mask();
        if is_dir && !own.contains(Mask::ISDIR) || as_parent && !own.contains(Mask::EVENT_ON_CHILD)
        {
            continue;
        }
        wanted |= own;
    }
    let events = event.mask & (wanted - suppressed) & Mask::EVENTS;
    if events.is_empty() || !handles {
        return events;
    }
    // Directories are told apart only where handles are reported.
    events | (event.mask & Mask::ISDIR)
}

/// What the record names (kernel: `fanotify_alloc_event`).
fn key_for(backend: &Backend, event: &Event<'_>) -> Key {
    let flags = backend.flags;
    let is_dir = event.mask.contains(Mask::ISDIR);
    let dirent = event.mask.intersects(Mask::DIRENT);
    let handles = flags.intersects(InitFlags::FID_BITS);
    // Of a directory's own event the directory is the object itself.
    let dir = if dirent || !is_dir { event.parent } else { event.target };
    let with_dir = flags.contains(InitFlags::REPORT_DIR_FID) && dir.is_some();
    let object_of_name = flags.contains(InitFlags::REPORT_TARGET_FID);
    let mut key = Key {
        fsid: if handles { event.fsid } else { Default::default() },
        object: None,
        dir: None,
        name: None,
        pid: match backend.only_pid {
            Some(own) if own != event.pid => 0,
            _ => event.pid,
        },
        is_dir,
        is_rename: event.mask.contains(Mask::RENAME),
    };
    if !with_dir {
        key.object = if dirent && !object_of_name { event.parent } else { event.target };
        return key;
    }
    let named = flags.contains(InitFlags::REPORT_NAME) && (dirent || !is_dir);
    let child = if dirent {
        event.target.filter(|_| object_of_name)
    } else {
        event.target.filter(|_| flags.contains(InitFlags::REPORT_FID) && !is_dir)
    };
    if named || child.is_some() {
        key.dir = dir;
        key.object = child;
        key.name = event.name.filter(|_| named).map(Into::into);
    } else {
        // A single handle: the directory takes the object's place.
        key.object = dir;
    }
    key
}
