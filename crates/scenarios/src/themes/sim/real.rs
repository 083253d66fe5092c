//! The kernel's side of a comparison.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use linux_notify::{
    fanotify::{self, Fanotify, InitFlags, MarkFlags, Scope},
    inotify::{Inotify, Mask},
};
use rustix::{fs::CWD, io::Errno};

use super::{
    Seen, Told, add, ledger,
    program::{Step, join},
    simulated::{Kind, LIVES, Outcome, Simulated, marked_of, mask_of},
};
use crate::{
    Environment, Failure, Task, Tree, Worker, huge_pages,
    themes::model::{linux::part, told::Names},
};

/// More than 10 ms and two ticks (kernel: `CGROUP_FILE_NOTIFY_MIN_INTV`).
const RATE_LIMIT: Duration = Duration::from_millis(30);

pub(super) struct Real {
    inotify: Inotify,
    labels: BTreeMap<i32, String>,
    /// A mark on the mount; none before Linux 6.6, where cgroup2 has no id to name objects by.
    fanotify: Option<Fanotify>,
    /// Marks on what is watched; none where there is none on the mount.
    marks: Option<Fanotify>,
    names: Names,
    told: Told,
    watched: u32,
    tasks: BTreeMap<usize, Worker>,
    /// Those of the tree that are simulated.
    controllers: Vec<String>,
    has_pids_sums: bool,
    tree: Tree,
}

impl Real {
    /// A tree whose own cgroup has of these controllers what is there.
    pub(super) fn new(environment: &Environment, wanted: &[&str]) -> Result<Self, Failure> {
        if environment.guest {
            // A line for each kill, over an emulated serial port, takes longer than the kill.
            let path = "/proc/sys/kernel/printk";
            fs::write(path, "1").map_err(Failure::driver("write", path))?;
        }
        let tree = Tree::plant(environment)?;
        let path = tree.path().join("cgroup.controllers");
        let text = fs::read_to_string(&path).map_err(Failure::driver("read", &path))?;
        let wanted = |name: &&str| wanted.contains(name);
        let controllers: Vec<_> =
            text.split_whitespace().filter(wanted).map(str::to_owned).collect();
        let has_pids_sums = tree.path().join("pids.events.local").exists();
        let fanotify = lives(tree.path())?;
        let mut names = Names::default();
        names.learn(tree.root().id, "");
        Ok(Self {
            inotify: Inotify::new()?,
            labels: BTreeMap::new(),
            marks: fanotify.as_ref().map(|_| Fanotify::new(NAMED)).transpose()?,
            fanotify,
            names,
            told: Told::new(),
            watched: 0,
            tasks: BTreeMap::new(),
            controllers,
            has_pids_sums,
            tree,
        })
    }

    /// What the simulation must be like.
    pub(super) fn kind(&self, profile: kernfs::Profile, swap: u64) -> Kind {
        Kind {
            profile,
            controllers: self.controllers.clone(),
            pids_sums: self.has_pids_sums,
            fanotify: self.fanotify.is_some(),
            swap,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.tree.path().into() } else { self.tree.path().join(path) }
    }

    fn put(&self, pid: u32, cgroup: &str, file: &str) -> io::Result<()> {
        write(&self.path(cgroup).join(file), &pid.to_string())
    }

    pub(super) fn act(&mut self, step: &Step) -> Result<Outcome, Failure> {
        let done = match step {
            Step::Mkdir(path) => fs::create_dir(self.path(path)).and_then(|()| {
                self.names.learn(fs::metadata(self.path(path))?.ino(), path);
                Ok(())
            }),
            Step::Rmdir(path) => fs::remove_dir(self.path(path)),
            Step::Write(path, text) => write(&self.path(path), text),
            Step::Start(task, cgroup) => {
                let worker = Worker::ready(Task::Serve)?;
                let put = self.put(worker.pid(), cgroup, "cgroup.procs");
                if put.is_ok() {
                    self.tasks.insert(*task, worker);
                }
                put
            }
            Step::Move(task, cgroup) => self.put(self.pid(*task)?, cgroup, "cgroup.procs"),
            Step::MoveThread(task, cgroup) => self.put(self.pid(*task)?, cgroup, "cgroup.threads"),
            Step::Exit(task) => {
                // Killed and waited for.
                drop(self.tasks.remove(task));
                Ok(())
            }
            Step::Thread(task) => match self.ask(*task, "thread")?.as_deref() {
                Some("ready") => Ok(()),
                Some(refused) => {
                    let errno = refused.split(' ').nth(1).and_then(|text| text.parse().ok());
                    Err(io::Error::from_raw_os_error(errno.unwrap_or(0)))
                }
                None => return Err(Failure::broken("a worker that starts a thread died")),
            },
            Step::Eat(task, bytes) => {
                // It may have died of it: seen in who is there.
                self.ask(*task, &format!("eat {bytes}"))?;
                Ok(())
            }
            Step::Refuse(cgroup) => {
                let cgroup = crate::Cgroup { id: 0, directory: self.path(cgroup) };
                huge_pages::refuse(&self.tree, &cgroup, 1)?;
                Ok(())
            }
            Step::Watch(path) => {
                // What a rate limit still holds back would be told to the new watch; only time
                // tells that there is nothing more.
                std::thread::sleep(RATE_LIMIT);
                // Told by the name it had until now.
                self.told()?;
                let name = CString::new(self.path(path).as_os_str().as_bytes());
                let name = name.map_err(|_| Failure::broken("a path with NUL"))?;
                self.names
                    .learn(fs::metadata(self.path(path)).map_or(0, |found| found.ino()), path);
                if let Some(group) = &self.marks {
                    let mask = fanotify::Mask::from_bits_retain(marked_of(path));
                    group.add_at(Scope::Inode, MarkFlags::empty(), mask, CWD, &name)?;
                }
                let mask = Mask::from_bits_retain(mask_of(path).bits());
                let wd = self.inotify.add(&name, mask)?;
                if let std::collections::btree_map::Entry::Vacant(entry) = self.labels.entry(wd.0) {
                    self.watched += 1;
                    entry.insert(format!("watch {} of {path}", self.watched));
                }
                Ok(())
            }
        };
        Ok(done.map_err(|error| error.raw_os_error().unwrap_or(0)))
    }

    fn pid(&self, task: usize) -> Result<u32, Failure> {
        let worker = self.tasks.get(&task);
        worker.map(Worker::pid).ok_or_else(|| Failure::broken(format!("no task {task}")))
    }

    fn ask(&mut self, task: usize, what: &str) -> Result<Option<String>, Failure> {
        let worker = self.tasks.get_mut(&task);
        worker.ok_or_else(|| Failure::broken(format!("no task {task}")))?.ask(what)
    }

    /// What the files say that the model has.
    pub(super) fn see(&mut self, model: &Simulated) -> Seen {
        self.tasks.values_mut().for_each(Worker::reap);
        let mut seen = Seen::new();
        for cgroup in model.cgroups() {
            for file in ledger::files(&self.controllers) {
                let path = self.path(&cgroup).join(file);
                let text = fs::read_to_string(&path);
                let text = text.map_err(|error| error.raw_os_error().unwrap_or(0));
                let text = text.map(|text| ledger::essence(file, &text, &self.controllers));
                seen.insert(join(&cgroup, file), text);
            }
            let processes = self.inside(&cgroup);
            seen.insert(join(&cgroup, "(processes)"), Ok(format!("{processes:?}")));
        }
        seen
    }

    /// The processes whose first thread is in a cgroup.
    fn inside(&self, cgroup: &str) -> Vec<usize> {
        let threads = fs::read_to_string(self.path(cgroup).join("cgroup.threads"));
        let threads = threads.unwrap_or_default();
        let pids: Vec<u32> = threads.lines().filter_map(|line| line.parse().ok()).collect();
        let inside = |(_, worker): &(&usize, &Worker)| pids.contains(&worker.pid());
        self.tasks.iter().filter(inside).map(|(n, _)| *n).collect()
    }

    pub(super) fn told(&mut self) -> Result<Told, Failure> {
        let mut buffer = [0; 4096];
        loop {
            let events = match self.inotify.read(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.errno() == Errno::AGAIN => break,
                Err(error) => return Err(error.into()),
            };
            let mut none = true;
            for event in events {
                none = false;
                let label = self.labels.get(&event.wd.0).map_or("queue", String::as_str);
                add(&mut self.told, label, event.mask.bits(), event.name);
            }
            if none {
                break;
            }
        }
        for (whose, group) in [("mount", &self.fanotify), ("marks", &self.marks)] {
            while let Some(group) = group {
                let mut none = true;
                for event in group.read(&mut buffer)? {
                    none = false;
                    if !event.infos().filter_map(part).all(|part| ledger::is_known(part.name)) {
                        continue;
                    }
                    if let Some(about) = self.names.describe(event.infos().filter_map(part)) {
                        // All bits that are events are in the lower half.
                        let mask = event.mask.bits() as u32;
                        add(&mut self.told, &format!("{whose}: {about}"), mask, b"");
                    }
                }
                if none {
                    break;
                }
            }
        }
        Ok(self.told.clone())
    }
}

/// What records tell of an object: its parent, its name, and itself.
const NAMED: InitFlags = InitFlags::REPORT_DIR_FID
    .union(InitFlags::REPORT_NAME)
    .union(InitFlags::REPORT_TARGET_FID)
    .union(InitFlags::UNLIMITED_QUEUE);

/// Listens to births and deaths in the whole hierarchy, if this kernel lets one.
fn lives(path: &Path) -> Result<Option<Fanotify>, Failure> {
    let group = Fanotify::new(NAMED)?;
    let name = CString::new(path.as_os_str().as_bytes());
    let name = name.map_err(|_| Failure::broken("a path with NUL"))?;
    let (flags, mask) = (MarkFlags::empty(), fanotify::Mask::from_bits_retain(LIVES));
    match group.add_at(Scope::Filesystem, flags, mask, CWD, &name) {
        Ok(()) => Ok(Some(group)),
        Err(error) if error.errno() == Errno::NODEV => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens and writes in one go, as `echo` does; never makes a file.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}
