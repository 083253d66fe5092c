//! What a [`Watcher`](crate::Watcher) is asked to do.

use std::time::Duration;

use crate::Filter;

/// How to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The best that is allowed here; [`Watcher::start`](crate::Watcher::start) says which and why.
    #[default]
    Auto,
    /// One inotify instance with a watch on each directory and each event file.
    Inotify,
    /// One fanotify mark on the superblock of the hierarchy for births and deaths, and an inotify
    /// watch on each event file. Needs Linux 6.6, CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH in the
    /// first user namespace.
    Fanotify,
    /// No watches: everything is read at each sweep. What lives shorter than the interval is known
    /// only through its parent's counters.
    Sweep,
}

impl Strategy {
    /// As the event stream and the command line spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
            Self::Sweep => "sweep",
        }
    }
}

/// How far below a watched path to go. Costs watches; a [`Filter`] only decides what is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// Everything below.
    #[default]
    All,
    /// At most so many levels below the path; 0 is the cgroup itself only.
    AtMost(u16),
}

/// The settings of a [`Watcher`](crate::Watcher).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How to watch.
    pub strategy: Strategy,
    /// The control files to read, by name. A name that holds `*` is a pattern over file names
    /// (`hugetlb.*.events`). `cgroup.events` is always among them. A file that never notifies is
    /// read at each sweep only.
    pub files: Vec<String>,
    /// Everything is read anew at least so often, unless that took more than 1 % of a CPU.
    pub sweep_interval: Duration,
    /// What to tell.
    pub filter: Filter,
    /// How many births may wait together with their deaths to be told, beyond the number of living
    /// cgroups, before they are withheld and counted in a `gap`.
    pub untold_pairs: usize,
    /// How many files are read before the kernel's queue is drained again, and how many cgroups that
    /// wait side by side are a crowd. While no more wait than this all are read at once; else subtrees
    /// take turns.
    pub batch: usize,
    /// Notifications that no difference explains are told, too
    /// ([`EventKind::Touched`](crate::EventKind::Touched)).
    pub touches: bool,
}

impl Options {
    /// The default files: with the directory, four watches a cgroup.
    pub const DEFAULT_FILES: [&'static str; 3] = ["cgroup.events", "memory.events", "pids.events"];

    /// The settings by default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            strategy: Strategy::Auto,
            files: Self::DEFAULT_FILES.map(String::from).to_vec(),
            sweep_interval: Duration::from_secs(30),
            filter: Filter::default(),
            untold_pairs: 4096,
            batch: 256,
            touches: false,
        }
    }

    /// Sets [`Options::strategy`].
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets [`Options::files`].
    #[must_use]
    pub fn files<S: Into<String>>(mut self, files: impl IntoIterator<Item = S>) -> Self {
        self.files = files.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`Options::sweep_interval`].
    #[must_use]
    pub fn sweep_interval(mut self, interval: Duration) -> Self {
        self.sweep_interval = interval;
        self
    }

    /// Sets [`Options::filter`].
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets [`Options::untold_pairs`].
    #[must_use]
    pub fn untold_pairs(mut self, pairs: usize) -> Self {
        self.untold_pairs = pairs;
        self
    }

    /// Sets [`Options::batch`]; at least 1.
    #[must_use]
    pub fn batch(mut self, files: usize) -> Self {
        self.batch = files.max(1);
        self
    }

    /// Sets [`Options::touches`].
    #[must_use]
    pub fn touches(mut self, touches: bool) -> Self {
        self.touches = touches;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the order.
    #[test]
    fn each_setting_leaves_the_others_alone() {
        type Set = fn(Options) -> Options;
        let sets: [Set; 7] = [
            |options| options.strategy(Strategy::Sweep),
            |options| options.files(["pids.events"]),
            |options| options.sweep_interval(Duration::from_secs(3)),
            |options| options.filter(Filter::new().kinds(["removed"])),
            |options| options.untold_pairs(7),
            |options| options.batch(8),
            |options| options.touches(true),
        ];
        for first in 0..sets.len() {
            let mut options = Options::new();
            for at in 0..sets.len() {
                options = sets[(first + at) % sets.len()](options);
            }
            assert_eq!(options.strategy, Strategy::Sweep);
            assert_eq!(options.files, ["pids.events"]);
            assert_eq!(options.sweep_interval, Duration::from_secs(3));
            let filter = format!("{:?}", Filter::new().kinds(["removed"]));
            assert_eq!(format!("{:?}", options.filter), filter);
            assert_eq!((options.untold_pairs, options.batch, options.touches), (7, 8, true));
        }
    }
}
