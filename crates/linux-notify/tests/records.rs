//! The decoders: what was encoded comes back, and no bytes at all make them panic.

use linux_notify::{Errno, FileHandle, fanotify, inotify};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Notice {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

fn notice() -> impl Strategy<Value = Notice> {
    (any::<i32>(), any::<u32>(), any::<u32>(), vec(1u8.., 0..40))
        .prop_map(|(wd, mask, cookie, name)| Notice { wd, mask, cookie, name })
}

/// As the kernel does: a name is followed by at least one NUL, up to a multiple of 16 bytes.
fn encode_notice(notice: &Notice, bytes: &mut Vec<u8>) {
    let padded =
        if notice.name.is_empty() { 0 } else { (notice.name.len() + 1).next_multiple_of(16) };
    bytes.extend(notice.wd.to_ne_bytes());
    bytes.extend(notice.mask.to_ne_bytes());
    bytes.extend(notice.cookie.to_ne_bytes());
    bytes.extend((padded as u32).to_ne_bytes());
    bytes.extend(&notice.name);
    bytes.resize(bytes.len() + padded - notice.name.len(), 0);
}

#[derive(Debug, Clone)]
enum Part {
    Handle { kind: u8, fsid: [u8; 8], handle_type: i32, handle: Vec<u8>, name: Vec<u8> },
    Pidfd(i32),
    Error { errno: i32, count: u32 },
    Unknown { kind: u8, content: Vec<u8> },
}

fn part() -> impl Strategy<Value = Part> {
    let handle = (
        prop::sample::select(vec![1u8, 2, 3, 10, 12]),
        any::<[u8; 8]>(),
        any::<i32>(),
        vec(any::<u8>(), 0..=128),
        vec(1u8.., 0..20),
    );
    prop_oneof![
        4 => handle.prop_map(|(kind, fsid, handle_type, handle, name)| Part::Handle {
            kind, fsid, handle_type, handle, name
        }),
        1 => any::<i32>().prop_map(Part::Pidfd),
        1 => (1..4096i32, any::<u32>()).prop_map(|(errno, count)| Part::Error { errno, count }),
        1 => (13u8.., vec(any::<u8>(), 0..30)).prop_map(|(kind, content)| Part::Unknown {
            kind, content
        }),
    ]
}

fn encode_part(part: &Part, bytes: &mut Vec<u8>) {
    let (kind, mut content) = match part {
        Part::Handle { kind, fsid, handle_type, handle, name } => {
            let mut content = fsid.to_vec();
            content.extend((handle.len() as u32).to_ne_bytes());
            content.extend(handle_type.to_ne_bytes());
            content.extend(handle);
            content.extend(name);
            content.push(0);
            (*kind, content)
        }
        Part::Pidfd(number) => (4, number.to_ne_bytes().to_vec()),
        Part::Error { errno, count } => (5, [errno.to_ne_bytes(), count.to_ne_bytes()].concat()),
        Part::Unknown { kind, content } => (*kind, content.clone()),
    };
    content.resize(content.len().next_multiple_of(4), 0);
    bytes.extend([kind, 0]);
    bytes.extend((content.len() as u16 + 4).to_ne_bytes());
    bytes.extend(content);
}

fn encode_record(mask: u64, pid: i32, parts: &[Part], bytes: &mut Vec<u8>) {
    let mut infos = Vec::new();
    parts.iter().for_each(|part| encode_part(part, &mut infos));
    bytes.extend((24 + infos.len() as u32).to_ne_bytes());
    bytes.extend([3, 0]);
    bytes.extend(24u16.to_ne_bytes());
    bytes.extend(mask.to_ne_bytes());
    bytes.extend((-1i32).to_ne_bytes());
    bytes.extend(pid.to_ne_bytes());
    bytes.extend(infos);
}

/// Whether `info` says what `part` said.
fn same(info: &fanotify::Info<'_>, part: &Part) -> bool {
    use fanotify::{Info, Relation};
    match (info, part) {
        (
            Info::Handle { relation, fsid, handle, name },
            Part::Handle { kind, fsid: f, handle_type, handle: h, name: n },
        ) => {
            let expected = match kind {
                1 => Relation::Object,
                2 => Relation::DirectoryEntry,
                3 => Relation::Directory,
                10 => Relation::OldDirectoryEntry,
                _ => Relation::NewDirectoryEntry,
            };
            *relation == expected
                && fsid == f
                && Some(*handle) == FileHandle::new(*handle_type, h)
                && name == n
        }
        (Info::Pidfd(number), Part::Pidfd(n)) => number == n,
        (Info::Error { errno, count }, Part::Error { errno: e, count: c }) => {
            *errno == Errno::from_raw_os_error(*e) && count == c
        }
        _ => false,
    }
}

/// Every record, then what is left, holding the decoder to its promises on the way.
fn exhaust_inotify(bytes: &[u8]) {
    let mut events = inotify::Events::parse(bytes);
    for event in events.by_ref() {
        assert!(!event.name.contains(&0));
    }
    assert!(bytes.ends_with(events.remainder()));
    assert!(events.next().is_none());
}

fn exhaust_fanotify(bytes: &[u8]) {
    let mut events = fanotify::Events::parse(bytes);
    for event in events.by_ref() {
        let count = event.infos().count();
        assert!(count <= bytes.len() / 4);
    }
    assert!(bytes.ends_with(events.remainder()));
    assert!(events.next().is_none());
}

proptest! {
    #[test]
    fn inotify_records_come_back(notices in vec(notice(), 0..10), cut in any::<prop::sample::Index>()) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for notice in &notices {
            encode_notice(notice, &mut bytes);
            ends.push(bytes.len());
        }
        let cut = cut.index(bytes.len() + 1);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let mut events = inotify::Events::parse(&bytes[..cut]);
        let decoded: Vec<_> = events.by_ref().collect();
        prop_assert_eq!(decoded.len(), whole);
        for (event, notice) in decoded.iter().zip(&notices) {
            prop_assert_eq!(event.wd.0, notice.wd);
            prop_assert_eq!(event.mask.bits(), notice.mask);
            prop_assert_eq!(event.cookie, notice.cookie);
            prop_assert_eq!(event.name, &notice.name[..]);
        }
        let begun = if whole == 0 { 0 } else { ends[whole - 1] };
        prop_assert_eq!(events.remainder(), &bytes[begun..cut]);
    }

    #[test]
    fn fanotify_records_come_back(
        records in vec((any::<u64>(), any::<i32>(), vec(part(), 0..5)), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (mask, pid, parts) in &records {
            encode_record(*mask, *pid, parts, &mut bytes);
            ends.push(bytes.len());
        }
        let cut = cut.index(bytes.len() + 1);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let decoded: Vec<_> = fanotify::Events::parse(&bytes[..cut]).collect();
        prop_assert_eq!(decoded.len(), whole);
        for (event, (mask, pid, parts)) in decoded.iter().zip(&records) {
            prop_assert_eq!(event.mask.bits(), *mask);
            prop_assert_eq!(event.pid, *pid);
            let known: Vec<_> =
                parts.iter().filter(|part| !matches!(part, Part::Unknown { .. })).collect();
            let infos: Vec<_> = event.infos().collect();
            prop_assert_eq!(infos.len(), known.len());
            for (info, part) in infos.iter().zip(known) {
                prop_assert!(same(info, part), "{:?} is not {:?}", info, part);
            }
        }
    }

    #[test]
    fn any_bytes_are_decoded(bytes in vec(any::<u8>(), 0..600)) {
        exhaust_inotify(&bytes);
        exhaust_fanotify(&bytes);
    }

    /// Bytes near the truth get further into the decoders than any bytes do.
    #[test]
    fn damaged_records_are_decoded(
        notices in vec(notice(), 1..4),
        records in vec((any::<u64>(), any::<i32>(), vec(part(), 0..4)), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        notices.iter().for_each(|notice| encode_notice(notice, &mut first));
        records.iter().for_each(|(mask, pid, parts)| encode_record(*mask, *pid, parts, &mut second));
        for (place, byte) in damage {
            let at = place.index(first.len());
            first[at] = byte;
            let at = place.index(second.len());
            second[at] = byte;
        }
        exhaust_inotify(&first);
        exhaust_fanotify(&second);
    }
}

#[test]
fn a_handle_longer_than_any_is_skipped() {
    let mut bytes = Vec::new();
    let part = |length: usize| Part::Handle {
        kind: 1,
        fsid: [0; 8],
        handle_type: 1,
        handle: vec![7; length],
        name: Vec::new(),
    };
    encode_record(0, 0, &[part(129), part(128)], &mut bytes);
    let event = fanotify::Events::parse(&bytes).next().unwrap();
    assert_eq!(event.infos().count(), 1);
}

#[test]
fn the_fixed_part_may_grow_but_not_shrink() {
    let part = Part::Pidfd(7);
    let mut bytes = Vec::new();
    encode_record(0, 0, &[part], &mut bytes);
    let infos = |fixed: u8, more: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[6] = fixed;
        bytes.splice(24..24, more.iter().copied());
        bytes[0] += more.len() as u8;
        fanotify::Events::parse(&bytes).next().map(|event| event.infos().count())
    };
    assert_eq!(infos(24, &[]), Some(1));
    assert_eq!(infos(32, &[0; 8]), Some(1));
    assert_eq!(infos(16, &[]), None);
}

#[test]
fn a_handle_shows_its_type_and_its_bytes() {
    let handle = FileHandle::new(0x81, &[0, 10, 255]).unwrap();
    assert_eq!((handle.kind(), handle.bytes()), (0x81, &[0, 10, 255][..]));
    assert_eq!(format!("{handle:?}"), "FileHandle(0x81:000aff)");
    assert_eq!(handle.kernfs_id(), None);
    // Of the right type, but too short; of the right length, but another type.
    assert_eq!(FileHandle::new(0xfe, &[1, 2, 3]).unwrap().kernfs_id(), None);
    let id = FileHandle::from_kernfs_id(9);
    assert_eq!((id.kind(), id.kernfs_id()), (0xfe, Some(9)));
    assert_eq!(FileHandle::new(0x81, id.bytes()).unwrap().kernfs_id(), None);
}

#[test]
fn another_version_of_the_format_is_not_guessed_at() {
    let mut bytes = Vec::new();
    encode_record(0, 0, &[], &mut bytes);
    bytes[4] = 4;
    let mut events = fanotify::Events::parse(&bytes);
    assert!(events.next().is_none());
    assert_eq!(events.remainder(), bytes);
}
