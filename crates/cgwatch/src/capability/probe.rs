//! Learns what removals look like by watching the removal of throw-away cgroups.
//!
//! Removal events are queued before `rmdir(2)` returns, if they come at all (vfs_rmdir, d_delete),
//! so nothing here waits for time to pass.
//!
//! Invariant: what [`Scratch`] made it removes, on every way out.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

use linux_notify::{
    fanotify::{self, Fanotify, InitFlags, MarkFlags, Scope},
    inotify::{Inotify, Mask, Wd},
};
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{DIRECTORY, Finding, HELD, PARENT, PLAIN, READ, RECLAIMED, TO_WATCH};
use crate::Error;

/// How far a probe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Makes, reads and removes cgroups.
    Plain,
    /// Also drops the directory cache of the whole host (`vm.drop_caches` = 2).
    Reclaim,
}

/// Every cgroup has it, whatever the controllers.
const FILE: &str = "cgroup.events";
/// Another one that every cgroup has.
const SIBLING: &str = "cgroup.procs";
/// What a file is watched for, as it is by who wants to know both of its changes and its end.
const AT_FILE: Mask = Mask::MODIFY.union(Mask::DELETE_SELF);
/// How often the race of a reader against a removal is run. One is enough on two CPUs, as a rule.
const RACES: u32 = 500;
/// How often the cache is dropped at most: the first time only makes recently used entries old.
const DROPS: u32 = 8;
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Runs the probe and hands over each finding.
pub(super) fn run(
    cgroup: &Path,
    probe: Probe,
    keep_going: &dyn Fn() -> bool,
    found: &mut dyn FnMut(&'static str, Finding),
) -> Result<(), Error> {
    let mut scratch = Scratch::new(cgroup)?;
    let plain = plain(&mut scratch, found)?;
    if !keep_going() {
        return Ok(());
    }
    if !plain {
        let because = "a removal raises nothing at a watched file, even undisturbed";
        for name in [HELD, READ, RECLAIMED] {
            found(name, Finding::no(because));
        }
        return Ok(());
    }
    found(HELD, held(&mut scratch)?);
    if keep_going() {
        found(READ, read_meanwhile(&mut scratch, keep_going)?);
    }
    if probe == Probe::Reclaim && keep_going() {
        found(RECLAIMED, reclaimed(&mut scratch)?);
    }
    Ok(())
}

/// The removal of a cgroup that nobody uses. True if the file's watch was told.
fn plain(
    scratch: &mut Scratch,
    found: &mut dyn FnMut(&'static str, Finding),
) -> Result<bool, Error> {
    let mut trial = Trial::new(scratch)?;
    trial.forget_directory();
    scratch.remove(&trial.name)?;
    let seen = trial.seen()?;
    let finding = |seen: bool, what: &str| match seen {
        true => Finding::yes(format!("{what} arrived at the removal of a throw-away cgroup")),
        false => Finding::no(format!("no {what} at the removal of a throw-away cgroup")),
    };
    found(PARENT, finding(seen.parent, "IN_DELETE"));
    found(PLAIN, finding(seen.file, "IN_DELETE_SELF"));
    found(DIRECTORY, finding(seen.directory, "IN_DELETE_SELF"));
    Ok(seen.file)
}

/// The removal while the watched file is open.
fn held(scratch: &mut Scratch) -> Result<Finding, Error> {
    let mut trial = Trial::new(scratch)?;
    let open = trial.open_file().map_err(|source| scratch.failed("open a file in", source))?;
    trial.forget_directory();
    scratch.remove(&trial.name)?;
    if trial.seen()?.file {
        return Ok(Finding::yes("it arrived while the file was held open"));
    }
    drop(open);
    Ok(match trial.seen()?.file {
        true => Finding::no("it did not arrive before the file was closed"),
        false => Finding::no("it did not arrive, not even after the file was closed"),
    })
}

/// The removal while another thread opens, reads and closes the watched file without a pause.
fn read_meanwhile(scratch: &mut Scratch, keep_going: &dyn Fn() -> bool) -> Result<Finding, Error> {
    let parent = rustix::io::fcntl_dupfd_cloexec(&scratch.parent, 0)
        .map_err(|source| Error::System { action: "duplicate a descriptor", source })?;
    for race in 1..=RACES {
        if !keep_going() {
            return Ok(Finding::unknown("interrupted"));
        }
        let trial = Trial::new(scratch)?;
        let stop = AtomicBool::new(false);
        let started = Barrier::new(2);
        // By its whole path, as a naive reader does: once the directory is gone it does not get as
        // far as to look the file up, which would set right what it spoilt.
        let path = format!("{}/{FILE}", trial.name);
        let removed = std::thread::scope(|scope| {
            scope.spawn(|| {
                // Fails once the cgroup is gone.
                let read = || {
                    if let Ok(file) = open_file(parent.as_fd(), &path) {
                        let _ = rustix::io::read(&file, &mut [0; 64]);
                    }
                };
                read();
                started.wait();
                while !stop.load(Ordering::Relaxed) {
                    read();
                }
            });
            started.wait();
            let removed = scratch.remove(&trial.name);
            stop.store(true, Ordering::Relaxed);
            removed
        });
        removed?;
        if trial.seen()?.file {
            continue;
        }
        trial.look_up();
        let after = match trial.seen()?.file {
            true => "it came once the name was looked up again",
            false => "nor did it when the name was looked up again",
        };
        return Ok(Finding::no(format!("it did not arrive in race {race} of a reader; {after}")));
    }
    Ok(Finding::unknown(format!("it arrived in each of {RACES} races of a reader")))
}

/// The removal after the directory cache was dropped.
fn reclaimed(scratch: &mut Scratch) -> Result<Finding, Error> {
    let mut trial = Trial::new(scratch)?;
    let witness = Witness::new(&trial);
    trial.forget_directory();
    let mut reclaimed = false;
    for _ in 0..DROPS {
        if let Err(error) = fs::write(DROP_CACHES, "2\n") {
            scratch.remove(&trial.name)?;
            return Ok(Finding::unknown(format!("write {DROP_CACHES}: {error}")));
        }
        reclaimed = witness.as_ref().is_some_and(Witness::is_gone);
        if reclaimed {
            break;
        }
    }
    scratch.remove(&trial.name)?;
    Ok(match (trial.seen()?.file, reclaimed) {
        (false, _) => Finding::no("it did not arrive after the directory cache was dropped"),
        (true, true) => Finding::yes("it arrived although the directory cache was dropped"),
        (true, false) => Finding::unknown("it arrived, but nothing shows that it was reclaimed"),
    })
}

/// Shows whether the kernel really reclaimed: an evictable mark goes with the inode of the sibling
/// file, and that with its directory entry.
struct Witness(Fanotify);

impl Witness {
    fn new(trial: &Trial) -> Option<Self> {
        let group = Fanotify::new(InitFlags::empty()).ok()?;
        let dir = trial.dir.as_ref()?;
        let sibling =
            rustix::fs::openat(dir, SIBLING, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let mask = fanotify::Mask::MODIFY;
        group.add(Scope::Inode, MarkFlags::EVICTABLE, mask, sibling.ok()?.as_fd()).ok()?;
        let witness = Self(group);
        (witness.marks() == Some(1)).then_some(witness)
    }

    fn is_gone(&self) -> bool {
        self.marks() == Some(0)
    }

    fn marks(&self) -> Option<usize> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_fd().as_raw_fd());
        let text = fs::read_to_string(path).ok()?;
        Some(text.lines().filter(|line| line.starts_with("fanotify ino:")).count())
    }
}

/// A new throw-away cgroup with watches on it, on its file and on its parent.
struct Trial {
    name: String,
    dir: Option<OwnedFd>,
    inotify: Inotify,
    watches: Watches,
}

struct Watches {
    parent: Wd,
    directory: Wd,
    file: Wd,
}

/// Which watches were told of the removal.
#[derive(Default)]
struct Seen {
    parent: bool,
    directory: bool,
    file: bool,
}

impl Trial {
    fn new(scratch: &mut Scratch) -> Result<Self, Error> {
        let name = scratch.make()?;
        Self::watch(scratch, name)
    }

    /// Of a cgroup that was made.
    fn watch(scratch: &Scratch, name: String) -> Result<Self, Error> {
        let dir = rustix::fs::openat(&scratch.parent, &name, TO_WATCH, Mode::empty())
            .map_err(|source| scratch.failed("open a throw-away cgroup in", source))?;
        let watch = |error: linux_notify::Error| Error::System {
            action: "watch a throw-away cgroup",
            source: error.errno(),
        };
        let inotify = Inotify::new().map_err(watch)?;
        let watches = Watches {
            parent: inotify.add_fd(scratch.parent.as_fd(), Mask::DELETE).map_err(watch)?,
            directory: inotify.add_fd(dir.as_fd(), Mask::DELETE_SELF).map_err(watch)?,
            file: inotify.add_at(dir.as_fd(), FILE.as_bytes(), AT_FILE).map_err(watch)?,
        };
        Ok(Self { name, dir: Some(dir), inotify, watches })
    }

    /// Closes the directory: while it is open its own events are held back.
    fn forget_directory(&mut self) {
        self.dir = None;
    }

    fn open_file(&self) -> Result<OwnedFd, Errno> {
        open_file(self.dir.as_ref().ok_or(Errno::BADF)?.as_fd(), FILE)
    }

    /// Looks the file up by its name, through the directory that was opened before the removal.
    fn look_up(&self) {
        if let Some(dir) = &self.dir {
            let _ = rustix::fs::statat(dir, FILE, AtFlags::empty());
        }
    }

    /// What has been queued since the last call.
    fn seen(&self) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let mut buffer = [0; 4096];
        loop {
            let events = self.inotify.read(&mut buffer).map_err(|error| Error::System {
                action: "read the notifications",
                source: error.errno(),
            })?;
            let mut any = false;
            for event in events {
                any = true;
                let gone = event.mask.contains(Mask::DELETE_SELF);
                seen.file |= event.wd == self.watches.file && gone;
                seen.directory |= event.wd == self.watches.directory && gone;
                seen.parent |= event.wd == self.watches.parent
                    && event.mask.contains(Mask::DELETE)
                    && event.name == self.name.as_bytes();
            }
            if !any {
                return Ok(seen);
            }
        }
    }
}

fn open_file(dir: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, path, OFlags::RDONLY.union(OFlags::CLOEXEC), Mode::empty())
}

/// The throw-away cgroups.
struct Scratch {
    parent: OwnedFd,
    path: PathBuf,
    prefix: String,
    count: u64,
    /// The one that exists now.
    made: Option<String>,
}

impl Scratch {
    fn new(cgroup: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Path { action: "open", path: cgroup.to_owned(), source };
        let parent = rustix::fs::open(cgroup, TO_WATCH, Mode::empty()).map_err(failed)?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let prefix =
            format!("cgwatch-probe-{}-{}{:09}", std::process::id(), now.tv_sec, now.tv_nsec);
        Ok(Self { parent, path: cgroup.to_owned(), prefix, count: 0, made: None })
    }

    fn make(&mut self) -> Result<String, Error> {
        self.count += 1;
        let name = format!("{}-{}", self.prefix, self.count);
        rustix::fs::mkdirat(&self.parent, &name, Mode::from_raw_mode(0o755))
            .map_err(|source| self.failed("create a throw-away cgroup in", source))?;
        self.made = Some(name.clone());
        Ok(name)
    }

    fn remove(&mut self, name: &str) -> Result<(), Error> {
        rustix::fs::unlinkat(&self.parent, name, AtFlags::REMOVEDIR)
            .map_err(|source| self.failed("remove a throw-away cgroup from", source))?;
        self.made = None;
        Ok(())
    }

    fn failed(&self, action: &'static str, source: Errno) -> Error {
        Error::Path { action, path: self.path.clone(), source }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(name) = self.made.take() {
            // There is nobody left to tell; whoever moved into it meanwhile keeps it.
            let _ = rustix::fs::unlinkat(&self.parent, &name, AtFlags::REMOVEDIR);
        }
    }
}

#[cfg(test)]
mod tests;
