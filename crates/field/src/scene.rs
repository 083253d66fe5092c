//! Cgroups with their processes, what can be done to them, and the record of it.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

use crate::residents::{Residents, kill};
use crate::rival::Running;
use crate::tree::{Tree, remove};
use crate::{Deed, Score, Truth, What, now};

/// Between two passes over the same cgroups: well above the 10 ms within which the kernel announces
/// a second change late (`CGROUP_FILE_NOTIFY_MIN_INTV`).
pub(crate) const GAP: Duration = Duration::from_millis(100);
/// A rival that has not told all is waited for so long: one that looks every second can.
const PATIENCE: Duration = Duration::from_secs(2);

/// Each leaf has one process, unless it was emptied.
pub(crate) struct Scene {
    // The processes end before their cgroups are removed.
    pub(crate) residents: Residents,
    pub(crate) tree: Tree,
    pub(crate) truth: Truth,
    living: Vec<Option<Pid>>,
    /// What is done from now on is done to newborns.
    pub(crate) newborn: bool,
    /// At most so many are treated one by one.
    pub(crate) few: usize,
    /// So much of what happened will never be told.
    given_up: usize,
}

impl Scene {
    pub(crate) fn set(tree: Tree, residents: &Path, few: usize) -> Result<Self> {
        let mut scene = Self {
            residents: Residents::start(residents)?,
            truth: Truth { deeds: Vec::new(), unscored: tree.above() },
            living: Vec::new(),
            newborn: false,
            few: few.min(tree.leaves()),
            given_up: 0,
            tree,
        };
        (0..scene.tree.leaves()).try_for_each(|number| scene.settle_in(number))?;
        Ok(scene)
    }

    /// A leaf's directory.
    pub(crate) fn leaf(&self, number: usize) -> PathBuf {
        self.tree.path(&self.tree.leaf(number))
    }

    /// A process for a leaf, which is not told.
    pub(crate) fn settle_in(&mut self, number: usize) -> Result<()> {
        let resident = self.residents.sleep(&self.leaf(number))?;
        self.living.resize(self.living.len().max(number + 1), None);
        self.living[number] = Some(resident);
        Ok(())
    }

    /// Who lives in a leaf.
    pub(crate) fn resident(&self, number: usize) -> Result<Pid> {
        self.living.get(number).copied().flatten().context("nobody is in")
    }

    /// Its process is gone without our doing.
    pub(crate) fn forget(&mut self, number: usize) {
        self.living[number] = None;
    }

    /// Kills who lives there.
    pub(crate) fn empty(&mut self, number: usize, pace: Option<Duration>) -> Result<()> {
        pace.into_iter().for_each(thread::sleep);
        let resident = self.resident(number)?;
        let began = now();
        kill(resident)?;
        self.forget(number);
        self.note(number, What::Changed, began, pace.is_some());
        Ok(())
    }

    /// The opposite.
    pub(crate) fn populate(&mut self, number: usize, pace: Option<Duration>) -> Result<()> {
        pace.into_iter().for_each(thread::sleep);
        let began = now();
        self.settle_in(number)?;
        self.note(number, What::Changed, began, pace.is_some());
        Ok(())
    }

    /// Kills who lives in these, which is not told.
    pub(crate) fn kill(&mut self, numbers: std::ops::Range<usize>) -> Result<()> {
        self.living[numbers].iter_mut().filter_map(Option::take).try_for_each(kill)
    }

    /// Kills whoever lives there, and removes it as soon as that has left.
    pub(crate) fn remove(&mut self, number: usize, pace: Option<Duration>) -> Result<()> {
        pace.into_iter().for_each(thread::sleep);
        let path = self.leaf(number);
        let began = now();
        self.living[number].take().map_or(Ok(()), kill)?;
        remove(&path)?;
        self.note(number, What::Removed, began, pace.is_some());
        Ok(())
    }

    /// Records what was done to a leaf.
    pub(crate) fn note(&mut self, number: usize, what: What, began: u64, paced: bool) {
        self.note_path(self.tree.leaf(number), what, began, paced);
    }

    pub(crate) fn note_path(&mut self, cgroup: String, what: What, began: u64, paced: bool) {
        let newborn = self.newborn;
        self.truth.deeds.push(Deed { cgroup, what, began, done: now(), paced, newborn });
    }

    /// Waits until all was told, as long as there is patience; at least for the gap.
    pub(crate) fn settle(&mut self, rival: &mut Running) {
        let began = Instant::now();
        thread::sleep(GAP);
        loop {
            let missed = Score::new(&self.truth, rival.listen()).missed();
            if missed <= self.given_up || began.elapsed() > PATIENCE {
                self.given_up = missed;
                break;
            }
            thread::sleep(GAP);
        }
    }
}
