//! The least an [`Object`] can be.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fsnotify::{Connector, FileSystem, Object, ObjectKind};

/// An object of any kind in any file system.
#[derive(Debug)]
pub struct Thing {
    connector: Connector,
    kind: ObjectKind,
    readable: bool,
    file_system: FileSystem,
    written: AtomicBool,
}

impl Thing {
    /// One that may be read, in no particular file system.
    #[must_use]
    pub fn new(kind: ObjectKind) -> Arc<Self> {
        Self::in_file_system(kind, FileSystem::default())
    }

    /// One that may be read.
    #[must_use]
    pub fn in_file_system(kind: ObjectKind, file_system: FileSystem) -> Arc<Self> {
        Arc::new(Self::made(kind, file_system, true))
    }

    /// A file that may not be read.
    #[must_use]
    pub fn secret() -> Arc<Self> {
        Arc::new(Self::made(ObjectKind::File, FileSystem::default(), false))
    }

    fn made(kind: ObjectKind, file_system: FileSystem, readable: bool) -> Self {
        let written = AtomicBool::new(false);
        Self { connector: Connector::new(), kind, readable, file_system, written }
    }

    /// Says whether someone has it open for writing.
    pub fn set_written(&self, written: bool) {
        self.written.store(written, Ordering::Relaxed);
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
