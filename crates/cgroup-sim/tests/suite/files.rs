//! What the files of a cgroup say, and what they take.

use cgroup_sim::{Event, Hierarchy, Options, Surface};
use kernfs::Access;
use rustix::io::Errno;

use crate::{count, errno, hierarchy, nested};

/// Each with what it says first and something it takes.
const LIMITS: [(&str, &str, &str); 11] = [
    ("cgroup.max.descendants", "max", "7"),
    ("cgroup.max.depth", "max", "3"),
    ("cgroup.freeze", "0", "1"),
    ("memory.min", "0", "8192"),
    ("memory.low", "0", "12288"),
    ("memory.high", "max", "16384"),
    ("memory.max", "max", "20480"),
    ("memory.oom.group", "0", "1"),
    ("memory.swap.high", "max", "24576"),
    ("memory.swap.max", "max", "28672"),
    ("pids.max", "max", "9"),
];

#[test]
fn a_limit_is_read_as_it_was_written() {
    let all = nested("+memory +pids");
    let read = |file: &str| all.read(format!("a/{file}")).unwrap();
    for (file, first, written) in LIMITS {
        assert_eq!(read(file), format!("{first}\n"), "{file}");
        all.write(format!("a/{file}"), written).unwrap();
    }
    for (file, _, written) in LIMITS {
        assert_eq!(read(file), format!("{written}\n"), "{file}");
    }
}

#[test]
fn what_cannot_be_written_or_read() {
    let all = nested("+memory +hugetlb +pids");
    for file in [
        "cgroup.controllers",
        "cgroup.events",
        "cgroup.stat",
        "memory.current",
        "memory.events",
        "hugetlb.2MB.events",
        "pids.current",
        "pids.peak",
        "pids.events",
    ] {
        assert_eq!(errno(all.write(format!("a/{file}"), "1")), Errno::INVAL, "{file}");
    }
    for file in ["cgroup.kill", "memory.reclaim"] {
        assert_eq!(errno(all.read(format!("a/{file}"))), Errno::INVAL, "{file}");
    }
    assert_eq!(all.read("a/pids.max").unwrap(), "max\n");
}

/// Each with its file and its key, as kernel and admin guide name them.
const EVENTS: [(Event, &str, &str); 12] = [
    (Event::MemoryLow, "memory.events", "low"),
    (Event::MemoryHigh, "memory.events", "high"),
    (Event::MemoryMax, "memory.events", "max"),
    (Event::MemoryOom, "memory.events", "oom"),
    (Event::MemoryOomKill, "memory.events", "oom_kill"),
    (Event::MemoryOomGroupKill, "memory.events", "oom_group_kill"),
    (Event::MemorySockThrottled, "memory.events", "sock_throttled"),
    (Event::SwapHigh, "memory.swap.events", "high"),
    (Event::SwapMax, "memory.swap.events", "max"),
    (Event::SwapFail, "memory.swap.events", "fail"),
    (Event::HugetlbMax, "hugetlb.2MB.events", "max"),
    (Event::PidsMax, "pids.events", "max"),
];

#[test]
fn an_event_counts_in_its_file_under_its_key_and_nowhere_else() {
    for (event, file, key) in EVENTS {
        let all = nested("+memory +hugetlb +pids");
        count(&all, "a", event, 3);
        assert_eq!((event.file(), event.key()), (file, key));
        for (_, other, _) in EVENTS {
            let text = all.read(format!("a/{other}")).unwrap();
            for line in text.lines() {
                let expected = if other == file && line == format!("{key} 3") { "3" } else { "0" };
                assert_eq!(
                    line.rsplit_once(' ').unwrap().1,
                    expected,
                    "{event:?}: {other}: {line}"
                );
            }
            assert_eq!(text.contains('3'), other == file, "{event:?}: {other}");
        }
    }
}

#[test]
fn the_notifying_surface_has_what_notifies_and_what_moves_tasks_and_controllers() {
    let options = Options { surface: Surface::Notifying, ..Options::default() };
    let all = Hierarchy::new(options);
    all.write("cgroup.subtree_control", "+memory +hugetlb +pids").unwrap();
    all.mkdir("a").unwrap();
    let names = all.tree().root().child("a").unwrap().child_names();
    let mut names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
    names.sort_unstable();
    let expected = [
        "cgroup.controllers",
        "cgroup.events",
        "cgroup.procs",
        "cgroup.subtree_control",
        "hugetlb.2MB.events",
        "hugetlb.2MB.events.local",
        "memory.events",
        "memory.events.local",
        "memory.swap.events",
        "pids.events",
        "pids.events.local",
    ];
    assert_eq!(names, expected);
}

/// Kernel: every file of a cgroup has a release operation (`cgroup_kf_ops`), so that to hide it, as
/// `cgroup.pressure` hides others, ends what is open (`kernfs_should_drain_open_files`).
#[test]
fn an_open_file_that_was_hidden_stays_dead_when_it_is_shown_again() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    let node = all.tree().root().child("a").unwrap().child("cgroup.events").unwrap();
    let open = node.open(Access::READ).unwrap();
    node.show(false).unwrap();
    node.show(true).unwrap();
    assert_eq!(open.read_at(0, &mut [0; 64]).unwrap_err().errno(), Errno::NODEV);
    all.read("a/cgroup.events").unwrap();
}
