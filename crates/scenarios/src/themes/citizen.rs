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

use cgwatch::{Depth, Options};
use linux_notify::inotify::{Inotify, Mask, Wd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Cgroup, Environment, Failure, Scenario, Tree, ensure};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("citizen-removals-of-others", removals_of_others)];

/// The control files that are watched by the witness and read by everybody else.
const FILES: [&str; 4] = ["cgroup.events", "cgroup.procs", "cgroup.stat", "cgroup.controllers"];

/// What one reading holds back it releases at its end.
const RELEASE: Duration = Duration::from_secs(3);

/// Another program's watches: on control files of a cgroup, and on its directory.
struct Witness {
    inotify: Inotify,
    watches: Vec<Wd>,
    /// All that came.
    ends: Vec<(Wd, Mask)>,
}

impl Witness {
    fn of(cgroup: &Cgroup) -> Result<Self, Failure> {
        let inotify = Inotify::new()?;
        let files = FILES.iter().map(|file| cgroup.file(file));
        let watches = files
            .chain([cgroup.directory.clone()])
            .map(|path| inotify.add(&c_path(&path), Mask::DELETE_SELF))
            .collect::<Result<_, _>>()?;
        Ok(Self { inotify, watches, ends: Vec::new() })
    }

    /// Whether `DELETE_SELF` and `IGNORED` have come, in this order, on files and directory; waits
    /// for them so long.
    fn has_seen_all(&mut self, patience: Duration) -> Result<bool, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let mut buffer = [0; 4096];
            self.ends.extend(self.inotify.read(&mut buffer)?.map(|event| (event.wd, event.mask)));
            let seen = self.watches.iter().all(|wd| {
                let masks = self.ends.iter().filter(|(of, _)| of == wd).map(|(_, mask)| *mask);
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

pub(super) fn c_path(path: &Path) -> CString {
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
/// announcements away; then cgwatch does, as hard as it can, and takes none.
fn removals_of_others(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    if !witnessed_removal(&tree, "plain")?.has_seen_all(Duration::ZERO)? {
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
                while FILES.iter().all(|file| fs::read(cgroup.file(file)).is_ok()) {
                    reading.store(true, Ordering::Release);
                }
            });
            while !reading.load(Ordering::Acquire) {
                thread::yield_now();
            }
            tree.remove(&cgroup)
        })?;
        // The reader is done and the removal too: what has not come now does not come.
        if !witness.has_seen_all(Duration::ZERO)? {
            return Ok(());
        }
    }
    Err(Failure::broken(format!("a naive reader did no harm in {rounds} removals")))
}

/// cgwatch takes the whole tree in, again and again, which reads every file anew.
///
/// It is one instance: between the moment a removal hides the files and the moment it counts them as
/// deleted, the kernel lets whoever looks one up drop its entry, and with it the announcement, if
/// somebody else is just reading it. Several readers together can do that without knowing.
///
/// What a reading held back without releasing it shows in the directory, which cannot be told of before
/// its files. With the directory told and its files not, their entries were dropped too early: by who
/// looked them up while they were being removed, or opened the directory by its id before it was looked
/// up by name.
fn hard_reading(environment: &Environment, tree: &Tree) -> Result<(), Failure> {
    let over = AtomicBool::new(false);
    let reader = || -> Result<usize, Failure> {
        let mut readings = 0;
        let mut watcher = environment.watcher(Options::new().files(FILES))?;
        while !over.load(Ordering::Acquire) {
            watcher.add(tree.path(), Depth::All)?;
            while watcher.next()?.is_some() {}
            watcher.remove(tree.path())?;
            readings += 1;
        }
        Ok(readings)
    };
    let rounds = environment.scale(2_000, 150);
    thread::scope(|scope| {
        let reader = scope.spawn(reader);
        let told = (0..rounds).try_for_each(|round| {
            let cgroup = tree.make(format!("read-{round}"))?;
            let mut witness = Witness::of(&cgroup)?;
            // At another point of the reading each time.
            let until = Instant::now() + Duration::from_micros(300 * (round as u64 % 16));
            while Instant::now() < until {
                thread::yield_now();
            }
            tree.remove(&cgroup)?;
            let told = witness.has_seen_all(RELEASE)?;
            ensure!(told, "round {round}: another program was told only {:?}", witness.ends);
            Ok::<_, Failure>(())
        });
        over.store(true, Ordering::Release);
        let readings = reader.join().map_err(|_| Failure::broken("cgwatch panicked"))??;
        ensure!(readings > 0, "driver: cgwatch read nothing");
        told
    })
}
