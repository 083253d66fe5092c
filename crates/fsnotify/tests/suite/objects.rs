//! Things to watch: the least an [`Object`] can be.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fsnotify::{
    Account, Connector, Event, FileSystem, Limits, Mask, Object, ObjectKind,
    inotify::{InitFlags, Inotify, WatchMask, records},
    notify,
};

/// An object of any kind in any file system.
pub(crate) struct Thing {
    connector: Connector,
    kind: ObjectKind,
    pub(crate) readable: bool,
    pub(crate) file_system: FileSystem,
    /// Whether someone has it open for writing.
    pub(crate) written: AtomicBool,
}

impl Thing {
    pub(crate) fn new(kind: ObjectKind) -> Arc<Self> {
        Self::in_file_system(kind, FileSystem::default())
    }

    pub(crate) fn in_file_system(kind: ObjectKind, file_system: FileSystem) -> Arc<Self> {
        Arc::new(Self::made(kind, file_system, true))
    }

    fn made(kind: ObjectKind, file_system: FileSystem, readable: bool) -> Self {
        let written = AtomicBool::new(false);
        Self { connector: Connector::new(), kind, readable, file_system, written }
    }

    pub(crate) fn file() -> Arc<Self> {
        Self::new(ObjectKind::File)
    }

    pub(crate) fn dir() -> Arc<Self> {
        Self::new(ObjectKind::Directory)
    }

    pub(crate) fn secret() -> Arc<Self> {
        Arc::new(Self::made(ObjectKind::File, FileSystem::default(), false))
    }
}

impl Object for Thing {
    fn connector(&self) -> &Connector {
        &self.connector
    }

    fn kind(&self) -> ObjectKind {
        self.kind
    }

    fn file_system(&self) -> FileSystem {
        self.file_system
    }

    fn readable(&self) -> bool {
        self.readable
    }

    fn open_for_write(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }
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
