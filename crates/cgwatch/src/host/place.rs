//! Where a path lies: which mount of the hierarchy shows it, and how it is reached from there.
//!
//! All mounts of cgroup2 show one tree, so a path is reached through the mount that shows most of it:
//! then two paths that overlap are seen to do so, whichever mounts they were given in.
//!
//! The truth is what open(2) finds at the path asked for, its device and inode number. The table of
//! mounts is text: of mounts that are covered, of roots outside of this cgroup namespace (`/..`), of
//! directories that are removed. It only says where to try, and a place counts if the same cgroup is
//! found there. If it is found nowhere, the directory itself is the base.

use std::{
    cmp::Reverse,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use linux_notify::{FileHandle, open_by_handle_at};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{
    HostWorld,
    list::list,
    open::{DIRECTORY, HERE, LISTING, directory_inside, inside},
    stat_of,
};
use crate::{
    Error, FileSystem, Mount,
    world::{Place, is_gone},
};

/// A directory from which cgroups are reached, such as the root of a mount.
#[derive(Debug)]
pub(super) struct Base {
    point: PathBuf,
    fd: OwnedFd,
    id: u64,
    pub(super) device: u64,
    /// Open for reading, if handles may be opened on it.
    pub(super) handles: Option<OwnedFd>,
}

/// The id of the root of every kernfs hierarchy.
const ROOT_ID: u64 = 1;

impl Base {
    /// What is at this path now.
    fn at(point: &Path) -> Result<Self, Errno> {
        Self::of(point, rustix::fs::open(point, DIRECTORY, Mode::empty())?)
    }

    fn of(point: &Path, fd: OwnedFd) -> Result<Self, Errno> {
        let (stat, device) = stat_of(&fd)?;
        let handles = handles_of(fd.as_fd(), stat.id)?;
        Ok(Self { point: point.into(), fd, id: stat.id, device, handles })
    }

    /// Opens what has this id. `None` if there is no id to go by, or none may be gone by. Of a directory
    /// ESTALE proves nothing where a name is too long: see [`has_long_name`](crate::world::has_long_name).
    pub(super) fn open_id(&self, id: u64, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
        let root = self.handles.as_ref().filter(|_| id != 0)?;
        let handle = FileHandle::from_kernfs_id(id);
        Some(open_by_handle_at(root.as_fd(), &handle, flags).map_err(|error| error.errno()))
    }

    /// Opens the directory at a path from here, however long it is. EXDEV: a mount covers it.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        directory_inside(&self.fd, path)
    }

    /// Whether this cgroup is at this path from here. An errno that is of no cgroup's doing is told.
    fn shows(&self, path: &[u8], (id, device): (u64, u64)) -> Result<bool, Errno> {
        match self.open(path).and_then(|fd| stat_of(&fd)) {
            Ok((stat, its_device)) => Ok(stat.id == id && its_device == device),
            Err(errno) if is_exhausted(errno) => Err(errno),
            Err(_) => Ok(false),
        }
    }

    /// The way from here to a cgroup, as the kernel says of what it opened by its id. It may have none.
    fn way_to(&self, id: u64) -> Option<Vec<u8>> {
        let fd = self.open_id(id, DIRECTORY)?.ok()?;
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = std::fs::read_link(link).ok()?;
        Some(path.strip_prefix(&self.point).ok()?.as_os_str().as_bytes().to_vec())
    }
}

impl HostWorld {
    /// Finds what a path shows, and the mount to reach it by. Several mounts of the hierarchy count as
    /// one.
    pub(super) fn find_place(&mut self, path: &Path) -> Result<Place, Error> {
        let failed = |action| {
            move |source| match source {
                Errno::NOENT => Error::NotFound { path: path.into() },
                Errno::NOTDIR => Error::NotACgroup { path: path.into() },
                _ => Error::Path { action, path: path.into(), source },
            }
        };
        let resolved =
            std::fs::canonicalize(path).map_err(|error| {
                match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                    Errno::NOTDIR => Error::NotFound { path: path.into() },
                    errno => failed("resolve")(errno),
                }
            })?;
        let mut mounts = Mount::all()?;
        match FileSystem::of(&resolved).map_err(failed("look at"))? {
            FileSystem::Cgroup2 => {}
            FileSystem::Cgroup1 => return Err(Error::CgroupV1 { path: path.into() }),
            FileSystem::Other if mounts.is_empty() => return Err(Error::NoCgroup2),
            FileSystem::Other => return Err(Error::NotACgroup { path: path.into() }),
        }
        let asked = rustix::fs::open(&resolved, DIRECTORY, Mode::empty());
        let asked = asked.map_err(failed("open"))?;
        let (stat, device) = stat_of(&asked).map_err(failed("look at"))?;
        let what = (stat.id, device);
        let positions = positions(&mounts, &resolved);
        mounts.sort_by_key(|mount| width(&mount.root));
        let mut found = None;
        for mount in &mounts {
            found = self.through(mount, &positions, what).map_err(failed("open"))?;
            if found.is_some() {
                break;
            }
        }
        let (base, way) = match found {
            Some(found) => found,
            None => {
                let itself = asked.try_clone().map_err(|e| Errno::from_io_error(&e));
                let itself = itself.map_err(|e| failed("open")(e.unwrap_or(Errno::MFILE)))?;
                let base = Base::of(&resolved, itself).map_err(failed("open"))?;
                (self.keep(base), Vec::new())
            }
        };
        let whole = stat.id == ROOT_ID;
        // What is mounted may be removed, and then has a path for as long as the mount is there.
        if way.is_empty() && !whole {
            let listed = list(&asked, &mut self.entries, &mut |_, _, _| {});
            if listed.is_err_and(is_gone) {
                return Err(Error::NotFound { path: path.into() });
            }
        }
        Ok(Place { whole, resolved, base, path: way })
    }

    /// The way to a cgroup through this mount, if it shows it.
    fn through(
        &mut self,
        mount: &Mount,
        positions: &[PathBuf],
        what: (u64, u64),
    ) -> Result<Option<(usize, Vec<u8>)>, Errno> {
        let base = match Base::at(&mount.point) {
            Ok(base) => base,
            Err(errno) if is_exhausted(errno) => return Err(errno),
            Err(_) => return Ok(None),
        };
        let by_text = positions.iter().filter_map(|position| {
            let way = position.strip_prefix(&mount.root).ok()?;
            let is_plain = way.components().all(|part| matches!(part, Component::Normal(_)));
            is_plain.then(|| way.as_os_str().as_bytes().to_vec())
        });
        for way in by_text {
            if base.shows(&way, what)? {
                return Ok(Some((self.keep(base), way)));
            }
        }
        match base.way_to(what.0) {
            Some(way) if base.shows(&way, what)? => Ok(Some((self.keep(base), way))),
            _ => Ok(None),
        }
    }

    /// The number of a base: that of an earlier one which is the same.
    fn keep(&mut self, base: Base) -> usize {
        let is_same =
            |old: &Base| (&old.point, old.id, old.device) == (&base.point, base.id, base.device);
        self.bases.iter().position(is_same).unwrap_or_else(|| {
            self.bases.push(base);
            self.bases.len() - 1
        })
    }

    /// The base that a path of the user's lies below, and its way from there.
    pub(super) fn into_base_of(mut self, path: &Path) -> Result<(Base, Vec<u8>), Error> {
        let place = self.find_place(path)?;
        Ok((self.bases.swap_remove(place.base), place.path))
    }
}

/// Where a path of the file system may lie in the hierarchy, by the mounts above it: that of the
/// innermost one first, and of several in one place, that on top.
fn positions(mounts: &[Mount], path: &Path) -> Vec<PathBuf> {
    let mut above: Vec<_> = mounts.iter().filter(|mount| path.starts_with(&mount.point)).collect();
    above.reverse();
    above.sort_by_key(|mount| Reverse(mount.point.as_os_str().len()));
    let position =
        |mount: &Mount| path.strip_prefix(&mount.point).map(|below| mount.root.join(below)).ok();
    above.into_iter().filter_map(position).collect()
}

/// Sorts the roots of mounts, those that show most first: `/..` lies above this cgroup namespace.
fn width(root: &Path) -> (Reverse<usize>, usize) {
    let ups = root.components().filter(|part| *part == Component::ParentDir).count();
    (Reverse(ups), root.components().count())
}

/// The process or the machine has run out of something: nothing is known of what was looked for.
fn is_exhausted(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

/// A mount's root, open for reading as open_by_handle_at(2) wants it, if this process may open
/// handles there (CAP_DAC_READ_SEARCH).
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM: whether it may is not known.
pub(super) fn handles_of(root: BorrowedFd<'_>, id: u64) -> Result<Option<OwnedFd>, Errno> {
    let tried = inside(root, HERE, LISTING).and_then(|root| {
        let handle = FileHandle::from_kernfs_id(id);
        let opened = open_by_handle_at(root.as_fd(), &handle, DIRECTORY);
        opened.map(|_| root).map_err(|error| error.errno())
    });
    match tried {
        Ok(root) => Ok(Some(root)),
        Err(errno) if is_exhausted(errno) => Err(errno),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
