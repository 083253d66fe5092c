//! [`World`] on the running kernel's cgroup v2 hierarchy.
//!
//! Holds one inotify instance, for the `fanotify` strategy one fanotify group, one epoll instance, one timer, `/proc/self/mountinfo` and an O_PATH
//! handle of each mount's root; never, beyond one verb's use, one of a watched cgroup, since an open
//! directory or file holds back the removal events of others.
//!
//! The good citizen's protocol, for Linux 7.1 and later, in three parts:
//! * A control file that is open (or looked up by someone) while its directory is removed keeps its
//!   dentry, and with it everybody's `IN_DELETE_SELF` of file and directory, until the name is looked
//!   up again. So when a directory is given back and its link count says that it is dead, every name
//!   used through it is looked up once more: `kernfs_dop_revalidate` then drops the stale dentries.
//! * A look-up between the moment in which a control file is deactivated and that in which its link
//!   count becomes zero, for which the removal waits while somebody reads it (`kernfs_drain`), drops
//!   the dentry too early, and the event is lost for good. So where it is allowed
//!   (CAP_DAC_READ_SEARCH) control files are opened by their ids, as file handles, which looks up no
//!   name; a listing gives the ids. Directories that are known are opened by theirs.
//! * A directory that nobody has looked up yet and that is opened by its id counts as disconnected
//!   until the kernel has found its name (`reconnect_path`). What others look up in it meanwhile counts
//!   so too, for ever (`d_alloc_parallel`), and its dentry is dropped at once (`retain_dentry`): they
//!   watch a file whose removal nobody will announce. So a directory is first opened by its name. That
//!   takes nothing away, since the removal of a directory never waits.
//!
//! Up to Linux 7.0 no removal is announced, so that there is nothing to hold back: files of known ids
//! are read without their directory. Whether a kernel announces removals cannot be tried without
//! making a cgroup, so its release decides, until one is announced.

mod kernel;
mod list;
mod open;
mod place;
mod read;
mod reader;
mod superblock;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use linux_notify::inotify::{Inotify, Mask};
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    fs::{AtFlags, OFlags},
    io::Errno,
    time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime},
};

pub(crate) use self::kernel::inotify_limit;
pub use self::reader::{HostEntry, HostReader};
use self::{
    list::list,
    open::{CONTROL_FILE, DIRECTORY, inside},
    place::Base,
    read::read_whole,
    superblock::SuperblockMark,
};
use crate::{
    Error, Strategy, Time, mount,
    used_names::UsedNames,
    world::{MountOptions, Notification, Place, Stat, WatchLimit, Wd, World, watch_then_read},
};

/// Room for a few hundred notifications at a time.
const NOTIFICATIONS: usize = 64 * 1024;
/// What is asked for of an event file.
const EVENT_FILE: Mask = Mask::MODIFY.union(Mask::DELETE_SELF);

/// The running kernel's hierarchy.
#[derive(Debug)]
pub struct HostWorld {
    bases: Vec<Base>,
    inotify: Option<Inotify>,
    mark: Option<SuperblockMark>,
    epoll: OwnedFd,
    timer: OwnedFd,
    mountinfo: File,
    /// As they were when they were last read.
    mount_options: MountOptions,
    notifications: Vec<u8>,
    /// Room for a listing, for the next one.
    entries: Vec<u8>,
    names: UsedNames,
    /// This kernel announces removals.
    announces: bool,
}

/// A directory (O_PATH), opened when first needed.
#[derive(Debug)]
pub struct HostDir {
    fd: Option<OwnedFd>,
    base: usize,
    id: u64,
    /// Which names were looked up through it since it was last seen alive.
    used: u128,
}

fn system(action: &'static str) -> impl Fn(Errno) -> Error {
    move |source| Error::System { action, source }
}

impl HostWorld {
    /// A world without any base yet, with what a strategy needs. For `Sweep` it has no inotify
    /// instance, and [`World::watch`] fails with ENOSYS.
    pub(crate) fn new(strategy: Strategy) -> Result<Self, Error> {
        let inotify = match strategy {
            Strategy::Sweep => None,
            _ => Some(Inotify::new().map_err(|e| Error::NoInotify { source: e.errno() })?),
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(system("create an epoll instance"))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)
            .map_err(system("create a timer"))?;
        let mut this = Self {
            bases: Vec::new(),
            inotify,
            mark: None,
            epoll,
            timer,
            mountinfo: kernel::open_mountinfo()?,
            mount_options: MountOptions::default(),
            notifications: vec![0; NOTIFICATIONS],
            entries: Vec::new(),
            names: UsedNames::default(),
            announces: kernel::may_announce_removals(),
        };
        if let Some(inotify) = &this.inotify {
            this.join(inotify.as_fd(), 0)?;
        }
        this.join(this.timer.as_fd(), 1)?;
        if strategy == Strategy::Fanotify {
            this.mark_all()?;
        }
        Ok(this)
    }

    /// What becomes readable makes [`Self::poll_fd`] so.
    fn join(&self, fd: BorrowedFd<'_>, number: u64) -> Result<(), Error> {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
            .map_err(system("wait for notifications"))
    }

    /// Readable when there is something to drain or the alarm has gone off.
    pub(crate) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn fd_of_id(&self, base: usize, id: u64, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
        self.bases.get(base)?.open_id(id, flags)
    }

    fn on_base(&self, fd: OwnedFd, base: usize) -> Result<(HostDir, Stat), Errno> {
        let (stat, device) = stat_of(&fd)?;
        if self.bases.get(base).is_none_or(|base| base.device != device) {
            return Err(Errno::NOENT); // something else is mounted there
        }
        Ok((HostDir::new(fd, base, stat.id), stat))
    }

    fn fd<'a>(&self, dir: &'a mut HostDir) -> Result<&'a OwnedFd, Errno> {
        let fd = match dir.fd.take() {
            Some(fd) => fd,
            None => self.fd_of_id(dir.base, dir.id, DIRECTORY).unwrap_or(Err(Errno::STALE))?,
        };
        Ok(dir.fd.insert(fd))
    }

    fn open_file(&self, dir: &mut HostDir, file: &str, id: u64) -> Result<OwnedFd, Errno> {
        match self.fd_of_id(dir.base, id, CONTROL_FILE) {
            Some(fd) => fd,
            None => inside(self.fd(dir)?, file.as_bytes(), CONTROL_FILE),
        }
    }

    /// Opens a child that a mount covers, by the id that the listing says: nobody is harmed, since who
    /// mounted there has looked up its name. EXDEV if handles may not be opened.
    fn open_covered(&mut self, dir: &mut HostDir, name: &[u8]) -> Result<OwnedFd, Errno> {
        let mut id = None;
        self.list(dir, &mut |entry, is_dir, its| {
            if is_dir && entry == name {
                id = Some(its);
            }
        })?;
        let id = id.ok_or(Errno::NOENT)?;
        self.fd_of_id(dir.base, id, DIRECTORY).unwrap_or(Err(Errno::XDEV))
    }

    /// Where removals are announced, a name that was looked up may hold one back.
    fn note(&mut self, dir: &mut HostDir, file: &str) {
        if self.announces {
            self.names.note(&mut dir.used, file);
        }
    }
}

impl HostDir {
    fn new(fd: OwnedFd, base: usize, id: u64) -> Self {
        Self { fd: Some(fd), base, id, used: 0 }
    }
}

/// kernfs counts `.` and the entry in the parent beside the subdirectories; none is left of a
/// removed directory on Linux 7.1 and later.
fn stat_of(fd: &OwnedFd) -> Result<(Stat, u64), Errno> {
    let stat = rustix::fs::fstat(fd)?;
    #[allow(clippy::useless_conversion, reason = "the width differs between architectures")]
    let links = u64::from(stat.st_nlink);
    Ok((Stat { id: stat.st_ino, subdirectories: links.checked_sub(2) }, stat.st_dev))
}

impl World for HostWorld {
    type Dir = HostDir;

    fn locate(&mut self, path: &Path) -> Result<Place, Error> {
        self.find_place(path)
    }

    fn open(&mut self, number: usize, path: &[u8]) -> Result<(HostDir, Stat), Errno> {
        let base = self.bases.get(number).ok_or(Errno::NOENT)?;
        self.on_base(base.open(path)?, number)
    }

    fn open_id(&mut self, base: usize, id: u64) -> Option<Result<HostDir, Errno>> {
        let fd = self.fd_of_id(base, id, DIRECTORY)?;
        Some(fd.map(|fd| HostDir::new(fd, base, id)))
    }

    fn reach(&mut self, number: usize, id: u64) -> Option<HostDir> {
        let base = self.bases.get(number)?;
        let by_id = !self.announces && base.handles.is_some() && id != 0;
        by_id.then_some(HostDir { fd: None, base: number, id, used: 0 })
    }

    fn open_child(&mut self, dir: &mut HostDir, name: &[u8]) -> Result<(HostDir, Stat), Errno> {
        let fd = match inside(self.fd(dir)?, name, DIRECTORY) {
            Err(Errno::XDEV) => self.open_covered(dir, name)?,
            opened => opened?,
        };
        self.on_base(fd, dir.base)
    }

    fn goes_by_id(&self) -> bool {
        self.bases.iter().any(|base| base.handles.is_some())
    }

    fn stat(&mut self, dir: &mut HostDir) -> Result<Stat, Errno> {
        let (stat, _) = stat_of(self.fd(dir)?)?;
        if stat.subdirectories.is_some() {
            dir.used = 0;
        }
        Ok(stat)
    }

    fn list(
        &mut self,
        dir: &mut HostDir,
        each: &mut dyn FnMut(&[u8], bool, u64),
    ) -> Result<(), Errno> {
        let mut buffer = std::mem::take(&mut self.entries);
        let listed = self.fd(dir).and_then(|fd| list(fd, &mut buffer, each));
        self.entries = buffer;
        listed
    }

    fn read(
        &mut self,
        dir: &mut HostDir,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        self.note(dir, file);
        read_whole(&self.open_file(dir, file, id)?, text)
    }

    fn watch(&mut self, dir: &mut HostDir) -> Result<Wd, Errno> {
        let inotify = self.inotify.as_ref().ok_or(Errno::NOSYS)?;
        let mask = Mask::CREATE | Mask::DELETE | Mask::CLOSE_WRITE | Mask::ONLYDIR;
        let fd = self.fd(dir)?.as_fd();
        let wd = inotify.add_fd(fd, mask).map_err(|error| error.errno())?;
        Ok(Wd(wd.0))
    }

    fn watch_file(&mut self, dir: &mut HostDir, file: &str, id: u64) -> Result<Wd, Errno> {
        self.note(dir, file);
        let inotify = self.inotify.as_ref().ok_or(Errno::NOSYS)?;
        let wd = match self.fd_of_id(dir.base, id, OFlags::PATH) {
            Some(fd) => inotify.add_fd(fd?.as_fd(), EVENT_FILE),
            None => inotify.add_at(self.fd(dir)?.as_fd(), file.as_bytes(), EVENT_FILE),
        };
        Ok(Wd(wd.map_err(|error| error.errno())?.0))
    }

    /// Opens the file once for both, unless removals are announced: a file that is open for reading
    /// makes its removal wait without the lock that keeps others out (`kernfs_drain`), and with a watch
    /// set meanwhile that was long enough to cost others their announcements, on Linux 7.1.
    fn watch_and_read(
        &mut self,
        dir: &mut HostDir,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> (Result<Wd, Errno>, Result<(), Errno>) {
        if self.announces {
            return watch_then_read(self, dir, file, id, text);
        }
        let Some(inotify) = &self.inotify else { return (Err(Errno::NOSYS), Err(Errno::NOSYS)) };
        let fd = match self.open_file(dir, file, id) {
            Ok(fd) => fd,
            Err(errno) => return (Err(errno), Err(errno)),
        };
        let wd = inotify.add_fd(fd.as_fd(), EVENT_FILE);
        (wd.map(|wd| Wd(wd.0)).map_err(|error| error.errno()), read_whole(&fd, text))
    }

    fn mark_all(&mut self) -> Result<(), Error> {
        let mark = SuperblockMark::new()?;
        self.join(mark.as_fd(), 2)?;
        self.mark = Some(mark);
        Ok(())
    }

    fn unwatch(&mut self, wd: Wd) {
        if let Some(inotify) = &self.inotify {
            // EINVAL: the kernel has taken it away already.
            let _ = inotify.remove(linux_notify::inotify::Wd(wd.0));
        }
    }

    fn close(&mut self, dir: HostDir) {
        let Some(fd) = dir.fd.filter(|_| dir.used != 0) else { return };
        // Only after our last use of a file does the link count tell whether we were in the way.
        if stat_of(&fd).is_ok_and(|(stat, _)| stat.subdirectories.is_some()) {
            return;
        }
        for name in self.names.noted(dir.used) {
            let _ = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW);
        }
    }

    fn drain(&mut self, each: &mut dyn FnMut(Notification<'_>)) -> Result<(), Errno> {
        if let Some(mark) = &mut self.mark {
            mark.drain(each)?;
        }
        let Some(inotify) = &self.inotify else { return Ok(()) };
        loop {
            let mut bytes = 0;
            for event in inotify.read(&mut self.notifications).map_err(|e| e.errno())? {
                bytes += 16 + event.name.len();
                let told = Notification::of_inotify(event.wd.0, event.mask.bits(), event.name);
                if let Some(notification) = told {
                    self.announces |= matches!(notification, Notification::Gone(_));
                    each(notification);
                }
            }
            // Unless the buffer was filled, the queue was emptied.
            if bytes < NOTIFICATIONS / 4 {
                return Ok(());
            }
        }
    }

    fn now(&mut self) -> Time {
        let boot_ns = u64::try_from(clock_ns(ClockId::Boottime)).unwrap_or(0);
        Time { boot_ns, unix_ns: clock_ns(ClockId::Realtime) }
    }

    fn busy_ns(&mut self) -> u64 {
        u64::try_from(clock_ns(ClockId::ThreadCPUTime)).unwrap_or(0)
    }

    fn wait(&mut self, until: Option<u64>) -> Result<(), Errno> {
        let timeout = until.map(|until| {
            let left = until.saturating_sub(self.now().boot_ns).min(i64::MAX as u64);
            timespec(left)
        });
        // Not through the epoll instance, which is there for others: that would be one more wake-up.
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let timer = readable(self.timer.as_fd());
        let waited = match (&self.inotify, &self.mark) {
            (Some(inotify), None) => {
                poll(&mut [readable(inotify.as_fd()), timer], timeout.as_ref())
            }
            _ => poll(&mut [readable(self.epoll.as_fd())], timeout.as_ref()),
        };
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn set_alarm(&mut self, at: u64) -> Result<(), Errno> {
        // Zero disarms.
        let at = if at > i64::MAX as u64 { 0 } else { at.max(1) };
        let spec = Itimerspec { it_interval: timespec(0), it_value: timespec(at) };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    fn mount_options(&mut self) -> MountOptions {
        // All mounts of the hierarchy show the same options: the first line will do.
        let line = kernel::first_cgroup2_line(&mut self.mountinfo);
        if let Some(mount) = line.as_deref().and_then(mount::parse_line) {
            self.mount_options = MountOptions {
                memory_localevents: mount.has("memory_localevents"),
                pids_localevents: mount.has("pids_localevents"),
            };
        }
        self.mount_options
    }

    fn host_oom_kills(&mut self) -> Option<u64> {
        kernel::oom_kills()
    }

    fn watch_limit(&mut self) -> WatchLimit {
        inotify_limit("watches")
    }

    fn descriptor_limit(&mut self, errno: Errno) -> WatchLimit {
        kernel::descriptor_limit(errno)
    }
}

fn clock_ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

fn timespec(ns: u64) -> Timespec {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec { tv_sec: part(ns / 1_000_000_000), tv_nsec: part(ns % 1_000_000_000) }
}
