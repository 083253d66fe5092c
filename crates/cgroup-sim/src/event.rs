//! What controllers count.

use std::fmt;

use bitflags::bitflags;

bitflags! {
    /// Controllers, in the kernel's order (include/linux/cgroup_subsys.h).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Controllers: u8 {
        /// Counts nothing here, but needs the memory controller: where it is enabled and memory is
        /// not, memory goes on unseen.
        const IO = 1;
        /// Memory and swap.
        const MEMORY = 2;
        /// Huge pages of 2 MB.
        const HUGETLB = 4;
        /// Numbers of tasks.
        const PIDS = 8;
    }
}

/// How many controllers there are.
pub(crate) const CONTROLLERS: usize = 4;

impl Controllers {
    /// Those that cgroups within one process can have (kernel: `cgrp_dfl_threaded_ss_mask`).
    pub(crate) const THREADED: Self = Self::PIDS;

    /// The name of one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IO => "io",
            Self::MEMORY => "memory",
            Self::HUGETLB => "hugetlb",
            Self::PIDS => "pids",
            _ => "",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().iter().find(|one| one.name() == name)
    }

    /// What these need beside them (kernel: `cgroup_subsys::depends_on`, block/blk-cgroup.c).
    pub(crate) fn with_needed(self) -> Self {
        if self.contains(Self::IO) { self | Self::MEMORY } else { self }
    }

    /// Where one stands in a table.
    pub(crate) fn index(self) -> usize {
        self.bits().trailing_zeros() as usize
    }
}

/// `io memory`, as in `cgroup.controllers`.
impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, one) in self.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { " " }, one.name())?;
        }
        Ok(())
    }
}

/// Something a controller counts, in the order of the lines of its file (kernel:
/// `enum memcg_memory_event`, `enum pidcg_event`, `enum hugetlb_memory_event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Event {
    /// Memory below `memory.low` was reclaimed.
    MemoryLow,
    /// `memory.high` was breached.
    MemoryHigh,
    /// `memory.max` was reached.
    MemoryMax,
    /// Memory ran out at this cgroup's limit.
    MemoryOom,
    /// A task of this cgroup was killed for it.
    MemoryOomKill,
    /// The cgroup was killed as one.
    MemoryOomGroupKill,
    /// A socket was slowed down for its memory.
    MemorySockThrottled,
    /// `memory.swap.high` was breached.
    SwapHigh,
    /// `memory.swap.max` was reached.
    SwapMax,
    /// Swap could not be had.
    SwapFail,
    /// `hugetlb.2MB.max` was reached.
    HugetlbMax,
    /// A fork failed at this cgroup's `pids.max`.
    PidsMax,
    /// A fork from this cgroup failed, wherever the limit was; told with `pids_localevents` only.
    PidsForkFail,
}

/// How many events there are.
pub(crate) const EVENTS: usize = 13;

impl Event {
    /// All of them.
    pub const ALL: [Self; EVENTS] = [
        Self::MemoryLow,
        Self::MemoryHigh,
        Self::MemoryMax,
        Self::MemoryOom,
        Self::MemoryOomKill,
        Self::MemoryOomGroupKill,
        Self::MemorySockThrottled,
        Self::SwapHigh,
        Self::SwapMax,
        Self::SwapFail,
        Self::HugetlbMax,
        Self::PidsMax,
        Self::PidsForkFail,
    ];

    /// Who counts it.
    #[must_use]
    pub fn controller(self) -> Controllers {
        match self {
            Self::HugetlbMax => Controllers::HUGETLB,
            Self::PidsMax | Self::PidsForkFail => Controllers::PIDS,
            _ => Controllers::MEMORY,
        }
    }

    /// The file that tells it, descendants included.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::SwapHigh | Self::SwapMax | Self::SwapFail => "memory.swap.events",
            Self::HugetlbMax => "hugetlb.2MB.events",
            Self::PidsMax | Self::PidsForkFail => "pids.events",
            _ => "memory.events",
        }
    }

    /// Its key in that file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::MemoryLow => "low",
            Self::MemoryHigh | Self::SwapHigh => "high",
            Self::MemoryOom => "oom",
            Self::MemoryOomKill => "oom_kill",
            Self::MemoryOomGroupKill => "oom_group_kill",
            Self::MemorySockThrottled => "sock_throttled",
            Self::SwapFail => "fail",
            Self::MemoryMax
            | Self::SwapMax
            | Self::HugetlbMax
            | Self::PidsMax
            | Self::PidsForkFail => "max",
        }
    }

    /// Whether it stands in `memory.swap.events`, which has no `.local` twin.
    pub(crate) fn is_swap(self) -> bool {
        matches!(self, Self::SwapHigh | Self::SwapMax | Self::SwapFail)
    }

    /// Where it stands among its controller's counters.
    pub(crate) fn slot(self) -> usize {
        match self {
            Self::HugetlbMax | Self::PidsMax => 0,
            Self::PidsForkFail => 1,
            _ => self as usize,
        }
    }
}
