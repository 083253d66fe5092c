//! The cgroups that are known, by the inode number of their directory, and the watches on them.

use std::collections::HashMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::Voice;

/// What the watch on a directory asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Births {
    /// Only births: removals are learned in another way.
    Alone,
    /// Births and removals.
    AndDeaths,
}

/// What the kernel told, beyond changes, which are said at once.
#[derive(Debug)]
pub enum News {
    Born(u64),
    /// The event file was read anew.
    Read(u64),
    /// The directory of this path was removed.
    Gone(PathBuf),
    /// Notifications were lost; births and changes have been caught up with.
    Overflow,
}

#[derive(Debug)]
struct Cgroup {
    path: PathBuf,
    directory: i32,
    file: Option<i32>,
    content: String,
    kills: u64,
}

#[derive(Debug)]
pub struct Tree {
    inotify: OwnedFd,
    root: PathBuf,
    name: String,
    births: Births,
    /// The event files are watched by this instance.
    watches_files: bool,
    cgroups: HashMap<u64, Cgroup>,
    by_path: HashMap<PathBuf, u64>,
    by_watch: HashMap<i32, u64>,
    pub voice: Voice,
}

impl Tree {
    /// Watches a directory and all below it.
    pub fn watch(root: PathBuf, name: String, births: Births, watches_files: bool) -> Result<Self> {
        let mut tree = Self {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            root: root.clone(),
            name,
            births,
            watches_files,
            cgroups: HashMap::new(),
            by_path: HashMap::new(),
            by_watch: HashMap::new(),
            voice: Voice::default(),
        };
        tree.enter(&root, &mut Vec::new())?;
        Ok(tree)
    }

    pub fn ids(&self) -> Vec<u64> {
        self.cgroups.keys().copied().collect()
    }

    pub fn id(&self, path: &Path) -> Option<u64> {
        self.by_path.get(path).copied()
    }

    pub fn directory(&self, id: u64) -> Option<&Path> {
        self.cgroups.get(&id).map(|cgroup| cgroup.path.as_path())
    }

    /// It is still the same cgroup that has this path.
    pub fn exists(&self, id: u64) -> bool {
        self.directory(id)
            .is_some_and(|path| fs::metadata(path).is_ok_and(|found| found.ino() == id))
    }

    /// Says that it was removed, and lets go of it. Who bears its path now was not looked at as long
    /// as it was there: it and what is below are given.
    #[must_use]
    pub fn bury(&mut self, id: u64) -> Vec<u64> {
        let mut born = Vec::new();
        let Some(cgroup) = self.cgroups.remove(&id) else { return born };
        for watch in std::iter::once(cgroup.directory).chain(cgroup.file) {
            self.by_watch.remove(&watch);
            // The kernel may have taken it away.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
        if self.by_path.get(&cgroup.path) == Some(&id) {
            self.by_path.remove(&cgroup.path);
        }
        let path = from(&self.root, &cgroup.path);
        self.voice.removed(&path);
        // A cgroup that is just being removed still has its path for a moment.
        if fs::metadata(&cgroup.path).is_ok_and(|found| found.ino() != id) {
            // If it cannot be watched, nothing more can be done about it.
            let _ = self.enter(&cgroup.path, &mut born);
        }
        born
    }

    /// Takes in what the kernel has queued.
    pub fn take(&mut self) -> Result<Vec<News>> {
        let mut news = Vec::new();
        for (watch, flags, name) in self.drain()? {
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                let root = self.root.clone();
                let mut born = Vec::new();
                self.enter(&root, &mut born)?;
                news.extend(born.into_iter().map(News::Born));
                for id in self.ids() {
                    self.read(id, true);
                }
                news.push(News::Overflow);
                continue;
            }
            let Some(&id) = self.by_watch.get(&watch) else { continue };
            let Some(cgroup) = self.cgroups.get(&id) else { continue };
            if cgroup.file == Some(watch) {
                if flags.contains(ReadFlags::MODIFY) {
                    self.read(id, true);
                    news.push(News::Read(id));
                }
                continue;
            }
            let Some(name) = name else { continue };
            let path = cgroup.path.join(name);
            if flags.contains(ReadFlags::DELETE) {
                news.push(News::Gone(path));
            } else if flags.contains(ReadFlags::CREATE) {
                let mut born = Vec::new();
                self.enter(&path, &mut born)?;
                news.extend(born.into_iter().map(News::Born));
            }
        }
        Ok(news)
    }

    /// Reads the event file anew.
    pub fn refresh(&mut self, id: u64) {
        self.read(id, true);
    }

    /// Says what the event file contains, if that is new.
    pub fn note(&mut self, id: u64, content: &str, said: bool) {
        let Some(cgroup) = self.cgroups.get_mut(&id) else { return };
        if cgroup.content == content {
            return;
        }
        let line = content.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let kills: u64 = line.and_then(|number| number.parse().ok()).unwrap_or(0);
        let more = kills.saturating_sub(cgroup.kills);
        cgroup.kills = kills;
        content.clone_into(&mut cgroup.content);
        if said {
            let path = from(&self.root, &cgroup.path);
            self.voice.changed(&path, content, more);
        }
    }

    fn read(&mut self, id: u64, said: bool) {
        let Some(cgroup) = self.cgroups.get(&id) else { return };
        // Gone: whoever watches for that will tell.
        if let Ok(content) = fs::read_to_string(cgroup.path.join(&self.name)) {
            self.note(id, &content, said);
        }
    }

    /// Watches, then reads, then lists: so nothing is lost between.
    fn enter(&mut self, path: &Path, born: &mut Vec<u64>) -> Result<()> {
        let Ok(id) = fs::metadata(path).map(|found| found.ino()) else { return Ok(()) };
        if self.by_path.get(path) != Some(&id) {
            if let Some(&former) = self.by_path.get(path) {
                // Which takes in who bears its path now.
                let taken_in = self.bury(former);
                born.extend(taken_in);
                return Ok(());
            }
            let mut asked = WatchFlags::CREATE | WatchFlags::ONLYDIR;
            if self.births == Births::AndDeaths {
                asked |= WatchFlags::DELETE;
            }
            let Some(directory) = self.add(path, asked)? else { return Ok(()) };
            let file = match self.watches_files {
                true => self.add(&path.join(&self.name), WatchFlags::MODIFY)?,
                false => None,
            };
            for watch in std::iter::once(directory).chain(file) {
                self.by_watch.insert(watch, id);
            }
            let cgroup =
                Cgroup { path: path.to_owned(), directory, file, content: String::new(), kills: 0 };
            self.cgroups.insert(id, cgroup);
            self.by_path.insert(path.to_owned(), id);
            self.voice.born(&from(&self.root, path));
            self.read(id, false);
            born.push(id);
        }
        let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.enter(&entry.path(), born)?;
            }
        }
        Ok(())
    }

    /// A watch; none if there is nothing to watch any more.
    fn add(&self, path: &Path, flags: WatchFlags) -> Result<Option<i32>> {
        match inotify::add_watch(&self.inotify, path, flags) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("watch {}", path.display())),
        }
    }

    fn drain(&self) -> Result<Vec<(i32, ReadFlags, Option<String>)>> {
        let mut buffer = [MaybeUninit::uninit(); 65536];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut drained = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                    drained.push((event.wd(), event.events(), name));
                }
                Err(Errno::AGAIN) => return Ok(drained),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(std::io::Error::from(errno)).context("read inotify"),
            }
        }
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// A path as it is said.
fn from(root: &Path, path: &Path) -> String {
    match path.strip_prefix(root) {
        Ok(path) if path.as_os_str().is_empty() => "/".to_owned(),
        Ok(path) => format!("/{}", path.display()),
        Err(_) => path.display().to_string(),
    }
}
