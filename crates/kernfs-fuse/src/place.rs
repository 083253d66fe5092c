//! Where something is mounted, and what is mounted there: held, so that nobody can lead the server
//! elsewhere.
//!
//! The way to a mount point may belong to others, who may move it aside and put another in its place
//! between any two calls. So its path is followed once, by [`MountPoint::open`], and never again:
//!
//! * What is mounted on is the directory that was checked, by a descriptor (`move_mount`).
//! * What is mounted is found again from the directory that the mount point lies in, by a
//!   descriptor, and its name in there: the kernel neither renames nor removes a mount point
//!   (`EBUSY`), whoever asks.
//! * It is believed to be that mount by its number alone ([`MountId`]).
//! * It is unmounted through `/proc/self/fd`, by a descriptor of the root that has that number.
//!
//! What is mounted over it is never touched. Without privileges `fusermount3` does all this by paths
//! of its own, and unmounts nothing but what this user mounted.

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use linux_notify::mountinfo::MountInfo;
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, Statx, StatxFlags, openat, statx},
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use crate::Error;

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8): a number that no other mount gets until the machine stops.
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// An empty directory to mount on.
#[derive(Debug)]
pub struct MountPoint {
    directory: OwnedFd,
    above: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl MountPoint {
    /// Follows a path, once. A FUSE mount whose source begins with `ours` is no place for another;
    /// one that a killed server left there is taken away first.
    ///
    /// # Errors
    /// [`Error::NoDevice`], [`Error::NoProc`], [`Error::MountPoint`], [`Error::NotDirectory`],
    /// [`Error::OwnMount`], [`Error::NotEmpty`].
    pub fn open(path: &Path, ours: &str) -> Result<Self, Error> {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .map_err(Error::NoDevice)?;
        rustix::fs::stat("/proc/self/fd").map_err(|errno| Error::NoProc(errno.into()))?;
        let unusable = |errno: Errno| match errno {
            Errno::NOTDIR => Error::NotDirectory { path: path.to_owned() },
            _ => Error::MountPoint { path: path.to_owned(), source: errno.into() },
        };
        let directory = match open_directory(CWD, path) {
            Err(Errno::NOTCONN) => {
                remove_dead(path, ours).map_err(unusable)?;
                open_directory(CWD, path)
            }
            opened => opened,
        };
        let directory = directory.map_err(unusable)?;
        let lies_on = info(&directory).map_err(Error::NoProc)?;
        if let Some(mount) = lies_on.filter(|mount| mount.is_fuse_from(ours)) {
            return Err(Error::OwnMount { path: path.to_owned(), mount: mount.point });
        }
        if !is_empty(&directory).map_err(unusable)? {
            return Err(Error::NotEmpty { path: path.to_owned() });
        }
        let path = std::fs::read_link(fd_path(&directory))
            .map_err(|source| Error::MountPoint { path: path.to_owned(), source })?;
        let above = openat(&directory, c"..", O_PATH, Mode::empty()).map_err(unusable)?;
        let name = path.file_name().unwrap_or_default().to_owned();
        let place = Self { directory, above, name, path };
        // It may have been renamed just now, or be one that nothing leads to any more.
        let found = place.top().and_then(|top| Ok(identity(&top)? == identity(&place.directory)?));
        match found {
            Ok(true) => Ok(place),
            Ok(false) => Err(unusable(Errno::NOENT)),
            Err(errno) => Err(unusable(errno)),
        }
    }

    /// Where it was when it was opened, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory it lies in.
    #[must_use]
    pub fn above(&self) -> BorrowedFd<'_> {
        self.above.as_fd()
    }

    /// The directory itself, below whatever is mounted on it.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The root of what is mounted on it, or the directory itself.
    pub(crate) fn top(&self) -> rustix::io::Result<OwnedFd> {
        top(self.above.as_fd(), &self.name)
    }
}

/// Which mount: given to no other while it lives, from Linux 6.8 on while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountId {
    number: u64,
    /// The device of its file system, for older kernels, which give numbers anew.
    device: (u32, u32),
}

/// As [`MountId::from_str`] reads it.
impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.number, self.device.0, self.device.1)
    }
}

/// It is no three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a mount")]
pub struct BadMountId;

impl FromStr for MountId {
    type Err = BadMountId;

    fn from_str(text: &str) -> Result<Self, BadMountId> {
        let mut words = text.split_ascii_whitespace();
        let mut next = || words.next().ok_or(BadMountId);
        let number = next()?.parse().map_err(|_| BadMountId)?;
        let mut half = || next()?.parse().map_err(|_| BadMountId);
        Ok(Self { number, device: (half()?, half()?) })
    }
}

/// What is mounted at a name, by a descriptor of its root. Nothing here asks its server, which may
/// be dead or stopped.
#[derive(Debug)]
pub struct Mounted<'a> {
    root: OwnedFd,
    above: OwnedFd,
    name: &'a OsStr,
}

impl<'a> Mounted<'a> {
    /// The uppermost mount at `name` in `above`; the mount of `above` itself if none is there.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn at(above: BorrowedFd<'_>, name: &'a OsStr) -> rustix::io::Result<Self> {
        // `AT_FDCWD` has no path.
        let above = openat(above, c".", O_PATH, Mode::empty())?;
        Ok(Self { root: top(above.as_fd(), name)?, above, name })
    }

    /// Which mount it is.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn id(&self) -> rustix::io::Result<MountId> {
        mount_id(&self.root)
    }

    /// What `/proc/self/mountinfo` says of it.
    ///
    /// # Errors
    /// Those of reading that file.
    pub fn info(&self) -> io::Result<Option<MountInfo>> {
        info(&self.root)
    }

    /// Ends it at once: requests in flight fail, and who holds files open keeps them, dead. Without
    /// `CAP_SYS_ADMIN` it is `fusermount3` that ends it, which leaves requests waiting for as long
    /// as their server lives.
    ///
    /// # Errors
    /// Those of umount2(2): `EINVAL`, it is the root of no mount; `EPERM`; `ENOENT`, there is no
    /// `/proc`.
    pub fn end(&self) -> rustix::io::Result<()> {
        let ended = unmount(fd_path(&self.root), UnmountFlags::FORCE | UnmountFlags::DETACH);
        if ended != Err(Errno::PERM) {
            return ended;
        }
        let mut command = Command::new("fusermount3");
        command.args(["-u", "-z", "-q", "--"]).arg(self.name).current_dir(fd_path(&self.above));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let helped = command.status();
        if helped.is_ok_and(|status| status.success()) { Ok(()) } else { ended }
    }
}

/// A mount and its place.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) place: MountPoint,
    pub(crate) id: MountId,
}

impl Attached {
    /// The mount, if it is still there, with nothing over it.
    fn find(&self) -> rustix::io::Result<Mounted<'_>> {
        let mounted = Mounted::at(self.place.above(), &self.place.name)?;
        if mounted.id()? == self.id { Ok(mounted) } else { Err(Errno::INVAL) }
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.find().is_ok()
    }

    /// `EINVAL`: it is not mounted any more, or something else is over it.
    pub(crate) fn unmount(&self) -> rustix::io::Result<()> {
        self.find()?.end()
    }
}

const O_PATH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open_directory(at: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn top(above: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(above, name, O_PATH | OFlags::NOFOLLOW, Mode::empty())
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes away a mount without a server that is one of ours.
fn remove_dead(path: &Path, ours: &str) -> rustix::io::Result<()> {
    let root = openat(CWD, path, O_PATH, Mode::empty())?;
    let is_ours = info(&root).is_ok_and(|info| info.is_some_and(|info| info.is_fuse_from(ours)));
    if !is_ours {
        return Err(Errno::NOTCONN);
    }
    let path = std::path::absolute(path).map_err(|_| Errno::NOTCONN)?;
    // For `fusermount3` only.
    let (above, name) = (path.parent().unwrap_or(&path), path.file_name().unwrap_or_default());
    let above = openat(CWD, above, O_PATH, Mode::empty())?;
    Mounted { root, above, name }.end()
}

/// The mount that a descriptor is on.
pub(crate) fn mount_id(fd: &OwnedFd) -> rustix::io::Result<MountId> {
    Ok(identity(fd)?.0)
}

/// The same, and the inode; without asking a server.
fn identity(fd: &OwnedFd) -> rustix::io::Result<(MountId, u64)> {
    let stat = stat(fd, UNIQUE | StatxFlags::INO)?;
    let device = (stat.stx_dev_major, stat.stx_dev_minor);
    let has = |flag: StatxFlags| stat.stx_mask & flag.bits() != 0;
    let number = if has(UNIQUE) { stat.stx_mnt_id } else { number(fd)? };
    Ok((MountId { number, device }, stat.stx_ino))
}

fn number(fd: &OwnedFd) -> rustix::io::Result<u64> {
    let stat = stat(fd, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        Err(Errno::NOSYS)
    } else {
        Ok(stat.stx_mnt_id)
    }
}

fn stat(fd: &OwnedFd, mask: StatxFlags) -> rustix::io::Result<Statx> {
    statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT, mask)
}

pub(crate) fn info(fd: &OwnedFd) -> io::Result<Option<MountInfo>> {
    MountInfo::of(number(fd)?)
}

/// The very thing a descriptor is open on, for calls that take paths: a link that nobody can change.
pub(crate) fn fd_path(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_mount_is_read_as_it_is_written() {
        let id = MountId { number: u64::MAX, device: (0, 4_294_967_295) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1", "1 2", "1 2 x", "-1 2 3"] {
            assert_eq!(text.parse::<MountId>(), Err(BadMountId), "{text}");
        }
    }
}
