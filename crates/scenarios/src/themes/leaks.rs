//! After any number of births and deaths cgwatch holds what it held at the start.

use std::{fs, path::PathBuf};

use cgwatch::{Depth, EventKind, Options, Watcher};

use crate::{Environment, Failure, Scenario, Tree, descriptors, ensure, heap};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("leaks-after-100000-lives", after_many_lives).seconds(300)];

/// Births and deaths in batches, all told, without a ledger.
struct Lives<'t> {
    tree: &'t Tree,
    watcher: Watcher,
    birth: u64,
}

impl Lives<'_> {
    const BATCH: u64 = 100;

    /// So many lives, each opened and read by cgwatch where it is quick enough; all told at the
    /// end.
    fn drive(&mut self, lives: usize, patience: std::time::Duration) -> Result<(), Failure> {
        for _ in 0..lives / Self::BATCH as usize {
            let batch = self.birth..self.birth + Self::BATCH;
            self.birth = batch.end;
            for birth in batch.clone() {
                let path = self.path(birth);
                fs::create_dir(&path).map_err(Failure::driver("make", path))?;
            }
            // Half of them are known while they live.
            if batch.start.is_multiple_of(2 * Self::BATCH) {
                self.take(Self::BATCH, 0, patience)?;
            }
            for birth in batch.clone() {
                let path = self.path(birth);
                fs::remove_dir(&path).map_err(Failure::driver("remove", path))?;
            }
            let known = batch.start.is_multiple_of(2 * Self::BATCH);
            self.take(if known { 0 } else { Self::BATCH }, Self::BATCH, patience)?;
        }
        Ok(())
    }

    fn path(&self, birth: u64) -> PathBuf {
        self.tree.path().join(format!("life-{}", birth % 1_000))
    }

    /// Takes until so many births and deaths were told.
    fn take(
        &mut self,
        mut births: u64,
        mut deaths: u64,
        patience: std::time::Duration,
    ) -> Result<(), Failure> {
        while births > 0 || deaths > 0 {
            let event = self.watcher.wait(Some(patience))?;
            match event.map(|event| event.kind) {
                Some(EventKind::Appeared { .. }) if births > 0 => births -= 1,
                Some(EventKind::Removed { .. }) if deaths > 0 => deaths -= 1,
                Some(EventKind::Changed { .. }) => {}
                other => {
                    let left = format!("{births} births and {deaths} deaths left, but {other:?}");
                    return Err(Failure::Broken(left));
                }
            }
        }
        Ok(())
    }
}

/// 100,000 births and deaths: watches, descriptors and live heap bytes are what they were.
fn after_many_lives(environment: &Environment) -> Result<(), Failure> {
    let patience = environment.patience();
    let tree = Tree::plant(environment)?;
    let mut watcher = environment.watcher(Options::new())?;
    watcher.add(tree.path(), Depth::All)?;
    while watcher.next()?.is_some() {}
    let mut lives = Lives { tree: &tree, watcher, birth: 0 };
    // Its tables grow to what a batch needs.
    lives.drive(1_000, patience)?;
    let (held, bytes) = (descriptors("self")?, heap());
    let many = environment.scale(100_000, 2_000);
    lives.drive(many, patience)?;
    // What was read for the count is gone when the next is made.
    let (held_after, bytes_after) = (descriptors("self")?, heap());
    ensure!(held == held_after, "at the start {held:?}, at the end {held_after:?}");
    // The spare room of tables, which by the chance of their hashes double now or then; a leak of one
    // byte a life is far more than that.
    let slack = 16 * 1024 + many / 3;
    ensure!(
        bytes_after <= bytes + slack,
        "live heap bytes: {bytes} at the start, {bytes_after} at the end"
    );
    ensure!(lives.watcher.usage().cgroups == 1, "{:?}", lives.watcher.usage());
    drop(lives.watcher);
    let nothing = descriptors("self")?.watches;
    ensure!(nothing == 0, "{nothing} watches are left behind");
    Ok(())
}
