//! The script for any machine: `populated` of `cgroup.events`, and removals.
//!
//! Each leaf has one process when the rival starts. Then, with pauses that are longer than the
//! kernel's own between two changes of one cgroup:
//!
//! 1. what others feel: `mkdir`, `rmdir`, fork and exit in the watched tree;
//! 2. leaves become empty one by one, and populated again one by one;
//! 3. the same, as fast as it goes;
//! 4. newborns: made, populated, emptied, removed;
//! 5. leaves are removed and made again at once;
//! 6. leaves are removed one by one, each as soon as its process was killed;
//! 7. the processes of all that are left are killed, and then these removed, as fast as it goes.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::Host;
use crate::rival::Running;
use crate::scene::{GAP, Scene};
use crate::tree::make;

/// Before each paced deed.
const PACE: Duration = Duration::from_millis(1);
/// So many are removed and made again, at most.
const REUSED: usize = 100;

pub(crate) fn play(scene: &mut Scene, rival: &mut Running, fork: &Path) -> Result<Host> {
    let (leaves, few) = (scene.tree.leaves(), scene.few);
    scene.newborn = true;
    let host = Host::measure(scene, fork)?;
    scene.settle(rival);
    scene.newborn = false;

    for pace in [Some(PACE), None] {
        (0..few).try_for_each(|number| scene.empty(number, pace))?;
        scene.settle(rival);
        (0..few).try_for_each(|number| scene.populate(number, pace))?;
        scene.settle(rival);
    }

    newborns(scene, rival)?;

    for number in leaves - few.min(REUSED)..leaves {
        scene.remove(number, Some(PACE))?;
        make(&scene.leaf(number))?;
        scene.settle_in(number)?;
    }
    scene.settle(rival);

    (0..few).try_for_each(|number| scene.remove(number, Some(PACE)))?;
    scene.settle(rival);
    scene.kill(few..leaves)?;
    (few..leaves).try_for_each(|number| scene.remove(number, None))?;
    scene.settle(rival);
    Ok(host)
}

fn newborns(scene: &mut Scene, rival: &mut Running) -> Result<()> {
    let born = scene.tree.leaves()..scene.tree.leaves() + scene.few;
    scene.newborn = true;
    for number in born.clone() {
        thread::sleep(PACE);
        make(&scene.leaf(number))?;
    }
    thread::sleep(GAP);
    born.clone().try_for_each(|number| scene.populate(number, Some(PACE)))?;
    thread::sleep(GAP);
    born.clone().try_for_each(|number| scene.empty(number, Some(PACE)))?;
    thread::sleep(GAP);
    born.clone().try_for_each(|number| scene.remove(number, Some(PACE)))?;
    scene.settle(rival);
    scene.newborn = false;
    Ok(())
}
