//! A good citizen (design.md 4.1, item 10): from Linux 7.1 on, a removal is announced to everybody
//! who watches, unless somebody holds a control file open just then. cgwatch, which reads all the
//! time, must not take it from others.

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use cgwatch::{Depth, Options, Watcher};
use linux_notify::inotify::{Inotify, Mask, Wd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::judge;
use crate::{Cgroup, Environment, Failure, Recording, Scenario, Tree, ensure};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("citizen-removals-of-others", removals_of_others)];

/// Another program's watches: on a control file of a cgroup, and on its directory.
struct Witness {
    inotify: Inotify,
    file: Wd,
    directory: Wd,
    /// The last events of both.
    ends: Vec<(Wd, Mask)>,
}

impl Witness {
    fn of(cgroup: &Cgroup) -> Result<Self, Failure> {
        let inotify = Inotify::new()?;
        let file = inotify.add(&c_path(&cgroup.file("cgroup.events")), Mask::DELETE_SELF)?;
        let directory = inotify.add(&c_path(&cgroup.directory), Mask::DELETE_SELF)?;
        Ok(Self { inotify, file, directory, ends: Vec::new() })
    }

    /// Whether `DELETE_SELF` and `IGNORED` have come, in this order, on file and directory; waits
    /// for them so long.
    fn has_seen_both(&mut self, patience: Duration) -> Result<bool, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let mut buffer = [0; 4096];
            self.ends.extend(self.inotify.read(&mut buffer)?.map(|event| (event.wd, event.mask)));
            let seen = [self.file, self.directory].into_iter().all(|wd| {
                let masks = self.ends.iter().filter(|(of, _)| *of == wd).map(|(_, mask)| *mask);
                masks.collect::<Vec<_>>() == [Mask::DELETE_SELF, Mask::IGNORED]
            });
            let left = deadline.saturating_duration_since(Instant::now());
            if seen || left.is_zero() {
                return Ok(seen);
            }
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&left))?;
        }
    }
}

fn c_path(path: &Path) -> CString {
    // A path that was made had no NUL.
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// A cgroup lives and dies under the eyes of a witness.
fn witnessed_removal(tree: &Tree, name: &str) -> Result<Witness, Failure> {
    let cgroup = tree.make(name)?;
    let witness = Witness::of(&cgroup)?;
    tree.remove(&cgroup)?;
    Ok(witness)
}

/// First nobody reads, which shows what this kernel announces; then a naive reader does, and takes
/// announcements away; then several instances of cgwatch do, as hard as they can, and take none.
fn removals_of_others(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    if !witnessed_removal(&tree, "plain")?.has_seen_both(Duration::ZERO)? {
        return Err(Failure::Skip("this kernel announces no removal of a cgroup".into()));
    }
    naive_reader(environment, &tree)?;
    hard_reading(environment, &tree)
}

fn naive_reader(environment: &Environment, tree: &Tree) -> Result<(), Failure> {
    let rounds = environment.scale(2_000, 500);
    for round in 0..rounds {
        let cgroup = tree.make(format!("naive-{round}"))?;
        let mut witness = Witness::of(&cgroup)?;
        let reading = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Until the file is gone.
                while fs::read(cgroup.file("cgroup.events")).is_ok() {
                    reading.store(true, Ordering::Release);
                }
            });
            while !reading.load(Ordering::Acquire) {
                thread::yield_now();
            }
            tree.remove(&cgroup)
        })?;
        // The reader is done and the removal too: what has not come now does not come.
        if !witness.has_seen_both(Duration::ZERO)? {
            return Ok(());
        }
    }
    Err(Failure::broken(format!("a naive reader did no harm in {rounds} removals")))
}

fn hard_reading(environment: &Environment, tree: &Tree) -> Result<(), Failure> {
    let recording = Recording::of_tree(environment, tree, Options::new())?;
    let over = AtomicBool::new(false);
    let newcomers = || -> Result<(), Failure> {
        while !over.load(Ordering::Acquire) {
            // Reads every file of every cgroup, each time anew.
            let mut watcher = Watcher::new(Options::new())?;
            watcher.add(tree.path(), Depth::All)?;
            while watcher.next()?.is_some() {}
        }
        Ok(())
    };
    thread::scope(|scope| {
        let readers = [scope.spawn(newcomers), scope.spawn(newcomers)];
        let done = (0..environment.scale(600, 100)).try_for_each(|round| {
            let cgroup = tree.make(format!("read-{round}"))?;
            let mut witness = Witness::of(&cgroup)?;
            // Every change is read by all of them at once.
            cgroup.write("cgroup.freeze", "1")?;
            tree.remove(&cgroup)?;
            let seen = witness.has_seen_both(environment.patience())?;
            ensure!(seen, "round {round}: another program was told only {:?}", witness.ends);
            Ok(())
        });
        over.store(true, Ordering::Release);
        for reader in readers {
            reader.join().map_err(|_| Failure::broken("cgwatch panicked"))??;
        }
        done
    })?;
    judge(recording, tree).map(drop)
}
