//! Limits and who is charged for what (kernel: `ucounts`).
//!
//! An account belongs to one user in one user namespace; a charge goes to it
//! and to every account above it, or to none of them.

use std::sync::Arc;

use crate::sync::{AtomicU64, Ordering};

/// The settings of `/proc/sys/fs/inotify` or `/proc/sys/fs/fanotify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups a user may have (`max_user_instances`, `max_user_groups`).
    pub groups: u64,
    /// Marks a user may have (`max_user_watches`, `max_user_marks`).
    pub marks: u64,
    /// Records a queue holds, its overflow record apart
    /// (`max_queued_events`); a group copies it when it is made.
    pub queued_events: usize,
}

impl Default for Limits {
    /// What Linux starts with on a machine with a lot of memory.
    fn default() -> Self {
        Self { groups: 128, marks: 1_048_576, queued_events: 16_384 }
    }
}

/// What one user holds, against [`Limits`].
#[derive(Debug)]
pub struct Account {
    limits: Limits,
    above: Option<Arc<Account>>,
    unprivileged: Option<i32>,
    groups: AtomicU64,
    marks: AtomicU64,
}

/// The two things a user is charged for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource {
    Group,
    Mark,
}

impl Account {
    /// An account of its own.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::make(limits, None, None)
    }

    /// An account without CAP_SYS_ADMIN, of the process `pid`: its fanotify
    /// groups are limited as Linux 5.13 and later limit them.
    #[must_use]
    pub fn unprivileged(limits: Limits, pid: i32) -> Arc<Self> {
        Self::make(limits, None, Some(pid))
    }

    /// The account of a user namespace below this one: what is charged to it
    /// is charged here too.
    #[must_use]
    pub fn below(self: &Arc<Self>, limits: Limits) -> Arc<Self> {
        Self::make(limits, Some(Arc::clone(self)), self.unprivileged)
    }

    fn make(limits: Limits, above: Option<Arc<Self>>, unprivileged: Option<i32>) -> Arc<Self> {
        let (groups, marks) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { limits, above, unprivileged, groups, marks })
    }

    /// The process whose own events an unprivileged group may name by pid;
    /// `None` if all may be named.
    pub(crate) fn only_pid(&self) -> Option<i32> {
        self.unprivileged
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Groups charged at present.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Marks charged at present.
    #[must_use]
    pub fn marks(&self) -> u64 {
        self.marks.load(Ordering::Relaxed)
    }

    /// Charges one, here and above; or says which limit forbids it.
    pub(crate) fn charge(self: &Arc<Self>, resource: Resource) -> Result<Charge, u64> {
        let mut next = Some(self);
        while let Some(account) = next {
            let (count, limit) = account.slot(resource);
            if count.fetch_add(1, Ordering::Relaxed) >= limit {
                count.fetch_sub(1, Ordering::Relaxed);
                self.release(resource, Some(account));
                return Err(limit);
            }
            next = account.above.as_ref();
        }
        Ok(Charge { account: Arc::clone(self), resource })
    }

    /// Gives one back, from here up to but not including `end`.
    fn release(self: &Arc<Self>, resource: Resource, end: Option<&Arc<Self>>) {
        let mut next = Some(self);
        while let Some(account) = next {
            if end.is_some_and(|end| Arc::ptr_eq(account, end)) {
                return;
            }
            account.slot(resource).0.fetch_sub(1, Ordering::Relaxed);
            next = account.above.as_ref();
        }
    }

    fn slot(&self, resource: Resource) -> (&AtomicU64, u64) {
        match resource {
            Resource::Group => (&self.groups, self.limits.groups),
            Resource::Mark => (&self.marks, self.limits.marks),
        }
    }
}

/// One unit charged; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    resource: Resource,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.release(self.resource, None);
    }
}
