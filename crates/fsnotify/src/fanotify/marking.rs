//! What `fanotify_mark` does to the marks of a group
//! (kernel: fs/notify/fanotify/fanotify_user.c).

use std::sync::Arc;

use super::{
    Fanotify,
    check::{self, Command},
    flags::{EVENT_FLAGS, InitFlags, MarkFlags},
};
use crate::{
    Error, Mask, Object, ObjectKind,
    group::Pin,
    mark::{self, Mark, has_children},
};

impl Fanotify {
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
            idle |= EVENT_FLAGS;
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
        let mut table = self.reader.group.table();
        let connector = object.connector();
        let evictable = flags.contains(MarkFlags::EVICTABLE);
        if let Some(mark) = connector.find(self.reader.group.id) {
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
        let charge =
            self.reader.group.charge_mark(self.flags.contains(InitFlags::UNLIMITED_MARKS))?;
        let Some(key) = table.free_key() else {
            return Err(Error::TooManyMarks { limit: i32::MAX as u64 });
        };
        let own = if evictable { mark::MarkFlags::EVICTABLE } else { mark::MarkFlags::empty() };
        let mark = Mark::new(&self.reader.group, key, Mask::empty(), own);
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
        let table = self.reader.group.table();
        let mark = connector.find(self.reader.group.id).ok_or(Error::NoMark)?;
        connector.update(|| {
            if ignore {
                mark.set_ignore_mask(mark.ignore_mask() - mask);
            } else {
                mark.set_mask(mark.mask() - mask);
            }
        });
        drop(table);
        if (mark.mask() | mark.ignore_mask()) - idle == Mask::empty() {
            self.reader.group.destroy(mark.key);
        }
        Ok(())
    }

    fn flush(&self, flags: MarkFlags) {
        let super_blocks = flags.contains(MarkFlags::FILESYSTEM);
        let (keys, objects) = {
            let table = self.reader.group.table();
            table.select(|object| {
                !flags.contains(MarkFlags::MOUNT)
                    && (object.kind() == ObjectKind::SuperBlock) == super_blocks
            })
        };
        for key in keys {
            self.reader.group.destroy(key);
        }
        drop(objects);
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
