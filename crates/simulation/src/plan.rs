//! What a seed decides before anything happens.

use std::time::Duration;

use cgroup_sim::{Controllers, MountOptions, Surface};
use cgwatch::{Depth, Options, Strategy};
use fastrand::Rng;
use fsnotify::Limits;
use kernfs::Profile;

use crate::hostile::Hostility;

/// The profiles by the names of the command line.
pub const PROFILES: [(&str, Profile); 3] = [
    ("linux70", Profile::Linux70),
    ("linux71", Profile::Linux71),
    ("announced", Profile::Announced),
];

/// A profile's name on the command line.
#[must_use]
pub fn profile_name(profile: Profile) -> &'static str {
    PROFILES.iter().find(|(_, known)| *known == profile).map_or("?", |(name, _)| name)
}

/// The profile of this name.
#[must_use]
pub fn profile_named(name: &str) -> Option<Profile> {
    PROFILES.iter().find(|(known, _)| *known == name).map(|(_, profile)| *profile)
}

/// The circumstances of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose rules of notification the world follows.
    pub profile: Profile,
    /// How the monitor watches.
    pub strategy: Strategy,
    /// It may open what it knows by id.
    pub by_id: bool,
    /// How many notifications its queue holds.
    pub queue: usize,
    /// How many watches it may have.
    pub watches: u64,
    /// It watches the root of the hierarchy, which has no event files, not a cgroup in it.
    pub whole: bool,
    /// How deep it watches.
    pub depth: Depth,
    /// How often everything is read anew.
    pub sweep: Duration,
    /// In most rounds nobody takes events.
    pub slow_reader: bool,
    /// Readings between two drains; while more wait, subtrees take turns.
    pub batch: usize,
    /// Somebody wishes harm.
    pub hostile: Option<Hostility>,
    /// Births that may wait with their deaths.
    pub untold_pairs: usize,
    /// Controllers come and go.
    pub toggles: bool,
    /// Those of the watched root come and go too.
    pub toggles_root: bool,
    /// The mount options at the start.
    pub mount: MountOptions,
    /// Mount options are switched.
    pub remounts: bool,
    /// Others hold files and directories open.
    pub holders: bool,
    /// Memory pressure drops what is cached.
    pub reclaims: bool,
    /// The dead go on counting.
    pub late: bool,
    /// Notifications of changes get lost.
    pub loses_changes: bool,
    /// A cgroup is gone a while before the kernel tells of it.
    pub tells_late: bool,
    /// The monitor looks between the steps of a removal.
    pub removes_in_steps: bool,
    /// The world moves while the monitor takes in what there is at the start.
    pub busy_start: bool,
    /// In the end everything is removed, the watched root too.
    pub ends: bool,
    /// How many children a cgroup has at most.
    pub most_children: usize,
    /// How many rounds the world moves.
    pub rounds: usize,
    /// Cgroups have names of more than 255 bytes, and the kernel does not always find them by their ids.
    pub long_names: bool,
    /// A cgroup is populated once in its life.
    pub populates_once: bool,
    /// Which files cgroups have.
    pub surface: Surface,
    /// Whether `pids.events` sums up (Linux 6.11 and later).
    pub pids_sums: bool,
}

impl Plan {
    /// Draws the circumstances. The first draws of a seed, so that a plan is the same whatever
    /// happens later.
    #[must_use]
    pub fn draw(profile: Profile, rng: &mut Rng) -> Self {
        // Apart, so that nothing else in a run depends on it.
        let mut apart = Rng::with_seed(!rng.get_seed());
        let (loses_changes, tells_late) = (apart.u32(0..16) == 0, apart.u32(0..3) == 0);
        let removes_in_steps = apart.u32(0..3) == 0;
        let batch = [Options::new().batch, 1, 2, 5][apart.usize(0..4)];
        let hostile = match apart.u32(0..16) {
            0 => Some(Hostility::Crowd),
            1 => Some(Hostility::Storm),
            _ => None,
        };
        let long_names = apart.u32(0..6) == 0;
        let mut one_in = |n: u32| rng.u32(0..n) == 0;
        let sweeps = one_in(5);
        let (by_id, small_queue, few_watches) = (one_in(2), one_in(5), one_in(6));
        let (whole, shallow, slow_reader, brief_sweep) =
            (one_in(8), one_in(12), one_in(4), one_in(4));
        let (toggles, toggles_root, remounts) = (one_in(3), one_in(3), one_in(10));
        let (holders, reclaims, late) = (one_in(3), one_in(3), one_in(2));
        let (busy_start, ends) = (one_in(3), one_in(2));
        let localevents =
            MountOptions { memory_localevents: one_in(16), pids_localevents: one_in(16) };
        let (pids_sums, populates_once) = (!one_in(4), one_in(2));
        let fanotify = one_in(3);
        let surface = if one_in(4) { Surface::Whole } else { Surface::Notifying };
        let strategy = match sweeps {
            true => Strategy::Sweep,
            false if fanotify && by_id => Strategy::Fanotify,
            false => Strategy::Inotify,
        };
        Self {
            profile,
            strategy,
            by_id,
            queue: if small_queue { rng.usize(2..24) } else { 16_384 },
            watches: if few_watches { rng.u64(1..24) } else { 1_048_576 },
            whole,
            depth: if shallow { Depth::AtMost(rng.u16(0..3)) } else { Depth::All },
            sweep: match sweeps || brief_sweep {
                true => Duration::from_millis(rng.u64(1..60)),
                false => Duration::from_secs(30),
            },
            slow_reader,
            batch,
            hostile,
            untold_pairs: if slow_reader { rng.usize(0..6) } else { 4096 },
            toggles,
            toggles_root: toggles && toggles_root,
            mount: localevents,
            remounts,
            holders,
            reclaims,
            late,
            loses_changes,
            tells_late,
            removes_in_steps,
            busy_start,
            ends,
            most_children: rng.usize(2..6),
            rounds: rng.usize(4..24),
            // A record of fanotify has no room for them: only a hostile owner, of whom less is promised,
            // has them there.
            long_names: long_names && strategy != Strategy::Fanotify,
            populates_once,
            surface,
            pids_sums,
        }
    }

    /// No notification is lost for want of room or watches.
    pub(crate) fn is_told_everything(&self) -> bool {
        self.strategy != Strategy::Sweep && self.queue > 1000 && self.watches > 1000
    }

    /// All that changes is announced. Switched mount options are not, nor are files that come and go
    /// by what is written above the watched root.
    pub(crate) fn is_announced(&self) -> bool {
        let hides = self.hostile == Some(Hostility::Storm)
            && (self.bars() || self.strategy == Strategy::Fanotify);
        self.is_told_everything()
            && !self.remounts
            && !self.toggles_root
            && !self.loses_changes
            && !hides
    }

    /// Readings between two drains. Beside a crowd little for that, and much for a cgroup's siblings.
    pub(crate) fn batch(&self) -> usize {
        if self.hostile == Some(Hostility::Crowd) { 8 } else { self.batch }
    }

    /// A hostile owner can take rights away from the monitor.
    pub(crate) fn bars(&self) -> bool {
        self.hostile == Some(Hostility::Storm) && !self.by_id
    }

    /// Readings are by turns only: nothing is read for other reasons than notifications of changes.
    pub(crate) fn takes_turns(&self) -> bool {
        self.hostile == Some(Hostility::Crowd)
            && self.is_announced()
            && !self.toggles
            && self.depth == Depth::All
            && self.sweep.as_secs() > 1
    }

    /// What a counter shows includes what those below counted, all the time.
    pub(crate) fn sums_up(&self, controller: Controllers) -> bool {
        let local = match controller {
            Controllers::MEMORY => self.mount.memory_localevents,
            Controllers::PIDS => self.mount.pids_localevents || !self.pids_sums,
            _ => false,
        };
        !local && !self.remounts
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { marks: self.watches, queued_events: self.queue, ..Limits::default() }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new()
            .strategy(self.strategy)
            .sweep_interval(self.sweep)
            .untold_pairs(self.untold_pairs)
            .batch(self.batch())
    }

    pub(crate) fn hierarchy(&self) -> cgroup_sim::Options {
        cgroup_sim::Options {
            profile: self.profile,
            controllers: Controllers::MEMORY | Controllers::PIDS | Controllers::IO,
            mount: self.mount,
            surface: self.surface,
            pids_sums: self.pids_sums,
            remember: true,
            ..cgroup_sim::Options::default()
        }
    }
}
