//! Any program of events, watches and reads on both dialects of `fsnotify`; what it reads must be
//! whole records, which its own decoders and those of `linux-notify` understand alike. Then the
//! program's bytes themselves, as records.

#![no_main]

use std::sync::Arc;

use fsnotify::fanotify::{self, Fanotify};
use fsnotify::inotify::{self, Inotify, WatchMask};
use fsnotify::{
    Account, Connector, Event, FileHandle, FileSystem, Fsid, Limits, Mask, Object, ObjectKind,
    notify,
};
use libfuzzer_sys::fuzz_target;

struct Thing(Connector, ObjectKind);

impl Object for Thing {
    fn connector(&self) -> &Connector {
        &self.0
    }

    fn kind(&self) -> ObjectKind {
        self.1
    }

    fn file_system(&self) -> FileSystem {
        FileSystem { identity: 1, fsid: Fsid([1; 8]), decodes_handles: true }
    }
}

fuzz_target!(|bytes: &[u8]| {
    decode(bytes);
    run(bytes);
});

/// Any bytes as records: decoding ends, and does not panic.
fn decode(bytes: &[u8]) {
    let mut records = inotify::records(bytes);
    let own = records.by_ref().count();
    assert!(bytes.ends_with(records.rest()));
    assert_eq!(own, linux_notify::inotify::Events::parse(bytes).count());
    for record in fanotify::records(bytes) {
        assert!(record.infos().count() <= bytes.len());
    }
}

fn run(mut program: &[u8]) {
    let mut next = || -> usize {
        let (first, rest) = program.split_first().unwrap_or((&0, &[]));
        program = rest;
        usize::from(*first)
    };
    let limits = Limits { groups: 2, marks: 3, queued_events: next() % 8 };
    let account = Account::new(limits);
    let flags = [0x200, 0x400, 0x600, 0xc00, 0xe00, 0x1e00][next() % 6];
    let flags = fanotify::InitFlags::from_bits_retain(flags) | fanotify::InitFlags::NONBLOCK;
    let (Ok(fanotify), Ok(inotify)) =
        (Fanotify::new(&account, flags), Inotify::new(&account, inotify::InitFlags::NONBLOCK))
    else {
        return;
    };
    let thing = |kind| Arc::new(Thing(Connector::new(), kind));
    let (dir, file) = (thing(ObjectKind::Directory), thing(ObjectKind::File));
    let names: [&[u8]; 4] = [b"", b"a", &[b'n'; 255], &[b'x'; 300]];
    for _ in 0..64 {
        let object = if next() % 2 == 0 { &dir } else { &file };
        match next() % 6 {
            0 => {
                let mask = (next() << 24 | next() << 8 | next()) as u32;
                let _ = inotify.add_watch(object.clone(), WatchMask::from_bits_retain(mask));
            }
            1 => {
                let mask = (next() << 24 | next() << 8 | next()) as u64;
                let object: Arc<dyn Object> = object.clone();
                let flags = fanotify::MarkFlags::from_bits_retain((next() << 4 | next()) as u32);
                let _ = fanotify.mark(flags, mask, &object);
            }
            2 => {
                let _ = inotify.rm_watch(next() as i32 - 1);
            }
            3 => read(&inotify, &fanotify, next() * 3),
            kind => {
                let mask = Mask::from_bits_retain((next() << 8 | next()) as u32);
                let name = names[next() % 4];
                let event = match kind {
                    4 => Event::on_child(mask, &*dir, name, &*file),
                    _ => Event::in_dir(mask, &*dir, name),
                };
                let target = Some(FileHandle::of_id(0xfe, next() as u64));
                let parent = Some(FileHandle::of_id(0xfe, 1));
                notify(&Event { target, parent, pid: (next() % 3) as i32, ..event });
            }
        }
    }
    read(&inotify, &fanotify, 1 << 16);
    assert_eq!((inotify.queued(), inotify.readable_bytes()), (0, 0));
    assert_eq!((fanotify.queued(), fanotify.readable_bytes()), (0, 0));
}

fn read(inotify: &Inotify, fanotify: &Fanotify, size: usize) {
    let mut buffer = vec![0xaa; size];
    let before = inotify.readable_bytes();
    if let Ok(read) = inotify.read(&mut buffer) {
        assert_eq!(inotify.readable_bytes(), before - read);
        let mut records = inotify::records(&buffer[..read]);
        let own: Vec<_> = records.by_ref().map(|record| (record.wd, record.mask.bits())).collect();
        assert!(records.rest().is_empty() && !own.is_empty());
        let theirs = linux_notify::inotify::Events::parse(&buffer[..read]);
        assert_eq!(own, theirs.map(|event| (event.wd.0, event.mask.bits())).collect::<Vec<_>>());
    }
    let before = fanotify.readable_bytes();
    if let Ok(read) = fanotify.read(&mut buffer) {
        assert_eq!(fanotify.readable_bytes(), before - read);
        let mut records = fanotify::records(&buffer[..read]);
        let own = records.by_ref().count();
        assert!(records.rest().is_empty() && own > 0);
        assert_eq!(own, linux_notify::fanotify::Events::parse(&buffer[..read]).count());
    }
}
