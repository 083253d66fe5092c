//! The simulated side of a comparison.

use std::{collections::BTreeMap, time::Duration};

use cgroup_sim::{Controllers, Error, Event, Happening, Hierarchy, Options, ROOT, What};
use fsnotify::{
    Account, Limits,
    fanotify::{self, Fanotify, InitFlags, MarkFlags},
    inotify,
};
use kernfs::Profile;

use super::{
    Seen, Told, add,
    forecast::{Eater, Forecast},
    ledger,
    program::{Step, join},
};
use crate::{
    Failure,
    themes::model::{own::part, told::Names},
};

/// The cgroup that stands for the program's own.
const TOP: &str = "top";

/// What a step came to: nothing, or an errno.
pub(super) type Outcome = Result<(), i32>;

/// What the other side is like.
pub(super) struct Kind {
    pub(super) profile: Profile,
    /// Those of the program's own cgroup.
    pub(super) controllers: Vec<String>,
    /// Whether `pids.events` counts descendants.
    pub(super) pids_sums: bool,
    /// Whether cgroups can be marked.
    pub(super) fanotify: bool,
    /// Bytes of swap of the machine.
    pub(super) swap: u64,
}

pub(super) struct Simulated {
    all: Hierarchy,
    inotify: inotify::Inotify,
    labels: BTreeMap<i32, String>,
    /// A mark on the mount, if the other side can have one.
    fanotify: Option<Fanotify>,
    /// Marks on what is watched, if the other side can have them.
    marks: Option<Fanotify>,
    names: Names,
    told: Told,
    /// Processes by their number in the program.
    tasks: BTreeMap<usize, u32>,
    /// What each of them has taken.
    taken: BTreeMap<usize, u64>,
    /// How many cgroups were killed as one.
    groups: u64,
    swaps: bool,
    watched: u32,
    available: Vec<String>,
}

fn unable(error: impl std::fmt::Display) -> Failure {
    Failure::broken(format!("the model: {error}"))
}

impl Simulated {
    pub(super) fn new(like: &Kind) -> Result<Self, Failure> {
        let available = like.controllers.clone();
        let controllers = available.iter().filter_map(|name| Controllers::named(name));
        let all = Hierarchy::new(Options {
            profile: like.profile,
            controllers: controllers.fold(Controllers::empty(), |all, one| all | one),
            pids_sums: like.pids_sums,
            swap: like.swap,
            journal: true,
            ..Options::default()
        });
        let account = Account::new(Limits::default());
        let inotify = inotify::Inotify::new(&account, inotify::InitFlags::NONBLOCK);
        let mut own = Self {
            all,
            inotify: inotify.map_err(unable)?,
            labels: BTreeMap::new(),
            fanotify: None,
            marks: None,
            names: Names::default(),
            told: Told::new(),
            tasks: BTreeMap::new(),
            taken: BTreeMap::new(),
            groups: 0,
            swaps: like.swap > 0,
            watched: 0,
            available,
        };
        for one in own.available.clone() {
            own.all.write("cgroup.subtree_control", &format!("+{one}")).map_err(unable)?;
        }
        let top = own.all.mkdir(TOP).map_err(unable)?;
        own.names.learn(top, "");
        if like.fanotify {
            let named = InitFlags::REPORT_FID | InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
            let flags = named | InitFlags::REPORT_TARGET_FID | InitFlags::NONBLOCK;
            own.marks = Some(Fanotify::new(&account, flags).map_err(unable)?);
            let group = Fanotify::new(&account, flags).map_err(unable)?;
            let flags = MarkFlags::ADD | MarkFlags::FILESYSTEM;
            own.all.mount().mark(&group, flags, LIVES, "/").map_err(unable)?;
            own.fanotify = Some(group);
        }
        Ok(own)
    }

    pub(super) fn id(&self, path: &str) -> u64 {
        self.all.find(join(TOP, path)).unwrap_or(0)
    }

    /// The cgroups that are there, the program's own first.
    pub(super) fn cgroups(&self) -> Vec<String> {
        let ids = self.all.subtree(self.id(""));
        let paths = ids.into_iter().filter_map(|id| self.all.path(id));
        paths.filter_map(|path| below(&path)).collect()
    }

    /// The processes that are alive.
    pub(super) fn tasks(&self) -> Vec<usize> {
        let alive = |pid: &u32| self.all.cgroup_of(*pid).is_some();
        self.tasks.iter().filter(|(_, pid)| alive(pid)).map(|(n, _)| *n).collect()
    }

    fn pid(&self, task: usize) -> u32 {
        self.tasks.get(&task).copied().unwrap_or(0)
    }

    /// The cgroup a process is in.
    pub(super) fn home(&self, task: usize) -> String {
        let path = self.all.cgroup_of(self.pid(task)).and_then(|id| self.all.path(id));
        path.and_then(|path| below(&path)).unwrap_or_default()
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

    fn forecast(&self) -> Forecast<'_> {
        let eaters = self.tasks().into_iter().map(|task| self.eater(task)).collect();
        Forecast::new(&self.all, self.id(""), eaters, self.swaps)
    }

    fn eater(&self, task: usize) -> Eater {
        let home = self.all.cgroup_of(self.pid(task)).unwrap_or(0);
        Eater { task, home, taken: self.taken.get(&task).copied().unwrap_or(0) }
    }

    /// Whether what comes of writing this text is certain.
    pub(super) fn is_certain(&self, cgroup: &str, file: &str, text: &str) -> bool {
        let id = self.id(cgroup);
        match (file, text.parse()) {
            ("memory.max", Ok(bytes)) => self.forecast().may_limit(id, bytes),
            ("memory.high", Ok(bytes)) => self.forecast().may_be_high(id, bytes),
            ("memory.reclaim", Ok(bytes)) => self.forecast().may_reclaim(id, bytes),
            _ => true,
        }
    }

    /// Whether what comes of more memory is certain.
    pub(super) fn may_eat(&self, task: usize, bytes: u64) -> bool {
        self.forecast().may_take(self.eater(task), bytes)
    }

    /// How much it would have to take to breach a `memory.high`.
    pub(super) fn breach(&self, task: usize) -> Option<u64> {
        self.forecast().breach(self.eater(task).home)
    }

    /// Whether it is certain that a thread's own memory makes nothing count.
    pub(super) fn may_start_thread(&self, task: usize) -> bool {
        !self.is_over_high(self.eater(task).home)
    }

    /// Whether some cgroup that counts for this one has more than it should.
    pub(super) fn is_over_high(&self, cgroup: u64) -> bool {
        self.forecast().is_over_high(cgroup)
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
            Step::Eat(task, bytes) => {
                // It may die of it, as on the other side: seen in who is there.
                let _ = self.all.allocate(self.pid(*task), *bytes);
                *self.taken.entry(*task).or_default() += bytes;
                Ok(())
            }
            Step::Refuse(cgroup) => {
                // The driver goes in and comes out again.
                let pid = self.all.spawn(ROOT).map_err(unable)?;
                self.put(pid, cgroup, "cgroup.procs").map_err(unable)?;
                self.all.count(self.id(cgroup), Event::HugetlbMax, 1).map_err(unable)?;
                self.all.exit(pid)
            }
            Step::Watch(path) => {
                let mount = self.all.mount();
                if let Ok(stat) = mount.lookup(at(path)) {
                    self.names.learn(stat.ino, path);
                }
                if let Some(group) = &self.marks {
                    mount.mark(group, MarkFlags::ADD, marked_of(path), at(path)).map_err(unable)?;
                }
                let mask = mask_of(path);
                let wd = mount.watch(&self.inotify, at(path), mask).map_err(unable)?;
                if let std::collections::btree_map::Entry::Vacant(entry) = self.labels.entry(wd) {
                    self.watched += 1;
                    entry.insert(format!("watch {} of {path}", self.watched));
                }
                Ok(())
            }
        };
        self.groups += self.all.take_journal().iter().map(group_kills).sum::<u64>();
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
        let groups = self.groups;
        for cgroup in self.cgroups() {
            for file in ledger::files(&self.available) {
                let path = join(&join(TOP, &cgroup), file);
                let text = self.all.read(&path).map_err(|error| error.errno().raw_os_error());
                let text = text.map(|text| ledger::expected(file, &text, &self.available, groups));
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
        for (whose, group) in [("mount", &self.fanotify), ("marks", &self.marks)] {
            while let Some(read) = group.as_ref().and_then(|group| group.read(&mut buffer).ok()) {
                for record in fanotify::records(&buffer[..read]) {
                    if !record.infos().filter_map(part).all(|part| ledger::is_known(part.name)) {
                        continue;
                    }
                    if let Some(about) = self.names.describe(record.infos().filter_map(part)) {
                        let mask = record.metadata.mask.bits();
                        add(&mut self.told, &format!("{whose}: {about}"), mask, b"");
                    }
                }
            }
        }
        self.told.clone()
    }
}

fn group_kills(happening: &Happening) -> u64 {
    match happening.what {
        What::Counted { event: Event::MemoryOomGroupKill, times } => times,
        _ => 0,
    }
}

/// A path from the program's own cgroup.
fn below(path: &[u8]) -> Option<String> {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_start_matches('/').strip_prefix(TOP)?;
    Some(path.trim_start_matches('/').to_owned())
}

/// What is listened to of all directories by fanotify: births and deaths.
pub(super) const LIVES: u64 = 0x100 | 0x200 | 0x400 | 0x4000_0000;

fn is_file(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains('.'))
}

/// What fanotify listens to of a file, or of a directory and the files in it.
pub(super) fn marked_of(path: &str) -> u64 {
    const MODIFY: u64 = 0x2;
    const DELETE_SELF: u64 = 0x400;
    const ON_CHILD: u64 = 0x0800_0000;
    if is_file(path) { MODIFY | DELETE_SELF } else { LIVES | MODIFY | ON_CHILD }
}

/// What is listened to of a file, or of a directory.
pub(super) fn mask_of(path: &str) -> inotify::WatchMask {
    use inotify::WatchMask as Mask;
    if is_file(path) {
        Mask::MODIFY | Mask::DELETE_SELF
    } else {
        Mask::CREATE | Mask::DELETE | Mask::DELETE_SELF
    }
}
