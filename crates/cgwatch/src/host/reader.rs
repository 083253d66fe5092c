//! Reading of control files that no watcher reads, from any thread, by the good citizen's protocol
//! (see `host.rs`): for whoever shows a hierarchy to others.
//!
//! Nothing stays open but the mount's root. A cgroup is asked for by its path *and* its id: another
//! that bears the path by now is not read.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, OFlags},
    io::Errno,
};

use super::{
    HostWorld,
    list::list,
    open::{CONTROL_FILE, DIRECTORY, inside},
    place::Base,
    read::read_whole,
    stat_of,
};
use crate::{Error, Strategy, world::has_long_name};

/// Reads the control files of a cgroup and of those below it.
#[derive(Debug)]
pub struct HostReader {
    base: Base,
    /// The way from the mount's root to the cgroup.
    prefix: Vec<u8>,
}

/// What a cgroup's directory holds under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// A cgroup's directory, and no control file.
    pub is_dir: bool,
    /// The inode number; a directory's is the cgroup's id.
    pub id: u64,
    /// The lower twelve bits of `st_mode`.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl HostReader {
    /// Of this cgroup and those below it.
    ///
    /// # Errors
    /// Those of [`Watcher::add`](crate::Watcher::add) that speak of the path.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let (base, prefix) = HostWorld::new(Strategy::Sweep)?.into_base_of(path)?;
        Ok(Self { base, prefix })
    }

    /// Opens a directory if it still is the cgroup with this id. `path` is as in
    /// [`CgroupPath`](crate::CgroupPath).
    fn open(&self, path: &[u8], id: u64) -> Result<OwnedFd, Errno> {
        let inside = path.strip_prefix(b"/").unwrap_or(path);
        let has_long_name = has_long_name(&self.prefix) || has_long_name(inside);
        match self.base.open_id(id, DIRECTORY) {
            Some(Err(_)) if has_long_name => {}
            Some(opened) => return opened,
            None => {}
        }
        let full = match (self.prefix.is_empty(), inside.is_empty()) {
            (true, _) => inside.to_vec(),
            (false, true) => self.prefix.clone(),
            (false, false) => [self.prefix.as_slice(), inside].join(&b'/'),
        };
        let fd = match self.base.open(&full) {
            // A mount covers it.
            Err(Errno::XDEV) => self.base.open_id(id, DIRECTORY).unwrap_or(Err(Errno::XDEV))?,
            opened => opened?,
        };
        let (stat, device) = stat_of(&fd)?;
        if device != self.base.device || stat.id != id {
            return Err(Errno::STALE);
        }
        Ok(fd)
    }

    /// Reads a control file of the cgroup `id` from its start to its end into `text`, replacing what
    /// it holds. With a `file_id` (not 0) only the file that has it, where this process may go by
    /// ids. Gives what it is now.
    ///
    /// # Errors
    /// `ESTALE`, `ENOENT`, `ENODEV`: the cgroup or the file is gone. Whatever the read fails with.
    pub fn read(
        &self,
        (path, id): (&[u8], u64),
        (file, file_id): (&[u8], u64),
        text: &mut Vec<u8>,
    ) -> Result<HostEntry, Errno> {
        let directory = self.open(path, id)?;
        let opened = match self.base.open_id(file_id, CONTROL_FILE) {
            Some(opened) => opened,
            None => inside(&directory, file, CONTROL_FILE),
        };
        let read = opened.and_then(|fd| {
            read_whole(&fd, text)?;
            entry_of(&rustix::fs::fstat(&fd)?)
        });
        // Only after our last use of a file does the link count tell whether we were in the way.
        let alive = stat_of(&directory).is_ok_and(|(stat, _)| stat.subdirectories.is_some());
        if read.is_err() || !alive {
            let _ = rustix::fs::statat(&directory, file, AtFlags::SYMLINK_NOFOLLOW);
        }
        read
    }

    /// Calls `each` with the name and the inode number of everything in the cgroup's directory, and
    /// whether it is a directory itself.
    ///
    /// # Errors
    /// As [`read`](Self::read). Then what was handed over is no listing.
    pub fn list(
        &self,
        path: &[u8],
        id: u64,
        mut each: impl FnMut(&[u8], u64, bool),
    ) -> Result<(), Errno> {
        let directory = self.open(path, id)?;
        list(&directory, &mut Vec::new(), &mut |name, is_dir, id| each(name, id, is_dir))
    }

    /// Looks at a cgroup's directory, or at a control file in it. Where this process may go by ids
    /// no name is looked up.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn look(
        &self,
        (path, id): (&[u8], u64),
        file: Option<(&[u8], u64)>,
    ) -> Result<HostEntry, Errno> {
        let Some((file, file_id)) = file else {
            return entry_of(&rustix::fs::fstat(self.open(path, id)?)?);
        };
        if let Some(opened) = self.base.open_id(file_id, OFlags::PATH) {
            return entry_of(&rustix::fs::fstat(opened?)?);
        }
        let directory = self.open(path, id)?;
        entry_of(&rustix::fs::statat(directory.as_fd(), file, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn entry_of(stat: &rustix::fs::Stat) -> Result<HostEntry, Errno> {
    Ok(HostEntry {
        is_dir: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        id: stat.st_ino,
        // The lower twelve bits.
        mode: (stat.st_mode & 0o7777) as u16,
        uid: stat.st_uid,
        gid: stat.st_gid,
    })
}
