//! Everything a client may try to change: refused, and nobody is told of anything.

use std::{ffi::CString, fs, os::unix::ffi::OsStrExt as _, path::Path};

use linux_notify::inotify::Mask;
use rustix::{
    fs::{
        Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, StatVfsMountFlags, Timespec, Timestamps,
        Uid, XattrFlags,
    },
    io::Errno,
};

use super::{Client, Server};
use crate::{Environment, Failure, Tree, ensure};

type Attempt<'a> = (&'a str, Result<(), Errno>);

pub(super) fn every_change(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let cgroup = tree.make("a")?;
    let mut server = Server::start(environment, &tree)?;
    server.until_shown("a", &cgroup)?;
    // It is mounted a moment before.
    let place = server.directory().to_owned();
    let read_only = || {
        let flags = rustix::fs::statvfs(&place).map(|found| found.f_flag);
        flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY))
    };
    server.until("it is read-only", read_only)?;
    let (file, directory) = (server.path("a/cgroup.freeze"), server.path("a"));
    let mut client = Client::new(environment)?;
    // Not what merely looking and opening raises.
    let changes = Mask::MODIFY
        | Mask::ATTRIB
        | Mask::CREATE
        | Mask::DELETE
        | Mask::DELETE_SELF
        | Mask::MOVED_FROM
        | Mask::MOVED_TO;
    client.watch(&file, changes)?;
    client.watch(&directory, changes)?;
    client.watch(server.directory(), changes)?;
    for (what, attempt) in attempts(&file, &directory) {
        let refused = matches!(
            attempt,
            Err(Errno::ROFS | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOTDIR)
        );
        ensure!(refused, "{what}: {attempt:?}");
    }
    client.take()?;
    ensure!(client.records.is_empty(), "someone was told: {:?}", client.records);
    let frozen = cgroup.file("cgroup.freeze");
    let text = fs::read_to_string(&frozen).map_err(Failure::driver("read", frozen))?;
    ensure!(text == "0\n", "the host has changed: {text:?}");
    ensure!(cgroup.directory.exists(), "the host's cgroup is gone");
    tree.remove(&cgroup)
}

fn attempts<'a>(file: &Path, directory: &Path) -> Vec<Attempt<'a>> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let (file, new) = (path(file), path(&directory.join("new")));
    let long = path(&directory.join("n".repeat(255)));
    // Not below itself, which is refused for another reason.
    let beside = path(&directory.with_file_name("beside"));
    let directory = path(directory);
    let open = |flags: OFlags| rustix::fs::open(&file, flags, Mode::empty()).map(drop);
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = |omit| Timestamps { last_access: omit, last_modification: now };
    let omitted = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let (no, rwx) = (AtFlags::empty(), Mode::RWXU);
    let owner = (Some(Uid::from_raw(1)), Some(Gid::from_raw(1)));
    let set = |of: &CString, name: &str| rustix::fs::setxattr(of, name, b"x", XattrFlags::empty());
    let nameless = rustix::fs::open(&directory, OFlags::RDWR | OFlags::TMPFILE, rwx).map(drop);
    vec![
        ("open for writing", open(OFlags::WRONLY)),
        ("open for both", open(OFlags::RDWR)),
        ("truncate at open", open(OFlags::WRONLY | OFlags::TRUNC)),
        ("create", rustix::fs::open(&new, OFlags::CREATE | OFlags::WRONLY, rwx).map(drop)),
        ("create without a name", nameless),
        ("mkdir", rustix::fs::mkdir(&new, rwx)),
        ("mkdir of 255 bytes", rustix::fs::mkdir(&long, rwx)),
        ("mknod", rustix::fs::mknodat(CWD, &new, FileType::Fifo, rwx, 0)),
        ("symlink", rustix::fs::symlink("x", &new)),
        ("link", rustix::fs::link(&file, &new)),
        ("rename", rustix::fs::rename(&file, &new)),
        ("rename of a directory", rustix::fs::rename(&directory, &beside)),
        ("unlink", rustix::fs::unlink(&file)),
        ("rmdir", rustix::fs::rmdir(&directory)),
        ("rmdir of a file", rustix::fs::rmdir(&file)),
        ("chmod", rustix::fs::chmod(&file, rwx)),
        ("chmod of a directory", rustix::fs::chmod(&directory, rwx)),
        ("chown", rustix::fs::chown(&file, owner.0, owner.1)),
        ("utimensat", rustix::fs::utimensat(CWD, &file, &times(now), no)),
        ("utimensat of the mtime", rustix::fs::utimensat(CWD, &file, &times(omitted), no)),
        ("setxattr", set(&file, "user.x")),
        ("setxattr of root's", set(&directory, "trusted.x")),
        ("removexattr", rustix::fs::removexattr(&file, "user.x")),
        ("access for writing", rustix::fs::access(&file, Access::WRITE_OK)),
    ]
}
