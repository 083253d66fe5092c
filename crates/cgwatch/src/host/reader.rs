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
        if is_to_be_released(read.is_ok(), alive) {
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

/// Whether a name that was used has to be looked up once more: the cgroup was removed meanwhile, or it
/// was just being so.
fn is_to_be_released(was_read: bool, is_alive: bool) -> bool {
    !was_read || !is_alive
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

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

    use rustix::thread::CapabilitySet;

    use super::*;
    use crate::testing::{Own, without};

    fn id(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    fn listed(reader: &HostReader, path: &[u8], id: u64) -> Result<(), Errno> {
        reader.list(path, id, |_, _, _| {})
    }

    #[test]
    fn what_it_says_of_a_cgroup_and_a_file_is_what_stat_says() {
        let Some(cgroup) = Own::new("entry") else { return };
        let path = cgroup.make("a");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1710)).unwrap();
        let reader = HostReader::new(cgroup.path()).unwrap();
        let stat = fs::metadata(&path).unwrap();
        let entry = HostEntry { is_dir: true, id: stat.ino(), mode: 0o1710, uid: 0, gid: 0 };
        let entry = HostEntry { uid: stat.uid(), gid: stat.gid(), ..entry };
        assert_eq!(reader.look((b"/a", entry.id), None), Ok(entry));
        let file = fs::metadata(path.join("cgroup.events")).unwrap();
        let entry = HostEntry { is_dir: false, id: file.ino(), mode: 0o444, ..entry };
        for file_id in [0, entry.id] {
            let file = Some((&b"cgroup.events"[..], file_id));
            assert_eq!(reader.look((b"/a", stat.ino()), file), Ok(entry));
        }
    }

    /// A long name may keep the kernel from finding what is alive by its id, so that a refusal proves
    /// nothing until the path was tried.
    #[test]
    fn a_refusal_by_id_is_proof_unless_a_name_is_long() {
        let Some(cgroup) = Own::new("long") else { return };
        let long = "x".repeat(256);
        let above = cgroup.make(&long);
        let [short, below] = [cgroup.make("short"), cgroup.make(&format!("{long}/below"))];
        let reader = HostReader::new(cgroup.path()).unwrap();
        let reader_above = HostReader::new(&above).unwrap();
        if reader.base.handles.is_none() {
            return println!("skipped: may not open by ids");
        }
        let [of_short, of_below, of_long] = [&short, &below, &above].map(|path| id(path));
        fs::remove_dir(short).unwrap();
        assert_eq!(listed(&reader, b"/short", of_short), Err(Errno::STALE));
        fs::remove_dir(below).unwrap();
        assert_eq!(listed(&reader_above, b"/below", of_below), Err(Errno::NOENT));
        fs::remove_dir(above).unwrap();
        let path = format!("/{long}");
        assert_eq!(listed(&reader, path.as_bytes(), of_long), Err(Errno::NOENT));
    }

    #[test]
    fn only_what_was_read_of_the_living_holds_nothing_back() {
        for (was_read, is_alive) in [(true, false), (false, true), (false, false)] {
            assert!(is_to_be_released(was_read, is_alive));
        }
        assert!(!is_to_be_released(true, true));
    }

    #[test]
    fn another_cgroup_at_the_path_is_not_read() {
        let Some(cgroup) = Own::new("another") else { return };
        let path = cgroup.make("a");
        let (first, lacking) =
            (id(&path), CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_ADMIN);
        let reader = without(lacking, || HostReader::new(cgroup.path()).unwrap());
        assert!(reader.base.handles.is_none());
        assert_eq!(listed(&reader, b"/a", first), Ok(()));
        fs::remove_dir(&path).unwrap();
        cgroup.make("a");
        assert_eq!(listed(&reader, b"/a", first), Err(Errno::STALE));
        assert_eq!(listed(&reader, b"/a", id(&path)), Ok(()));
    }
}
