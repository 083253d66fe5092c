//! Things to watch, and what a reader of theirs sees.

use std::sync::Arc;

use fsnotify::{
    Account, Event, Limits, Mask, ObjectKind,
    inotify::{InitFlags, Inotify, WatchMask, records},
    notify,
};
pub(crate) use tmpfs_twin::Thing;

pub(crate) fn file() -> Arc<Thing> {
    Thing::new(ObjectKind::File)
}

pub(crate) fn dir() -> Arc<Thing> {
    Thing::new(ObjectKind::Directory)
}

pub(crate) fn limits(groups: u64, marks: u64, queued_events: usize) -> Limits {
    Limits { groups, marks, queued_events }
}

pub(crate) fn inotify() -> Inotify {
    inotify_of(Limits::default())
}

pub(crate) fn inotify_of(limits: Limits) -> Inotify {
    Inotify::new(&Account::new(limits), InitFlags::NONBLOCK).unwrap()
}

/// What a reader sees: descriptor, mask, cookie, name.
pub(crate) type Seen = (i32, Mask, u32, String);

pub(crate) fn seen(wd: i32, mask: Mask) -> Seen {
    (wd, mask, 0, String::new())
}

pub(crate) fn named(wd: i32, mask: Mask, name: &str) -> Seen {
    (wd, mask, 0, name.to_owned())
}

/// Reads all that is queued.
pub(crate) fn drain(inotify: &Inotify) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = inotify.read(&mut buffer) {
        let mut decoder = records(&buffer[..read]);
        all.extend(decoder.by_ref().map(|record| {
            let name = String::from_utf8_lossy(record.name.unwrap_or_default()).into_owned();
            (record.wd, record.mask, record.cookie, name)
        }));
        assert!(decoder.rest().is_empty(), "a read returns whole records");
    }
    all
}

pub(crate) fn watch(inotify: &Inotify, thing: &Arc<Thing>, mask: WatchMask) -> i32 {
    inotify.add_watch(thing.clone(), mask).unwrap()
}

/// An event on the object alone.
pub(crate) fn happen(mask: Mask, thing: &Thing) {
    notify(&Event::on(mask, thing));
}
