//! The mirror: the watcher, the tree, and the feed from one to the other.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

use cgwatch::{Depth, EventKind, HostReader, Options, Watcher};
use kernfs::Tree;

use crate::{Error, Front, content::Host, feed::Feed, front::NextStep, trouble::Trouble};

/// The files that the kernel announces changes of, as [`Options::files`] wants them.
const EVENT_FILES: [&str; 2] = ["*.events", "cpuset.cpus.partition"];

/// A cgroup and those below it, as a tree. It has no thread but the tree's worker, and works while
/// one of its methods runs. Dropping it removes the tree's nodes, which tells their watches.
#[derive(Debug)]
pub struct Mirror {
    watcher: Watcher,
    tree: Tree,
    pub(crate) feed: Feed,
    trouble: Trouble,
}

/// What a mirror holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Cgroups shown.
    pub cgroups: usize,
    /// Nodes in memory: directories and files, also removed ones that someone holds.
    pub nodes: usize,
    /// Watches held on the host.
    pub watches: usize,
}

impl Mirror {
    /// Mirrors this cgroup and all below it. Blocks until all that exists is in the tree.
    ///
    /// # Errors
    /// Those of [`Watcher::new`] and [`Watcher::add`].
    pub fn new(root: &Path) -> Result<Self, Error> {
        let reader = HostReader::new(root)?;
        let mut watcher = Watcher::new(Options::new().files(EVENT_FILES).touches(true))?;
        watcher.add(root, Depth::All)?;
        let next_step = Arc::new(NextStep::default());
        let tree = Tree::new(kernfs::Options {
            // A cgroup appears with its files.
            create_deactivated: true,
            worker: true,
            system_calls: Some(Arc::clone(&next_step) as _),
            ..kernfs::Options::default()
        });
        let feed = Feed::new(Arc::new(Host::new(reader)), Arc::clone(tree.root()), next_step);
        let mut mirror = Self { watcher, tree, feed, trouble: Trouble::default() };
        mirror.update()?;
        Ok(mirror)
    }

    /// The tree, to be mounted.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Births and deaths are made by system calls on this mount from now on, so that those who
    /// watch the parent see `CREATE` and `DELETE`; without one they see neither.
    pub fn set_front(&mut self, front: Option<Box<dyn Front>>) {
        self.feed.front = front;
    }

    /// Takes in all that is known now. `false` when the mirrored cgroup itself is gone: nothing
    /// will follow.
    ///
    /// # Errors
    /// [`cgwatch::Error::System`] if the notifications cannot be read.
    pub fn update(&mut self) -> Result<bool, Error> {
        while let Some(event) = self.watcher.next()? {
            self.take(&event.kind);
        }
        self.feed.look_again();
        Ok(!self.watcher.has_ended())
    }

    /// Waits for something to take in, at most so long, then does as [`update`](Self::update).
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        if let Some(event) = self.watcher.wait(Some(timeout))? {
            self.take(&event.kind);
        }
        self.update()
    }

    fn take(&mut self, kind: &EventKind) {
        if let EventKind::Gap { reason, .. } = kind {
            self.trouble.note(reason);
        }
        self.feed.take(kind);
    }

    /// From now on `warn` is called with a sentence for each limit and each cgroup because of which
    /// something is looked at every so often only. What was so before, [`Self::incomplete`] says.
    pub fn set_warn(&mut self, warn: impl FnMut(&str) + Send + 'static) {
        self.trouble.warn = Some(Box::new(warn));
    }

    /// How long [`update`](Self::update) has nothing to do, if nothing happens on the host.
    pub(crate) fn pause(&self) -> Duration {
        self.feed.pause()
    }

    /// What it misses, and what to do about it: without inotify it learns of changes and removals
    /// at sweeps only, and without enough watches of some.
    #[must_use]
    pub fn incomplete(&self) -> Option<String> {
        let start = self.watcher.start();
        if start.strategy == cgwatch::Strategy::Sweep {
            let seconds = start.sweep_interval.as_secs_f64();
            return Some(format!("{}; so it looks every {seconds} s only", start.because));
        }
        let unwatched = self.watcher.usage().unwatched;
        (unwatched > 0).then(|| {
            let why = self.trouble.first.as_deref().unwrap_or("see the limits of this user");
            format!(
                "{unwatched} cgroups could not be watched and are looked at every so often only; \
                 {why}"
            )
        })
    }

    /// What it holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            cgroups: self.feed.cgroups(),
            nodes: self.tree.nodes(),
            watches: self.watcher.usage().watches,
        }
    }
}

/// Readable when there is something to take in; level-triggered. Then call [`Mirror::update`].
impl AsFd for Mirror {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }
}
