//! Mounting: first nowhere, then on the directory that was checked.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use fuser::{BackgroundSession, MountOption, Session, SessionACL};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_remount,
        move_mount, open_tree,
    },
};

use crate::{
    Options, Weakness,
    place::{Attached, MountPoint, fd_path, info, mount_id},
    requests::Server,
};

/// A mount that is served.
pub(crate) struct Served {
    pub(crate) session: BackgroundSession,
    pub(crate) attached: Attached,
    /// The server's own way into it.
    pub(crate) root: OwnedFd,
    pub(crate) weakness: Option<Weakness>,
}

/// Mounts it at the place. If that fails, nothing is mounted.
pub(crate) fn attach(server: Server, place: MountPoint, options: &Options) -> io::Result<Served> {
    match detached(&place, options) {
        Ok((device, mount)) => by_descriptor(server, device, mount, place, options),
        Err(Errno::PERM) => by_helper(server, place, options),
        Err(errno) => Err(errno.into()),
    }
}

fn by_descriptor(
    server: Server,
    device: OwnedFd,
    mount: OwnedFd,
    place: MountPoint,
    options: &Options,
) -> io::Result<Served> {
    let config = config(options);
    let session = Session::from_fd(server, device, config.acl, config)?.spawn()?;
    let attached = Attached { id: mount_id(&mount)?, place };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&mount, c"", attached.place.directory(), c"", flags)?;
    match private_root(mount, options.read_only) {
        Ok(root) => Ok(Served { session, attached, root, weakness: None }),
        Err(errno) => {
            let _ = attached.unmount();
            Err(errno.into())
        }
    }
}

/// Without privileges: `fusermount3` follows a path of its own, and refuses what is not this user's.
fn by_helper(server: Server, place: MountPoint, options: &Options) -> io::Result<Served> {
    let session = Session::new(server, fd_path(&place.directory()), &config(options))?.spawn()?;
    let top = place.top()?;
    let info = info(&top)?;
    if !info.is_some_and(|info| info.is_fuse_from(&options.name)) {
        // The way there led elsewhere meanwhile.
        return Err(Errno::NOENT.into());
    }
    let attached = Attached { id: mount_id(&top)?, place };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(top, c".", flags, Mode::empty());
    match root {
        Ok(root) => {
            Ok(Served { session, attached, root, weakness: Some(Weakness::NoPrivateMount) })
        }
        Err(errno) => {
            let _ = attached.unmount();
            Err(errno.into())
        }
    }
}

/// A mount of FUSE that is nowhere yet, and the device that serves it. `EPERM`: without
/// `CAP_SYS_ADMIN`.
fn detached(place: &MountPoint, options: &Options) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let context = fsopen(c"fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mode = rustix::fs::fstat(place.directory())?.st_mode;
    let set = |key, value: String| fsconfig_set_string(&context, key, value);
    set("source", options.name.clone())?;
    set("fd", device.as_raw_fd().to_string())?;
    set("rootmode", format!("{mode:o}"))?;
    set("user_id", rustix::process::getuid().to_string())?;
    set("group_id", rustix::process::getgid().to_string())?;
    // The kernel checks modes and owners.
    fsconfig_set_flag(&context, "default_permissions")?;
    if options.allow_other {
        fsconfig_set_flag(&context, "allow_other")?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok((device, mount))
}

/// The server's own way into the mount: a detached copy of it, which leaves the mount point free to
/// be unmounted, and stays writable when clients' is not. (Before Linux 6.15 only what is mounted
/// somewhere can be copied.)
fn private_root(mount: OwnedFd, read_only: bool) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = open_tree(&mount, c"", flags)?;
    if read_only {
        make_read_only(&mount)?;
    }
    // While it is open the mount point is busy, so before any request.
    drop(mount);
    rustix::fs::openat(copy, c".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn make_read_only(mount: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    // A client who tries to write at this moment is in the way, not for long; and the server refuses
    // him anyway.
    for _ in 0..100 {
        match mount_remount(fd_path(mount), flags, c"") {
            Err(Errno::BUSY) => thread::sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
    Ok(())
}

fn config(options: &Options) -> fuser::Config {
    let mut config = fuser::Config::default();
    // For `fusermount3`; the same as above.
    config.mount_options = vec![
        MountOption::FSName(options.name.clone()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.event_loops.max(1));
    // Each event loop is woken by its own requests.
    config.clone_fd = true;
    config
}
