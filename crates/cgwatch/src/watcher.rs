//! The library's face: one reader, one stream.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Cgroup, Depth, Error, Event, Files, Options, Strategy};

/// Watches cgroups and tells what happens to them.
#[derive(Debug)]
pub struct Watcher {}

/// What a stream begins with: where it watches, how, and what it promises.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Start {
    /// Unique to this watcher; with `seq` it names an event for ever.
    pub stream: String,
    /// The boot the ids belong to (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The watched roots.
    pub roots: Vec<Root>,
    /// The strategy in use; never `Auto`.
    pub strategy: Strategy,
    /// Why this strategy.
    pub because: String,
    /// How often everything is read anew.
    pub sweep_interval: Duration,
    /// The files that are read.
    pub files: Vec<String>,
}

/// A watched path.
#[derive(Clone, Debug)]
pub struct Root {
    /// In the file system, as resolved.
    pub path: PathBuf,
    /// Its cgroup id.
    pub id: u64,
}

/// A cgroup as the books have it now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which.
    pub cgroup: Cgroup,
    /// Its files with the values last read.
    pub files: Files<u64>,
    /// Every notification it can send is watched for; else it is only swept.
    pub watched: bool,
}

/// What a watcher holds, for its own health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Cgroups known and alive.
    pub cgroups: usize,
    /// Watches held.
    pub watches: usize,
    /// Cgroups without all their watches, which are swept.
    pub unwatched: usize,
    /// Cgroups with something to be told.
    pub pending: usize,
}

impl Watcher {
    /// A watcher of nothing yet.
    pub fn new(_options: Options) -> Result<Self, Error> {
        todo!()
    }

    /// Watches a cgroup and what is below it; `path` is in the file system.
    pub fn add(&mut self, _path: &Path, _depth: Depth) -> Result<(), Error> {
        todo!()
    }

    /// Stops watching a path that was added; nothing more is told of it.
    pub fn remove(&mut self, _path: &Path) -> Result<(), Error> {
        todo!()
    }

    /// What the stream begins with.
    pub fn start(&self) -> Start {
        todo!()
    }

    /// The next event, if there is one now; never blocks.
    #[expect(clippy::should_implement_trait, reason = "the blocking iterator is `events`")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        todo!()
    }

    /// Takes in what the kernel has queued, without telling anything: for a reader that cannot take
    /// events now.
    pub fn update(&mut self) -> Result<(), Error> {
        todo!()
    }

    /// Waits for the next event, at most so long (`None`: for ever). `None` if the time ran out or
    /// the stream has ended.
    pub fn wait(&mut self, _timeout: Option<Duration>) -> Result<Option<Event>, Error> {
        todo!()
    }

    /// A blocking iterator that ends with the stream.
    pub fn events(&mut self) -> impl Iterator<Item = Result<Event, Error>> + '_ {
        std::iter::from_fn(move || self.wait(None).transpose())
    }

    /// Every watched root was removed and everything has been told.
    pub fn has_ended(&self) -> bool {
        todo!()
    }

    /// The books as they stand.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        todo!()
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        todo!()
    }
}

/// Readable when there is something to do; level-triggered. Then call [`Watcher::next`] until it
/// gives `None`.
impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
