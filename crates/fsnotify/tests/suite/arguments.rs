//! The argument matrices: which flags, on which kind of object, give which
//! errno. Each is asked of this machine's kernel and of the crate, which must
//! agree; what Linux can do and the crate cannot is `Error::Unsupported`, and
//! only allowed where Linux says yes.
//!
//! Accepted differences: bits that the running kernel is too old for are left
//! out. Everything else must match.

use std::{fmt::Debug, fs, sync::Arc};

use fsnotify::{
    Account, Error, FileSystem, Fsid, Limits, Object, ObjectKind,
    fanotify::{Fanotify, InitFlags, MarkFlags},
    inotify::{self, Inotify, WatchMask},
};
use nix::sys::fanotify as linux;
use rustix::{fs::inotify as linux_inotify, io::Errno};

use crate::objects::Thing;

/// What a call came to: `None` is success.
type Answer = Option<Errno>;

fn ours<T>(result: Result<T, Error>) -> Result<Answer, &'static str> {
    match result {
        Ok(_) => Ok(None),
        Err(Error::Unsupported { what }) => Err(what),
        Err(error) => Ok(Some(error.errno())),
    }
}

/// Collects the differences, to show some of them and their number.
#[derive(Default)]
struct Differences {
    shown: Vec<String>,
    count: usize,
    asked: usize,
}

impl Differences {
    fn compare(&mut self, ours: Result<Answer, &'static str>, linux: Answer, what: impl Debug) {
        self.asked += 1;
        let same = match ours {
            Ok(answer) => answer == linux,
            Err(_unsupported) => linux.is_none(),
        };
        if !same {
            self.count += 1;
            if self.shown.len() < 20 {
                self.shown.push(format!("{what:?}: ours {ours:?}, Linux {linux:?}"));
            }
        }
    }

    fn check(self, at_least: usize) {
        assert!(self.asked >= at_least, "{} asked", self.asked);
        assert_eq!(self.count, 0, "{:#?}", self.shown);
    }
}

fn from_nix(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

/// 3.4 read (NONBLOCK) and inotify_init1(2): every pair of bits.
#[test]
fn inotify_init1() {
    let account = Account::new(Limits::default());
    let mut differences = Differences::default();
    // Bit 31 is this crate's own.
    for low in 0..31 {
        for high in low..31 {
            let bits = 1 << low | 1 << high;
            let flags = linux_inotify::CreateFlags::from_bits_retain(bits);
            let linux = linux_inotify::init(flags).err();
            let flags = inotify::InitFlags::from_bits_retain(bits);
            differences.compare(ours(Inotify::new(&account, flags)), linux, flags);
        }
    }
    differences.check(496);
}

/// 3.4 add_watch errors, rm_watch: every pair of bits, on a file and a
/// directory, watched before or not; and descriptors that nobody gave.
#[test]
fn inotify_add_watch_and_rm_watch() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let (file, dir) = (place.path().join("file"), place.path().join("dir"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&dir).unwrap();
    let account = Account::new(Limits::default());
    let mut differences = Differences::default();
    for (path, kind) in [(&file, ObjectKind::File), (&dir, ObjectKind::Directory)] {
        for watched in [false, true] {
            let linux = linux_inotify::init(linux_inotify::CreateFlags::NONBLOCK).unwrap();
            let own = Inotify::new(&account, inotify::InitFlags::NONBLOCK).unwrap();
            let mut next = 0;
            for low in 0..32 {
                for high in low..32 {
                    let bits: u32 = 1 << low | 1 << high;
                    let thing = Thing::new(kind);
                    if watched {
                        let modify = linux_inotify::WatchFlags::MODIFY;
                        linux_inotify::add_watch(&linux, path, modify).unwrap();
                        own.add_watch(thing.clone(), WatchMask::MODIFY).unwrap();
                    }
                    let mask = linux_inotify::WatchFlags::from_bits_retain(bits);
                    let theirs = linux_inotify::add_watch(&linux, path, mask);
                    let mask = WatchMask::from_bits_retain(bits);
                    let result = own.add_watch(thing, mask);
                    if let (Ok(theirs), Ok(result)) = (theirs, &result) {
                        assert_eq!(theirs, *result, "the descriptor");
                    }
                    let what = (kind, watched, mask);
                    differences.compare(ours(result), theirs.err(), what);
                    // Whatever watch there is now has the newest descriptor.
                    if watched || theirs.is_ok() {
                        next += 1;
                        linux_inotify::remove_watch(&linux, next).unwrap();
                        own.rm_watch(next).unwrap();
                    }
                }
            }
        }
    }
    for wd in [i32::MIN, -1, 0, 1, i32::MAX] {
        let linux = linux_inotify::init(linux_inotify::CreateFlags::NONBLOCK).unwrap();
        let own = Inotify::new(&account, inotify::InitFlags::NONBLOCK).unwrap();
        let theirs = linux_inotify::remove_watch(&linux, wd).err();
        differences.compare(ours(own.rm_watch(wd)), theirs, wd);
    }
    differences.check(2112);
}

/// Whether this process may use fanotify as root can.
fn is_privileged() -> bool {
    linux::Fanotify::init(linux::InitFlags::FAN_CLASS_NOTIF, linux::EventFFlags::empty()).is_ok()
}

fn linux_group(flags: InitFlags) -> Result<linux::Fanotify, Errno> {
    let flags = linux::InitFlags::from_bits_retain(flags.bits());
    linux::Fanotify::init(flags, linux::EventFFlags::empty()).map_err(from_nix)
}

/// 3.5 info flags: all combinations of the flags there are, and each bit that
/// is none.
#[test]
fn fanotify_init() {
    if !is_privileged() {
        return;
    }
    // What depends on the kernel's age and configuration.
    let newer = [InitFlags::ENABLE_AUDIT, InitFlags::REPORT_FD_ERROR, InitFlags::REPORT_MNT];
    let unknown = newer.into_iter().filter(|flag| linux_group(*flag).is_err());
    let unknown = unknown.fold(InitFlags::empty(), |all, flag| all | flag);
    let account = Account::new(Limits::default());
    let mut differences = Differences::default();
    for bits in 0..1 << 15 {
        let flags = InitFlags::from_bits_retain(bits);
        if !flags.intersects(unknown) {
            let own = Fanotify::new(&account, flags);
            differences.compare(ours(own), linux_group(flags).err(), flags);
        }
    }
    for bit in 15..31 {
        let flags = InitFlags::from_bits_retain(1 << bit);
        differences.compare(ours(Fanotify::new(&account, flags)), linux_group(flags).err(), flags);
    }
    differences.check(1 << 12);
}

/// Every combination of mark flags, for groups of each kind, on a file and a
/// directory of a tmpfs, marked before or not.
#[test]
fn fanotify_mark() {
    if !is_privileged() {
        return;
    }
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let (file, dir) = (place.path().join("file"), place.path().join("dir"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&dir).unwrap();
    let file_system = FileSystem { identity: 1, fsid: Fsid([1; 8]), decodes_handles: true };
    let object = |kind| -> Arc<dyn Object> { Thing::in_file_system(kind, file_system) };
    let super_block = object(ObjectKind::SuperBlock);
    let objects = [(&file, object(ObjectKind::File)), (&dir, object(ObjectKind::Directory))];

    let named = InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
    let target = named | InitFlags::REPORT_FID | InitFlags::REPORT_TARGET_FID;
    let groups = [InitFlags::empty(), InitFlags::REPORT_FID, named, target];
    const ONDIR: u64 = 0x4000_0000;
    const ON_CHILD: u64 = 0x0800_0000;
    let masks = [
        0,
        0x2,         // MODIFY
        0x102,       // CREATE and MODIFY
        0x400,       // DELETE_SELF
        0x1000_0000, // RENAME
        0x8000,      // FS_ERROR
        0x1_0000,    // OPEN_PERM
        0x4000,      // Q_OVERFLOW
        0x2000,      // UNMOUNT, not fanotify's
        ONDIR,
        ON_CHILD | 0x2,
        ONDIR | ON_CHILD | 0x100,
        1 << 32,
    ];
    let account = Account::new(Limits::default());
    let mut differences = Differences::default();
    for group in groups {
        let theirs = linux_group(group).unwrap();
        let own = Fanotify::new(&account, group).unwrap();
        for ((path, object), bits) in objects.iter().flat_map(|o| (0..1 << 12).map(move |b| (o, b)))
        {
            let flags = MarkFlags::from_bits_retain(bits);
            let whole = flags.contains(MarkFlags::FILESYSTEM);
            // A super block is one whatever path led to it; and links are
            // whoever looks up's.
            if whole && object.kind() == ObjectKind::File || flags.contains(MarkFlags::DONT_FOLLOW)
            {
                continue;
            }
            for (mask, marked) in masks.iter().flat_map(|m| [(*m, false), (*m, true)]) {
                if marked && bits & 0x3 == 0 {
                    continue;
                }
                let linux_mark = |flags: MarkFlags, mask: u64| {
                    let flags = linux::MarkFlags::from_bits_retain(flags.bits());
                    let mask = linux::MaskFlags::from_bits_retain(mask);
                    let root = rustix::fs::CWD;
                    theirs.mark(flags, mask, root, Some(path.as_path())).map_err(from_nix)
                };
                let target = if whole { &super_block } else { object };
                if marked {
                    linux_mark(MarkFlags::ADD, 0x2).unwrap();
                    own.mark(MarkFlags::ADD, 0x2, object).unwrap();
                }
                let what = (group, object.kind(), flags, mask, marked);
                let answer = linux_mark(flags, mask).err();
                differences.compare(ours(own.mark(flags, mask, target)), answer, what);
                for kind in [MarkFlags::empty(), MarkFlags::MOUNT, MarkFlags::FILESYSTEM] {
                    linux_mark(MarkFlags::FLUSH | kind, 0).unwrap();
                    own.mark(MarkFlags::FLUSH | kind, 0, object).unwrap();
                }
            }
        }
    }
    differences.check(50_000);
}
