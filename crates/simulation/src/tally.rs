//! What runs went through, so that it can be seen that they went where mistakes are made.

use std::{fmt, ops::AddAssign};

use cgwatch::{Confidence, EventKind, GapReason};

use crate::course::Course;

/// Counts over one or many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// System calls of the monitor and acts of the world.
    pub steps: u64,
    /// Events told.
    pub events: u64,
    /// Births.
    pub births: u64,
    /// Births of cgroups that were gone before they could be opened.
    pub unnamed: u64,
    /// Removals.
    pub removals: u64,
    /// Removals that recovered something.
    pub unseen: u64,
    /// Among them, such that nobody else can share it.
    pub bounded: u64,
    /// Changes that tell what the dead counted late.
    pub late: u64,
    /// Files that went and came while their cgroup lived.
    pub files: u64,
    /// Full queues.
    pub overflows: u64,
    /// Limits on watches that were reached.
    pub limits: u64,
    /// Births withheld together with their deaths.
    pub cancelled: u64,
    /// Switched mount options.
    pub remounts: u64,
    /// What a hostile owner did.
    pub deeds: u64,
    /// Gaps of one cgroup that could not be looked at.
    pub barred: u64,
    /// How often a hostile owner's cgroups were read while one waited, at most.
    pub longest_wait: u64,
}

impl Tally {
    pub(crate) fn of(course: &Course) -> Self {
        let mut tally = Self {
            runs: 1,
            steps: course.watcher.world().calls() + course.mover.lock().acts,
            events: course.events.len() as u64,
            ..Self::default()
        };
        let mover = course.mover.lock();
        tally.deeds = mover.hostile.as_ref().map_or(0, |hostile| hostile.deeds);
        tally.longest_wait = mover.fairness.as_ref().map_or(0, |fairness| fairness.longest);
        drop(mover);
        for event in &course.events {
            match &event.kind {
                EventKind::Appeared { cgroup, existing: false, .. } => {
                    tally.births += 1;
                    tally.unnamed += u64::from(cgroup.id.is_none());
                }
                EventKind::Removed { unseen, .. } => {
                    tally.removals += 1;
                    let some = unseen.confidence.is_some();
                    tally.unseen += u64::from(some);
                    tally.bounded += u64::from(unseen.confidence == Some(Confidence::Bounded));
                }
                EventKind::Changed { late, .. } => tally.late += u64::from(!late.is_empty()),
                EventKind::FileAdded { .. } | EventKind::FileRemoved { .. } => tally.files += 1,
                EventKind::Gap { reason, cancelled_pairs, .. } => {
                    tally.cancelled += cancelled_pairs;
                    match reason {
                        GapReason::QueueOverflow => tally.overflows += 1,
                        GapReason::WatchLimit { .. } => tally.limits += 1,
                        GapReason::Inaccessible { .. } => tally.barred += 1,
                        GapReason::MountChanged => tally.remounts += 1,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.events += other.events;
        self.births += other.births;
        self.unnamed += other.unnamed;
        self.removals += other.removals;
        self.unseen += other.unseen;
        self.bounded += other.bounded;
        self.late += other.late;
        self.files += other.files;
        self.overflows += other.overflows;
        self.limits += other.limits;
        self.cancelled += other.cancelled;
        self.remounts += other.remounts;
        self.deeds += other.deeds;
        self.barred += other.barred;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} steps, {} events: {} births ({} without id), {} removals ({} with unseen \
             counts, {} of them bounded), {} late counts, {} files that came or went, {} full \
             queues, {} limits reached, {} pairs withheld, {} remounts, {} hostile deeds, {} times barred, at most \
             {} turns waited",
            self.runs,
            self.steps,
            self.events,
            self.births,
            self.unnamed,
            self.removals,
            self.unseen,
            self.bounded,
            self.late,
            self.files,
            self.overflows,
            self.limits,
            self.cancelled,
            self.remounts,
            self.deeds,
            self.barred,
            self.longest_wait,
        )
    }
}
