//! kernel-semantics 3.5 and 3.2: the fanotify dialect.
//! Kernel: fs/notify/fanotify.

use std::sync::Arc;

use fsnotify::{
    Account, Error, Event, FileHandle, FileSystem, Fsid, Limits, Mask, Object, ObjectKind, Origin,
    PathData,
    fanotify::{Fanotify, InfoKind, InitFlags, MarkFlags, records},
    notify,
};
use rustix::io::Errno;

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

/// 3.5: how each event is shaped, by the group's flags.
#[test]
fn what_each_record_names() {
    let flags =
        [FID, InitFlags::REPORT_DIR_FID, FID | InitFlags::REPORT_DIR_FID, DFID_NAME, TARGET];
    let cases: [(&str, [&str; 5]); 5] = [
        // With REPORT_DIR_FID alone a file's event names the directory, under
        // the object's type (checked against Linux in `differential`).
        ("modify", ["F2", "F1", "D1 F2", "N1/f", "N1/f F2"]),
        ("create", ["F1", "D1", "D1", "N1/new", "N1/new"]),
        ("delete", ["F1", "D1", "D1", "N1/f", "N1/f F2"]),
        ("file gone", ["F2", "", "F2", "", "F2"]),
        ("directory gone", ["F1", "D1", "D1", "N1/.", "N1/."]),
    ];
    for (what, expected) in cases {
        for (flags, infos) in flags.into_iter().zip(expected) {
            let world = World::new();
            let group = world.group(flags);
            let mask = Mask::MODIFY | Mask::CREATE | Mask::DELETE | Mask::DELETE_SELF | Mask::ISDIR;
            mark(&group, WHOLE, mask, &world.whole).unwrap();
            let gone = Event {
                inode: Some(&*world.file),
                target: Some(id(2)),
                ..world.event(Mask::DELETE_SELF)
            };
            let event = match what {
                "modify" => world.on_file(Mask::MODIFY),
                // The new name's dentry is negative: no target to name.
                "create" => world.entry(Mask::CREATE, b"new", None),
                "delete" => world.entry(Mask::DELETE, b"f", Some(2)),
                "file gone" => gone,
                _ => world.on_dir(Mask::DELETE_SELF),
            };
            notify(&event);
            let mut names: Vec<_> =
                (event.mask & mask).iter_names().map(|(name, _)| name).collect();
            names.sort_unstable();
            let expected = match infos {
                // Only directories are named, and there is none to name.
                "" => vec![],
                infos => vec![format!("{} 7 {infos}", names.join("|"))],
            };
            assert_eq!(told(&group), expected, "{what} {flags:?}");
        }
    }
}

/// include/uapi/linux/fanotify.h, byte by byte.
#[test]
fn bytes_of_a_record() {
    let world = World::new();
    let group = world.group(TARGET);
    mark(&group, WHOLE, Mask::DELETE, &world.whole).unwrap();
    notify(&world.entry(Mask::DELETE, b"name", Some(2)));
    let mut expected = Vec::new();
    expected.extend(96_u32.to_ne_bytes());
    expected.extend([3, 0]);
    expected.extend(24_u16.to_ne_bytes());
    expected.extend(0x200_u64.to_ne_bytes());
    expected.extend((-1_i32).to_ne_bytes());
    expected.extend(7_i32.to_ne_bytes());
    for (kind, len, number, name) in [(2, 36_u16, 1_u64, &b"name\0\0\0\0"[..]), (1, 36, 2, b"")] {
        expected.extend([kind, 0]);
        let len = if name.is_empty() { 28 } else { len };
        expected.extend(len.to_ne_bytes());
        expected.extend(*b"fsid-one");
        expected.extend(8_u32.to_ne_bytes());
        expected.extend(0xfe_i32.to_ne_bytes());
        expected.extend(number.to_ne_bytes());
        expected.extend(name);
    }
    // 28 bytes and "name\0" are padded to 36.
    expected[..4].copy_from_slice(&((24 + 36 + 28) as u32).to_ne_bytes());
    assert_eq!(group.readable_bytes(), 88);
    let mut buffer = [0xaa; 256];
    assert_eq!(group.read(&mut buffer), Ok(88));
    assert_eq!(buffer[..88], expected);
}

/// "Read EINVAL / short reads / FIONREAD as inotify."
#[test]
fn small_buffers_and_short_reads() {
    let world = World::new();
    let group = world.group(FID);
    assert_eq!(group.read(&mut []), Err(Error::WouldBlock));
    add(&group, Mask::MODIFY | Mask::ACCESS, &world.file);
    notify(&world.on_file(Mask::MODIFY));
    notify(&Event { pid: 8, ..world.on_file(Mask::MODIFY) });
    for given in [0, 15, 51] {
        let refused = group.read(&mut vec![0; given]).unwrap_err();
        assert_eq!(refused, Error::BufferTooSmall { needed: 52, given });
        assert_eq!(refused.errno(), Errno::INVAL);
    }
    assert_eq!(group.readable_bytes(), 104);
    assert_eq!(group.read(&mut [0; 103]), Ok(52));
    assert_eq!(told(&group), ["MODIFY 8 F2"]);
}

/// "masks ORed into the *older* event", past others, and by pid.
#[test]
fn records_of_one_object_merge_past_others() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY | Mask::ACCESS | Mask::DELETE_SELF, &world.file);
    add(&group, Mask::OPEN | Mask::ISDIR, &world.dir);
    notify(&world.on_file(Mask::MODIFY));
    notify(&world.on_dir(Mask::OPEN));
    notify(&world.on_file(Mask::ACCESS));
    notify(&world.on_file(Mask::DELETE_SELF));
    notify(&Event { pid: 8, ..world.on_file(Mask::MODIFY) });
    let expected = ["ACCESS|MODIFY|DELETE_SELF 7 F2", "OPEN|ISDIR 7 F1", "MODIFY 8 F2"];
    assert_eq!(told(&group), expected);
    assert_eq!((group.counts().queued, group.counts().merged), (3, 2));
}

/// "same ISDIR bit": mkdir and unlink of one name stay apart; different names
/// do too.
#[test]
fn names_of_directories_and_files_do_not_merge() {
    let world = World::new();
    let group = world.group(DFID_NAME);
    add(&group, Mask::CREATE | Mask::DELETE | Mask::ISDIR, &world.dir);
    notify(&world.entry(Mask::CREATE | Mask::ISDIR, b"x", None));
    notify(&world.entry(Mask::DELETE, b"x", Some(2)));
    notify(&world.entry(Mask::DELETE | Mask::ISDIR, b"x", Some(3)));
    notify(&world.entry(Mask::CREATE, b"y", None));
    let expected = ["CREATE|DELETE|ISDIR 7 N1/x", "DELETE 7 N1/x", "CREATE 7 N1/y"];
    assert_eq!(told(&group), expected);
}

/// With TARGET_FID the child's handle is part of what must be equal.
#[test]
fn different_targets_do_not_merge() {
    let world = World::new();
    let group = world.group(TARGET);
    add(&group, Mask::DELETE, &world.dir);
    for target in [2, 3, 2] {
        notify(&world.entry(Mask::DELETE, b"x", Some(target)));
    }
    assert_eq!(told(&group), ["DELETE 7 N1/x F2", "DELETE 7 N1/x F3"]);
}

/// "scans at most 128 newest entries of the bucket": in a bucket with more, an
/// old one is out of reach. 128 buckets, so 40,000 names fill each.
#[test]
fn only_the_newest_of_a_bucket_are_compared() {
    let world = World::with(limits(1, 1, 100_000));
    let group = world.group(DFID_NAME);
    add(&group, Mask::CREATE | Mask::DELETE, &world.dir);
    let name = |i: u32| format!("name{i}").into_bytes();
    for i in 0..40_000 {
        notify(&world.entry(Mask::CREATE, &name(i), None));
    }
    notify(&world.entry(Mask::DELETE, &name(39_999), None));
    assert_eq!(group.queued(), 40_000, "the newest is compared");
    notify(&world.entry(Mask::DELETE, &name(0), None));
    assert_eq!(group.queued(), 40_001, "the oldest is not");
    // Once others are read, the table knows where the rest is.
    let mut buffer = [0; 4096];
    while group.queued() > 100 {
        group.read(&mut buffer).unwrap();
    }
    notify(&world.entry(Mask::CREATE, &name(0), None));
    let last = told(&group).pop().unwrap();
    assert_eq!(last, "CREATE|DELETE 7 N1/name0");
}

/// 3.5 defaults, with 3.4 queue full: full is full, also for what could merge.
#[test]
fn overflow() {
    let world = World::with(limits(1, 1, 2));
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    for pid in 1..=4 {
        notify(&Event { pid, ..world.on_file(Mask::MODIFY) });
    }
    // Full: not even what could merge is taken.
    notify(&Event { pid: 1, ..world.on_file(Mask::MODIFY) });
    assert_eq!(group.counts().dropped, 3);
    assert_eq!(told(&group), ["MODIFY 1 F2", "MODIFY 2 F2", "Q_OVERFLOW 0"]);
    notify(&world.on_file(Mask::MODIFY));
    assert_eq!(told(&group), ["MODIFY 7 F2"]);
}

/// 3.5 defaults: FAN_UNLIMITED_QUEUE.
#[test]
fn an_unlimited_queue_takes_all() {
    let world = World::with(limits(1, 1, 0));
    let group = world.group(FID | InitFlags::UNLIMITED_QUEUE);
    add(&group, Mask::MODIFY, &world.file);
    for pid in 0..20_000 {
        notify(&Event { pid, ..world.on_file(Mask::MODIFY) });
    }
    assert_eq!(group.queued(), 20_000);
    let limited = world.with_one_more_group();
    add(&limited, Mask::MODIFY, &world.file);
    notify(&world.on_file(Mask::MODIFY));
    assert_eq!(told(&limited), ["Q_OVERFLOW 0"], "a limit of 0");
}

impl World {
    fn with_one_more_group(&self) -> Fanotify {
        let account = Account::new(limits(1, 1, 0));
        Fanotify::new(&account, FID | InitFlags::NONBLOCK).unwrap()
    }
}

/// Limits: EMFILE, ENOSPC; unlimited marks are not charged.
#[test]
fn limits_of_groups_and_marks() {
    let world = World::with(limits(2, 1, 10));
    let (group, unlimited) = (world.group(FID), world.group(FID | InitFlags::UNLIMITED_MARKS));
    let third = Fanotify::new(&world.account, FID).unwrap_err();
    assert_eq!(third.errno(), Errno::MFILE);
    add(&group, Mask::MODIFY, &world.file);
    let second = mark(&group, MarkFlags::ADD, Mask::MODIFY, &world.dir).unwrap_err();
    assert_eq!(second, Error::TooManyMarks { limit: 1 });
    assert_eq!(second.errno(), Errno::NOSPC);
    add(&unlimited, Mask::MODIFY, &world.file);
    add(&unlimited, Mask::MODIFY, &world.dir);
    drop((group, unlimited));
    assert_eq!((world.account.groups(), world.account.marks()), (0, 0));
}

/// ONDIR: of directories only if asked; ON_CHILD: of children only if asked.
#[test]
fn directories_and_children_are_told_if_asked_for() {
    for (mask, on_dir, on_child) in [
        (Mask::OPEN, false, false),
        (Mask::OPEN | Mask::ISDIR, true, false),
        (Mask::OPEN | Mask::EVENT_ON_CHILD, false, true),
        (Mask::OPEN | Mask::EVENT_ON_CHILD | Mask::ISDIR, true, true),
    ] {
        let world = World::new();
        let group = world.group(FID);
        add(&group, mask, &world.dir);
        notify(&world.on_dir(Mask::OPEN));
        assert_eq!(told(&group).len(), usize::from(on_dir), "{mask:?}");
        notify(&world.on_file(Mask::OPEN));
        assert_eq!(told(&group).len(), usize::from(on_child), "{mask:?}");
    }
}

/// LTP fanotify09: one record, whichever marks of the group met.
#[test]
fn marks_of_one_group_make_one_record() {
    let world = World::new();
    let group = world.group(TARGET);
    add(&group, Mask::MODIFY | Mask::EVENT_ON_CHILD, &world.dir);
    add(&group, Mask::MODIFY, &world.file);
    mark(&group, WHOLE, Mask::MODIFY, &world.whole).unwrap();
    notify(&world.on_file(Mask::MODIFY));
    assert_eq!(group.counts().queued, 1);
    assert_eq!(group.counts().merged, 0);
    assert_eq!(told(&group), ["MODIFY 7 N1/f F2"]);
}

/// 3.2: an ignore mask of one mark silences the group; a modification clears
/// it, unless it is to survive.
#[test]
fn ignore_masks() {
    for (flags, cleared) in [
        (MarkFlags::IGNORED_MASK, true),
        (MarkFlags::IGNORED_MASK | MarkFlags::IGNORED_SURV_MODIFY, false),
        (MarkFlags::IGNORE, true),
        (MarkFlags::IGNORE | MarkFlags::IGNORED_SURV_MODIFY, false),
    ] {
        let world = World::new();
        let (group, other) = (world.group(FID), world.group(FID));
        for group in [&group, &other] {
            mark(group, WHOLE, Mask::MODIFY | Mask::OPEN, &world.whole).unwrap();
        }
        mark(&group, MarkFlags::ADD | flags, Mask::OPEN | Mask::MODIFY, &world.file).unwrap();
        notify(&world.on_file(Mask::OPEN));
        assert!(told(&group).is_empty(), "{flags:?}");
        assert_eq!(told(&other).len(), 1, "only that group");
        notify(&world.on_file(Mask::MODIFY));
        notify(&world.on_file(Mask::OPEN));
        assert_eq!(told(&group).len(), usize::from(cleared), "{flags:?}");
    }
}

/// FAN_MARK_IGNORE says itself whether it covers directories and children;
/// the older call covers directories always, and children if watched.
#[test]
fn ignore_masks_of_directories() {
    let survive = MarkFlags::ADD | MarkFlags::IGNORED_SURV_MODIFY;
    let on_child = Mask::EVENT_ON_CHILD;
    for (flags, ignored, own, child) in [
        (MarkFlags::IGNORED_MASK, Mask::OPEN, true, false),
        (MarkFlags::IGNORE, Mask::OPEN, false, false),
        (MarkFlags::IGNORE, Mask::OPEN | Mask::ISDIR, true, false),
        (MarkFlags::IGNORE, Mask::OPEN | on_child, false, true),
        (MarkFlags::IGNORE, Mask::OPEN | on_child | Mask::ISDIR, true, true),
    ] {
        let world = World::new();
        let group = world.group(FID);
        mark(&group, WHOLE, Mask::OPEN | Mask::ISDIR, &world.whole).unwrap();
        mark(&group, survive | flags, ignored, &world.dir).unwrap();
        notify(&world.on_dir(Mask::OPEN));
        assert_eq!(told(&group).is_empty(), own, "{flags:?} {ignored:?}: itself");
        notify(&world.on_file(Mask::OPEN));
        assert_eq!(told(&group).is_empty(), child, "{flags:?} {ignored:?}: a child");
    }
}

/// v5.19: an evictable mark does not hold its inode, and cannot replace one
/// that does; the other way round it can.
#[test]
fn evictable_marks() {
    let world = World::new();
    let group = world.group(FID);
    let evictable = MarkFlags::ADD | MarkFlags::EVICTABLE;
    mark(&group, evictable, Mask::MODIFY, &world.file).unwrap();
    assert_eq!(Arc::strong_count(&world.file), 1);
    add(&group, Mask::OPEN, &world.file);
    assert_eq!(Arc::strong_count(&world.file), 2, "held from now on");
    let weaker = mark(&group, evictable, Mask::MODIFY, &world.file).unwrap_err();
    assert_eq!((&weaker, weaker.errno()), (&Error::MarkIsStronger, Errno::EXIST));
    mark(&group, MarkFlags::REMOVE, Mask::MODIFY | Mask::OPEN, &world.file).unwrap();
    assert_eq!((Arc::strong_count(&world.file), group.marks()), (1, 0));
}

/// v6.8, 30ad1938326b: weak fsids.
#[test]
fn file_systems_without_an_id() {
    let weak = |identity| FileSystem { identity, ..FileSystem::default() };
    let thing = |kind, fs| -> Arc<dyn Object> { Thing::in_file_system(kind, fs) };
    let world = World::new();
    let group = world.group(FID);
    let whole = thing(ObjectKind::SuperBlock, weak(2));
    let refused = mark(&group, WHOLE, Mask::MODIFY, &whole).unwrap_err();
    assert_eq!(refused.errno(), Errno::NODEV);
    let (one, same) = (thing(ObjectKind::File, weak(2)), thing(ObjectKind::File, weak(2)));
    let other = thing(ObjectKind::File, weak(3));
    add(&group, Mask::MODIFY, &one);
    add(&group, Mask::MODIFY, &same);
    for object in [&other, &world.file] {
        let refused = mark(&group, MarkFlags::ADD, Mask::MODIFY, object).unwrap_err();
        assert_eq!(refused.errno(), Errno::XDEV);
    }
    let undecodable = FileSystem { decodes_handles: false, ..STRONG };
    let whole = thing(ObjectKind::SuperBlock, undecodable);
    let refused = mark(&world.group(FID), WHOLE, Mask::MODIFY, &whole).unwrap_err();
    assert_eq!(refused.errno(), Errno::OPNOTSUPP);
    // Two file systems with ids are fine.
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    let second = FileSystem { identity: 9, fsid: Fsid([9; 8]), decodes_handles: true };
    add(&group, Mask::MODIFY, &thing(ObjectKind::File, second));
}

/// v5.13: what those without CAP_SYS_ADMIN may.
#[test]
fn unprivileged_groups() {
    let world = World::new();
    let account = Account::unprivileged(Limits::default(), 7);
    for flags in [
        InitFlags::empty(),
        FID | InitFlags::UNLIMITED_QUEUE,
        FID | InitFlags::UNLIMITED_MARKS,
        FID | InitFlags::REPORT_TID,
        FID | InitFlags::REPORT_PIDFD,
    ] {
        assert_eq!(Fanotify::new(&account, flags).unwrap_err().errno(), Errno::PERM, "{flags:?}");
    }
    let group = Fanotify::new(&account, FID | InitFlags::NONBLOCK).unwrap();
    let refused = mark(&group, WHOLE, Mask::MODIFY, &world.whole).unwrap_err();
    assert_eq!(refused.errno(), Errno::PERM);
    add(&group, Mask::MODIFY, &world.file);
    notify(&world.on_file(Mask::MODIFY));
    notify(&Event { pid: 8, ..world.on_file(Mask::MODIFY) });
    assert_eq!(told(&group), ["MODIFY 7 F2", "MODIFY 0 F2"], "its own pid, and nobody else's");
}

/// Trap 10: without handles, only events of a path, and ONDIR is not said.
#[test]
fn groups_that_report_descriptors_hear_of_paths_only() {
    let world = World::new();
    let group = world.group(InitFlags::empty());
    add(&group, Mask::OPEN | Mask::ISDIR, &world.dir);
    notify(&world.on_dir(Mask::OPEN));
    assert!(told(&group).is_empty());
    notify(&Event { path: PathData::Linked, ..world.on_dir(Mask::OPEN) });
    assert_eq!(told(&group), ["OPEN 7"]);
}

/// The review: remote events are opt-in, by an init flag.
#[test]
fn deferred_events_are_opted_into() {
    let world = World::new();
    let (without, with) = (world.group(FID), world.group(FID | InitFlags::REPORT_DEFERRED));
    add(&without, Mask::MODIFY, &world.file);
    add(&with, Mask::MODIFY, &world.file);
    notify(&Event { origin: Origin::Deferred, ..world.on_file(Mask::MODIFY) });
    assert!(told(&without).is_empty());
    assert_eq!(told(&with), ["MODIFY 7 F2"]);
}

/// "fanotify has no IGNORED; the mark just disappears."
#[test]
fn marks_go_with_their_object_without_a_word() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    world.file.connector().close();
    assert_eq!((group.marks(), group.queued(), world.account.marks()), (0, 0, 0));
    let refused = mark(&group, MarkFlags::ADD, Mask::MODIFY, &world.file).unwrap_err();
    assert_eq!(refused.errno(), Errno::NOENT);
}

/// fanotify_mark(2), FAN_MARK_FLUSH.
#[test]
fn flush_removes_the_marks_of_one_kind() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    add(&group, Mask::MODIFY, &world.dir);
    mark(&group, WHOLE, Mask::MODIFY, &world.whole).unwrap();
    mark(&group, MarkFlags::FLUSH, Mask::empty(), &world.file).unwrap();
    assert_eq!(group.marks(), 1);
    let whole = MarkFlags::FLUSH | MarkFlags::FILESYSTEM;
    mark(&group, whole, Mask::empty(), &world.whole).unwrap();
    assert_eq!(group.marks(), 0);
}

/// fanotify_mark(2), FAN_MARK_REMOVE.
#[test]
fn a_mark_of_which_nothing_is_left_goes() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY | Mask::OPEN, &world.file);
    mark(&group, MarkFlags::REMOVE, Mask::OPEN, &world.file).unwrap();
    notify(&world.on_file(Mask::OPEN));
    assert!(told(&group).is_empty());
    assert_eq!(group.marks(), 1);
    mark(&group, MarkFlags::REMOVE, Mask::MODIFY, &world.file).unwrap();
    assert_eq!(group.marks(), 0);
    let refused = mark(&group, MarkFlags::REMOVE, Mask::MODIFY, &world.file).unwrap_err();
    assert_eq!(refused.errno(), Errno::NOENT);
}

/// A mark's flags and its object must be of one kind.
#[test]
fn a_super_block_mark_is_one_of_a_super_block() {
    let world = World::new();
    let group = world.group(FID);
    for (flags, object) in [(WHOLE, &world.file), (MarkFlags::ADD, &world.whole)] {
        let refused = mark(&group, flags, Mask::MODIFY, object).unwrap_err();
        assert_eq!(refused.errno(), Errno::INVAL);
    }
}

/// Bytes from anywhere: the decoder ends, and does not panic.
#[test]
fn malformed_records_end_the_decoding() {
    let world = World::new();
    let group = world.group(TARGET);
    mark(&group, WHOLE, Mask::DELETE, &world.whole).unwrap();
    notify(&world.entry(Mask::DELETE, b"name", Some(2)));
    let mut buffer = [0; 88];
    group.read(&mut buffer).unwrap();
    for cut in 0..buffer.len() {
        assert_eq!(records(&buffer[..cut]).count(), 0, "{cut}");
        for byte in [0, 0xff] {
            let mut forged = buffer;
            forged[cut] = byte;
            for record in records(&forged) {
                assert!(record.infos().count() <= 2);
            }
        }
    }
}
