//! kernel-semantics 3.5 and 3.2: the fanotify dialect.
//! Kernel: fs/notify/fanotify.

mod ignored;
mod marks;
mod records;

use std::sync::Arc;

use fsnotify::{
    Account, Error, Event, FileHandle, FileSystem, Fsid, Limits, Mask, Object, ObjectKind,
    fanotify::{Fanotify, InfoKind, InitFlags, MarkFlags, records},
};

use crate::objects::{Thing, limits};

const STRONG: FileSystem =
    FileSystem { identity: 1, fsid: Fsid(*b"fsid-one"), decodes_handles: true };
const FID: InitFlags = InitFlags::REPORT_FID;
const DFID_NAME: InitFlags = InitFlags::REPORT_DIR_FID.union(InitFlags::REPORT_NAME);
const TARGET: InitFlags = FID.union(DFID_NAME).union(InitFlags::REPORT_TARGET_FID);
const WHOLE: MarkFlags = MarkFlags::ADD.union(MarkFlags::FILESYSTEM);

/// A directory with id 1, a file in it with id 2, and their file system.
struct World {
    dir: Arc<dyn Object>,
    file: Arc<dyn Object>,
    whole: Arc<dyn Object>,
    account: Arc<Account>,
}

impl World {
    fn new() -> Self {
        Self::with(limits(100, 100, 1000))
    }

    fn with(limits: Limits) -> Self {
        let thing = |kind| -> Arc<dyn Object> { Thing::in_file_system(kind, STRONG) };
        Self {
            dir: thing(ObjectKind::Directory),
            file: thing(ObjectKind::File),
            whole: thing(ObjectKind::SuperBlock),
            account: Account::new(limits),
        }
    }

    fn group(&self, flags: InitFlags) -> Fanotify {
        Fanotify::new(&self.account, flags | InitFlags::NONBLOCK).unwrap()
    }

    fn event(&self, mask: Mask) -> Event<'_> {
        Event { super_block: Some(&*self.whole), fsid: STRONG.fsid, pid: 7, ..Event::new(mask) }
    }

    /// An event on the file, known by its directory.
    fn on_file(&self, mask: Mask) -> Event<'_> {
        Event {
            inode: Some(&*self.file),
            dir: Some(&*self.dir),
            name: Some(b"f"),
            target: Some(id(2)),
            parent: Some(id(1)),
            ..self.event(mask | Mask::EVENT_ON_CHILD)
        }
    }

    /// The directory's event about a name.
    fn entry<'a>(&'a self, mask: Mask, name: &'a [u8], target: Option<u64>) -> Event<'a> {
        Event {
            dir: Some(&*self.dir),
            name: Some(name),
            parent: Some(id(1)),
            target: target.map(id),
            ..self.event(mask)
        }
    }

    /// An event on the directory itself.
    fn on_dir(&self, mask: Mask) -> Event<'_> {
        Event { inode: Some(&*self.dir), target: Some(id(1)), ..self.event(mask | Mask::ISDIR) }
    }
}

fn id(id: u64) -> FileHandle {
    FileHandle::of_id(0xfe, id)
}

fn add(group: &Fanotify, mask: Mask, object: &Arc<dyn Object>) {
    mark(group, MarkFlags::ADD, mask, object).unwrap();
}

fn mark(
    group: &Fanotify,
    flags: MarkFlags,
    mask: Mask,
    object: &Arc<dyn Object>,
) -> Result<(), Error> {
    group.mark(flags, mask.bits().into(), object)
}

/// Each record as its events, pid and infos: `F` fid, `D` dfid, `N` with name.
fn told(group: &Fanotify) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = group.read(&mut buffer) {
        let mut decoder = records(&buffer[..read]);
        for record in decoder.by_ref() {
            let names: Vec<_> = record.metadata.mask.iter_names().map(|(name, _)| name).collect();
            let mut line = format!("{} {}", names.join("|"), record.metadata.pid);
            for info in record.infos() {
                assert_eq!(info.fsid, STRONG.fsid);
                let name = String::from_utf8_lossy(info.name.unwrap_or_default());
                let id = info.handle.id().unwrap();
                line += &match info.kind {
                    InfoKind::Fid => format!(" F{id}"),
                    InfoKind::Dfid => format!(" D{id}"),
                    InfoKind::DfidName => format!(" N{id}/{name}"),
                };
            }
            assert_eq!(record.metadata.fd, -1);
            all.push(line);
        }
        assert!(decoder.rest().is_empty());
    }
    all
}

impl World {
    fn with_one_more_group(&self) -> Fanotify {
        let account = Account::new(limits(1, 1, 0));
        Fanotify::new(&account, FID | InitFlags::NONBLOCK).unwrap()
    }
}
