//! The library's face: one reader, one stream.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

use crate::{
    Cgroup, Depth, Error, Event, Files, HostWorld, Options, Strategy,
    host::inotify_limit,
    monitor::Monitor,
    world::{Place, WatchLimit, World},
};

/// While events wait to be taken, the world is still looked at this often.
const STALE_NS: u64 = 10_000_000;

/// Watches cgroups and tells what happens to them.
///
/// It has no thread and no runtime: it works while one of its methods runs. It needs one inotify
/// instance however much it watches, and about one watch for each directory and event file. Dropping
/// it leaves nothing behind.
///
/// It watches the running kernel's hierarchy, or any other [`World`]: what is generic over that can be
/// tested on a simulated one (feature `sim`).
#[derive(Debug)]
pub struct Watcher<W: World = HostWorld> {
    monitor: Monitor<W>,
    strategy: Strategy,
    because: String,
    stream: String,
    boot_id: Option<String>,
}

/// What a stream begins with: where it watches, how, and what it promises.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Start {
    /// Unique to this watcher; with `seq` it names an event for ever.
    pub stream: String,
    /// The boot the ids belong to (`/proc/sys/kernel/random/boot_id`); `None` where that cannot be
    /// read, as with procfs mounted with `subset=pid`.
    pub boot_id: Option<String>,
    /// The watched roots.
    pub roots: Vec<Root>,
    /// The strategy in use; `Auto` only before it was decided ([`Watcher::decide`]).
    pub strategy: Strategy,
    /// Why this strategy.
    pub because: String,
    /// The hierarchy is simulated: nothing that is told happened on this host.
    pub simulated: bool,
    /// How often everything is read anew.
    pub sweep_interval: Duration,
    /// The files that are read.
    pub files: Vec<String>,
    /// How many of the cgroups so far lack a notification that this strategy has, by a limit or for
    /// want of permission: of those, what a sweep finds is all that is promised.
    pub unwatched: usize,
}

/// A watched path.
#[derive(Clone, Debug)]
pub struct Root {
    /// In the file system, as resolved.
    pub path: PathBuf,
    /// Its cgroup id.
    pub id: u64,
}

/// A cgroup as the books have it now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which.
    pub cgroup: Cgroup,
    /// Its files with the values last read.
    pub files: Files<u64>,
    /// Every notification it can send is watched for; else it is only swept.
    pub watched: bool,
}

/// What a watcher holds, for its own health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Cgroups known and alive.
    pub cgroups: usize,
    /// Watches held.
    pub watches: usize,
    /// Cgroups without all their watches, which are swept.
    pub unwatched: usize,
    /// Entries waiting to be told, at most two a cgroup.
    pub pending: usize,
}

impl Watcher<HostWorld> {
    /// A watcher of nothing yet.
    ///
    /// # Errors
    /// [`Error::NoInotify`] if [`Strategy::Inotify`] is asked for and cannot be had (with
    /// [`Strategy::Auto`] it sweeps instead); [`Error::NoFanotify`] likewise, and
    /// [`Error::NoCgroup2`] with [`Strategy::Fanotify`]; [`Error::BadFileName`], [`Error::BadGlob`];
    /// [`Error::System`] if an epoll instance or a timer cannot be had.
    pub fn new(options: Options) -> Result<Self, Error> {
        let (world, strategy, because) = match options.strategy {
            Strategy::Sweep | Strategy::Inotify | Strategy::Fanotify => {
                (HostWorld::new(options.strategy)?, options.strategy, "it was asked for".into())
            }
            Strategy::Auto => match HostWorld::new(Strategy::Inotify) {
                Ok(world) => (world, Strategy::Auto, String::new()),
                Err(Error::NoInotify { source }) => {
                    let world = HostWorld::new(Strategy::Sweep)?;
                    let mut because = format!("no inotify instance could be had: {source}");
                    // Other descriptors can be had, so it is not the limit on those.
                    if source == Errno::MFILE {
                        let WatchLimit { name, value } = inotify_limit("instances");
                        let value = value.map(|value| format!(" is {value}")).unwrap_or_default();
                        because += &format!("; {name}{value}, raise it");
                    }
                    (world, Strategy::Sweep, because)
                }
                Err(error) => return Err(error),
            },
        };
        Self::over(world, options, strategy, because, new_name()?, boot_id())
    }
}

impl<W: World> Watcher<W> {
    /// A watcher of nothing yet in a world, by a strategy that was decided on.
    pub(crate) fn over(
        world: W,
        options: Options,
        strategy: Strategy,
        because: String,
        stream: String,
        boot_id: Option<String>,
    ) -> Result<Self, Error> {
        let monitor = Monitor::new(world, options, strategy)?;
        Ok(Self { monitor, strategy, because, stream, boot_id })
    }

    /// The world it watches: what happens in it may be looked at, and through it.
    #[must_use]
    pub fn world(&self) -> &W {
        &self.monitor.world
    }

    /// Decides on a strategy where that was left to it, as the first [`Watcher::add`] does, for this
    /// path and depth. Nothing is watched yet.
    ///
    /// A mark on the superblock costs a watch less for each cgroup, but hears of every birth and death
    /// on the host. So it is chosen if the whole hierarchy is watched, and it can be had.
    ///
    /// # Errors
    /// As [`Watcher::add`].
    pub fn decide(&mut self, path: &Path, depth: Depth) -> Result<(), Error> {
        let place = self.monitor.world.locate(path)?;
        self.decide_for(&place, depth);
        Ok(())
    }

    fn decide_for(&mut self, place: &Place, depth: Depth) {
        if self.strategy != Strategy::Auto {
            return;
        }
        self.strategy = Strategy::Inotify;
        if !place.whole || depth != Depth::All {
            self.because = "a part of the hierarchy is watched, and a mark on its superblock \
                would hear of all of it"
                .into();
            return;
        }
        match self.monitor.world.mark_all() {
            Ok(()) => {
                self.monitor.use_mark();
                self.strategy = Strategy::Fanotify;
                self.because =
                    "the whole hierarchy is watched, and its superblock could be marked".into();
            }
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                let why = why.unwrap_or_else(|| error.to_string());
                self.because = format!("its superblock could not be marked: {why}");
            }
        }
    }

    /// Watches a cgroup and what is below it; `path` is in the file system, or from the root of a
    /// simulated hierarchy. Blocks for as long as the subtree takes to read (about 20 µs a cgroup);
    /// its baseline and `ready` are then pending.
    ///
    /// # Errors
    /// [`Error::NoCgroup2`], [`Error::CgroupV1`], [`Error::NotACgroup`], [`Error::NotFound`],
    /// [`Error::Overlap`]; [`Error::Path`] with EACCES and the like. A limit on watches is no error
    /// but a `gap`.
    pub fn add(&mut self, path: &Path, depth: Depth) -> Result<(), Error> {
        let place = self.monitor.world.locate(path)?;
        self.decide_for(&place, depth);
        self.monitor.add_root(&place.resolved, place.base, &place.path, depth)
    }

    /// Stops watching a path that was added; nothing more is told of it.
    ///
    /// # Errors
    /// [`Error::NotWatched`].
    pub fn remove(&mut self, path: &Path) -> Result<(), Error> {
        let place = self.monitor.world.locate(path);
        self.monitor.remove_root(&place.map_or_else(|_| path.to_owned(), |place| place.resolved))
    }

    /// What the stream begins with.
    #[must_use]
    pub fn start(&self) -> Start {
        let options = self.monitor.options();
        Start {
            stream: self.stream.clone(),
            boot_id: self.boot_id.clone(),
            roots: self.monitor.roots().map(|(path, id)| Root { path: path.into(), id }).collect(),
            strategy: self.strategy,
            because: self.because.clone(),
            simulated: self.monitor.world.is_simulated(),
            sweep_interval: options.sweep_interval,
            files: options.files.clone(),
            unwatched: match self.strategy {
                Strategy::Sweep => 0,
                _ => self.monitor.usage().unwatched,
            },
        }
    }

    /// The next event, if there is one now; never blocks.
    ///
    /// # Errors
    /// [`Error::System`] if the notifications cannot be read.
    #[expect(clippy::should_implement_trait, reason = "the blocking iterator is `events`")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        if !self.monitor.has_untold() || self.monitor.age_ns() > STALE_NS {
            self.monitor.update()?;
        }
        Ok(self.monitor.next())
    }

    /// Takes in what the kernel has queued, without telling anything: for a reader that cannot take
    /// events now. What waits to be told is folded, so memory stays bounded by the number of
    /// cgroups.
    ///
    /// # Errors
    /// As [`Watcher::next`].
    pub fn update(&mut self) -> Result<(), Error> {
        self.monitor.update()
    }

    /// Waits for the next event, at most so long (`None`: for ever). `None` if the time ran out or
    /// the stream has ended.
    ///
    /// # Errors
    /// As [`Watcher::next`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Event>, Error> {
        let until = timeout.map(|timeout| {
            let now = self.monitor.world.now().boot_ns;
            now.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
        });
        // Once the alarm is set, all that there is to take in ends the waiting at once: there is no
        // need to look for it first.
        let mut look = !self.monitor.is_alarm_set();
        loop {
            if look || self.monitor.has_untold() {
                if let Some(event) = self.next()? {
                    return Ok(Some(event));
                }
                if until.is_some_and(|until| self.monitor.world.now().boot_ns >= until) {
                    return Ok(None);
                }
            }
            if self.has_ended() {
                return Ok(None);
            }
            let waited = self.monitor.world.wait(until);
            waited.map_err(|source| Error::System { action: "wait for notifications", source })?;
            look = true;
        }
    }

    /// A blocking iterator that ends with the stream.
    pub fn events(&mut self) -> impl Iterator<Item = Result<Event, Error>> + '_ {
        std::iter::from_fn(move || self.wait(None).transpose())
    }

    /// Every watched root was removed and everything has been told.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.monitor.has_ended()
    }

    /// The books as they stand, by path.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Snapshot> {
        self.monitor.snapshot()
    }

    /// What it holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.monitor.usage()
    }
}

/// Readable when there is something to do; level-triggered. Then call [`Watcher::next`] until it
/// gives `None`.
impl AsFd for Watcher<HostWorld> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.world.poll_fd()
    }
}

/// A name that no other stream ever has: 128 random bits.
fn new_name() -> Result<String, Error> {
    let mut bits = [0u8; 16];
    // So few are never given in part, once the kernel has any.
    getrandom(&mut bits[..], GetRandomFlags::empty())
        .map_err(|source| Error::System { action: "get random bits", source })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bits)))
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name tells it from all others, the boot's id whether the ids of its cgroups mean anything.
    #[test]
    fn a_stream_has_a_name_of_its_own_and_the_id_of_its_boot() {
        let options = || Options::new().strategy(Strategy::Sweep);
        let [one, other] = [options(), options()].map(|o| Watcher::new(o).unwrap().start());
        for start in [&one, &other] {
            let stream = &start.stream;
            assert!(stream.len() == 32 && stream.bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(!start.simulated);
        }
        assert_ne!(one.stream, other.stream);
        // As the kernel writes it: `8-4-4-4-12` hexadecimal digits and the end of the line.
        let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|text| String::from_utf8(text[..36].to_vec()).unwrap());
        assert_eq!((&one.boot_id, &other.boot_id), (&boot, &boot));
    }
}
