//! Where a script is played before a rival, and what is measured around it.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::rival::Rival;
use crate::scene::{GAP, Scene};
use crate::tree::Tree;
use crate::{Burden, Host, Run, Score, memory, native, now};

/// Between the start and the script nothing happens for so long.
const IDLE: Duration = Duration::from_secs(2);
/// What is said too much is waited for so long, and what is let go of late.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Script {
    /// [`native`].
    Native,
    /// [`memory`].
    Memory,
}

impl Script {
    /// The event file that rivals are to watch.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Native => "cgroup.events",
            Self::Memory => "memory.events",
        }
    }

    fn controllers(self) -> &'static str {
        match self {
            Self::Native => "",
            Self::Memory => "+memory",
        }
    }
}

/// Where a script is played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// Which.
    pub script: Script,
    /// Where cgroup v2 is mounted.
    pub mount: PathBuf,
    /// `residents`, compiled.
    pub residents: PathBuf,
    /// `fork`, compiled.
    pub fork: PathBuf,
    /// How many leaves there are.
    pub cgroups: usize,
    /// How many of them change, are newborn, are removed one by one; at most.
    pub few: usize,
}

impl Stage {
    /// What the host does without anybody watching.
    ///
    /// # Errors
    /// No cgroups can be made here.
    pub fn alone(&self) -> Result<Host> {
        let mut scene = self.scene()?;
        Host::measure(&mut scene, &self.fork)
    }

    /// Plays the script before a rival.
    ///
    /// # Errors
    /// The rival cannot be run, or the driver failed.
    pub fn play(&self, rival: &Rival) -> Result<Run> {
        let empty = self.empty(rival)?;
        let mut scene = self.scene()?;
        let mut running = rival.start(utf8(scene.tree.root())?, self.script.file())?;
        let start_cpu = running.processor_time()?;
        thread::sleep(GAP * 3);
        if let Some(reason) = running.death()? {
            bail!(reason);
        }

        let [before, began] = [running.processor_time()?, seconds()];
        thread::sleep(IDLE);
        let idle_cpu = (running.processor_time()? - before) / (seconds() - began);
        let during = running.burden()?;

        let [before, began] = [running.processor_time()?, seconds()];
        let host = match self.script {
            Script::Native => Some(native::play(&mut scene, &mut running, &self.fork)?),
            Script::Memory => {
                memory::play(&mut scene, &mut running)?;
                None
            }
        };
        scene.tree.remove_groups()?;
        thread::sleep(LAST_WORDS);
        let died = running.death()?;
        // It cannot be asked any more once it is gone; that it is gone is told.
        let cpu = running.processor_time().unwrap_or(before) - before;
        let wall = seconds() - began;
        let left = running.burden().unwrap_or_default().beyond(empty);
        let score = Score::new(&scene.truth, running.listen());
        Ok(Run { score, start_cpu, cpu, wall, idle_cpu, during, left, host, died })
    }

    /// What the rival holds with nothing to watch.
    fn empty(&self, rival: &Rival) -> Result<Burden> {
        let tree = Tree::plant(&self.mount, 0, self.script.controllers())?;
        let running = rival.start(utf8(tree.root())?, self.script.file())?;
        thread::sleep(GAP);
        running.burden()
    }

    fn scene(&self) -> Result<Scene> {
        let tree = Tree::plant(&self.mount, self.cgroups, self.script.controllers())?;
        Scene::set(tree, &self.residents, self.few)
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("a mount point that is not UTF-8")
}

fn seconds() -> f64 {
    now() as f64 / 1e9
}
