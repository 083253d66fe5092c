//! The cgroups of a scenario, and the truth about them.
//!
//! All of them lie under one cgroup that is named after the process, so that two scenarios never
//! meet. It is removed when the [`Tree`] is dropped; if the process dies before that, whoever
//! started it calls [`fell`]. Nothing else of the hierarchy is touched.

use std::{
    ffi::{CStr, CString, OsStr},
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use contract::{Life, Truth};
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

use crate::{Environment, Failure};

/// A cgroup of the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup {
    /// The inode number of its directory.
    pub(crate) id: u64,
    /// Its directory.
    pub(crate) directory: PathBuf,
}

impl Cgroup {
    /// One of its control files.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes one of its control files.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Failure> {
        let path = self.file(file);
        fs::write(&path, value).map_err(Failure::driver("write", path))
    }

    /// One key of one of its event files; 0 if the file has no such key.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn count(&self, file: &str, key: &str) -> Result<u64, Failure> {
        let path = self.file(file);
        let text = fs::read_to_string(&path).map_err(Failure::driver("read", path))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
    }
}

/// A scenario's own part of the hierarchy, with the ledger of its births and deaths.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Cgroup,
    /// Where this process belongs while it is in none of the tree's cgroups.
    home: PathBuf,
    ledger: Mutex<Truth>,
}

impl Tree {
    /// Makes the scenario's parent cgroup, named after this process.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn plant(environment: &Environment) -> Result<Self, Failure> {
        let mount = &environment.cgroup_mount;
        let directory = mount.join(name(std::process::id()));
        fs::create_dir(&directory).map_err(Failure::driver("make", &directory))?;
        let own = fs::read_to_string("/proc/self/cgroup")
            .map_err(Failure::driver("read", "/proc/self/cgroup"))?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let root = Cgroup { id: id(&directory)?, directory };
        let ledger =
            Truth { lives: [(root.id, Life { path: b"/".into(), ..Life::default() })].into() };
        Ok(Self { root, home: mount.join(own), ledger: Mutex::new(ledger) })
    }

    /// The scenario's parent cgroup: what is watched.
    #[must_use]
    pub(crate) fn root(&self) -> &Cgroup {
        &self.root
    }

    /// The directory of the scenario's parent cgroup.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.root.directory
    }

    /// Makes a cgroup at a path from the scenario's parent.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn make(&self, path: impl AsRef<OsStr>) -> Result<Cgroup, Failure> {
        self.make_through(self.path(), path)
    }

    /// The same, where `root` is the scenario's parent in another mount of the hierarchy.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn make_through(
        &self,
        root: &Path,
        path: impl AsRef<OsStr>,
    ) -> Result<Cgroup, Failure> {
        let path = path.as_ref();
        let made = root.join(path);
        fs::create_dir(&made).map_err(Failure::driver("make", &made))?;
        let cgroup = Cgroup { id: id(&made)?, directory: self.root.directory.join(path) };
        self.note_birth(cgroup.id, [b"/", path.as_bytes()].concat());
        Ok(cgroup)
    }

    /// Makes a cgroup and those above it that are missing, as `mkdir -p` does; all it made.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn make_all(&self, path: &str) -> Result<Vec<Cgroup>, Failure> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let missing = ends.map(|end| &path[..end]).filter(|path| !self.path().join(path).exists());
        let missing: Vec<&str> = missing.collect();
        missing.into_iter().map(|path| self.make(path)).collect()
    }

    /// Removes a cgroup. It must be empty, or become so at once.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn remove(&self, cgroup: &Cgroup) -> Result<(), Failure> {
        self.remove_through(self.path(), cgroup)
    }

    /// The same, where `root` is the scenario's parent in another mount of the hierarchy.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn remove_through(&self, root: &Path, cgroup: &Cgroup) -> Result<(), Failure> {
        let path = cgroup.directory.strip_prefix(self.path()).unwrap_or(&cgroup.directory);
        let directory = root.join(path);
        // A process that was killed leaves its cgroup a moment after its parent could reap it.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match fs::remove_dir(&directory) {
                Err(error) if busy(&error) && Instant::now() < deadline => std::thread::yield_now(),
                done => {
                    done.map_err(Failure::driver("remove", &directory))?;
                    break;
                }
            }
        }
        self.note_death(cgroup.id);
        Ok(())
    }

    /// Notes that a cgroup was made, at a path from the watched root, which begins with `/`. For a
    /// driver that makes it itself.
    pub(crate) fn note_birth(&self, id: u64, path: Vec<u8>) {
        self.ledger().lives.insert(id, Life { path, ..Life::default() });
    }

    /// Notes that a cgroup was removed. For a driver that removes it itself.
    pub(crate) fn note_death(&self, id: u64) {
        self.ledger().lives.entry(id).or_default().ended = true;
    }

    /// Notes that a cgroup counted something at itself.
    pub(crate) fn note(&self, cgroup: &Cgroup, file: &str, key: &str, count: u64) {
        let mut ledger = self.ledger();
        let life = ledger.lives.entry(cgroup.id).or_default();
        *life.counted.entry((file.into(), key.into())).or_default() += count;
    }

    /// Moves this process into a cgroup.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn enter(&self, cgroup: &Cgroup) -> Result<(), Failure> {
        cgroup.write("cgroup.procs", "0")
    }

    /// Moves this process back to where it came from.
    ///
    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn leave(&self) -> Result<(), Failure> {
        let path = self.home.join("cgroup.procs");
        fs::write(&path, "0").map_err(Failure::driver("write", path))
    }

    /// What has been done so far.
    #[must_use]
    pub(crate) fn truth(&self) -> Truth {
        self.ledger().clone()
    }

    /// Strikes out those that were removed: all that can be told of them has been.
    pub(crate) fn forget_the_dead(&self) {
        self.ledger().lives.retain(|_, life| !life.ended);
    }

    fn ledger(&self) -> MutexGuard<'_, Truth> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What fails here is tried again by whoever started this process.
        let _ = self.leave();
        let _ = clear(&self.root.directory);
    }
}

/// Removes what a scenario in the process `pid` may have left.
pub(crate) fn fell(environment: &Environment, pid: u32) {
    let directory = environment.cgroup_mount.join(name(pid));
    match clear(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("{} stays behind: {error}", directory.display());
        }
        _ => {}
    }
}

/// Removes what is left of scenarios whose process, and whoever should have cleared up after it, was
/// killed.
pub(crate) fn fell_orphans(environment: &Environment) {
    let Ok(entries) = fs::read_dir(&environment.cgroup_mount) else { return };
    for entry in entries.map_while(Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse().ok());
        if let Some(pid) = pid
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            fell(environment, pid);
        }
    }
}

const NAME: &str = "cgwatch-scenario-";

fn name(pid: u32) -> String {
    format!("{NAME}{pid}")
}

/// The cgroup id, which is the inode number.
fn id(directory: &Path) -> Result<u64, Failure> {
    Ok(fs::metadata(directory).map_err(Failure::driver("stat", directory))?.ino())
}

fn busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Kills what lives in a cgroup and below, and removes all of it, the deepest first.
fn clear(directory: &Path) -> io::Result<()> {
    clear_in(CWD, &CString::new(directory.as_os_str().as_bytes())?)
}

/// The same below an open directory: paths may be longer than any system call takes.
fn clear_in(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    // The file is missing in a cgroup that is no domain; then its parent's does it.
    let _ = openat(&directory, c"cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|kill| rustix::io::write(kill, b"1"));
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let itself = [c".", c".."].contains(&entry.file_name());
        if entry.file_type() == FileType::Directory && !itself {
            clear_in(directory.as_fd(), entry.file_name())?;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return Ok(done?),
        }
    }
}
