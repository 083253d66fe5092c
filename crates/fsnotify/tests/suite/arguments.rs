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

/// The two sides of fanotify, on a tmpfs: a file, a directory, and the whole.
struct Both {
    place: tempfile::TempDir,
    file: Arc<dyn Object>,
    dir: Arc<dyn Object>,
    whole: Arc<dyn Object>,
}

/// What is marked, and by which path it is reached.
#[derive(Clone, Copy, Debug)]
enum Target {
    File,
    Directory,
}

impl Both {
    fn new() -> Self {
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        fs::create_dir(place.path().join("dir")).unwrap();
        let file_system = FileSystem { identity: 1, fsid: Fsid([1; 8]), decodes_handles: true };
        let object = |kind| -> Arc<dyn Object> { Thing::in_file_system(kind, file_system) };
        Self {
            place,
            file: object(ObjectKind::File),
            dir: object(ObjectKind::Directory),
            whole: object(ObjectKind::SuperBlock),
        }
    }

    /// Marks the same on both sides.
    fn mark(
        &self,
        group: (&linux::Fanotify, &Fanotify),
        target: Target,
        flags: MarkFlags,
        mask: u64,
    ) -> (Result<Answer, &'static str>, Answer) {
        let (name, object) = match target {
            Target::File => ("file", &self.file),
            Target::Directory => ("dir", &self.dir),
        };
        let whole = flags.contains(MarkFlags::FILESYSTEM);
        let object = if whole { &self.whole } else { object };
        let path = self.place.path().join(name);
        let linux_flags = linux::MarkFlags::from_bits_retain(flags.bits());
        let linux_mask = linux::MaskFlags::from_bits_retain(mask);
        let answer = group.0.mark(linux_flags, linux_mask, rustix::fs::CWD, Some(path.as_path()));
        (ours(group.1.mark(flags, mask, object)), answer.map_err(from_nix).err())
    }

    fn flush(&self, group: (&linux::Fanotify, &Fanotify)) {
        for kind in [MarkFlags::empty(), MarkFlags::MOUNT, MarkFlags::FILESYSTEM] {
            let (_, linux) = self.mark(group, Target::Directory, MarkFlags::FLUSH | kind, 0);
            assert_eq!(linux, None);
        }
    }
}

fn kinds_of_groups() -> [InitFlags; 4] {
    let named = InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
    let target = named | InitFlags::REPORT_FID | InitFlags::REPORT_TARGET_FID;
    [InitFlags::empty(), InitFlags::REPORT_FID, named, target]
}

const ONDIR: u64 = 0x4000_0000;
const ON_CHILD: u64 = 0x0800_0000;

/// 3.5: every combination of mark flags, for groups of each kind, on a file and
/// a directory of a tmpfs and on the whole of it, marked before or not.
#[test]
fn fanotify_mark_flags() {
    if !is_privileged() {
        return;
    }
    let both = Both::new();
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
    for group in kinds_of_groups() {
        let theirs = linux_group(group).unwrap();
        let own = Fanotify::new(&account, group).unwrap();
        let pair = (&theirs, &own);
        for (target, bits) in [Target::File, Target::Directory]
            .into_iter()
            .flat_map(|t| (0..1 << 12).map(move |b| (t, b)))
        {
            let flags = MarkFlags::from_bits_retain(bits);
            // A super block is one whatever path led to it, which ONLYDIR looks
            // at (kernfs' part); and links are whoever looks up's.
            let by_file = matches!(target, Target::File) && flags.contains(MarkFlags::ONLYDIR);
            if by_file && flags.contains(MarkFlags::FILESYSTEM)
                || flags.contains(MarkFlags::DONT_FOLLOW)
            {
                continue;
            }
            for (mask, marked) in masks.iter().flat_map(|m| [(*m, false), (*m, true)]) {
                if marked && bits & 0x3 == 0 {
                    continue;
                }
                if marked {
                    assert_eq!(both.mark(pair, target, MarkFlags::ADD, 0x2).1, None);
                }
                let (ours, linux) = both.mark(pair, target, flags, mask);
                differences.compare(ours, linux, (group, target, flags, mask, marked));
                both.flush(pair);
            }
        }
    }
    differences.check(50_000);
}

/// 3.5: every pair of mask bits, those that mean nothing too, for groups and
/// marks of each kind.
#[test]
fn fanotify_mark_masks() {
    if !is_privileged() {
        return;
    }
    let both = Both::new();
    let account = Account::new(Limits::default());
    let mut differences = Differences::default();
    let ways = [
        MarkFlags::ADD,
        MarkFlags::ADD | MarkFlags::FILESYSTEM,
        MarkFlags::ADD | MarkFlags::MOUNT,
        MarkFlags::ADD | MarkFlags::EVICTABLE,
        MarkFlags::ADD | MarkFlags::IGNORED_MASK,
        MarkFlags::ADD | MarkFlags::IGNORE | MarkFlags::IGNORED_SURV_MODIFY,
        MarkFlags::REMOVE,
    ];
    for group in kinds_of_groups() {
        let theirs = linux_group(group).unwrap();
        let own = Fanotify::new(&account, group).unwrap();
        let pair = (&theirs, &own);
        for flags in ways {
            for target in [Target::File, Target::Directory] {
                for (low, high) in (0..64).flat_map(|low| (low..64).map(move |high| (low, high))) {
                    let mask: u64 = 1 << low | 1 << high;
                    let (ours, linux) = both.mark(pair, target, flags, mask);
                    differences.compare(ours, linux, (group, target, flags, format!("{mask:#x}")));
                    if linux.is_none() || ours == Ok(None) {
                        both.flush(pair);
                    }
                }
            }
        }
    }
    differences.check(100_000);
}
