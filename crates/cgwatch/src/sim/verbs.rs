//! The verbs, as the calls the host's world would make.

use std::path::Path;

use fsnotify::{
    FileHandle,
    inotify::{WatchMask, records},
};
use kernfs::{Access, Answer, File, Pin};
use rustix::io::Errno;

use super::{SimDir, SimWorld, Verb};
use crate::{
    Error, Time,
    world::{MountOptions, Notification, Place, Stat, WatchLimit, Wd, World, is_gone},
};

/// The type of a kernfs handle (`FILEID_KERNFS`).
const HANDLE: i32 = 0xfe;
/// Room for some hundred notifications at a time.
const NOTIFICATIONS: usize = 16 * 1024;
/// What is read of a file at a time.
const PAGE: usize = 4096;
/// When the virtual boot was: 2026-01-01 00:00:00 UTC.
const BOOT_UNIX_NS: i64 = 1_767_225_600_000_000_000;

pub(super) fn errno(error: kernfs::Error) -> Errno {
    error.errno()
}

impl SimWorld {
    /// Something may happen before each system call.
    fn call(&mut self) {
        self.calls += 1;
        self.driver.between_calls(&self.hierarchy);
    }

    /// [`Self::call`] of one that may fail.
    fn try_call(&mut self, verb: Verb, directory: u64) -> Result<(), Errno> {
        self.call();
        self.driver.refuses(verb, directory).map_or(Ok(()), Err)
    }

    /// `openat(root, path, O_PATH|O_DIRECTORY)`.
    fn open_path(&mut self, path: &[u8]) -> Result<Pin, Errno> {
        if self.root.is_none() {
            self.root = Some(self.hierarchy.mount().pin("/").map_err(errno)?);
        }
        self.try_call(Verb::Open, 0)?;
        if let Some(errno) = self.driver.refuses_way(path) {
            return Err(errno);
        }
        self.walked += path.split(|byte| *byte == b'/').count() as u64;
        let root = self.root.as_ref().ok_or(Errno::NOENT)?;
        directory(root.pin(path).map_err(errno)?)
    }

    /// `open_by_handle_at`. `None` if there is no id to go by, or none may be gone by.
    fn pin_id(&mut self, id: u64) -> Option<Result<Pin, Errno>> {
        if !self.by_id || id == 0 {
            return None;
        }
        if let Err(errno) = self.try_call(Verb::Open, id) {
            return Some(Err(errno));
        }
        Some(self.hierarchy.mount().pin_handle(&FileHandle::of_id(HANDLE, id)).map_err(errno))
    }

    /// The same of a directory, whose name the kernel may have to look for.
    fn pin_directory(&mut self, id: u64) -> Option<Result<Pin, Errno>> {
        let pin = self.pin_id(id)?;
        if !self.driver.finds_by_id(id) {
            return Some(Err(Errno::STALE));
        }
        Some(pin.and_then(directory))
    }

    fn opened(&mut self, pin: Pin) -> (SimDir, Stat) {
        self.call();
        let stat = stat_of(&pin);
        (SimDir::new(pin, stat.id), stat)
    }

    /// Removals are announced here, sooner or later.
    fn announces(&self) -> bool {
        self.hierarchy.tree().capabilities().announces_removal != Answer::No
    }

    /// Where removals are announced, a name that was looked up may hold one back.
    fn note(&mut self, dir: &mut SimDir, file: &str) {
        if self.announces() {
            self.names.note(&mut dir.used, file);
        }
    }

    /// Opens a directory that was only reached.
    fn pin<'a>(&mut self, dir: &'a mut SimDir) -> Result<&'a Pin, Errno> {
        let pin = match dir.pin.take() {
            Some(pin) => pin,
            None => self.pin_directory(dir.id).unwrap_or(Err(Errno::STALE))?,
        };
        Ok(dir.pin.insert(pin))
    }

    fn open_file(&mut self, dir: &mut SimDir, file: &str, id: u64) -> Result<File, Errno> {
        match self.pin_id(id) {
            Some(pin) => pin?.open("", Access::READ),
            None => {
                self.try_call(Verb::Open, dir.id)?;
                self.pin(dir)?.open(file, Access::READ)
            }
        }
        .map_err(errno)
    }
}

impl SimDir {
    fn new(pin: Pin, id: u64) -> Self {
        Self { pin: Some(pin), id, used: 0 }
    }
}

fn directory(pin: Pin) -> Result<Pin, Errno> {
    if pin.stat().is_dir { Ok(pin) } else { Err(Errno::NOTDIR) }
}

/// A removed directory has no links (7.1 and later), or looks like an empty one.
fn stat_of(pin: &Pin) -> Stat {
    let stat = pin.stat();
    Stat { id: stat.ino, subdirectories: (!stat.is_unlinked).then(|| pin.subdirectories()) }
}

impl World for SimWorld {
    type Dir = SimDir;

    fn is_simulated(&self) -> bool {
        true
    }

    fn locate(&mut self, path: &Path) -> Result<Place, Error> {
        let names = path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/');
        let names: Vec<_> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
        let below = names.join(&b'/');
        match self.open_path(&below) {
            Ok(_) => {}
            Err(Errno::NOTDIR) => return Err(Error::NotACgroup { path: path.into() }),
            Err(errno) if is_gone(errno) => return Err(Error::NotFound { path: path.into() }),
            Err(source) => return Err(Error::Path { action: "open", path: path.into(), source }),
        }
        let mut resolved = Path::new("/").to_path_buf();
        // It exists, so it is UTF-8 or was given as such bytes.
        resolved.extend(path.components().filter(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::ParentDir)
        }));
        Ok(Place { resolved, base: 0, whole: below.is_empty(), path: below })
    }

    fn open(&mut self, _base: usize, path: &[u8]) -> Result<(SimDir, Stat), Errno> {
        let pin = self.open_path(path)?;
        Ok(self.opened(pin))
    }

    fn open_id(&mut self, _base: usize, id: u64) -> Option<Result<SimDir, Errno>> {
        Some(self.pin_directory(id)?.map(|pin| SimDir::new(pin, id)))
    }

    fn reach(&mut self, _base: usize, id: u64) -> Option<SimDir> {
        let by_id = self.by_id && !self.announces() && id != 0;
        by_id.then_some(SimDir { pin: None, id, used: 0 })
    }

    fn open_child(&mut self, dir: &mut SimDir, name: &[u8]) -> Result<(SimDir, Stat), Errno> {
        self.try_call(Verb::Open, dir.id)?;
        self.walked += 1;
        let pin = directory(self.pin(dir)?.pin(name).map_err(errno)?)?;
        Ok(self.opened(pin))
    }

    fn goes_by_id(&self) -> bool {
        self.by_id
    }

    fn stat(&mut self, dir: &mut SimDir) -> Result<Stat, Errno> {
        self.call();
        let stat = stat_of(self.pin(dir)?);
        if stat.subdirectories.is_some() {
            dir.used = 0;
        }
        Ok(stat)
    }

    fn list(
        &mut self,
        dir: &mut SimDir,
        each: &mut dyn FnMut(&[u8], bool, u64),
    ) -> Result<(), Errno> {
        self.driver.lets_list(dir.id);
        self.try_call(Verb::List, dir.id)?;
        // getdents64(2) holds the directory's lock from its start to its end.
        self.hierarchy.wait_for_rmdir_in(dir.id);
        for entry in self.pin(dir)?.entries().map_err(errno)? {
            each(&entry.name, entry.is_dir, entry.ino);
        }
        Ok(())
    }

    fn read(
        &mut self,
        dir: &mut SimDir,
        file: &str,
        id: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        self.note(dir, file);
        let file = self.open_file(dir, file, id)?;
        text.clear();
        loop {
            let before = text.len();
            text.resize(before + PAGE, 0);
            self.try_call(Verb::Read, dir.id)?;
            let got = file.read_at(before, &mut text[before..]);
            text.truncate(before + *got.as_ref().unwrap_or(&0));
            // A file that leaves room has been shown to its end.
            if got.map_err(errno)? < PAGE {
                break;
            }
        }
        self.call();
        drop(file);
        Ok(())
    }

    fn watch(&mut self, dir: &mut SimDir) -> Result<Wd, Errno> {
        self.try_call(Verb::Watch, dir.id)?;
        let pin = self.pin(dir)?;
        let inotify = self.inotify.as_ref().ok_or(Errno::NOSYS)?;
        let events = WatchMask::CREATE | WatchMask::DELETE | WatchMask::CLOSE_WRITE;
        let wd = pin.watch(inotify, events | WatchMask::ONLYDIR).map_err(errno)?;
        self.driver.watches_births_in(pin.stat().ino);
        Ok(Wd(wd))
    }

    fn watch_file(&mut self, dir: &mut SimDir, file: &str, id: u64) -> Result<Wd, Errno> {
        self.note(dir, file);
        let held = self.pin_id(id).transpose()?;
        self.try_call(Verb::Watch, dir.id)?;
        let pin = match held {
            Some(pin) => pin,
            None => self.pin(dir)?.pin(file).map_err(errno)?,
        };
        let inotify = self.inotify.as_ref().ok_or(Errno::NOSYS)?;
        let mask = WatchMask::MODIFY | WatchMask::DELETE_SELF;
        pin.watch(inotify, mask).map(Wd).map_err(errno)
    }

    fn mark_all(&mut self) -> Result<(), Error> {
        self.start_mark()
    }

    fn unwatch(&mut self, wd: Wd) {
        self.call();
        if let Some(inotify) = &self.inotify {
            // EINVAL: it is gone already.
            let _ = inotify.rm_watch(wd.0);
        }
    }

    fn close(&mut self, dir: SimDir) {
        let Some(pin) = dir.pin.filter(|_| dir.used != 0) else { return };
        self.call();
        if !pin.stat().is_unlinked {
            return;
        }
        for name in self.names.noted(dir.used) {
            self.driver.between_calls(&self.hierarchy);
            let _ = pin.lookup(name);
        }
    }

    fn drain(&mut self, each: &mut dyn FnMut(Notification<'_>)) -> Result<(), Errno> {
        if self.prompt {
            self.hierarchy.drain();
        }
        self.notifications.resize(NOTIFICATIONS, 0);
        if self.mark.is_some() {
            self.call();
        }
        if let Some(mark) = &self.mark {
            let (late, withheld) = (&mut self.late, self.driver.withholds_death_of());
            late.tell(withheld, each);
            mark.drain(&mut self.notifications, &mut |told| late.pass(withheld, told, each))?;
        }
        loop {
            self.call();
            let Some(inotify) = &self.inotify else { return Ok(()) };
            let read = match inotify.read(&mut self.notifications) {
                Err(fsnotify::Error::WouldBlock) => return Ok(()),
                read => read.map_err(|error| error.errno())?,
            };
            for record in records(&self.notifications[..read]) {
                let name = record.name.unwrap_or_default();
                let told = Notification::of_inotify(record.wd, record.mask.bits(), name);
                let Some(notification) = told else { continue };
                let changed = matches!(notification, Notification::Modified(_));
                if !changed || !self.driver.loses_a_change() {
                    each(notification);
                }
            }
            // Unless the buffer was filled, the queue was emptied.
            if read < NOTIFICATIONS / 4 {
                return Ok(());
            }
        }
    }

    fn now(&mut self) -> Time {
        let boot_ns = self.hierarchy.now();
        Time { boot_ns, unix_ns: BOOT_UNIX_NS.saturating_add_unsigned(boot_ns) }
    }

    /// A microsecond a call, whatever the time is.
    fn busy_ns(&mut self) -> u64 {
        self.calls.saturating_mul(1000)
    }

    /// Moves the virtual time on. EDEADLK: nothing would ever happen any more.
    fn wait(&mut self, until: Option<u64>) -> Result<(), Errno> {
        let until = until.unwrap_or(u64::MAX).min(self.alarm_ns);
        loop {
            self.call();
            self.hierarchy.drain();
            let queued = self.inotify.as_ref().is_some_and(|inotify| inotify.queued() > 0)
                || self.mark.as_ref().is_some_and(|mark| mark.queued() > 0)
                || self.late.is_due(self.driver.withholds_death_of());
            if queued || self.hierarchy.now() >= until {
                return Ok(());
            }
            let acts = self.driver.next_ns().unwrap_or(u64::MAX);
            let next = self.hierarchy.next_timer().unwrap_or(u64::MAX).min(acts).min(until);
            if next == u64::MAX {
                return Err(Errno::DEADLK);
            }
            self.hierarchy.advance_to(next);
            if acts <= next {
                self.driver.act(&self.hierarchy);
            }
        }
    }

    fn set_alarm(&mut self, at: u64) -> Result<(), Errno> {
        self.alarm_ns = at;
        Ok(())
    }

    fn mount_options(&mut self) -> MountOptions {
        let options = self.hierarchy.mount_options();
        MountOptions {
            memory_localevents: options.memory_localevents,
            pids_localevents: options.pids_localevents,
        }
    }

    fn host_oom_kills(&mut self) -> Option<u64> {
        Some(self.hierarchy.oom_kills())
    }

    fn watch_limit(&mut self) -> WatchLimit {
        WatchLimit { name: "fs.inotify.max_user_watches".into(), value: Some(self.limits.marks) }
    }
}
