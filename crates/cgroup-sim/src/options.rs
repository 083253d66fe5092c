//! How a hierarchy is made.

use std::{fmt, sync::Arc};

use kernfs::{Credentials, Profile};
use rustix::io::Errno;

use crate::Controllers;

/// The mount options that change what counters mean (kernel: `cgroup2_fs_parameters`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `memory_localevents`: `memory.events` counts no descendants.
    pub memory_localevents: bool,
    /// `pids_localevents`: `pids.events` counts no descendants, and counts where the fork was
    /// tried, not where the limit is.
    pub pids_localevents: bool,
}

/// Which files each cgroup has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surface {
    /// All that are simulated.
    #[default]
    Whole,
    /// Those that notify, and `cgroup.procs`, `cgroup.controllers` and `cgroup.subtree_control`:
    /// for very many cgroups.
    Notifying,
}

/// Processes that exist beside the simulated ones. Its methods may not call the hierarchy.
pub trait Processes: Send + Sync {
    /// A number that no simulated task has was written to `cgroup.procs`, through a file that was
    /// opened with these credentials; none are this process's own. If it becomes a task of the
    /// hierarchy, whoever says so ends it with [`Hierarchy::exit`](crate::Hierarchy::exit).
    ///
    /// # Errors
    /// `ESRCH` if there is no such process; `EACCES` if who opened the file has no right to it; what
    /// else the write shall fail with.
    fn adopt(&self, pid: u32, by: Option<&Credentials>) -> Result<(), Errno>;

    /// The hierarchy kills an adopted process. It stays a task until its exit is reported.
    fn kill(&self, pid: u32);
}

/// A time that passes by itself. Its methods may not call the hierarchy.
pub trait Clock: Send + Sync {
    /// What it is now, in nanoseconds: every change happens at this time.
    fn now(&self) -> u64;

    /// The earliest notification that a rate limit holds back is due at this time:
    /// [`Hierarchy::advance_to`](crate::Hierarchy::advance_to) it then, or later, and ask
    /// [`Hierarchy::next_timer`](crate::Hierarchy::next_timer) for those after it.
    fn due(&self, time: u64);
}

/// How a hierarchy is made.
#[derive(Clone)]
pub struct Options {
    /// Whose rules of notification it follows.
    pub profile: Profile,
    /// The controllers of the root.
    pub controllers: Controllers,
    /// In force from the start; see [`Hierarchy::remount`](crate::Hierarchy::remount).
    pub mount: MountOptions,
    /// Which files cgroups have.
    pub surface: Surface,
    /// Whether `pids.events` counts descendants and has a `.local` twin, as from Linux 6.11
    /// (73e75e6fc352); before, it counts where the fork was tried.
    pub pids_sums: bool,
    /// Whether cgroups are remembered after death, for
    /// [`Hierarchy::lives`](crate::Hierarchy::lives) and for counting after death. Memory then
    /// grows with every cgroup ever made.
    pub remember: bool,
    /// Whether all that happens is written down for
    /// [`Hierarchy::take_journal`](crate::Hierarchy::take_journal).
    pub journal: bool,
    /// The number of the first simulated task.
    pub first_pid: u32,
    /// Bytes of swap of the machine; none by default.
    pub swap: u64,
    /// Whether a thread delivers notifications; otherwise they wait for
    /// [`Hierarchy::drain`](crate::Hierarchy::drain).
    pub worker: bool,
    /// Processes beside the simulated ones; none by default.
    pub processes: Option<Arc<dyn Processes>>,
    /// What its time follows; by default it moves only when it is told to.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for Options {
    /// [`Profile::Announced`], all controllers, all files, nothing remembered, no worker.
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            controllers: Controllers::all(),
            mount: MountOptions::default(),
            surface: Surface::default(),
            pids_sums: true,
            remember: false,
            journal: false,
            first_pid: 1000,
            swap: 0,
            worker: false,
            processes: None,
            clock: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("profile", &self.profile)
            .field("controllers", &self.controllers)
            .field("mount", &self.mount)
            .field("surface", &self.surface)
            .finish_non_exhaustive()
    }
}
