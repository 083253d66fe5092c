//! The seam: all that the monitor sees of a hierarchy and does to it, as verbs shaped like system
//! calls. Nothing above this trait makes a system call, so the same strategies run on a host
//! ([`HostWorld`](crate::HostWorld)) and in a simulation, and the world may move between any two
//! verbs.
//!
//! Invariants that every world keeps:
//! * A directory's id is its inode number, unique until the next boot, and the same as in its
//!   notifications: identity, never the path.
//! * Watching through a directory handle watches that very directory, whatever its path means now.
//! * A good citizen (design.md 4.1, item 10): [`World::close`] releases the removal events of
//!   others that our own opens may have held back. Nothing in the tree is ever written.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{Error, Time};

/// A watch, as inotify numbers them: positive, cyclic, not reused for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wd(pub i32);

/// What there is to know about a directory without a path walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The cgroup id.
    pub id: u64,
    /// How many subdirectories it has; `None` if it is known to be removed.
    pub subdirectories: Option<u64>,
}

/// One notification. Hints, all of them: by the time one is read, the world has moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// A directory was made in the watched directory (`IN_CREATE|IN_ISDIR`).
    Created(Wd, &'a [u8]),
    /// A directory was removed from it (`IN_DELETE|IN_ISDIR`).
    Deleted(Wd, &'a [u8]),
    /// A file in it was open for writing and was closed (`IN_CLOSE_WRITE`).
    Written(Wd, &'a [u8]),
    /// The watched file changed (`IN_MODIFY`).
    Modified(Wd),
    /// The watched object is gone (`IN_DELETE_SELF`; Linux 7.1 and later, and not always).
    Gone(Wd),
    /// The watch is gone (`IN_IGNORED`); its number means nothing any more.
    Ignored(Wd),
    /// The queue was full: notifications were lost (`IN_Q_OVERFLOW`, `FAN_Q_OVERFLOW`).
    Overflow,
    /// A directory was made in the directory with this id, somewhere below a superblock's mark
    /// (`FAN_CREATE|FAN_ONDIR`). Several births of one name may be one record.
    CreatedIn(u64, &'a [u8]),
    /// A directory was removed from it, and which (`FAN_DELETE|FAN_ONDIR`).
    DeletedIn {
        /// The id of the directory it was in.
        parent: u64,
        /// Its name there.
        name: &'a [u8],
        /// Its own id.
        id: u64,
    },
    /// A file in it was open for writing and was closed (`FAN_CLOSE_WRITE`).
    WrittenIn(u64, &'a [u8]),
}

/// The bits of inotify(7); those of fanotify(7) are the same.
mod bits {
    pub(super) const MODIFY: u32 = 0x2;
    pub(super) const CLOSE_WRITE: u32 = 0x8;
    pub(super) const CREATE: u32 = 0x100;
    pub(super) const DELETE: u32 = 0x200;
    pub(super) const DELETE_SELF: u32 = 0x400;
    pub(super) const UNMOUNT: u32 = 0x2000;
    pub(super) const Q_OVERFLOW: u32 = 0x4000;
    pub(super) const IGNORED: u32 = 0x8000;
    pub(super) const ISDIR: u32 = 0x4000_0000;
}

impl<'a> Notification<'a> {
    /// What an inotify record says, if it is of interest.
    pub(crate) fn of_inotify(wd: i32, mask: u32, name: &'a [u8]) -> Option<Self> {
        let wd = Wd(wd);
        let has = |bits| mask & bits != 0;
        Some(if has(bits::Q_OVERFLOW) {
            Self::Overflow
        } else if has(bits::IGNORED) {
            Self::Ignored(wd)
        } else if has(bits::DELETE_SELF | bits::UNMOUNT) {
            Self::Gone(wd)
        } else if has(bits::MODIFY) {
            Self::Modified(wd)
        } else if has(bits::CREATE) && has(bits::ISDIR) {
            Self::Created(wd, name)
        } else if has(bits::DELETE) && has(bits::ISDIR) {
            Self::Deleted(wd, name)
        } else if has(bits::CLOSE_WRITE) {
            Self::Written(wd, name)
        } else {
            return None;
        })
    }

    /// Hands over what a fanotify record says: `entry` is a directory's id with a name in it, `target`
    /// the id of what bears or bore the name. The bits are those of inotify.
    pub(crate) fn of_fanotify(
        mask: u32,
        entry: Option<(u64, &[u8])>,
        target: Option<u64>,
        each: &mut dyn FnMut(Notification<'_>),
    ) {
        let has = |bits| mask & bits != 0;
        if has(bits::Q_OVERFLOW) {
            return each(Notification::Overflow);
        }
        let Some((parent, name)) = entry else { return };
        if has(bits::DELETE) && has(bits::ISDIR) {
            // Without an id it can only be looked for.
            each(match target {
                Some(id) => Notification::DeletedIn { parent, name, id },
                None => Notification::CreatedIn(parent, name),
            });
        }
        if has(bits::CREATE) && has(bits::ISDIR) {
            each(Notification::CreatedIn(parent, name));
        }
        if has(bits::CLOSE_WRITE) {
            each(Notification::WrittenIn(parent, name));
        }
    }
}

/// The mount options that change what counters mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `memory_localevents`: `memory.events` counts no descendants.
    pub memory_localevents: bool,
    /// `pids_localevents`: `pids.events` counts no descendants.
    pub pids_localevents: bool,
}

/// A limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchLimit {
    /// The setting to raise, such as `fs.inotify.max_user_watches`.
    pub name: String,
    /// Its value.
    pub value: Option<u64>,
}

/// Where a path lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the file system names it.
    pub resolved: PathBuf,
    /// Which of the world's bases it lies below, such as a mount of the hierarchy.
    pub base: usize,
    /// From there, without a leading `/`.
    pub path: Vec<u8>,
    /// It is the root of the whole hierarchy.
    pub whole: bool,
}

/// The thing itself is gone; any other errno is trouble of our own.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV | Errno::NOTDIR | Errno::STALE)
}

/// The longest name that a record of fanotify has room for, and that the kernel looks for by an id.
pub(crate) const NAME_MAX: usize = 255;

/// The kernel may not find what is at this path by its id: of what is not in its cache of names it looks
/// for the name and those above it, and has no room for longer ones (`exportfs_get_name`), which cgroupfs
/// takes.
pub(crate) fn has_long_name(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|name| name.len() > NAME_MAX)
}

/// [`World::watch_and_read`] by the two verbs it stands for.
pub(crate) fn watch_then_read<W: World + ?Sized>(
    world: &mut W,
    dir: &mut W::Dir,
    file: &str,
    id: u64,
    text: &mut Vec<u8>,
) -> (Result<Wd, Errno>, Result<(), Errno>) {
    let wd = world.watch_file(dir, file, id);
    match wd {
        Err(errno) if is_gone(errno) => (wd, Err(errno)),
        _ => (wd, world.read(dir, file, id, text)),
    }
}

/// A hierarchy and its notifications.
///
/// Errors are errnos. ENOENT and ENODEV mean that the thing is gone; any other is trouble of the
/// watcher's own (EMFILE, ENOMEM, EACCES; EXDEV: a mount covers it) and says nothing about the thing.
pub trait World {
    /// A handle of one directory that keeps its identity but not its life.
    type Dir;

    /// What happens here happens on no host.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Finds where a path of the user's lies; two that overlap are below the same base.
    ///
    /// # Errors
    /// Those of [`Watcher::add`](crate::Watcher::add) that speak of the path.
    fn locate(&mut self, path: &Path) -> Result<Place, Error>;

    /// Opens the directory at `path`, relative to the base with this number; empty for the base.
    fn open(&mut self, base: usize, path: &[u8]) -> Result<(Self::Dir, Stat), Errno>;

    /// Opens a directory in an open one: what is found is a child of that very directory, even if
    /// its path means another by now. By its name: opening by its id one that nobody has looked up
    /// yet takes away other programs' removal events.
    fn open_child(&mut self, dir: &mut Self::Dir, name: &[u8]) -> Result<(Self::Dir, Stat), Errno>;

    /// Opens the directory with this id, wherever it lies. ENOENT or ESTALE: it is removed. Any error,
    /// where a name of more than 255 bytes leads to it, may only mean that the kernel cannot find it
    /// so. `None`: this world does not go by ids, or there is none (0).
    fn open_id(&mut self, base: usize, id: u64) -> Option<Result<Self::Dir, Errno>>;

    /// As [`World::open_id`], but whether it is still there comes to light only when the handle is used:
    /// a file of a known id can be read without its directory. `None`: it has to be opened.
    fn reach(&mut self, base: usize, id: u64) -> Option<Self::Dir> {
        let _ = (base, id);
        None
    }

    /// Whether what is known is opened by its id: then a listing before the first use of a file pays.
    fn goes_by_id(&self) -> bool;

    /// Looks at an open directory again.
    fn stat(&mut self, dir: &mut Self::Dir) -> Result<Stat, Errno>;

    /// Calls `each` with the name of each entry, whether it is a directory, and its id. Waits for an
    /// rmdir(2) that is removing this directory or one in it; ENOENT: this one is removed. After an error
    /// what was handed over is no listing: an entry that is missing may be there.
    fn list(
        &mut self,
        dir: &mut Self::Dir,
        each: &mut dyn FnMut(&[u8], bool, u64),
    ) -> Result<(), Errno>;

    /// Reads a control file from its start to its end into `text`, replacing what it holds. With an
    /// `id` (not 0) only the file that has it, where the world can go by ids; else ESTALE.
    fn read(
        &mut self,
        dir: &mut Self::Dir,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), Errno>;

    /// Watches the directory itself. ENOSPC: no more watches.
    fn watch(&mut self, dir: &mut Self::Dir) -> Result<Wd, Errno>;

    /// Watches a control file in it, by name or id as [`World::read`]. ENOSPC: no more watches.
    fn watch_file(&mut self, dir: &mut Self::Dir, file: &str, id: u64) -> Result<Wd, Errno>;

    /// [`World::watch_file`], then [`World::read`]. Without a watch the file is read only where there
    /// was no room for one.
    fn watch_and_read(
        &mut self,
        dir: &mut Self::Dir,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> (Result<Wd, Errno>, Result<(), Errno>) {
        watch_then_read(self, dir, file, id, text)
    }

    /// From now on births and deaths in the whole hierarchy are told of, by a mark on its superblock.
    ///
    /// # Errors
    /// [`Error::NoFanotify`] if that cannot be had.
    fn mark_all(&mut self) -> Result<(), Error>;

    /// Ends a watch. One that is gone already is no error.
    fn unwatch(&mut self, wd: Wd);

    /// Gives the handle back, by the good citizen's protocol.
    fn close(&mut self, dir: Self::Dir);

    /// Hands over everything that is queued now; never blocks.
    fn drain(&mut self, each: &mut dyn FnMut(Notification<'_>)) -> Result<(), Errno>;

    /// The time.
    fn now(&mut self) -> Time;

    /// How long this thread has kept a processor busy, in nanoseconds: time in which it was stopped,
    /// or the machine was suspended, is not in it.
    fn busy_ns(&mut self) -> u64;

    /// Waits until notifications are queued or `until` (boot time, nanoseconds) has come. `None`:
    /// for ever.
    fn wait(&mut self, until: Option<u64>) -> Result<(), Errno>;

    /// Arms the alarm that makes a waiting reader come back at `at` (boot time, nanoseconds).
    fn set_alarm(&mut self, at: u64) -> Result<(), Errno>;

    /// The mount options in force now.
    fn mount_options(&mut self) -> MountOptions;

    /// How many processes the host's kernel has killed for memory since the boot.
    fn host_oom_kills(&mut self) -> Option<u64>;

    /// The limit that makes a watch fail with ENOSPC.
    fn watch_limit(&mut self) -> WatchLimit;

    /// The limit on open files that makes a call fail with this errno, EMFILE or ENFILE.
    fn descriptor_limit(&mut self, errno: Errno) -> WatchLimit {
        let name = if errno == Errno::NFILE { "fs.file-max" } else { "RLIMIT_NOFILE" };
        WatchLimit { name: name.into(), value: None }
    }
}

#[cfg(test)]
mod tests;
