//! The simulated side of a comparison.

use std::{collections::BTreeMap, time::Duration};

use cgroup_sim::{Controllers, Error, Event, Hierarchy, Options, ROOT};
use fsnotify::{
    Account, Limits,
    fanotify::{self, Fanotify, InitFlags, MarkFlags},
    inotify,
};
use kernfs::Profile;

use super::{
    Seen, Told, add, ledger,
    program::{LIMIT, Step, join},
    real::Real,
};
use crate::{
    Failure,
    themes::model::{own::part, told::Names},
};

/// The cgroup that stands for the program's own.
const TOP: &str = "top";

/// What a step came to: nothing, or an errno.
pub(super) type Outcome = Result<(), i32>;

pub(super) struct Simulated {
    all: Hierarchy,
    inotify: inotify::Inotify,
    labels: BTreeMap<i32, String>,
    /// A mark on the mount, if the other side can have one.
    fanotify: Option<Fanotify>,
    names: Names,
    told: Told,
    /// Processes by their number in the program.
    tasks: BTreeMap<usize, u32>,
    /// Those that were alive after the last step.
    watched: u32,
    available: Vec<String>,
}

fn unable(error: impl std::fmt::Display) -> Failure {
    Failure::broken(format!("the model: {error}"))
}

impl Simulated {
    pub(super) fn new(profile: Profile, real: &Real) -> Result<Self, Failure> {
        let available = real.controllers().to_vec();
        let controllers = available.iter().filter_map(|name| Controllers::named(name));
        let all = Hierarchy::new(Options {
            profile,
            controllers: controllers.fold(Controllers::empty(), |all, one| all | one),
            pids_sums: real.has_pids_sums(),
            ..Options::default()
        });
        let account = Account::new(Limits::default());
        let inotify = inotify::Inotify::new(&account, inotify::InitFlags::NONBLOCK);
        let mut own = Self {
            all,
            inotify: inotify.map_err(unable)?,
            labels: BTreeMap::new(),
            fanotify: None,
            names: Names::default(),
            told: Told::new(),
            tasks: BTreeMap::new(),
            watched: 0,
            available,
        };
        for one in own.available.clone() {
            own.all.write("cgroup.subtree_control", &format!("+{one}")).map_err(unable)?;
        }
        let top = own.all.mkdir(TOP).map_err(unable)?;
        own.names.learn(top, "");
        if real.has_fanotify() {
            let named = InitFlags::REPORT_FID | InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
            let flags = named | InitFlags::REPORT_TARGET_FID | InitFlags::NONBLOCK;
            let group = Fanotify::new(&account, flags).map_err(unable)?;
            let flags = MarkFlags::ADD | MarkFlags::FILESYSTEM;
            own.all.mount().mark(&group, flags, LIVES, "/").map_err(unable)?;
            own.fanotify = Some(group);
        }
        Ok(own)
    }

    fn id(&self, path: &str) -> u64 {
        self.all.find(join(TOP, path)).unwrap_or(0)
    }

    /// The cgroups that are there, the program's own first.
    pub(super) fn cgroups(&self) -> Vec<String> {
        let ids = self.all.subtree(self.id(""));
        let paths = ids.into_iter().filter_map(|id| self.all.path(id));
        let below = |path: Vec<u8>| {
            let path = String::from_utf8_lossy(&path).into_owned();
            let path = path.trim_start_matches('/').strip_prefix(TOP).map(str::to_owned);
            path.map(|path| path.trim_start_matches('/').to_owned())
        };
        paths.filter_map(below).collect()
    }

    /// The processes that are alive.
    pub(super) fn tasks(&self) -> Vec<usize> {
        let alive = |pid: &u32| self.all.cgroup_of(*pid).is_some();
        self.tasks.iter().filter(|(_, pid)| alive(pid)).map(|(n, _)| *n).collect()
    }

    fn pid(&self, task: usize) -> u32 {
        self.tasks.get(&task).copied().unwrap_or(0)
    }

    /// Whether a process is alive and can do something: it is not frozen.
    pub(super) fn runs(&self, task: usize) -> bool {
        let pid = self.pid(task);
        self.all.cgroup_of(pid).is_some() && !self.all.is_frozen(pid)
    }

    pub(super) fn has_file(&self, cgroup: &str, file: &str) -> bool {
        self.all.show(self.id(cgroup), file).is_ok()
    }

    /// Whether the driver may enter a cgroup and come out of it again: it is not frozen there.
    pub(super) fn may_be_entered(&self, cgroup: &str) -> bool {
        let says = |path: &str, file: &str, text: &str| {
            self.all.show(self.id(path), file).is_ok_and(|found| found.trim() == text)
        };
        let mut above = cgroup;
        loop {
            if says(above, "cgroup.freeze", "1") {
                return false;
            }
            match above.rsplit_once('/') {
                Some((rest, _)) => above = rest,
                None if above.is_empty() => break,
                None => above = "",
            }
        }
        says(cgroup, "cgroup.type", "domain") && says(cgroup, "cgroup.subtree_control", "")
    }

    fn current(&self, id: u64) -> u64 {
        let text = self.all.show(id, "memory.current").unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Whether a limit would leave no doubt about who is above it.
    pub(super) fn may_be_limited(&self, cgroup: &str) -> bool {
        let usage = self.current(self.id(cgroup));
        !(LIMIT / 4..=3 * LIMIT).contains(&usage)
    }

    /// Whether more memory would leave no doubt, neither about limits nor about victims.
    pub(super) fn may_eat(&self, task: usize, bytes: u64) -> bool {
        let Some(mut id) = self.all.cgroup_of(self.pid(task)) else { return false };
        let whole: u64 = self.current(self.id(""));
        if whole + bytes > 6 * LIMIT {
            return false;
        }
        loop {
            let limit = self.all.show(id, "memory.max").unwrap_or_default();
            let usage = self.current(id) + bytes;
            if limit.trim().parse::<u64>().is_ok() && (LIMIT / 4..3 * LIMIT).contains(&usage) {
                return false;
            }
            let path = self.all.path(id).unwrap_or_default();
            let Some(end) = path.iter().rposition(|byte| *byte == b'/') else { return true };
            match self.all.find(&path[..end]) {
                Some(above) if above != id && above != ROOT => id = above,
                _ => return true,
            }
        }
    }

    pub(super) fn act(&mut self, step: &Step) -> Result<Outcome, Failure> {
        let at = |path: &String| join(TOP, path);
        let done: Result<(), Error> = match step {
            Step::Mkdir(path) => self.all.mkdir(at(path)).map(|id| self.names.learn(id, path)),
            Step::Rmdir(path) => self.all.rmdir(at(path)),
            Step::Write(path, text) => self.all.write(at(path), text),
            Step::Start(task, cgroup) => {
                let pid = self.all.spawn(ROOT).map_err(unable)?;
                let put = self.put(pid, cgroup, "cgroup.procs");
                match &put {
                    Ok(()) => drop(self.tasks.insert(*task, pid)),
                    Err(_) => self.all.exit(pid).map_err(unable)?,
                }
                put
            }
            Step::Move(task, cgroup) => self.put(self.pid(*task), cgroup, "cgroup.procs"),
            Step::MoveThread(task, cgroup) => self.put(self.pid(*task), cgroup, "cgroup.threads"),
            Step::Exit(task) => self.all.exit(self.pid(*task)),
            Step::Thread(task) => self.all.start_thread(self.pid(*task)).map(drop),
            Step::Eat(task, bytes) => match self.all.allocate(self.pid(*task), *bytes) {
                // It died of it, as it may on the other side: seen in who is there.
                Err(_) => Ok(()),
                done => done,
            },
            Step::Refuse(cgroup) => {
                // The driver goes in and comes out again.
                let pid = self.all.spawn(ROOT).map_err(unable)?;
                self.put(pid, cgroup, "cgroup.procs").map_err(unable)?;
                self.all.count(self.id(cgroup), Event::HugetlbMax, 1).map_err(unable)?;
                self.all.exit(pid)
            }
            Step::Watch(path) => {
                let mask = mask_of(path);
                let wd = self.all.mount().watch(&self.inotify, at(path), mask).map_err(unable)?;
                if let std::collections::btree_map::Entry::Vacant(entry) = self.labels.entry(wd) {
                    self.watched += 1;
                    entry.insert(format!("watch {} of {path}", self.watched));
                }
                Ok(())
            }
        };
        // Long enough for what a rate limit holds back.
        self.all.drain();
        self.all.advance(Duration::from_millis(50));
        self.all.check_conservation().map_err(unable)?;
        Ok(done.map_err(|error| error.errno().raw_os_error()))
    }

    fn put(&self, pid: u32, cgroup: &str, file: &str) -> Result<(), Error> {
        self.all.write(join(&join(TOP, cgroup), file), &pid.to_string())
    }

    /// What the files say, read as programs read them.
    pub(super) fn see(&self) -> Seen {
        let mut seen = Seen::new();
        for cgroup in self.cgroups() {
            for file in ledger::files(&self.available) {
                let path = join(&join(TOP, &cgroup), file);
                let text = self.all.read(&path).map_err(|error| error.errno().raw_os_error());
                let text = text.map(|text| ledger::essence(file, &text, &self.available));
                seen.insert(join(&cgroup, file), text);
            }
            let home = self.id(&cgroup);
            let inside = |n: &&usize| self.all.cgroup_of(self.pid(**n)) == Some(home);
            let tasks = self.tasks();
            let inside: Vec<_> = tasks.iter().filter(inside).collect();
            seen.insert(join(&cgroup, "(processes)"), Ok(format!("{inside:?}")));
        }
        seen
    }

    pub(super) fn told(&mut self) -> Told {
        self.all.drain();
        let mut buffer = [0; 4096];
        while let Ok(read) = self.inotify.read(&mut buffer) {
            for record in inotify::records(&buffer[..read]) {
                let label = self.labels.get(&record.wd).map_or("queue", String::as_str);
                add(&mut self.told, label, record.mask.bits(), record.name.unwrap_or_default());
            }
        }
        while let Some(read) = self.fanotify.as_ref().and_then(|group| group.read(&mut buffer).ok())
        {
            for record in fanotify::records(&buffer[..read]) {
                if let Some(about) = self.names.describe(record.infos().filter_map(part)) {
                    add(&mut self.told, &about, record.metadata.mask.bits(), b"");
                }
            }
        }
        self.told.clone()
    }
}

/// What is listened to of all directories by fanotify: births and deaths.
pub(super) const LIVES: u64 = 0x100 | 0x200 | 0x400 | 0x4000_0000;

/// What is listened to of a file, or of a directory.
pub(super) fn mask_of(path: &str) -> inotify::WatchMask {
    use inotify::WatchMask as Mask;
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if is_file {
        Mask::MODIFY | Mask::DELETE_SELF
    } else {
        Mask::CREATE | Mask::DELETE | Mask::DELETE_SELF
    }
}
