//! Where a path lies: which mount of the hierarchy shows it, and how it is reached from there.
//!
//! All mounts of cgroup2 show one tree, so a path is reached through the mount that shows most of it:
//! then two paths that overlap are seen to do so, whichever mounts they were given in.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use linux_notify::{FileHandle, open_by_handle_at};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{DIRECTORY, HostWorld};
use crate::{Error, FileSystem, Mount, world::Place};

/// The root of a mount.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) point: PathBuf,
    pub(super) fd: OwnedFd,
    pub(super) device: u64,
    /// Open for reading, if handles may be opened on it.
    pub(super) handles: Option<OwnedFd>,
}

/// The longest path one system call takes, with its NUL.
const PATH_MAX: usize = 4096;

/// The longest name that the kernel finds by an id.
const NAME_MAX: usize = 255;

/// The id of the root of every kernfs hierarchy.
const ROOT_ID: u64 = 1;

impl Base {
    /// Opens what has this id. `None` if there is no id to go by, or none may be gone by.
    pub(super) fn open_id(&self, id: u64, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
        let root = self.handles.as_ref().filter(|_| id != 0)?;
        let handle = FileHandle::from_kernfs_id(id);
        Some(open_by_handle_at(root.as_fd(), &handle, flags).map_err(|error| error.errno()))
    }

    /// Opens the directory that has this id and this path. `None` as for [`Self::open_id`],
    /// and for [`Self::opens_by_id`].
    pub(super) fn open_directory_id(&self, id: u64, path: &[u8]) -> Option<Result<OwnedFd, Errno>> {
        if self.opens_by_id(id, path) { self.open_id(id, DIRECTORY) } else { None }
    }

    /// The kernel finds the way from the id to a directory of this path, which may be looked for by
    /// its id: it looks for its name and those above it, if nobody has looked them up yet or
    /// they were reclaimed, and has no room for longer ones than this (`exportfs_get_name`), which
    /// cgroupfs takes.
    pub(super) fn opens_by_id(&self, id: u64, path: &[u8]) -> bool {
        let has_room = path.split(|&byte| byte == b'/').all(|name| name.len() <= NAME_MAX);
        id != 0 && self.handles.is_some() && has_room
    }

    /// Opens the directory at a path from the mount's root, however long it is.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let open = |at: BorrowedFd<'_>, path: &[u8]| match path {
            b"" => rustix::fs::openat(at, c".", DIRECTORY, Mode::empty()),
            path => rustix::fs::openat(at, path, DIRECTORY, Mode::empty()),
        };
        if path.len() < PATH_MAX {
            return open(self.fd.as_fd(), path);
        }
        let mut rest = path;
        let mut fd = open(self.fd.as_fd(), b"")?;
        while rest.len() >= PATH_MAX {
            let at = rest[..PATH_MAX].iter().rposition(|&b| b == b'/').ok_or(Errno::NAMETOOLONG)?;
            fd = open(fd.as_fd(), &rest[..at])?;
            rest = &rest[at + 1..];
        }
        open(fd.as_fd(), rest)
    }
}

impl HostWorld {
    /// Finds the mount that a path lies in. Several mounts of the hierarchy count as one.
    pub(super) fn find_place(&mut self, path: &Path) -> Result<Place, Error> {
        let failed = |action, source| match source {
            Errno::NOENT | Errno::NOTDIR => Error::NotFound { path: path.into() },
            _ => Error::Path { action, path: path.into(), source },
        };
        let resolved = std::fs::canonicalize(path)
            .map_err(|e| failed("resolve", Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let mounts = Mount::all()?;
        match FileSystem::of(&resolved).map_err(|source| failed("look at", source))? {
            FileSystem::Cgroup2 => {}
            FileSystem::Cgroup1 => return Err(Error::CgroupV1 { path: path.into() }),
            FileSystem::Other if mounts.is_empty() => return Err(Error::NoCgroup2),
            FileSystem::Other => return Err(Error::NotACgroup { path: path.into() }),
        }
        if !resolved.is_dir() {
            return Err(Error::NotACgroup { path: path.into() });
        }
        let own = Mount::of(&mounts, &resolved).ok_or(Error::NoCgroup2)?;
        let below = resolved.strip_prefix(&own.point).unwrap_or(Path::new(""));
        let in_hierarchy = own.root.join(below);
        // The same place through the mount that shows most, so that overlaps are noticed.
        let widest = mounts.iter().find_map(|mount| {
            let below = in_hierarchy.strip_prefix(&mount.root).ok()?;
            Some((self.base(&mount.point).ok()?, below.to_owned()))
        });
        let (base, below) = match widest {
            Some(found) => found,
            None => (self.base(&own.point).map_err(|e| failed("open", e))?, below.to_owned()),
        };
        let path = below.into_os_string().into_encoded_bytes();
        // A mount in a cgroup namespace may show a part only.
        let id = rustix::fs::stat(&resolved).map_or(0, |stat| stat.st_ino);
        Ok(Place { whole: id == ROOT_ID, resolved, base, path })
    }

    fn base(&mut self, point: &Path) -> Result<usize, Errno> {
        if let Some(at) = self.bases.iter().position(|base| base.point == point) {
            return Ok(at);
        }
        let fd = rustix::fs::open(point, DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let handles = handles_of(point, stat.st_ino);
        self.bases.push(Base { point: point.into(), fd, device: stat.st_dev, handles });
        Ok(self.bases.len() - 1)
    }

    /// The base that a path of the user's lies below, and its way from there.
    pub(super) fn into_base_of(mut self, path: &Path) -> Result<(Base, Vec<u8>), Error> {
        let place = self.find_place(path)?;
        Ok((self.bases.swap_remove(place.base), place.path))
    }
}

/// A mount's root, open for reading as open_by_handle_at(2) wants it, if this process may open
/// handles there (CAP_DAC_READ_SEARCH).
pub(super) fn handles_of(point: &Path, id: u64) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(point, flags, Mode::empty()).ok()?;
    open_by_handle_at(root.as_fd(), &FileHandle::from_kernfs_id(id), DIRECTORY).ok()?;
    Some(root)
}
