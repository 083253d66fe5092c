//! What others feel of being watched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::scene::{GAP, Scene};
use crate::tree::{make, remove};
use crate::{What, now};

/// How often it is measured. The least is taken: all else that the machine does can only add to it.
const ROUNDS: usize = 5;
/// How often each is done in a round.
const COUNT: usize = 200;

/// Nanoseconds each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// `mkdir`.
    pub mkdir: f64,
    /// `rmdir`.
    pub rmdir: f64,
    /// fork and exit of a process, which empties and populates nothing.
    pub fork: f64,
}

impl Host {
    /// In the first group, with the program `fork`. The removals are recorded.
    pub(crate) fn measure(scene: &mut Scene, fork: &Path) -> Result<Self> {
        let mut least = round(scene, fork)?;
        for _ in 1..ROUNDS {
            thread::sleep(GAP);
            let Self { mkdir, rmdir, fork } = round(scene, fork)?;
            least.mkdir = least.mkdir.min(mkdir);
            least.rmdir = least.rmdir.min(rmdir);
            least.fork = least.fork.min(fork);
        }
        Ok(least)
    }
}

fn round(scene: &mut Scene, fork: &Path) -> Result<Host> {
    let names: Vec<String> = (0..COUNT).map(|number| format!("/g0/host{number}")).collect();
    let paths: Vec<PathBuf> = names.iter().map(|name| scene.tree.path(name)).collect();
    let each = |began: Instant| began.elapsed().as_nanos() as f64 / COUNT as f64;

    let began = Instant::now();
    paths.iter().try_for_each(|path| make(path))?;
    let mkdir = each(began);
    let mut command = Command::new(fork);
    command.arg("inside").arg(COUNT.to_string()).arg(scene.leaf(0));
    let output = command.output().context("fork")?;
    ensure!(output.status.success(), "fork: {}", String::from_utf8_lossy(&output.stderr));
    let fork = String::from_utf8(output.stdout)?.trim().parse::<f64>()? / COUNT as f64;
    let mut begun = Vec::new();
    let began = Instant::now();
    for path in &paths {
        begun.push(now());
        remove(path)?;
    }
    let rmdir = each(began);
    for (name, began) in names.into_iter().zip(begun) {
        scene.note_path(name, What::Removed, began, false);
    }
    Ok(Host { mkdir, rmdir, fork })
}
