//! From an event to a record: whether the group gets it, and what it names
//! (kernel: fs/notify/fanotify/fanotify.c).

use super::{Backend, InitFlags, queue::Key};
use crate::{Event, Mask, Origin, PathData, dispatch::Met};

/// Kernel: `fanotify_handle_event`.
pub(crate) fn handle(backend: &Backend, event: &Event<'_>, met: Met<'_>) {
    if event.origin == Origin::Deferred && !backend.flags.contains(InitFlags::REPORT_DEFERRED) {
        return;
    }
    let mask = mask_for(backend.flags, event, met);
    if mask.is_empty() {
        return;
    }
    let key = key_for(backend, event);
    backend.channel.push(|queue| {
        let mut attached = false;
        met.each(|mark, _| attached |= mark.is_attached());
        attached.then(|| queue.push(mask, key))
    });
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
    met.each(|mark, as_parent| {
        suppressed |= mark.suppresses(is_dir, as_parent);
        let own = mark.mask();
        let asked = (!is_dir || own.contains(Mask::ISDIR))
            && (!as_parent || own.contains(Mask::EVENT_ON_CHILD));
        if asked {
            wanted |= own;
        }
    });
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
