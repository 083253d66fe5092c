//! Golden lines, built by hand.

use std::sync::Arc;

use cgwatch::{Cgroup, Confidence, LearnedFrom};
use rustix::io::Errno;

use cgwatch::CgroupPath;

use super::*;

fn lines(coloured: bool, roots: &[&str]) -> Lines {
    let roots: Vec<_> =
        (19..).zip(roots).map(|(id, path)| Root { path: path.into(), id }).collect();
    Lines::new(coloured, TimeZone::UTC, &roots)
}

fn line(kind: EventKind) -> String {
    lines(false, &["/top"]).line(&event(kind))
}

fn event(kind: EventKind) -> Event {
    Event { seq: 1, time: Time { boot_ns: 0, unix_ns: 1_795_380_421_123_456_789 }, kind }
}

fn cgroup(path: &[u8]) -> Cgroup {
    Cgroup { n: 1, id: Some(74), root_id: 20, path: CgroupPath::new(path) }
}

fn values<T: Copy>(list: &[(&str, T)]) -> Values<T> {
    Values(list.iter().map(|&(key, value)| (Arc::from(key), value)).collect())
}

fn appeared(path: &[u8]) -> EventKind {
    let files = Files(vec![
        ("cgroup.events".into(), values(&[("populated", 1), ("frozen", 0)])),
        ("memory.events".into(), values(&[("low", 0), ("high", 3)])),
        ("pids.events".into(), values(&[("max", 0)])),
    ]);
    EventKind::Appeared { cgroup: cgroup(path), existing: true, files }
}

fn changed(file: &str, key: &str, delta: Option<i128>) -> EventKind {
    EventKind::Changed {
        cgroup: cgroup(b"/a/b"),
        file: file.into(),
        old: values(&[(key, 1)]),
        new: values(&[(key, 3)]),
        delta: delta.map(|delta| values(&[(key, delta)])).unwrap_or_default(),
        own: delta.map(|delta| values(&[(key, delta - 1)])),
        late: Values::default(),
    }
}

fn removed(unseen: Unseen) -> EventKind {
    EventKind::Removed {
        cgroup: cgroup(b"/a/b"),
        lived_ns: Some(5_021_000_000),
        files: Files::default(),
        unseen,
        learned_from: LearnedFrom::Parent,
    }
}

fn gap_of(reason: GapReason) -> EventKind {
    EventKind::Gap { reason, cancelled_pairs: 0, cancelled: Files::default() }
}

fn inaccessible(errno: Errno) -> EventKind {
    gap_of(GapReason::Inaccessible { cgroup: cgroup(b"/a"), errno })
}

#[test]
fn every_kind() {
    let unseen = Unseen {
        files: vec![("memory.events".into(), Some(values(&[("oom_kill", 1)])))],
        confidence: Some(Confidence::Bounded),
        ..Unseen::default()
    };
    let late = EventKind::Changed {
        cgroup: cgroup(b"/"),
        file: "pids.events".into(),
        old: Values::default(),
        new: Values::default(),
        delta: Values::default(),
        own: None,
        late: values(&[("max", 2)]),
    };
    let added = EventKind::FileAdded {
        cgroup: cgroup(b"/a/b"),
        files: Files(vec![("pids.events".into(), values(&[("max", 0)]))]),
    };
    let file_removed = EventKind::FileRemoved {
        cgroup: cgroup(b"/a/b"),
        file: "memory.events".into(),
        unseen: unseen.clone(),
    };
    let limit =
        GapReason::WatchLimit { limit: "fs.inotify.max_user_watches".into(), value: Some(9) };
    let gap = EventKind::Gap {
        reason: GapReason::Reader,
        cancelled_pairs: 12,
        cancelled: Files(vec![("memory.events".into(), values(&[("oom_kill", 2)]))]),
    };
    let text: String = [
        appeared(b"/a/b"),
        EventKind::Ready { cgroups: 41, after_gap: false },
        changed("memory.events", "high", Some(2)),
        changed("cgroup.events", "populated", None),
        late,
        file_removed,
        added,
        removed(unseen),
        removed(Unseen::default()),
        removed(Unseen { unseen_in: Some(9), ..Unseen::default() }),
        gap,
        EventKind::Gap { reason: limit, cancelled_pairs: 0, cancelled: Files::default() },
        EventKind::Ready { cgroups: 1, after_gap: true },
        gap_of(GapReason::DescriptorLimit { limit: "RLIMIT_NOFILE".into(), value: Some(14) }),
        inaccessible(Errno::ACCESS),
        inaccessible(Errno::XDEV),
        inaccessible(Errno::IO),
    ]
    .map(line)
    .concat();
    assert_eq!(text, include_str!("tests/every_kind.txt"));
}

#[test]
fn no_name_steers_the_terminal() {
    let name = b"/a b\n\x1b[2J\\x2d\xff\xc2\x9b\xc3\xa9";
    let line = line(appeared(name));
    assert!(line.contains(r"/a b\x0a\x1b[2J\x2d\xff\xc2\x9bé  "), "{line}");
    let strange = changed("x\u{1b}.events", "k\n", Some(2));
    let line = super::tests::line(strange);
    assert!(line.contains(r"x\x1b.events  k\x0a 1 -> 3 (+2, own +1)"), "{line}");
    assert_eq!(line.matches('\n').count(), 1);
}

#[test]
fn with_several_roots_paths_are_whole() {
    let lines = lines(false, &["/one", "/two"]);
    assert!(lines.line(&event(appeared(b"/a"))).contains("  /two/a  "));
    assert!(lines.line(&event(appeared(b"/"))).contains("  /two  "));
}

#[test]
fn colours_change_nothing_but_colours() {
    for kind in [appeared(b"/a"), changed("memory.events", "oom_kill", Some(2))] {
        let coloured = lines(true, &["/top"]).line(&event(kind.clone()));
        assert!(coloured.contains('\x1b'));
        let mut plain = String::new();
        for part in coloured.split('\x1b') {
            plain.push_str(
                part.split_once('m').map_or(part, |(escape, rest)| {
                    if escape.starts_with('[') { rest } else { part }
                }),
            );
        }
        assert_eq!(plain, line(kind));
    }
}

#[test]
fn spans() {
    assert_eq!(span(999), "1 µs");
    assert_eq!(span(12_300_000), "12.3 ms");
    assert_eq!(span(5_021_000_000), "5.021 s");
    assert_eq!(span(61_000_000_000), "1 min 1 s");
    assert_eq!(span(7_260_000_000_000), "2 h 1 min");
}
