//! The hierarchy as its users have it.

use std::{sync::Arc, time::Duration};

use kernfs::{Access, SuperBlock, Tree};
use rustix::io::Errno;

use crate::{
    Error, Happening, Life, MountOptions, Options,
    directory::Calls,
    file::{self, File},
    limiter::TICK,
    state::{Shared, State},
};

/// A cgroup v2 hierarchy in this process, on virtual time.
///
/// Nothing moves by itself: notifications wait for [`drain`](Self::drain) (unless a worker was
/// asked for), what the rate limit holds back waits for [`advance`](Self::advance), and memory is
/// reclaimed by the mount's [`SuperBlock::reclaim`] only.
///
/// There are two ways in. **Through the mount**, as programs do: [`mount`](Self::mount), and the
/// short forms [`mkdir`](Self::mkdir), [`rmdir`](Self::rmdir), [`read`](Self::read) and
/// [`write`](Self::write); with all the events, cached names and errnos of a system call. **From
/// below**, as the kernel does: tasks, memory, counting, and what the truth is; cgroups go by id
/// there, and nobody sees it but by notifications.
///
/// Times are nanoseconds of virtual time from 0. Cloning is not offered: share it in an `Arc`.
pub struct Hierarchy {
    // Mounts before the tree.
    mount: SuperBlock,
    pub(crate) shared: Arc<Shared>,
    tree: Tree,
}

impl std::fmt::Debug for Hierarchy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cgroups = self.shared.look(|state| state.by_id.len());
        f.debug_struct("Hierarchy").field("cgroups", &cgroups).finish_non_exhaustive()
    }
}

/// The root's id.
pub const ROOT: u64 = 1;

impl Hierarchy {
    /// An empty one, mounted once.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (profile, worker) = (options.profile, options.worker);
        let shared = Shared::new(options, file::attributes);
        let tree = Tree::new(kernfs::Options {
            profile,
            create_deactivated: true,
            worker,
            system_calls: Some(Arc::new(Calls { shared: Arc::downgrade(&shared) })),
            ..kernfs::Options::default()
        });
        shared.with(|state| state.plant(tree.root()));
        Self { mount: tree.mount(), shared, tree }
    }

    /// The tree of files, to be mounted again or looked at.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Its mount: as on Linux, one for the whole system.
    #[must_use]
    pub fn mount(&self) -> &SuperBlock {
        &self.mount
    }

    /// Tells all notifications that are pending; how many files had any. See [`Tree::drain`].
    pub fn drain(&self) -> usize {
        self.tree.drain()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.shared.look(|state| state.now)
    }

    /// Lets time pass. Notifications that a rate limit held back become pending.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.shared.with(|state| state.advance(state.now.saturating_add(by)));
    }

    /// The same to a point in time; one that has passed is no error.
    pub fn advance_to(&self, time: u64) {
        self.shared.with(|state| state.advance(time));
    }

    /// When the next notification becomes due that a rate limit holds back; it may have been
    /// cancelled.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        self.shared.look(|state| state.timers.next().map(|tick| tick * TICK))
    }

    /// Changes the mount options (`mount -o remount`).
    pub fn remount(&self, options: MountOptions) {
        self.shared.with(|state| {
            state.was_local |= options.memory_localevents;
            state.options.mount = options;
        });
    }

    /// Those in force.
    #[must_use]
    pub fn mount_options(&self) -> MountOptions {
        self.shared.look(|state| state.options.mount)
    }

    /// Makes a cgroup, and returns its id.
    ///
    /// # Errors
    /// Those of [`SuperBlock::mkdir`]; `EAGAIN` at `cgroup.max.descendants` or `cgroup.max.depth`;
    /// `EINVAL` for a name with a newline.
    pub fn mkdir(&self, path: impl AsRef<[u8]>) -> Result<u64, Error> {
        let path = path.as_ref();
        self.finish_rmdir();
        self.mount.mkdir(path)?;
        self.find(path).ok_or(Error::NoCgroup { id: 0 })
    }

    /// Removes a cgroup, at once. In steps: [`begin_rmdir`](Self::begin_rmdir).
    ///
    /// # Errors
    /// Those of [`SuperBlock::rmdir`]; `EBUSY` if it or one below it has tasks, or if it has
    /// children.
    pub fn rmdir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        self.finish_rmdir();
        Ok(self.mount.rmdir(path)?)
    }

    /// Opens a file, reads it whole and closes it, as `cat` does.
    ///
    /// # Errors
    /// Those of [`SuperBlock::open`] and [`kernfs::File::read`].
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<String, Error> {
        let content = self.mount.open(path, Access::READ)?.read()?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Opens a file, writes to it and closes it, as `echo` does.
    ///
    /// # Errors
    /// Those of [`SuperBlock::open`], and what the file says of the text.
    pub fn write(&self, path: impl AsRef<[u8]>, text: &str) -> Result<(), Error> {
        self.finish_rmdir();
        Ok(self.mount.open(path, Access::WRITE)?.write(text.as_bytes())?)
    }

    /// The id of a living cgroup, without a lookup that anyone could notice.
    #[must_use]
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<u64> {
        let names = path.as_ref().split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let mut node = Arc::clone(self.tree.root());
        for name in names {
            node = node.child(name)?;
        }
        self.shared.look(|state| state.living(node.id())).map(|_| node.id())
    }

    /// The path of a cgroup that is alive, or remembered; `/` for the root.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<Vec<u8>> {
        self.shared.look(|state| state.known(id).map(|at| state.path(at)))
    }

    /// Whether the cgroup is alive.
    #[must_use]
    pub fn is_live(&self, id: u64) -> bool {
        self.shared.look(|state| state.living(id).is_some())
    }

    /// Whether it or one below it has tasks.
    #[must_use]
    pub fn is_populated(&self, id: u64) -> bool {
        self.shared
            .look(|state| state.living(id).is_some_and(|at| state.cgroups[at].is_populated()))
    }

    /// The ids of a living cgroup and all below it, parents before children, each in the order of
    /// birth.
    #[must_use]
    pub fn subtree(&self, id: u64) -> Vec<u64> {
        self.shared.look(|state| {
            let all = state.living(id).map(|at| state.subtree(at)).unwrap_or_default();
            all.into_iter().map(|at| state.cgroups[at].id).collect()
        })
    }

    /// What a file says, without opening it: no event, no cached name.
    ///
    /// # Errors
    /// No such cgroup; `ENOENT` if it has no such file; what reading it says.
    pub fn show(&self, id: u64, file: &str) -> Result<String, Error> {
        self.shared.look(|state| {
            let at = state.living(id).ok_or(Error::NoCgroup { id })?;
            let refused = |errno| Error::Refused { what: "to show a file", errno };
            let file = File::named(file).filter(|file| state.has_file(at, *file));
            let mut content = Vec::new();
            let file = file.ok_or(refused(Errno::NOENT))?;
            state.show(at, file, &mut content).map_err(refused)?;
            Ok(String::from_utf8_lossy(&content).into_owned())
        })
    }

    /// Checks that every counter, sum and total is what its parts make it: in each controller's
    /// states `sum = local + Σ sums below`, dead ones among them; memory, swap, tasks, populated and
    /// frozen counts likewise. Takes time for every cgroup and task.
    ///
    /// # Errors
    /// A defect of this crate, and where.
    pub fn check_conservation(&self) -> Result<(), Error> {
        self.shared.look(State::check_conservation)
    }

    /// How many tasks were killed for memory in all (`oom_kill` of `/proc/vmstat`).
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.shared.look(|state| state.oom_kills)
    }

    /// All cgroups that ever were, in the order of birth, if they are remembered
    /// ([`Options::remember`]).
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        self.shared.look(|state| state.lives.all())
    }

    /// One of them.
    #[must_use]
    pub fn life(&self, id: u64) -> Option<Life> {
        self.shared.look(|state| state.lives.one(id))
    }

    /// What happened since the last call, in order, if it is written down ([`Options::journal`]).
    pub fn take_journal(&self) -> Vec<Happening> {
        self.shared.with(|state| state.journal.take())
    }
}

impl State {
    pub(crate) fn has_file(&self, at: usize, file: File) -> bool {
        file.exists(self, at)
            && file.controller().is_none_or(|one| self.cgroups[at].visible.contains(one))
    }
}
