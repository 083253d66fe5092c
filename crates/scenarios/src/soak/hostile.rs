//! A hostile owner of a cgroup, beside the load: it freezes and thaws a crowd of children, opens the file
//! that decides which files they have for writing and closes it, and makes a child with a name for which
//! the kernel has room in few places.
//!
//! All of it is gone when it is over, so that the judge need not know of it.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::load::Load;
use crate::{Cgroup, Failure, Tree};

/// How many children the cgroup has.
const CROWD: usize = 300;
/// So many bytes has the name of the other child.
const LONG: usize = 1_600;
/// Between two changes of the whole crowd it opens and closes so often.
const OPENED: usize = 500;
/// And rests so long.
const PAUSE: Duration = Duration::from_millis(50);

/// Lets `act` act while the owner does what it may.
pub(super) fn beside(
    load: &mut Load<'_>,
    act: &mut dyn FnMut(&mut Load<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let tree = load.tree();
    let hostile = tree.make("hostile")?;
    let crowd = (0..CROWD).map(|n| tree.make(format!("hostile/{n}")));
    let crowd = crowd.collect::<Result<Vec<_>, _>>()?;
    let over = AtomicBool::new(false);
    let (acted, raged) = thread::scope(|scope| {
        let owner = scope.spawn(|| rage(tree, &hostile, &over));
        let acted = act(load);
        over.store(true, Ordering::Relaxed);
        (acted, owner.join())
    });
    acted?;
    let long = raged.map_err(|_| Failure::broken("driver: a thread panicked"))??;
    crowd.iter().chain([&hostile]).try_for_each(|cgroup| tree.remove(cgroup))?;
    load.count_in(crowd.len() + 1 + long);
    Ok(())
}

/// Until it is over; how many long-named children were born, and died.
fn rage(tree: &Tree, hostile: &Cgroup, over: &AtomicBool) -> Result<usize, Failure> {
    let controls = hostile.file("cgroup.subtree_control");
    let long = format!("hostile/{}", "l".repeat(LONG));
    let (mut turn, mut born) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        hostile.write("cgroup.freeze", ["1", "0"][turn % 2])?;
        for _ in 0..OPENED {
            File::options()
                .write(true)
                .open(&controls)
                .map_err(Failure::driver("open", &controls))?;
        }
        if turn % 3 == 0 {
            let child = tree.make(&long)?;
            thread::sleep(PAUSE);
            tree.remove(&child)?;
            born += 1;
        }
        thread::sleep(PAUSE);
        turn += 1;
    }
    Ok(born)
}
