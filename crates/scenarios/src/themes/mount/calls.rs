//! What a client may try, call by call: a mounted tree answers as the real
//! cgroupfs does, success or errno.
//!
//! Accepted differences: names of more than 1024 bytes, which cgroupfs makes
//! and a mount refuses (`ENAMETOOLONG`); offsets of more than 2 GiB to seek to,
//! which a mount takes and cgroupfs refuses (`EINVAL`); seeking to data, which a
//! mount finds, since its files have a size, and cgroupfs does not (`ENXIO`).

use std::path::Path;

use rustix::{
    fs::{
        AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW,
        UTIME_OMIT, XattrFlags, chmodat, chownat, fallocate, ftruncate, linkat, mkdirat, mknodat,
        open, renameat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
    process::{Gid, Uid},
};

use super::Hierarchy;
use crate::{Environment, Failure, Tree, ensure};

type Call = (&'static str, fn(&Path) -> Result<(), Errno>);

/// Each on a directory `a` with a child `a/b`, in this order.
const CALLS: &[Call] = &[
    ("open a missing file", |at| open_for(at, "a/missing", OFlags::RDONLY)),
    ("create a file", |at| open_for(at, "a/new", OFlags::WRONLY | OFlags::CREATE)),
    ("create a file that is there, alone", |at| {
        open_for(at, "a/cgroup.events", OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }),
    ("open to truncate", |at| open_for(at, "a/cgroup.procs", OFlags::WRONLY | OFlags::TRUNC)),
    ("open a directory to write", |at| open_for(at, "a", OFlags::WRONLY)),
    ("mkdir of what is there", |at| make(at, "a/b")),
    ("mkdir of a file's name", |at| make(at, "a/cgroup.events")),
    ("mkdir below a file", |at| make(at, "a/cgroup.events/c")),
    ("mkdir below what is missing", |at| make(at, "a/missing/c")),
    ("mkdir of 255 bytes", |at| make(at, &format!("a/{}", "n".repeat(255)))),
    ("rmdir of 255 bytes", |at| remove(at, &format!("a/{}", "n".repeat(255)))),
    ("mkdir of 256 bytes", |at| make(at, &format!("a/{}", "n".repeat(256)))),
    ("stat of 256 bytes", |at| stat(at, &format!("a/{}", "n".repeat(256)))),
    ("rmdir of 256 bytes", |at| remove(at, &format!("a/{}", "n".repeat(256)))),
    ("mkdir of 1024 bytes", |at| make(at, &format!("a/{}", "n".repeat(1024)))),
    ("list with a name of 1024 bytes", |at| list(at, "a")),
    ("rmdir of 1024 bytes", |at| remove(at, &format!("a/{}", "n".repeat(1024)))),
    ("mkdir of 5000 bytes", |at| make(at, &format!("a/{}", "n".repeat(5000)))),
    ("open of 1000 bytes", |at| open_for(at, &format!("a/{}", "n".repeat(1000)), OFlags::RDONLY)),
    ("rmdir of one with a child", |at| remove(at, "a")),
    ("rmdir of a file", |at| remove(at, "a/cgroup.events")),
    ("rmdir of what is missing", |at| remove(at, "a/missing")),
    ("unlink a file", |at| unlinkat(CWD, at.join("a/cgroup.events"), AtFlags::empty())),
    ("unlink a directory", |at| unlinkat(CWD, at.join("a/b"), AtFlags::empty())),
    ("rename a file", |at| {
        renameat(CWD, at.join("a/cgroup.events"), CWD, at.join("a/cgroup.other"))
    }),
    ("rename a directory", |at| renameat(CWD, at.join("a/b"), CWD, at.join("a/c"))),
    ("link", |at| {
        let (from, to) = (at.join("a/cgroup.events"), at.join("a/link"));
        linkat(CWD, from, CWD, to, AtFlags::empty())
    }),
    ("symlink", |at| symlinkat("target", CWD, at.join("a/link"))),
    ("make a fifo", |at| node(at, FileType::Fifo)),
    ("make a file by mknod", |at| node(at, FileType::RegularFile)),
    ("make a device", |at| node(at, FileType::CharacterDevice)),
    ("truncate", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::WRONLY, Mode::empty())?;
        ftruncate(&file, 0)
    }),
    ("chmod a file", |at| {
        chmodat(CWD, at.join("a/cgroup.procs"), Mode::from_raw_mode(0o600), AtFlags::empty())
    }),
    ("truncate to a size", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::WRONLY, Mode::empty())?;
        ftruncate(&file, 5)
    }),
    ("chmod a directory", |at| {
        chmodat(CWD, at.join("a"), Mode::from_raw_mode(0o711), AtFlags::empty())
    }),
    ("chown a file", |at| {
        let (uid, gid) = (Uid::from_raw(1), Gid::from_raw(1));
        chownat(CWD, at.join("a/cgroup.procs"), Some(uid), Some(gid), AtFlags::empty())
    }),
    ("chown a directory", |at| {
        let (uid, gid) = (Uid::from_raw(1), Gid::from_raw(1));
        chownat(CWD, at.join("a"), Some(uid), Some(gid), AtFlags::empty())
    }),
    ("set the times", |at| {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 5, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
        };
        utimensat(CWD, at.join("a/cgroup.procs"), &times, AtFlags::empty())
    }),
    ("set the time of modification alone", |at| {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
        };
        utimensat(CWD, at.join("a/cgroup.procs"), &times, AtFlags::empty())
    }),
    ("open to write", |at| open_for(at, "a/cgroup.procs", OFlags::WRONLY)),
    ("open to write what cannot be written", |at| open_for(at, "a/cgroup.events", OFlags::WRONLY)),
    ("write what cannot be written", |at| {
        let file = open(at.join("a/cgroup.events"), OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(&file, b"1").map(drop)
    }),
    ("write to what is open to be read", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::RDONLY, Mode::empty())?;
        rustix::io::write(&file, b"1").map(drop)
    }),
    ("make a file without a name", |at| open_for(at, "a", OFlags::RDWR | OFlags::TMPFILE)),
    ("make room", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::WRONLY, Mode::empty())?;
        fallocate(&file, FallocateFlags::empty(), 0, 10)
    }),
    ("sync a file", |at| {
        rustix::fs::fsync(open(at.join("a/cgroup.procs"), OFlags::WRONLY, Mode::empty())?)
    }),
    ("an unknown ioctl", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::RDONLY, Mode::empty())?;
        rustix::fs::ioctl_blksszget(&file).map(drop)
    }),
    ("set user.a", |at| set(at, "a", "user.a", b"1", XattrFlags::empty())),
    ("set user.a of a file", |at| set(at, "a/cgroup.procs", "user.a", b"", XattrFlags::empty())),
    ("set trusted.a", |at| set(at, "a", "trusted.a", b"1", XattrFlags::empty())),
    ("set security.a", |at| set(at, "a", "security.a", b"1", XattrFlags::empty())),
    ("set system.a", |at| set(at, "a", "system.a", b"1", XattrFlags::empty())),
    ("set an attribute of no kind", |at| set(at, "a", "a", b"1", XattrFlags::empty())),
    ("set an attribute without a name", |at| set(at, "a", "user.", b"1", XattrFlags::empty())),
    ("set an attribute anew", |at| set(at, "a", "user.a", b"2", XattrFlags::CREATE)),
    ("set a missing attribute", |at| set(at, "a", "user.b", b"2", XattrFlags::REPLACE)),
    ("set an attribute of 64 KiB", |at| {
        set(at, "a", "user.b", &[b'x'; 65536], XattrFlags::empty())
    }),
    ("set one of more", |at| set(at, "a", "user.c", &[b'x'; 65537], XattrFlags::empty())),
    ("set more than a node can have", |at| {
        set(at, "a", "user.c", &[b'x'; 65536], XattrFlags::empty())
    }),
    ("get an attribute", |at| get(at, "user.a", 16)),
    ("get a missing attribute", |at| get(at, "user.z", 16)),
    // Not an access list: Linux 7.0 answers that itself on a FUSE mount (ENODATA, not EOPNOTSUPP).
    ("get an attribute of another kind", |at| get(at, "system.other", 16)),
    ("get an attribute for which there is no room", |at| get(at, "user.b", 16)),
    ("list the attributes", |at| {
        let mut names = vec![0; 4096];
        let length = rustix::fs::listxattr(at.join("a"), &mut names)?;
        let mut names: Vec<_> = names[..length].split_inclusive(|byte| *byte == 0).collect();
        names.sort();
        let all = [b"security.a\0".as_slice(), b"trusted.a\0", b"user.a\0", b"user.b\0"];
        if names == all { Ok(()) } else { Err(Errno::INVAL) }
    }),
    ("list them where there is no room", |at| {
        rustix::fs::listxattr(at.join("a"), &mut [0; 4]).map(drop)
    }),
    ("remove an attribute", |at| rustix::fs::removexattr(at.join("a"), "user.a")),
    ("remove it again", |at| rustix::fs::removexattr(at.join("a"), "user.a")),
    ("write more than a page", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(&file, &[b'1'; 5000]).map(drop)
    }),
    ("read far beyond the end", |at| {
        let file = open(at.join("a/cgroup.events"), OFlags::RDONLY, Mode::empty())?;
        let read = rustix::io::pread(&file, &mut [0; 16], 1 << 40)?;
        if read == 0 { Ok(()) } else { Err(Errno::INVAL) }
    }),
    ("read at the last offset", |at| {
        let file = open(at.join("a/cgroup.events"), OFlags::RDONLY, Mode::empty())?;
        rustix::io::pread(&file, &mut [0; 1], i64::MAX as u64 - 1).map(drop)
    }),
    ("read beyond the last offset", |at| {
        let file = open(at.join("a/cgroup.events"), OFlags::RDONLY, Mode::empty())?;
        rustix::io::pread(&file, &mut [0; 16], i64::MAX as u64).map(drop)
    }),
    ("write far beyond the end", |at| {
        let file = open(at.join("a/cgroup.procs"), OFlags::WRONLY, Mode::empty())?;
        rustix::io::pwrite(&file, &[], 1 << 62).map(drop)
    }),
    ("list from far beyond the end", |at| {
        let directory = open(at.join("a"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(i32::MAX as u64))?;
        let mut listed = rustix::fs::Dir::read_from(&directory)?;
        // It begins anew.
        listed.next().transpose().map(drop)
    }),
    ("read a directory as a file", |at| {
        let file = open(at.join("a"), OFlags::RDONLY, Mode::empty())?;
        rustix::io::read(&file, &mut [0; 16]).map(drop)
    }),
    ("readlink of a file", |at| {
        rustix::fs::readlink(at.join("a/cgroup.events"), Vec::new()).map(drop)
    }),
];

fn open_for(at: &Path, name: &str, flags: OFlags) -> Result<(), Errno> {
    open(at.join(name), flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)).map(drop)
}

fn make(at: &Path, name: &str) -> Result<(), Errno> {
    mkdirat(CWD, at.join(name), Mode::from_raw_mode(0o755))
}

fn remove(at: &Path, name: &str) -> Result<(), Errno> {
    unlinkat(CWD, at.join(name), AtFlags::REMOVEDIR)
}

fn stat(at: &Path, name: &str) -> Result<(), Errno> {
    rustix::fs::stat(at.join(name)).map(drop)
}

fn list(at: &Path, name: &str) -> Result<(), Errno> {
    let directory = open(at.join(name), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    rustix::fs::Dir::new(directory)?.try_for_each(|entry| entry.map(drop))
}

fn set(
    at: &Path,
    name: &str,
    attribute: &str,
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Errno> {
    rustix::fs::setxattr(at.join(name), attribute, value, flags)
}

fn get(at: &Path, attribute: &str, room: usize) -> Result<(), Errno> {
    rustix::fs::getxattr(at.join("a"), attribute, &mut vec![0; room]).map(drop)
}

fn node(at: &Path, kind: FileType) -> Result<(), Errno> {
    mknodat(CWD, at.join("a/node"), kind, Mode::from_raw_mode(0o644), 0)
}

pub(super) fn as_cgroupfs(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let hierarchy = Hierarchy::mount(environment)?;
    for at in [tree.path(), hierarchy.path()] {
        make(at, "a")?;
        make(at, "a/b")?;
    }
    let mut differences = Vec::new();
    for (what, call) in CALLS {
        let (real, mounted) = (call(tree.path()), call(hierarchy.path()));
        if real != mounted {
            differences.push(format!("{what}: {mounted:?} instead of {real:?}"));
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("; "));
    Ok(())
}
