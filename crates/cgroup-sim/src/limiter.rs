//! The rate limit of notifications (kernel: `cgroup_file_notify`, kernel/cgroup/cgroup.c).
//!
//! The first change of a file is told at once. What changes within [`INTERVAL`] ticks of that is
//! told by a timer at their end, however often it changed. The kernel's window includes its last
//! tick, so that a timer which fires in that tick finds it still open and fires again one tick
//! later. The timer of a file that is removed is cancelled: on the Linux profiles the change is
//! lost, on `Announced` the removal tells it (kernfs: `Node::notify_later`).

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use kernfs::Node;

/// Nanoseconds of a tick: HZ=1000.
pub(crate) const TICK: u64 = 1_000_000;

/// Kernel: `CGROUP_FILE_NOTIFY_MIN_INTV`, 10 ms.
pub(crate) const INTERVAL: u64 = 10;

/// A file that notifies, of a cgroup or of a controller's state (kernel: `struct cgroup_file`).
#[derive(Default, Debug)]
pub(crate) struct Notice {
    node: Option<Arc<Node>>,
    /// The tick of the last notification.
    last: Option<u64>,
    /// The tick at which the timer fires.
    armed: Option<u64>,
}

/// Whose notice a timer belongs to, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// `cgroup.events` of a cgroup.
    Cgroup(usize),
    /// An event file of a controller's state, by its place there.
    State(usize, usize),
}

/// Timers that run.
#[derive(Default, Debug)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u64, Owner)>>,
    armed: u64,
}

impl Timers {
    fn arm(&mut self, tick: u64, owner: Owner) {
        self.armed += 1;
        // In the order in which they were armed, if due together.
        self.heap.push(Reverse((tick, self.armed, owner)));
    }

    /// The tick of the next, which may have been cancelled.
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((tick, ..))| *tick)
    }

    /// Takes the next that is due.
    pub(crate) fn take(&mut self, now: u64) -> Option<(u64, Owner)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((tick, _, owner))| (tick, owner))
    }
}

impl Notice {
    /// The file appeared.
    pub(crate) fn bind(&mut self, node: Arc<Node>) {
        *self = Self { node: Some(node), ..Self::default() };
    }

    /// The file goes: its timer is cancelled (kernel: `cgroup_rm_file`).
    pub(crate) fn unbind(&mut self) {
        *self = Self::default();
    }

    /// The file changed.
    pub(crate) fn notify(&mut self, now: u64, owner: Owner, timers: &mut Timers) {
        let Some(node) = &self.node else { return };
        let end = self.last.map(|last| last + INTERVAL);
        match end {
            Some(end) if now <= end => {
                if self.armed.is_none() {
                    self.armed = Some(end.max(now));
                    node.notify_later();
                    timers.arm(end, owner);
                }
            }
            _ => {
                node.notify();
                self.last = Some(now);
            }
        }
    }

    /// A timer fired, if it is still this one's.
    pub(crate) fn fire(&mut self, tick: u64, owner: Owner, timers: &mut Timers) {
        if self.armed != Some(tick) {
            return;
        }
        self.armed = None;
        if self.last.is_some_and(|last| tick <= last + INTERVAL) {
            // The window's last tick: once more.
            self.armed = Some(tick + 1);
            timers.arm(tick + 1, owner);
        } else {
            self.notify(tick, owner, timers);
        }
    }
}
