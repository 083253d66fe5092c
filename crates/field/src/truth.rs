//! What the driver did, and when.

use std::collections::HashMap;

/// What was done to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its event file reads differently from then on.
    Changed,
    /// It was removed.
    Removed,
    /// A process in it was killed for want of memory.
    Killed,
}

/// Something done to one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Its path from the watched directory.
    pub cgroup: String,
    /// What was done.
    pub what: What,
    /// Just before, in nanoseconds of the monotonic clock: it cannot have been known earlier.
    pub began: u64,
    /// Just after. Latency counts from here.
    pub done: u64,
    /// There was a pause before it, so that its latency is not that of a queue.
    pub paced: bool,
    /// The cgroup was made while it was watched.
    pub newborn: bool,
}

/// All deeds, in the order of time, and which cgroups are not scored.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// What was done.
    pub deeds: Vec<Deed>,
    /// Cgroups above the others: they change with them, and nobody counts how often.
    pub unscored: Vec<String>,
}

impl Truth {
    /// The numbers of the deeds of each cgroup, in the order of time.
    #[must_use]
    pub fn by_cgroup(&self) -> HashMap<&str, Vec<usize>> {
        let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, deed) in self.deeds.iter().enumerate() {
            found.entry(&deed.cgroup).or_default().push(number);
        }
        found
    }
}
