//! The script with memory limits, for a guest: `memory.high` breached, then an OOM kill and the
//! removal of its cgroup at once.
//!
//! Each leaf has one process when the rival starts. Then, one by one:
//!
//! 1. leaves breach `memory.high`, and once that was counted and is some time ago, the kernel kills
//!    their process, and they are removed as soon as that has left;
//! 2. newborns are killed for memory and removed in the same way, without a pause;
//! 3. the rest is removed, each as soon as its process was killed, without memory in play.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::residents::eat;
use crate::rival::Running;
use crate::scene::{GAP, Scene};
use crate::tree::{make, remove};
use crate::{What, now};

const FILE: &str = "memory.events";
/// What a resident takes is above each of these limits.
const HIGH: &str = "8388608";
const MAX: &str = "4194304";
const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn play(scene: &mut Scene, rival: &mut Running) -> Result<()> {
    let (leaves, few) = (scene.tree.leaves(), scene.few);
    for number in 0..few {
        breach(scene, number)?;
        thread::sleep(GAP);
        kill_for_memory(scene, number)?;
    }
    scene.settle(rival);

    scene.newborn = true;
    for number in leaves..leaves + few {
        make(&scene.leaf(number))?;
        scene.settle_in(number)?;
        // Enough for the process to be asleep.
        thread::sleep(PACE);
        fs::write(scene.leaf(number).join("memory.max"), MAX)?;
        eat(scene.resident(number)?)?;
        kill_for_memory(scene, number)?;
    }
    scene.settle(rival);
    scene.newborn = false;

    (few..leaves).try_for_each(|number| scene.remove(number, Some(PACE)))?;
    scene.settle(rival);
    // The truth is what the kernel counted.
    let counted = count(scene.tree.root(), "oom_kill")?;
    ensure!(counted == 2 * few as u64, "driver: {counted} kills instead of {}", 2 * few);
    Ok(())
}

/// Until it is counted, which is a moment before it is announced.
fn breach(scene: &mut Scene, number: usize) -> Result<()> {
    let path = scene.leaf(number);
    fs::write(path.join("memory.high"), HIGH)?;
    let began = now();
    eat(scene.resident(number)?)?;
    let deadline = Instant::now() + PATIENCE;
    while count(&path, "high")? == 0 {
        ensure!(Instant::now() < deadline, "driver: memory.high was not breached");
        thread::sleep(Duration::from_millis(1));
    }
    scene.note(number, What::Changed, began, true);
    Ok(())
}

/// What is held, or being taken, exceeds the limit: the kernel kills. Then it is removed.
fn kill_for_memory(scene: &mut Scene, number: usize) -> Result<()> {
    let path = scene.leaf(number);
    let began = now();
    if !scene.newborn {
        fs::write(path.join("memory.max"), MAX)?;
    }
    scene.forget(number);
    // As soon as the killed process has left.
    remove(&path)?;
    scene.note(number, What::Killed, began, true);
    scene.note(number, What::Removed, began, true);
    Ok(())
}

fn count(cgroup: &Path, key: &str) -> Result<u64> {
    let text = fs::read_to_string(cgroup.join(FILE)).with_context(|| FILE.to_owned())?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
}
