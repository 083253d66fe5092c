//! [`World`] on a simulated hierarchy: what uses a [`Watcher`] can be tested without root, without
//! cgroup v2 and without waiting, since its time is virtual (feature `sim`).
//!
//! The verbs are the host's (`host.rs`), call by call: a control file is opened, read and closed, a
//! name is looked up, a directory is held by what an `O_PATH` descriptor holds; so the cache behind
//! the tree is filled, held and emptied as the kernel's would be, and removal events are lost where
//! the kernel's would be, by the tree's [`Profile`](kernfs::Profile). Before each such call a
//! [`Driver`] may move the world.
//!
//! The inotify dialect is `fsnotify`'s, with its queue, its limits and its merging. The one thing
//! that never happens is waiting: [`World::wait`] moves the virtual time.

mod driver;
mod late;
mod superblock;
mod verbs;

use std::{fmt, sync::Arc};

use cgroup_sim::Hierarchy;
use fsnotify::{
    Account, Limits,
    inotify::{InitFlags, Inotify},
};
use kernfs::Pin;
use rustix::io::Errno;

pub use self::driver::{Driver, Verb};
use self::{driver::Nobody, late::Late, superblock::SuperblockMark};
use crate::{Error, Options, Strategy, Watcher, used_names::UsedNames};

/// A simulated hierarchy, as one watcher sees it: to test what uses this crate, without root, without
/// cgroup v2, and without waiting, since time is virtual.
///
/// Write what is to be tested for any [`World`](crate::world::World), give it a
/// [`Watcher::simulated`], and make happen in the [`Hierarchy`] what it shall cope with. What may
/// happen *while* the watcher looks comes from a [`Driver`]. With `Profile::Linux70` and
/// `Profile::Linux71` removals are announced as badly as those kernels do.
///
/// ```
/// use std::sync::Arc;
///
/// use cgwatch::cgroup_sim::{self, Event as Counted, Hierarchy};
/// use cgwatch::{Depth, EventKind, Options, SimWorld, Watcher};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hierarchy = Arc::new(Hierarchy::new(cgroup_sim::Options::default()));
/// hierarchy.write("/cgroup.subtree_control", "+memory")?;
/// hierarchy.mkdir("/services")?;
/// hierarchy.write("/services/cgroup.subtree_control", "+memory")?;
/// let web = hierarchy.mkdir("/services/web")?;
///
/// let mut watcher = Watcher::simulated(SimWorld::new(Arc::clone(&hierarchy)), Options::new())?;
/// watcher.add("/services".as_ref(), Depth::All)?;
/// // It is killed and gone before anyone can look.
/// hierarchy.count(web, Counted::MemoryOomKill, 1)?;
/// hierarchy.rmdir("/services/web")?;
///
/// let mut last_words = Vec::new();
/// while let Some(event) = watcher.next()? {
///     if let EventKind::Removed { cgroup, unseen, .. } = event.kind {
///         last_words.push((cgroup.path.to_string(), unseen.get("memory.events", "oom_kill")));
///     }
/// }
/// assert_eq!(last_words, [("/web".to_owned(), 1)]);
/// # Ok(())
/// # }
/// ```
pub struct SimWorld {
    hierarchy: Arc<Hierarchy>,
    driver: Box<dyn Driver>,
    limits: Limits,
    account: Option<Arc<Account>>,
    by_id: bool,
    prompt: bool,
    inotify: Option<Inotify>,
    mark: Option<SuperblockMark>,
    /// What holds the root, as the host's world does.
    root: Option<Pin>,
    names: UsedNames,
    notifications: Vec<u8>,
    late: Late,
    alarm_ns: u64,
    calls: u64,
    walked: u64,
}

/// An open directory (`O_PATH`).
#[derive(Debug)]
pub struct SimDir {
    /// Opened when first needed.
    pin: Option<Pin>,
    id: u64,
    /// Which names were looked up through it since it was last seen alive.
    used: u128,
}

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWorld")
            .field("limits", &self.limits)
            .field("by_id", &self.by_id)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl SimWorld {
    /// A view of the hierarchy with Linux's usual limits, for a process that may open files by
    /// their handles, with notifications delivered as soon as they are asked for.
    #[must_use]
    pub fn new(hierarchy: Arc<Hierarchy>) -> Self {
        Self {
            hierarchy,
            driver: Box::new(Nobody),
            limits: Limits::default(),
            account: None,
            by_id: true,
            prompt: true,
            inotify: None,
            mark: None,
            root: None,
            names: UsedNames::default(),
            notifications: Vec::new(),
            late: Late::default(),
            alarm_ns: u64::MAX,
            calls: 0,
            walked: 0,
        }
    }

    /// The limits on inotify instances, watches and queued notifications.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether this process may open what it knows by its id (CAP_DAC_READ_SEARCH).
    #[must_use]
    pub fn by_id(mut self, by_id: bool) -> Self {
        self.by_id = by_id;
        self
    }

    /// Whether the kernel's worker has always run before notifications are read. Otherwise they
    /// come once [`Hierarchy::drain`] was called.
    #[must_use]
    pub fn prompt(mut self, prompt: bool) -> Self {
        self.prompt = prompt;
        self
    }

    /// Who moves the world between any two calls, and while the watcher waits.
    #[must_use]
    pub fn driven_by(mut self, driver: impl Driver + 'static) -> Self {
        self.driver = Box::new(driver);
        self
    }

    /// The hierarchy.
    #[must_use]
    pub fn hierarchy(&self) -> &Arc<Hierarchy> {
        &self.hierarchy
    }

    /// How many system calls the watcher would have made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many names the watcher has walked by to directories so far: what its calls cost beyond their
    /// number.
    #[must_use]
    pub fn walked(&self) -> u64 {
        self.walked
    }

    /// When the watcher wants to look again though nothing was notified (virtual time, nanoseconds).
    #[must_use]
    pub fn alarm(&self) -> Option<u64> {
        (self.alarm_ns != u64::MAX).then_some(self.alarm_ns)
    }

    /// Watches charged to this view at present.
    #[must_use]
    pub fn watches(&self) -> u64 {
        self.account.as_ref().map_or(0, |account| account.marks()) - u64::from(self.mark.is_some())
    }

    fn start_inotify(&mut self) -> Result<(), Error> {
        let account = Account::new(self.limits);
        let inotify = Inotify::new(&account, InitFlags::NONBLOCK);
        self.account = Some(account);
        self.inotify = Some(inotify.map_err(|e| Error::NoInotify { source: e.errno() })?);
        Ok(())
    }

    fn start_mark(&mut self) -> Result<(), Error> {
        let failed = |source| Error::NoFanotify { source };
        if !self.by_id {
            return Err(failed(Errno::PERM));
        }
        let account = self.account.as_ref().ok_or(failed(Errno::NOSYS))?;
        self.mark = Some(SuperblockMark::new(account, &self.hierarchy).map_err(failed)?);
        Ok(())
    }
}

impl Watcher<SimWorld> {
    /// A watcher of nothing yet in a simulated hierarchy.
    ///
    /// # Errors
    /// As [`Watcher::new`].
    pub fn simulated(mut world: SimWorld, options: Options) -> Result<Self, Error> {
        let (strategy, because) = match options.strategy {
            Strategy::Sweep => (Strategy::Sweep, "it was asked for".into()),
            Strategy::Inotify => {
                world.start_inotify()?;
                (Strategy::Inotify, "it was asked for".into())
            }
            Strategy::Fanotify => {
                world.start_inotify()?;
                world.start_mark()?;
                (Strategy::Fanotify, "it was asked for".into())
            }
            Strategy::Auto => match world.start_inotify() {
                Ok(()) => (Strategy::Auto, String::new()),
                Err(error) => {
                    (Strategy::Sweep, format!("no inotify instance could be had: {error}"))
                }
            },
        };
        Self::over(world, options, strategy, because, "simulated".into(), Some("simulated".into()))
    }
}

#[cfg(test)]
mod tests;
