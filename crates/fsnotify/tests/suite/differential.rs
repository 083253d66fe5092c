//! The same programs on the crate and on this machine's kernel, on a tmpfs:
//! the streams must be equal, record by record.
//!
//! Accepted differences:
//! * cookies: Linux counts renames of the whole machine; they are renumbered
//!   in the order they come;
//! * `fsid`: random on both sides; only handles are compared.

use std::{collections::HashMap, os::fd::AsFd};

use fsnotify::{
    Account, Limits,
    fanotify::{self, Fanotify, InfoKind, InitFlags, MarkFlags},
    inotify::{self, Inotify, WatchMask},
};
use nix::sys::fanotify as linux;
use proptest::prelude::*;
use rustix::fs::inotify as linux_inotify;

use crate::tmpfs::{Action, Tmpfs};

const PATHS: [&str; 6] = ["a", "b", "d", "d/a", "d/b", "e"];

#[derive(Clone, Debug)]
enum Step {
    Act(Action),
    Watch(&'static str, u32),
    Remove(i32),
    Read(usize),
}

fn path() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&PATHS[..])
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => path().prop_map(Action::Create),
        2 => path().prop_map(Action::Open),
        4 => path().prop_map(Action::Write),
        3 => path().prop_map(Action::Close),
        2 => path().prop_map(Action::Chmod),
        2 => path().prop_map(Action::Unlink),
        2 => path().prop_map(Action::Mkdir),
        1 => path().prop_map(Action::Rmdir),
        2 => (path(), path()).prop_map(|(from, to)| Action::Rename(from, to)),
    ]
}

/// Events, and now and then what changes how a watch behaves.
fn mask() -> impl Strategy<Value = u32> {
    let flags = [
        WatchMask::empty(),
        WatchMask::empty(),
        WatchMask::empty(),
        WatchMask::ONESHOT,
        WatchMask::EXCL_UNLINK,
        WatchMask::MASK_ADD,
        WatchMask::MASK_CREATE,
        WatchMask::ONLYDIR,
    ];
    (1..0x1000_u32, proptest::sample::select(flags.to_vec()))
        .prop_map(|(events, flags)| events | flags.bits())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => action().prop_map(Step::Act),
        4 => (path(), mask()).prop_map(|(path, mask)| Step::Watch(path, mask)),
        1 => (0..6).prop_map(Step::Remove),
        1 => proptest::sample::select(vec![0, 15, 16, 31, 32, 33, 48, 64, 4096]).prop_map(Step::Read),
    ]
}

/// Cookies in the order they come.
fn renumber(bytes: &mut [u8], known: &mut HashMap<u32, u32>) {
    let mut at = 0;
    while at < bytes.len() {
        let word = |from: usize| u32::from_ne_bytes(bytes[from..from + 4].try_into().unwrap());
        let (cookie, len) = (word(at + 8), word(at + 12) as usize);
        if cookie != 0 {
            let next = known.len() as u32 + 1;
            let number = *known.entry(cookie).or_insert(next);
            bytes[at + 8..at + 12].copy_from_slice(&number.to_ne_bytes());
        }
        at += 16 + len;
    }
}

fn run_inotify(steps: &[Step]) {
    let mut both = Tmpfs::new();
    let theirs = linux_inotify::init(linux_inotify::CreateFlags::NONBLOCK).unwrap();
    let account = Account::new(Limits::default());
    let ours = Inotify::new(&account, inotify::InitFlags::NONBLOCK).unwrap();
    let mut cookies = [HashMap::new(), HashMap::new()];
    let mut compare = |size: usize| {
        let mut buffers = [vec![0; size], vec![0; size]];
        let own = ours.read(&mut buffers[0]).map_err(|error| error.errno());
        let real = rustix::io::read(&theirs, &mut buffers[1][..]);
        for ((buffer, read), known) in buffers.iter_mut().zip([&own, &real]).zip(&mut cookies) {
            if let Ok(read) = read {
                renumber(&mut buffer[..*read], known);
            }
        }
        let text = |bytes: &[u8]| format!("{:?}", inotify::records(bytes).collect::<Vec<_>>());
        assert_eq!(own, real, "{} / {}", text(&buffers[0]), text(&buffers[1]));
        assert_eq!(text(&buffers[0]), text(&buffers[1]), "ours / Linux");
        assert_eq!(buffers[0], buffers[1], "byte for byte");
    };
    for step in steps {
        match step {
            Step::Act(action) => {
                both.act(action);
            }
            Step::Watch(path, mask) => {
                let Some(node) = both.node(path) else { continue };
                let flags = linux_inotify::WatchFlags::from_bits_retain(*mask);
                let real = linux_inotify::add_watch(&theirs, both.path(path), flags);
                let mask = WatchMask::from_bits_retain(*mask);
                let own = ours.add_watch(node.object.clone(), mask);
                assert_eq!(own.map_err(|error| error.errno()), real, "{step:?}");
            }
            Step::Remove(wd) => {
                let real = linux_inotify::remove_watch(&theirs, *wd);
                assert_eq!(ours.rm_watch(*wd).map_err(|error| error.errno()), real, "{step:?}");
            }
            Step::Read(size) => compare(*size),
        }
        let queued = rustix::io::ioctl_fionread(&theirs).unwrap();
        assert_eq!(ours.readable_bytes() as u64, queued, "after {step:?}");
    }
    compare(1 << 16);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Random programs; a failing one is shrunk and kept.
    #[test]
    fn inotify_on_tmpfs(steps in proptest::collection::vec(step(), 1..60)) {
        run_inotify(&steps);
    }
}

/// Each record as its events and what it names, handles as hex.
fn told(bytes: &[u8]) -> Vec<String> {
    let record = |record: fanotify::Record<'_>| {
        let infos = record.infos().map(|info| {
            let name = info.name.map(String::from_utf8_lossy);
            let kind = match info.kind {
                InfoKind::Fid => "fid",
                InfoKind::Dfid => "dfid",
                InfoKind::DfidName => "dfid_name",
            };
            format!("{kind} {}:{:02x?} {name:?}", info.handle.kind(), info.handle.bytes())
        });
        format!("{:?} {}", record.metadata, infos.collect::<Vec<_>>().join(", "))
    };
    fanotify::records(bytes).map(record).collect()
}

/// What is marked, with which flags and events.
const MARKS: [(&str, MarkFlags, u64); 7] = [
    ("d", MarkFlags::ADD, 0xfca | ONDIR),
    ("d", MarkFlags::ADD, 0x2a | ON_CHILD),
    ("a", MarkFlags::ADD, 0xc2e),
    ("d/a", MarkFlags::ADD.union(MarkFlags::EVICTABLE), 0x406),
    ("", MarkFlags::ADD, 0xfc0 | ONDIR | ON_CHILD),
    ("a", MarkFlags::ADD.union(MarkFlags::IGNORED_MASK), 0x2a),
    (
        "d",
        MarkFlags::ADD.union(MarkFlags::IGNORE).union(MarkFlags::IGNORED_SURV_MODIFY),
        0x20 | ON_CHILD,
    ),
];
const ONDIR: u64 = 0x4000_0000;
const ON_CHILD: u64 = 0x0800_0000;

#[derive(Clone, Debug)]
enum FanotifyStep {
    Act(Action),
    Mark(usize),
    Read,
}

fn fanotify_step() -> impl Strategy<Value = FanotifyStep> {
    prop_oneof![
        6 => action().prop_map(FanotifyStep::Act),
        2 => (0..MARKS.len()).prop_map(FanotifyStep::Mark),
        1 => Just(FanotifyStep::Read),
    ]
}

fn run_fanotify(flags: InitFlags, steps: &[FanotifyStep]) {
    let mut both = Tmpfs::new();
    let bits = linux::InitFlags::from_bits_retain((flags | InitFlags::NONBLOCK).bits());
    let Ok(theirs) = linux::Fanotify::init(bits, linux::EventFFlags::empty()) else { return };
    let account = Account::new(Limits::default());
    let ours = Fanotify::new(&account, flags | InitFlags::NONBLOCK).unwrap();
    let compare = || {
        let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
        let own = ours.read(&mut buffers[0]).unwrap_or(0);
        let real = rustix::io::read(theirs.as_fd(), &mut buffers[1][..]).unwrap_or(0);
        assert_eq!(told(&buffers[0][..own]), told(&buffers[1][..real]), "ours / Linux");
        assert_eq!(own, real, "in bytes");
    };
    for step in steps {
        match step {
            FanotifyStep::Act(action) => {
                both.act(action);
            }
            FanotifyStep::Mark(which) => {
                let (path, flags, mask) = MARKS[*which];
                let Some(node) = both.node(path) else { continue };
                let linux_flags = linux::MarkFlags::from_bits_retain(flags.bits());
                let linux_mask = linux::MaskFlags::from_bits_retain(mask);
                let place = both.path(path);
                let real =
                    theirs.mark(linux_flags, linux_mask, rustix::fs::CWD, Some(place.as_path()));
                let object: std::sync::Arc<dyn fsnotify::Object> = node.object.clone();
                let own = ours.mark(flags, mask, &object).map_err(|error| error.errno());
                let real = real.map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32));
                assert_eq!(own, real, "{step:?}");
            }
            FanotifyStep::Read => compare(),
        }
    }
    compare();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The same for fanotify, with each way of naming things.
    #[test]
    fn fanotify_on_tmpfs(
        flags in proptest::sample::select(vec![
            InitFlags::REPORT_FID,
            InitFlags::REPORT_DIR_FID,
            InitFlags::REPORT_DIR_FID | InitFlags::REPORT_FID,
            InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME,
            InitFlags::REPORT_FID | InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME,
            InitFlags::REPORT_FID
                | InitFlags::REPORT_DIR_FID
                | InitFlags::REPORT_NAME
                | InitFlags::REPORT_TARGET_FID,
        ]),
        steps in proptest::collection::vec(fanotify_step(), 1..50),
    ) {
        run_fanotify(flags, &steps);
    }
}
