//! The same programs on this kernel's cgroup hierarchy and on a kernfs tree with the profile that
//! models it: the records of each watch must be the same.
//!
//! Accepted differences:
//! * between watches, order is open: Linux tells a rmdir's files in the order of its dentry cache;
//! * equal neighbours count as one: how often a change is told depends on the worker's pace;
//! * a directory's MODIFY of one name and of another are in no order: `write(2)` tells of the file
//!   that was written when it returns, while the worker may tell of `cgroup.events` before that.
//!
//! Which profile models the kernel is learned from one plain removal; everything else then has to
//! agree with it.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use fsnotify::{Account, Limits, inotify as own};
use kernfs::{Access, Attribute, Node, Operation, Options, Pin, Profile, SuperBlock, SystemCalls};
use linux_notify::inotify::{Inotify, Mask};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use crate::{Environment, Failure, Scenario, Tree};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("model-plain-removal", |at| agree(at, &PLAIN)),
    Scenario::new("model-watched-file-held", |at| agree(at, &WATCHED_HELD)),
    Scenario::new("model-other-file-held", |at| agree(at, &OTHER_HELD)),
    Scenario::new("model-directory-held", |at| agree(at, &DIRECTORY_HELD)),
    Scenario::new("model-looked-up-through-the-directory", |at| agree(at, &LOOKED_UP)),
    Scenario::new("model-path-made-again", |at| agree(at, &AGAIN)),
    Scenario::new("model-births-in-a-directory", |at| agree(at, &BIRTHS)),
    Scenario::new("model-changes", |at| agree(at, &CHANGES)),
    Scenario::new("model-changes-nobody-looked-up", |at| agree(at, &UNSEEN)),
    Scenario::new("model-modify-alone", |at| agree(at, &MODIFY_ALONE)),
];

/// One thing done. Paths are from the scenario's own cgroup, which is the model's root.
#[derive(Clone, Copy, Debug)]
enum Step {
    Watch(&'static str, &'static str, own::WatchMask),
    Mkdir(&'static str),
    Rmdir(&'static str),
    /// Opens a file, until [`Step::Close`].
    Open(&'static str),
    Close,
    /// Holds a directory with `O_PATH`, until [`Step::Unpin`].
    Pin(&'static str),
    Unpin,
    /// Looks a name up in the directory that is held.
    Lookup(&'static str),
    /// Changes `frozen` in the cgroup's `cgroup.events`.
    Freeze(&'static str, bool),
}

use Step::{Close, Freeze, Lookup, Mkdir, Open, Rmdir, Unpin, Watch};

const FILE: own::WatchMask = own::WatchMask::MODIFY.union(own::WatchMask::DELETE_SELF);
const DIR: own::WatchMask =
    own::WatchMask::CREATE.union(own::WatchMask::DELETE).union(own::WatchMask::DELETE_SELF);

/// F, D and P of the tables: a file, its cgroup, the cgroup above.
const F: Step = Watch("F", "g/cgroup.events", FILE);
const D: Step = Watch("D", "g", DIR);
const P: Step = Watch("P", "", DIR);

const PLAIN: [Step; 5] = [Mkdir("g"), F, D, P, Rmdir("g")];
const WATCHED_HELD: [Step; 7] = [Mkdir("g"), F, D, P, Open("g/cgroup.events"), Rmdir("g"), Close];
const OTHER_HELD: [Step; 7] = [Mkdir("g"), F, D, P, Open("g/cgroup.procs"), Rmdir("g"), Close];
const DIRECTORY_HELD: [Step; 7] = [Mkdir("g"), F, D, P, Step::Pin("g"), Rmdir("g"), Unpin];
const LOOKED_UP: [Step; 10] = [
    Mkdir("g"),
    F,
    D,
    P,
    Step::Pin("g"),
    Open("g/cgroup.events"),
    Rmdir("g"),
    Close,
    Lookup("cgroup.events"),
    Unpin,
];
const AGAIN: [Step; 9] = [
    Mkdir("g"),
    F,
    P,
    Open("g/cgroup.events"),
    Rmdir("g"),
    Mkdir("g"),
    Watch("new", "g/cgroup.events", FILE),
    Close,
    Rmdir("g"),
];
const BIRTHS: [Step; 6] = [Mkdir("g"), D, Mkdir("g/a"), Mkdir("g/b"), Rmdir("g/a"), Rmdir("g/b")];
const CHANGES: [Step; 7] = [
    Mkdir("g"),
    F,
    Watch("D", "g", DIR.union(own::WatchMask::MODIFY)),
    Freeze("g", true),
    Freeze("g", false),
    Freeze("g", true),
    Rmdir("g"),
];
const UNSEEN: [Step; 4] =
    [Mkdir("g"), Watch("D", "g", DIR.union(own::WatchMask::MODIFY)), Freeze("g", true), Rmdir("g")];
const MODIFY_ALONE: [Step; 3] =
    [Mkdir("g"), Watch("F", "g/cgroup.events", own::WatchMask::MODIFY), Rmdir("g")];

/// What each watch was told: event bits and name, equal neighbours once. A MODIFY with a name stands
/// under that name, apart from the others.
type Told = BTreeMap<(&'static str, String), Vec<(u32, String)>>;

fn add(told: &mut Told, label: &'static str, mask: u32, name: &[u8]) {
    let name = String::from_utf8_lossy(name).into_owned();
    let apart = if mask == Mask::MODIFY.bits() { name.clone() } else { String::new() };
    let event = (mask, name);
    let all = told.entry((label, apart)).or_default();
    if all.last() != Some(&event) {
        all.push(event);
    }
}

fn agree(environment: &Environment, program: &[Step]) -> Result<(), Failure> {
    let mut probe = Linux::new(environment)?;
    for step in PLAIN {
        probe.act(step)?;
    }
    probe.drain()?;
    let announces = probe.told.keys().any(|(label, _)| *label == "F");
    drop(probe);
    let profile = if announces { Profile::Linux71 } else { Profile::Linux70 };

    let mut model = Model::new(profile)?;
    let mut linux = Linux::new(environment)?;
    for step in program {
        model.act(*step)?;
        linux.act(*step)?;
        linux.wait_for(&model.told, environment.patience())?;
    }
    // What nobody expects is told before this is.
    for step in [Mkdir("end"), Watch("end", "end/cgroup.events", FILE), Freeze("end", true)] {
        model.act(step)?;
        linux.act(step)?;
    }
    linux.wait_for(&model.told, environment.patience())?;
    if linux.told == model.told {
        return Ok(());
    }
    Err(differ(profile, &model.told, &linux.told))
}

fn differ(profile: Profile, model: &Told, linux: &Told) -> Failure {
    Failure::broken(format!("{profile:?} tells {model:x?}, Linux {linux:x?}"))
}

/// The kernel's side.
struct Linux {
    held: Vec<File>,
    pinned: Vec<OwnedFd>,
    inotify: Inotify,
    labels: BTreeMap<i32, &'static str>,
    told: Told,
    tree: Tree,
}

impl Linux {
    fn new(environment: &Environment) -> Result<Self, Failure> {
        Ok(Self {
            held: Vec::new(),
            pinned: Vec::new(),
            inotify: Inotify::new()?,
            labels: BTreeMap::new(),
            told: Told::new(),
            tree: Tree::plant(environment)?,
        })
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.tree.path().into() } else { self.tree.path().join(path) }
    }

    fn act(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Watch(label, path, mask) => {
                let path = CString::new(self.path(path).as_os_str().as_bytes());
                let path = path.map_err(|_| Failure::broken("a path with NUL"))?;
                let wd = self.inotify.add(&path, Mask::from_bits_retain(mask.bits()))?;
                self.labels.insert(wd.0, label);
            }
            Mkdir(path) => {
                let path = self.path(path);
                fs::create_dir(&path).map_err(Failure::driver("make", &path))?;
            }
            Rmdir(path) => {
                let path = self.path(path);
                fs::remove_dir(&path).map_err(Failure::driver("remove", &path))?;
            }
            Open(path) => {
                let path = self.path(path);
                self.held.push(File::open(&path).map_err(Failure::driver("open", &path))?);
            }
            Close => drop(self.held.pop()),
            Step::Pin(path) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                self.pinned.push(rustix::fs::openat(CWD, self.path(path), flags, Mode::empty())?);
            }
            Unpin => drop(self.pinned.pop()),
            Lookup(name) => {
                if let Some(dir) = self.pinned.last() {
                    // It is gone; to look is the point.
                    let _ = rustix::fs::statat(dir, name, AtFlags::empty());
                }
            }
            Freeze(path, frozen) => {
                let path = self.path(path).join("cgroup.freeze");
                let file = OpenOptions::new().write(true).open(&path);
                let mut file = file.map_err(Failure::driver("open", &path))?;
                let value = if frozen { b"1" } else { b"0" };
                file.write_all(value).map_err(Failure::driver("write", &path))?;
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        loop {
            let events = match self.inotify.read(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.errno() == Errno::AGAIN => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let mut none = true;
            for event in events {
                none = false;
                let label = self.labels.get(&event.wd.0).copied().unwrap_or("queue");
                add(&mut self.told, label, event.mask.bits(), event.name);
            }
            if none {
                return Ok(());
            }
        }
    }

    /// Until every watch was told as much as the model's.
    fn wait_for(&mut self, expected: &Told, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        loop {
            self.drain()?;
            let enough = |(label, events): (&(&'static str, String), &Vec<(u32, String)>)| {
                self.told.get(label).is_some_and(|told| told.len() >= events.len())
            };
            if expected.iter().all(enough) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::broken(format!(
                    "Linux never tells {expected:x?}, only {:x?}",
                    self.told
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The model's side.
struct Model {
    held: Vec<kernfs::File>,
    pinned: Vec<Pin>,
    inotify: own::Inotify,
    labels: BTreeMap<i32, &'static str>,
    told: Told,
    mount: SuperBlock,
    tree: kernfs::Tree,
}

/// What cgroup does for `mkdir` and `rmdir`.
struct Cgroups;

impl SystemCalls for Cgroups {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let node = parent.make_dir(name).map_err(|error| error.errno())?;
        for name in ["cgroup.events", "cgroup.procs", "cgroup.freeze"] {
            let file: Arc<dyn Attribute> =
                if name == "cgroup.freeze" { Arc::new(Freezer) } else { Arc::new(Vec::new) };
            node.make_file(name, file).map_err(|error| error.errno())?;
        }
        node.activate();
        Ok(())
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        node.remove();
        Ok(())
    }
}

/// `cgroup.freeze`: it announces itself in `cgroup.events`.
struct Freezer;

impl Attribute for Freezer {
    fn store(&self, operation: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        let events = operation.node().parent().and_then(|dir| dir.child("cgroup.events"));
        events.ok_or(Errno::NODEV)?.notify();
        Ok(())
    }
}

fn unable(error: impl std::fmt::Display) -> Failure {
    Failure::broken(format!("the model: {error}"))
}

impl Model {
    fn new(profile: Profile) -> Result<Self, Failure> {
        let tree = kernfs::Tree::new(Options {
            profile,
            create_deactivated: true,
            system_calls: Some(Arc::new(Cgroups)),
            ..Options::default()
        });
        let account = Account::new(Limits::default());
        let inotify = own::Inotify::new(&account, own::InitFlags::NONBLOCK).map_err(unable)?;
        Ok(Self {
            held: Vec::new(),
            pinned: Vec::new(),
            inotify,
            labels: BTreeMap::new(),
            told: Told::new(),
            mount: tree.mount(),
            tree,
        })
    }

    fn act(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Watch(label, path, mask) => {
                let wd = self.mount.watch(&self.inotify, path, mask).map_err(unable)?;
                self.labels.insert(wd, label);
            }
            Mkdir(path) => self.mount.mkdir(path).map_err(unable)?,
            Rmdir(path) => self.mount.rmdir(path).map_err(unable)?,
            Open(path) => {
                self.held.push(self.mount.open(path, Access::READ).map_err(unable)?);
            }
            Close => drop(self.held.pop()),
            Step::Pin(path) => self.pinned.push(self.mount.pin(path).map_err(unable)?),
            Unpin => drop(self.pinned.pop()),
            Lookup(name) => {
                if let Some(dir) = self.pinned.last() {
                    // As on the other side.
                    let _ = dir.lookup(name);
                }
            }
            Freeze(path, _) => {
                let path = format!("{path}/cgroup.freeze");
                let file = self.mount.open(path, Access::WRITE).map_err(unable)?;
                file.write(b"1").map_err(unable)?;
            }
        }
        self.tree.drain();
        let mut buffer = [0; 4096];
        while let Ok(read) = self.inotify.read(&mut buffer) {
            for record in own::records(&buffer[..read]) {
                let label = self.labels.get(&record.wd).copied().unwrap_or("queue");
                add(&mut self.told, label, record.mask.bits(), record.name.unwrap_or_default());
            }
        }
        Ok(())
    }
}
