//! Golden lines, built by hand.

use std::{sync::Arc, time::Duration};

use rustix::io::Errno;

use super::*;
use crate::{CgroupPath, LearnedFrom, Root};

const TIME: Time = Time { boot_ns: 81_234_567, unix_ns: 1_795_380_421_123_456_789 };

fn start(roots: &[&str]) -> Start {
    Start {
        stream: "6f1c".into(),
        boot_id: Some("b007".into()),
        roots: (19..).zip(roots).map(|(id, path)| Root { path: path.into(), id }).collect(),
        strategy: Strategy::Inotify,
        because: "inotify is to be had".into(),
        simulated: false,
        sweep_interval: Duration::from_secs(30),
        files: vec!["cgroup.events".into()],
        unwatched: 0,
    }
}

fn cgroup(path: &[u8]) -> Cgroup {
    Cgroup { n: 1, id: Some(74), root_id: 19, path: CgroupPath::new(path) }
}

fn values<T: Copy>(list: &[(&str, T)]) -> Values<T> {
    Values(list.iter().map(|&(key, value)| (Arc::from(key), value)).collect())
}

fn json(kind: EventKind) -> String {
    Event { seq: 7, time: TIME, kind }.to_json(&start(&["/top"]))
}

/// The line without what all lines share.
fn body(kind: EventKind) -> String {
    let line = json(kind);
    let head = r#"{"seq":7,"time":"2026-11-22T20:47:01.123456Z","boot_ns":81234567,"#;
    line.strip_prefix(head).unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn the_start() {
    assert_eq!(
        start(&["/sys/fs/cgroup/top"]).to_json(),
        r#"{"event":"start","v":1,"stream":"6f1c","boot_id":"b007","root":"/sys/fs/cgroup/top","root_id":19,"clock":"boottime","strategy":"inotify","because":"inotify is to be had","files":["cgroup.events"],"guarantees":{"removed":"exactly-once","births":"in-a-watched-directory","changes":"each-notification","sweep_ns":30000000000}}"#
    );
}

/// What is not known is null, and what is not watched has no guarantee but the sweep's.
#[test]
fn a_start_with_little_known_and_less_watched() {
    let line = Start { boot_id: None, unwatched: 3, ..start(&["/top"]) }.to_json();
    assert!(line.contains(r#""stream":"6f1c","boot_id":null,"root""#), "{line}");
    assert!(line.ends_with(r#""sweep_ns":30000000000,"unwatched":3}}"#), "{line}");
}

#[test]
fn several_roots() {
    let start = start(&["/a", "/b"]);
    let line = start.to_json();
    assert!(line.contains(r#""roots":[{"root":"/a","root_id":19},{"root":"/b","root_id":20}]"#));
    let kind = EventKind::FileAdded { cgroup: cgroup(b"/x"), files: Files::default() };
    let line = Event { seq: 7, time: TIME, kind }.to_json(&start);
    assert!(line.contains(r#""id":74,"root_id":19,"files""#), "{line}");
}

#[test]
fn appeared() {
    let files = Files(vec![
        ("cgroup.events".into(), values(&[("populated", 1), ("frozen", 0)])),
        ("memory.events".into(), values(&[("low", 0), ("oom_kill", u64::MAX)])),
    ]);
    assert_eq!(
        body(EventKind::Appeared { cgroup: cgroup(b"/a/b"), existing: true, files }),
        r#""event":"appeared","n":1,"cgroup":"/a/b","id":74,"existing":true,"files":{"cgroup.events":{"populated":1,"frozen":0},"memory.events":{"low":0,"oom_kill":18446744073709551615}}}"#
    );
}

#[test]
fn ready_and_gaps() {
    assert_eq!(
        body(EventKind::Ready { cgroups: 41, after_gap: false }),
        r#""event":"ready","cgroups":41,"after_gap":false}"#
    );
    let gap = |reason, cancelled| body(EventKind::Gap { reason, cancelled_pairs: 0, cancelled });
    assert_eq!(
        gap(GapReason::QueueOverflow, Files::default()),
        r#""event":"gap","reason":"queue-overflow","cancelled_pairs":0}"#
    );
    let limit = GapReason::WatchLimit { limit: "fs.inotify.max_user_watches".into(), value: None };
    let cancelled = Files(vec![("memory.events".into(), values(&[("oom_kill", 2)]))]);
    assert_eq!(
        gap(limit, cancelled),
        r#""event":"gap","reason":"watch-limit","limit":"fs.inotify.max_user_watches","value":null,"cancelled_pairs":0,"cancelled":{"memory.events":{"oom_kill":2}}}"#
    );
    let limit = GapReason::DescriptorLimit { limit: "RLIMIT_NOFILE".into(), value: Some(14) };
    assert_eq!(
        gap(limit, Files::default()),
        r#""event":"gap","reason":"descriptor-limit","limit":"RLIMIT_NOFILE","value":14,"cancelled_pairs":0}"#
    );
    let reasons = [
        (Errno::ACCESS, "permission"),
        (Errno::PERM, "permission"),
        (Errno::XDEV, "covered"),
        (Errno::IO, "error"),
    ];
    for (errno, reason) in reasons {
        let number = errno.raw_os_error();
        assert_eq!(
            gap(GapReason::Inaccessible { cgroup: cgroup(b"/a"), errno }, Files::default()),
            format!(
                r#""event":"gap","n":1,"cgroup":"/a","id":74,"reason":"{reason}","errno":{number},"cancelled_pairs":0}}"#
            )
        );
    }
}

#[test]
fn changed() {
    let changed = |own| EventKind::Changed {
        cgroup: cgroup(b"/a/b"),
        file: "memory.events".into(),
        old: values(&[("high", 0)]),
        new: values(&[("high", 153)]),
        delta: values(&[("high", 153)]),
        own,
        late: Values::default(),
    };
    assert_eq!(
        body(changed(Some(values(&[("high", -153)])))),
        r#""event":"changed","n":1,"cgroup":"/a/b","id":74,"file":"memory.events","old":{"high":0},"new":{"high":153},"delta":{"high":153},"own":{"high":-153},"late":{}}"#
    );
    assert!(!body(changed(None)).contains("own"));
}

#[test]
fn a_delta_may_be_larger_than_any_machine_number() {
    let delta = i128::from(u64::MAX) * 2;
    let kind = EventKind::Changed {
        cgroup: cgroup(b"/"),
        file: "x".into(),
        old: Values::default(),
        new: Values::default(),
        delta: values(&[("k", delta), ("l", -delta)]),
        own: None,
        late: Values::default(),
    };
    let line = body(kind);
    assert!(line.contains(r#"{"k":36893488147419103230,"l":-36893488147419103230}"#), "{line}");
}

fn removed(files: &[&str], unseen: Unseen) -> String {
    let values = values(&[("oom_kill", 0)]);
    body(EventKind::Removed {
        cgroup: Cgroup { id: None, ..cgroup(b"/a/b") },
        lived_ns: Some(5_021_000_000),
        files: Files(files.iter().map(|&name| (name.into(), values.clone())).collect()),
        unseen,
        learned_from: LearnedFrom::Itself,
    })
}

#[test]
fn removed_with_the_last_word() {
    let unseen = Unseen {
        files: vec![("memory.events".into(), Some(values(&[("oom_kill", 1)])))],
        confidence: Some(Confidence::Bounded),
        ..Unseen::default()
    };
    assert_eq!(
        removed(&["memory.events"], unseen),
        r#""event":"removed","n":1,"cgroup":"/a/b","id":null,"lived_ns":5021000000,"files":{"memory.events":{"oom_kill":0}},"unseen":{"memory.events":{"oom_kill":1}},"unseen_confidence":"bounded","learned_from":"self"}"#
    );
}

#[test]
fn shared_amounts_name_each_other() {
    let unseen = Unseen {
        confidence: Some(Confidence::Shared),
        shared_with: vec![3, 4],
        shared_count: 2,
        unseen_in: Some(9),
        host_oom_kill_at_most: Some(2),
        ..Unseen::default()
    };
    assert!(removed(&[], unseen).ends_with(
        r#""unseen":{},"unseen_confidence":"shared","shared_with":[3,4],"shared_count":2,"unseen_in":9,"host_oom_kill_at_most":2,"learned_from":"self"}"#
    ));
}

#[test]
fn more_share_than_are_named() {
    let unseen = Unseen { shared_with: vec![3, 4], shared_count: 143, ..Unseen::default() };
    let line = removed(&[], unseen);
    assert!(line.contains(r#""shared_with":[3,4],"shared_count":143"#), "{line}");
}

#[test]
fn what_cannot_be_known_is_null() {
    let unknown = |names: &[&str]| Unseen {
        files: names.iter().map(|&name| (name.into(), None)).collect(),
        ..Unseen::default()
    };
    let all = ["cgroup.events", "memory.events", "pids.events"];
    let line = removed(&all, unknown(&["memory.events", "pids.events"]));
    assert!(line.contains(r#""unseen":null"#), "{line}");
    let line = removed(&all, unknown(&["pids.events"]));
    assert!(line.contains(r#""unseen":{"pids.events":null}"#), "{line}");
    let line = removed(&["cgroup.events"], unknown(&[]));
    assert!(line.contains(r#""unseen":{}"#), "{line}");
}

#[test]
fn strange_names() {
    let line =
        |path: &[u8]| body(EventKind::FileAdded { cgroup: cgroup(path), files: Files::default() });
    let strange = line("/a b\n\"\\x2d\u{1b}é".as_bytes());
    assert!(strange.contains(r#""cgroup":"/a b\n\"\\x2d\u001bé","id""#), "{strange}");
    let invalid = line(b"/a\xff\xfe/b");
    assert!(
        invalid.contains(r#""cgroup":"/a��/b","cgroup_hex":"2f61fffe2f62","id":74"#),
        "{invalid}"
    );
}

#[test]
fn a_line_is_one_json_object() {
    let names: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let kind = EventKind::FileAdded { cgroup: cgroup(&names), files: Files::default() };
    let line = json(kind);
    assert!(!line.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["seq"], 7);
}

#[test]
fn microseconds_are_cut_not_rounded() {
    let time = |unix_ns| rfc3339(Time { boot_ns: 0, unix_ns });
    assert_eq!(time(1_999_999), "1970-01-01T00:00:00.001999Z");
    assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(time(-1_000), "1969-12-31T23:59:59.999999Z");
    assert_ne!(time(i64::MAX), "");
}

#[test]
fn a_path_that_no_call_takes_is_shortened() {
    let line =
        |path: &[u8]| json(EventKind::Touched { cgroup: cgroup(path), file: "cgroup.type".into() });
    let full = format!("/{}", "x".repeat(CgroupPath::FULL - 1));
    let told = line(full.as_bytes());
    assert!(told.contains(&full) && !told.contains("cgroup_length"), "{told}");
    for name in ["x", "é", "語", "\u{1f980}"] {
        for more in 0..8 {
            let path = format!("/{}{}/end", "y".repeat(more), name.repeat(2000));
            let told = line(path.as_bytes());
            let shown = CgroupPath::new(path.as_bytes()).shortened().into_owned();
            let is_long = path.len() > CgroupPath::FULL;
            assert_eq!(told.contains(&format!(r#""cgroup_length":{}"#, path.len())), is_long);
            assert!(shown.len() <= CgroupPath::FULL && std::str::from_utf8(&shown).is_ok());
            assert!(shown.starts_with(b"/") && shown.ends_with(b"/end"));
            assert!(told.contains(std::str::from_utf8(&shown).unwrap()), "{told}");
        }
    }
    // A thousand levels, as one owner could make them in a few seconds.
    let deep = format!("/{}", "x".repeat(1400)).repeat(1000);
    assert!(line(deep.as_bytes()).len() < 2 * CgroupPath::FULL);
}

#[test]
fn what_is_guaranteed_by_which_strategy() {
    let strategies = [
        (Strategy::Inotify, "in-a-watched-directory", "each-notification"),
        (Strategy::Fanotify, "all", "each-notification"),
        (Strategy::Sweep, "alive-at-a-sweep", "each-sweep"),
    ];
    for (strategy, births, changes) in strategies {
        let line = Start { strategy, ..start(&["/top"]) }.to_json();
        let expected = format!(r#""births":"{births}","changes":"{changes}","#);
        assert!(line.contains(&expected), "{line}");
    }
}

/// Beside the states, which nothing can be unseen of, it is the only file.
#[test]
fn what_cannot_be_known_of_the_only_file_is_null() {
    let unknown = Unseen { files: vec![("memory.events".into(), None)], ..Unseen::default() };
    for files in [&["memory.events"][..], &["cgroup.events", "memory.events"]] {
        let line = removed(files, unknown.clone());
        assert!(line.contains(r#""unseen":null"#), "{line}");
    }
}
