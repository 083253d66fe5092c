//! kernel-semantics 3.5: which events become records, what these name, how they
//! merge and how they are read.

use fsnotify::{
    Error, Event, Mask, Origin, PathData,
    fanotify::{InitFlags, records},
    notify,
};
use rustix::io::Errno;

use super::*;

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

/// fanotify(7), `vers` and `metadata_len`: of another version nothing is known;
/// a newer kernel's metadata may be longer, and what is known of it is read.
#[test]
fn records_of_the_known_version_are_read_whatever_their_metadata_is_followed_by() {
    let record = |version: u8, metadata: u16| {
        let mut bytes = vec![0; 32];
        bytes[..4].copy_from_slice(&32_u32.to_ne_bytes());
        bytes[4] = version;
        bytes[6..8].copy_from_slice(&metadata.to_ne_bytes());
        bytes[8] = 2;
        bytes
    };
    let masks =
        |bytes: &[u8]| records(bytes).map(|record| record.metadata.mask).collect::<Vec<_>>();
    for (version, metadata, known) in [
        (3, 24, true),
        (3, 32, true),
        (3, 33, false),
        (3, 23, false),
        (2, 24, false),
        (4, 32, false),
    ] {
        let expected: &[Mask] = if known { &[Mask::MODIFY] } else { &[] };
        assert_eq!(masks(&record(version, metadata)), expected, "{version} {metadata}");
    }
}

/// "fanotify: report names longer than NAME_MAX" (7.3.4). A name that no record
/// has room for is lost, and the queue says so.
#[test]
fn names_up_to_255_bytes_and_beyond() {
    for len in [1, 255, 256, 4096, 65_000, 65_487] {
        let world = World::new();
        let group = world.group(DFID_NAME);
        add(&group, Mask::CREATE, &world.dir);
        let name = vec![b'n'; len];
        notify(&world.entry(Mask::CREATE, &name, None));
        let mut buffer = vec![0; 1 << 17];
        let read = group.read(&mut buffer).unwrap();
        let record = records(&buffer[..read]).next().unwrap();
        assert_eq!(record.info(InfoKind::DfidName).unwrap().name, Some(&name[..]), "{len}");
    }
    for len in [65_488, 65_536, 1 << 20] {
        let world = World::new();
        let group = world.group(DFID_NAME);
        add(&group, Mask::CREATE, &world.dir);
        notify(&world.entry(Mask::CREATE, &vec![b'n'; len], None));
        assert_eq!(told(&group), ["Q_OVERFLOW 0"], "{len}");
        assert_eq!(group.counts().dropped, 1);
    }
}

/// 3.5 defaults, with 3.4 queue full: limits of 0 and 1.
#[test]
fn queues_of_none_and_of_one() {
    for (max, expected) in [(0, &["Q_OVERFLOW 0"][..]), (1, &["MODIFY 7 F2", "Q_OVERFLOW 0"][..])] {
        let world = World::with(limits(1, 1, max));
        let group = world.group(FID);
        add(&group, Mask::MODIFY, &world.file);
        for _ in 0..3 {
            notify(&world.on_file(Mask::MODIFY));
        }
        assert_eq!(told(&group), expected);
    }
}

/// FIONREAD is the sum of the records' sizes. Linux counts 24 bytes a record,
/// whatever follows (fanotify_ioctl): an accepted difference, as a reader can
/// only use the true figure.
#[test]
fn readable_bytes_are_what_a_read_gives() {
    let world = World::new();
    let group = world.group(TARGET);
    mark(&group, WHOLE, Mask::DELETE | Mask::MODIFY, &world.whole).unwrap();
    notify(&world.entry(Mask::DELETE, b"name", Some(2)));
    notify(&world.on_file(Mask::MODIFY));
    let said = group.readable_bytes();
    let first = group.read(&mut vec![0; said - 1]).unwrap();
    let rest = group.readable_bytes();
    assert_eq!(first + rest, said);
    assert_eq!(group.read(&mut [0; 4096]), Ok(rest));
    assert_eq!(group.readable_bytes(), 0);
}
