//! What a reader is told: the event stream as Rust types.
//!
//! Invariants of the stream (design.md 4.1): one total order; `seq` without holes; for each
//! instance `n` one `Appeared`, then any number of changes, then at most one `Removed`, and nothing
//! after it; parents appear before their children and are removed after them.

use std::{borrow::Cow, ffi::OsStr, fmt, os::unix::ffi::OsStrExt, sync::Arc};

use rustix::io::Errno;

use crate::Printable;

/// One event, numbered and dated when it is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// 1, 2, 3, … without holes, given at delivery after filters.
    pub seq: u64,
    /// When what it says was read, not when it happened.
    pub time: Time,
    /// What happened.
    pub kind: EventKind,
}

/// A point in time on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Nanoseconds since the boot, suspended time included (`CLOCK_BOOTTIME`).
    pub boot_ns: u64,
    /// Nanoseconds since 1970-01-01 UTC (`CLOCK_REALTIME`).
    pub unix_ns: i64,
}

/// What happened. Kinds and fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A cgroup is there: at the start (`existing`) or because it was born.
    Appeared {
        /// Which.
        cgroup: Cgroup,
        /// It was there when the watch began. A newborn's counters start at zero here; what it has
        /// already counted follows as `Changed`.
        existing: bool,
        /// The values of its event files.
        files: Files<u64>,
    },
    /// Every cgroup that existed has been told: the baseline is complete, at the start or again
    /// after a gap.
    Ready {
        /// How many cgroups are known.
        cgroups: u64,
        /// It ends a gap, and no baseline. (A gap while the first baseline is taken ends with that.)
        after_gap: bool,
    },
    /// An event file holds other values than were last told.
    Changed {
        /// Whose.
        cgroup: Cgroup,
        /// The file.
        file: FileName,
        /// The keys that differ, as last told.
        old: Values<u64>,
        /// The same keys as read now.
        new: Values<u64>,
        /// `new - old` of the counters among them (not of the two-state keys of `cgroup.events`).
        delta: Values<i128>,
        /// What of that was counted at this cgroup itself, from the file's `.local` twin. `None`
        /// where there is no twin.
        own: Option<Values<i128>>,
        /// What dead descendants counted after their removal was told.
        late: Values<u64>,
    },
    /// An event file is gone while its cgroup lives: its controller was switched off.
    FileRemoved {
        /// Whose.
        cgroup: Cgroup,
        /// The file.
        file: FileName,
        /// What it counted and was never told.
        unseen: Unseen,
    },
    /// Event files came to a living cgroup. Their values are a new baseline, not a change.
    FileAdded {
        /// Whose.
        cgroup: Cgroup,
        /// The files with their values.
        files: Files<u64>,
    },
    /// The kernel said that a file was written, and no value that is read differs: what it held in
    /// between is not known. Of `cgroup.subtree_control` and `cgroup.type` always: control files may
    /// have come or gone, in the children or in the cgroup itself. Only if
    /// [`Options::touches`](crate::Options::touches) asks for it.
    Touched {
        /// Whose.
        cgroup: Cgroup,
        /// The file.
        file: FileName,
    },
    /// The cgroup is gone. Exactly once, and the last that is said of it. Implies `populated` 0.
    Removed {
        /// Which.
        cgroup: Cgroup,
        /// From its birth as noticed to its removal as noticed; `None` for one that existed at the
        /// start.
        lived_ns: Option<u64>,
        /// The last values that were read.
        files: Files<u64>,
        /// What it counted after that, recovered from its parent.
        unseen: Unseen,
        /// How the removal was noticed.
        learned_from: LearnedFrom,
    },
    /// Something may have been missed or withheld; what follows up to `Ready` sets it right.
    Gap {
        /// Why.
        reason: GapReason,
        /// Births that were never told together with their deaths, because nobody took them.
        cancelled_pairs: u64,
        /// What those cgroups had counted at themselves, in sum.
        cancelled: Files<u64>,
    },
}

impl EventKind {
    /// The cgroup it speaks of.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        match self {
            Self::Appeared { cgroup, .. }
            | Self::Changed { cgroup, .. }
            | Self::FileRemoved { cgroup, .. }
            | Self::FileAdded { cgroup, .. }
            | Self::Touched { cgroup, .. }
            | Self::Removed { cgroup, .. } => Some(cgroup),
            Self::Gap { reason: GapReason::Inaccessible { cgroup, .. }, .. } => Some(cgroup),
            Self::Ready { .. } | Self::Gap { .. } => None,
        }
    }

    /// The name of the kind in the event stream: `appeared`, `ready`, `changed`, `file-removed`,
    /// `file-added`, `touched`, `removed`, `gap`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Appeared { .. } => "appeared",
            Self::Ready { .. } => "ready",
            Self::Changed { .. } => "changed",
            Self::FileRemoved { .. } => "file-removed",
            Self::FileAdded { .. } => "file-added",
            Self::Touched { .. } => "touched",
            Self::Removed { .. } => "removed",
            Self::Gap { .. } => "gap",
        }
    }
}

/// One cgroup from its birth to its death. Another cgroup at the same path is another instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Numbers the instances of one `Watcher`, so that births and deaths without an `id` pair up.
    pub n: u64,
    /// The kernel's cgroup id (inode number of the directory), unique in one boot. `None` if it was
    /// gone before it could be opened.
    pub id: Option<u64>,
    /// The cgroup id of the watched root it lies under.
    pub root_id: u64,
    /// Where it is, or was.
    pub path: CgroupPath,
}

/// A cgroup's path from the watched root: `/` for the root itself, else `/a/b`. Exact bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(pub(crate) Arc<[u8]>);

impl CgroupPath {
    /// The longest path that lines show in full, in bytes: `PATH_MAX`, beyond which no program can
    /// name a file in one call.
    pub const FULL: usize = 4096;

    /// What lines show: the path, or of one with more than [`CgroupPath::FULL`] bytes the beginning
    /// and the end with `…` between, not longer than that. So a line is bounded, however deep
    /// somebody nests cgroups; the numbers of the instance and of the cgroup tell which it is.
    #[must_use]
    pub fn shortened(&self) -> Cow<'_, [u8]> {
        const KEPT: usize = CgroupPath::FULL / 2 - '…'.len_utf8();
        let bytes = &self.0;
        if bytes.len() <= Self::FULL {
            return Cow::Borrowed(bytes);
        }
        // Not within a character.
        let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let end = (KEPT - 3..=KEPT).rev().find(|at| !continues(*at)).unwrap_or(KEPT);
        let from = bytes.len() - KEPT;
        let start = (from..from + 4).find(|at| !continues(*at)).unwrap_or(from);
        Cow::Owned([&bytes[..end], "…".as_bytes(), &bytes[start..]].concat())
    }

    /// From its exact bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The exact bytes, as the operating system's kind of string.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// As text, if it is valid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// Safe on a terminal, as [`Printable`] shows it.
impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable::new(&self.shortened()).fmt(f)
    }
}

impl fmt::Debug for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The name of an event file, such as `memory.events`.
pub type FileName = Arc<str>;

/// Keys with their values, in the file's order. A key of a nested file is flattened as
/// `device/resource.max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values<T>(pub Vec<(Arc<str>, T)>);

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Values<u64> {
    /// Adds amounts, key by key.
    pub(crate) fn merge(&mut self, amounts: Self) {
        for (key, amount) in amounts.0 {
            match self.0.iter_mut().find(|(known, _)| *known == key) {
                Some((_, sum)) => *sum = sum.saturating_add(amount),
                None => self.0.push((key, amount)),
            }
        }
    }
}

impl<T: Copy> Values<T> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<T> {
        self.0.iter().find(|(k, _)| &**k == key).map(|&(_, value)| value)
    }

    /// Keys and values in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, T)> {
        self.0.iter().map(|(k, v)| (&**k, *v))
    }

    /// No keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Event files with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files<T>(pub Vec<(FileName, Values<T>)>);

impl<T> Default for Files<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Files<T> {
    /// One file's values.
    #[must_use]
    pub fn get(&self, file: &str) -> Option<&Values<T>> {
        self.0.iter().find(|(name, _)| &**name == file).map(|(_, values)| values)
    }

    /// Files and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Values<T>)> {
        self.0.iter().map(|(name, values)| (&**name, values))
    }

    /// No files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a cgroup (or a file) counted and was never told, recovered from its parent:
/// `parent - parent.local - sum of the living children`. Never more than really happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Per file what was recovered, only what is not zero. `None` for a file: it cannot be known.
    pub files: Vec<(FileName, Option<Values<u64>>)>,
    /// Whether another removal can share what `files` says.
    pub confidence: Option<Confidence>,
    /// The instances (`n`) that died in the same settlement and may own part of it; of one that was
    /// born meanwhile the `appeared` may follow. Empty with [`Confidence::Shared`] if one that died
    /// earlier may have gone on counting.
    pub shared_with: Vec<u64>,
    /// How many they are; more than `shared_with` names if they are very many.
    pub shared_count: u64,
    /// The amount that this one may share stands in the removal of this instance (`n`).
    pub unseen_in: Option<u64>,
    /// Where it cannot be known: how many processes the whole host killed for memory that no
    /// event has told, an upper bound (`oom_kill` of `/proc/vmstat`).
    pub host_oom_kill_at_most: Option<u64>,
}

impl Unseen {
    /// Nothing was missed, and that is known.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.files.is_empty() && self.unseen_in.is_none()
    }

    /// Another instance may own part of it.
    pub(crate) fn share_with(&mut self, n: u64) {
        /// How many it names at most.
        const SHARERS: usize = 64;
        if !self.shared_with.contains(&n) {
            self.shared_count += 1;
            if self.shared_with.len() < SHARERS {
                self.shared_with.push(n);
            }
        }
    }

    /// Adds amounts of a file.
    pub(crate) fn add(&mut self, file: &FileName, amounts: Values<u64>) {
        match self.files.iter_mut().find(|(name, _)| name == file) {
            Some((_, Some(values))) => values.merge(amounts),
            Some((_, none)) => *none = Some(amounts),
            None => self.files.push((file.clone(), Some(amounts))),
        }
    }

    /// Takes in what was recovered of the same instance at another time: the amounts, and with whom
    /// they may be shared.
    pub(crate) fn fold(&mut self, other: Self) {
        for (file, values) in other.files {
            if let Some(values) = values {
                self.add(&file, values);
            }
        }
        let unnamed = other.shared_count.saturating_sub(other.shared_with.len() as u64);
        other.shared_with.into_iter().for_each(|n| self.share_with(n));
        self.shared_count += unnamed;
        let shared = [self.confidence, other.confidence].contains(&Some(Confidence::Shared));
        let shared = shared || !self.shared_with.is_empty();
        let confidence = self.confidence.or(other.confidence);
        self.confidence = if shared { Some(Confidence::Shared) } else { confidence };
        self.unseen_in = self.unseen_in.or(other.unseen_in);
        self.host_oom_kill_at_most = self.host_oom_kill_at_most.max(other.host_oom_kill_at_most);
    }

    /// What was recovered of a key of a file; 0 if nothing or not known.
    #[must_use]
    pub fn get(&self, file: &str, key: &str) -> u64 {
        self.files
            .iter()
            .find(|(name, _)| &**name == file)
            .and_then(|(_, values)| values.as_ref()?.get(key))
            .unwrap_or(0)
    }
}

/// Whether an amount in [`Unseen`] is this cgroup's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confidence {
    /// No other removal can share it.
    Bounded,
    /// Other removals may own part of it.
    Shared,
}

/// How a removal was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LearnedFrom {
    /// The parent directory's `IN_DELETE`.
    Parent,
    /// The directory's or a file's own `IN_DELETE_SELF` (Linux 7.1 and later).
    Itself,
    /// A fanotify record.
    Fanotify,
    /// It was missing, or another had its name, when it was looked up for another reason.
    Lookup,
    /// A periodic sweep.
    Sweep,
    /// The reconcile after a gap.
    Reconcile,
}

impl LearnedFrom {
    /// As the event stream spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Itself => "self",
            Self::Fanotify => "fanotify",
            Self::Lookup => "lookup",
            Self::Sweep => "sweep",
            Self::Reconcile => "reconcile",
        }
    }
}

/// Why there is a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The kernel's queue was full; everything is compared anew.
    QueueOverflow,
    /// The reader was too slow: births were withheld together with their deaths.
    Reader,
    /// No more watches could be added; what has none is swept.
    WatchLimit {
        /// The limit's name, such as `fs.inotify.max_user_watches`.
        limit: String,
        /// Its value, if it could be read.
        value: Option<u64>,
    },
    /// A mount option that decides what the counters mean was switched.
    MountChanged,
    /// No more files could be opened (EMFILE, ENFILE); what could not be opened is swept.
    DescriptorLimit {
        /// The limit's name: `RLIMIT_NOFILE`, the process's (`ulimit -n`), or `fs.file-max`.
        limit: String,
        /// Its value, if it could be read.
        value: Option<u64>,
    },
    /// Something of this cgroup could not be opened, listed, read or watched, which says nothing of
    /// whether it is there; what it was is looked for again at each sweep. Once for each cgroup, until
    /// a sweep has found all of it.
    Inaccessible {
        /// Which, or that whose child it is.
        cgroup: Cgroup,
        /// Why: EACCES, EPERM; EXDEV if a mount covers it; EIO, ENOMEM and the like.
        errno: Errno,
    },
}

impl GapReason {
    /// As the event stream spells it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::QueueOverflow => "queue-overflow",
            Self::Reader => "reader",
            Self::WatchLimit { .. } => "watch-limit",
            Self::MountChanged => "mount-changed",
            Self::DescriptorLimit { .. } => "descriptor-limit",
            Self::Inaccessible { errno: Errno::ACCESS | Errno::PERM, .. } => "permission",
            Self::Inaccessible { errno: Errno::XDEV, .. } => "covered",
            Self::Inaccessible { .. } => "error",
        }
    }
}

#[cfg(test)]
mod tests;
