//! The files of a cgroup: their names, whose they are, and how kernfs reaches them (kernel:
//! `cgroup_base_files`, `memory_files`, `swap_files`, `pids_files`).

use std::sync::{Arc, Weak};

use kernfs::{Attribute, Operation};
use rustix::io::Errno;

use crate::{
    Controllers, Surface,
    controller::{EVENTS, LOCAL, SWAP},
    state::{ROOT, Shared, State},
};

/// A file of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Type,
    Procs,
    Threads,
    Controllers,
    SubtreeControl,
    Events,
    MaxDescendants,
    MaxDepth,
    Stat,
    Freeze,
    Kill,
    MemoryCurrent,
    MemoryPeak,
    MemoryMin,
    MemoryLow,
    MemoryHigh,
    MemoryMax,
    MemoryEvents,
    MemoryEventsLocal,
    MemoryOomGroup,
    MemoryReclaim,
    SwapCurrent,
    SwapHigh,
    SwapMax,
    SwapEvents,
    IoStat,
    HugetlbEvents,
    HugetlbEventsLocal,
    PidsMax,
    PidsCurrent,
    PidsPeak,
    PidsEvents,
    PidsEventsLocal,
}

use File::{
    Events, Freeze, HugetlbEvents, HugetlbEventsLocal, IoStat, Kill, MaxDepth, MaxDescendants,
    MemoryCurrent, MemoryEvents, MemoryEventsLocal, MemoryHigh, MemoryLow, MemoryMax, MemoryMin,
    MemoryOomGroup, MemoryPeak, MemoryReclaim, PidsCurrent, PidsEvents, PidsEventsLocal, PidsMax,
    PidsPeak, Procs, Stat, SubtreeControl, SwapCurrent, SwapEvents, SwapHigh, SwapMax, Threads,
    Type,
};

const MEMORY: Option<Controllers> = Some(Controllers::MEMORY);
const HUGETLB: Option<Controllers> = Some(Controllers::HUGETLB);
const PIDS: Option<Controllers> = Some(Controllers::PIDS);

/// Each with its name and its controller, in the order in which Linux makes them.
const TABLE: [(File, &str, Option<Controllers>); 33] = [
    (Type, "cgroup.type", None),
    (Procs, "cgroup.procs", None),
    (Threads, "cgroup.threads", None),
    (File::Controllers, "cgroup.controllers", None),
    (SubtreeControl, "cgroup.subtree_control", None),
    (Events, "cgroup.events", None),
    (MaxDescendants, "cgroup.max.descendants", None),
    (MaxDepth, "cgroup.max.depth", None),
    (Stat, "cgroup.stat", None),
    (Freeze, "cgroup.freeze", None),
    (Kill, "cgroup.kill", None),
    (MemoryCurrent, "memory.current", MEMORY),
    (MemoryPeak, "memory.peak", MEMORY),
    (MemoryMin, "memory.min", MEMORY),
    (MemoryLow, "memory.low", MEMORY),
    (MemoryHigh, "memory.high", MEMORY),
    (MemoryMax, "memory.max", MEMORY),
    (MemoryEvents, "memory.events", MEMORY),
    (MemoryEventsLocal, "memory.events.local", MEMORY),
    (MemoryOomGroup, "memory.oom.group", MEMORY),
    (MemoryReclaim, "memory.reclaim", MEMORY),
    (SwapCurrent, "memory.swap.current", MEMORY),
    (SwapHigh, "memory.swap.high", MEMORY),
    (SwapMax, "memory.swap.max", MEMORY),
    (SwapEvents, "memory.swap.events", MEMORY),
    (IoStat, "io.stat", Some(Controllers::IO)),
    (HugetlbEvents, "hugetlb.2MB.events", HUGETLB),
    (HugetlbEventsLocal, "hugetlb.2MB.events.local", HUGETLB),
    (PidsMax, "pids.max", PIDS),
    (PidsCurrent, "pids.current", PIDS),
    (PidsPeak, "pids.peak", PIDS),
    (PidsEvents, "pids.events", PIDS),
    (PidsEventsLocal, "pids.events.local", PIDS),
];

impl File {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(file, ..)| *file)
    }

    fn row(self) -> &'static (Self, &'static str, Option<Controllers>) {
        &TABLE[self as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|file| file.name() == name)
    }

    /// Whose it is; none for those that every cgroup has.
    pub(crate) fn controller(self) -> Option<Controllers> {
        self.row().2
    }

    /// The place of what notifies it.
    pub(crate) fn notice(self) -> Option<usize> {
        match self {
            Events | MemoryEvents | HugetlbEvents | PidsEvents => Some(EVENTS),
            MemoryEventsLocal | HugetlbEventsLocal | PidsEventsLocal => Some(LOCAL),
            SwapEvents => Some(SWAP),
            _ => None,
        }
    }

    /// Kernel: `CFTYPE_NOT_ON_ROOT`.
    fn is_on_root(self) -> bool {
        matches!(
            self,
            Procs | Threads | Self::Controllers | SubtreeControl | MaxDescendants | MaxDepth | Stat
        )
    }

    fn is_needed(self) -> bool {
        self.notice().is_some() || matches!(self, Procs | Self::Controllers | SubtreeControl)
    }

    pub(crate) fn can_be_read(self) -> bool {
        !matches!(self, Kill | MemoryReclaim)
    }

    /// Whether a cgroup has it, as long as its controller is there.
    pub(crate) fn exists(self, state: &State, at: usize) -> bool {
        (at != ROOT || self.is_on_root())
            && (state.options.surface == Surface::Whole || self.is_needed())
            && (self != PidsEventsLocal || state.options.pids_sums)
    }
}

/// What kernfs calls for a file of any cgroup; the cgroup is that of the directory it is in.
struct Content {
    file: File,
    shared: Weak<Shared>,
}

/// One for each kind of file.
pub(crate) fn attributes(shared: &Weak<Shared>) -> Vec<(File, Arc<dyn Attribute>)> {
    let content = |file| Arc::new(Content { file, shared: Weak::clone(shared) });
    File::all().map(|file| (file, content(file) as Arc<dyn Attribute>)).collect()
}

impl Content {
    fn cgroup(&self, operation: &Operation<'_>) -> Result<(Arc<Shared>, u64), Errno> {
        let directory = operation.node().parent().ok_or(Errno::NODEV)?;
        let shared = self.shared.upgrade().ok_or(Errno::NODEV)?;
        Ok((shared, directory.id()))
    }
}

impl Attribute for Content {
    fn show(&self, operation: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        let (shared, id) = self.cgroup(operation)?;
        shared.look(|state| {
            let at = state.living(id).ok_or(Errno::NODEV)?;
            state.show(at, self.file, content)
        })
    }

    fn store(&self, operation: &Operation<'_>, content: &[u8]) -> Result<(), Errno> {
        let (shared, id) = self.cgroup(operation)?;
        let text = std::str::from_utf8(content).map_err(|_| Errno::INVAL)?;
        shared.with(|state| {
            let at = state.living(id).ok_or(Errno::NODEV)?;
            state.store(at, self.file, text.trim(), operation.credentials())
        })
    }

    fn has_release(&self) -> bool {
        true
    }
}
