//! The model's side of a program: a kernfs tree with as much of cgroup v2 as the programs need.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use fsnotify::{
    Account, Limits,
    fanotify::{self, Fanotify, InfoKind, MarkFlags},
    inotify,
};
use kernfs::{
    Access, Attribute, Node, Operation, Options, Pin, Profile, SuperBlock, SystemCalls, Tree,
};
use rustix::io::Errno;

use super::{
    programs::Step,
    told::{Names, Part, Told},
};
use crate::Failure;

pub(super) struct Own {
    held: Vec<kernfs::File>,
    pinned: Vec<Pin>,
    inotify: inotify::Inotify,
    labels: BTreeMap<i32, &'static str>,
    groups: BTreeMap<&'static str, Fanotify>,
    names: Names,
    pub(super) told: Told,
    account: Arc<Account>,
    mount: SuperBlock,
    tree: Tree,
    rules: Arc<Rules>,
}

/// What cgroup does.
#[derive(Default)]
struct Rules {
    /// Whether new cgroups get the controller's file.
    controlled: AtomicBool,
    /// Where the process is.
    inside: Mutex<Option<Arc<Node>>>,
}

const CONTROLLED: &str = "hugetlb.2MB.events";

fn silent() -> Arc<dyn Attribute> {
    Arc::new(Vec::new)
}

impl Rules {
    fn furnish(self: &Arc<Self>, node: &Arc<Node>) -> Result<(), kernfs::Error> {
        node.make_file("cgroup.events", silent())?;
        node.make_file("cgroup.procs", Arc::new(Procs(Arc::clone(self))))?;
        node.make_file("cgroup.freeze", Arc::new(Freezer))?;
        Ok(())
    }

    /// The process goes elsewhere: `populated` changes wherever it was and is not, or the other
    /// way round.
    fn go(&self, to: Option<Arc<Node>>) {
        let chain = |from: &Option<Arc<Node>>| {
            std::iter::successors(from.clone(), |node| node.parent()).collect::<Vec<_>>()
        };
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (chain(&inside), chain(&to));
        *inside = to;
        for (these, those) in [(&old, &new), (&new, &old)] {
            for node in these.iter().filter(|node| !those.iter().any(|o| Arc::ptr_eq(o, node))) {
                if let Some(events) = node.child("cgroup.events") {
                    events.notify();
                }
            }
        }
    }
}

struct Calls(Arc<Rules>);

impl SystemCalls for Calls {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let make = || {
            let node = parent.make_dir(name)?;
            self.0.furnish(&node)?;
            // Switched in the scenario's own cgroup only.
            if parent.parent().is_none() && self.0.controlled.load(SeqCst) {
                node.make_file(CONTROLLED, silent())?;
            }
            node.activate();
            Ok(())
        };
        make().map_err(|error: kernfs::Error| error.errno())
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        node.remove();
        Ok(())
    }
}

/// `cgroup.procs`: whoever writes it comes in.
struct Procs(Arc<Rules>);

impl Attribute for Procs {
    fn store(&self, operation: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        self.0.go(operation.node().parent());
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

fn unable(error: impl Display) -> Failure {
    Failure::broken(format!("the model: {error}"))
}

impl Own {
    pub(super) fn new(profile: Profile, program: &[Step]) -> Result<Self, Failure> {
        let rules = Arc::new(Rules::default());
        let controlled = program.iter().any(|step| matches!(step, Step::Controller(_)));
        rules.controlled.store(controlled, SeqCst);
        let tree = Tree::new(Options {
            profile,
            create_deactivated: true,
            system_calls: Some(Arc::new(Calls(Arc::clone(&rules)))),
            ..Options::default()
        });
        rules.furnish(tree.root()).map_err(unable)?;
        tree.root().activate();
        let account = Account::new(Limits::default());
        let nonblocking = inotify::InitFlags::NONBLOCK;
        let mut own = Self {
            held: Vec::new(),
            pinned: Vec::new(),
            inotify: inotify::Inotify::new(&account, nonblocking).map_err(unable)?,
            labels: BTreeMap::new(),
            groups: BTreeMap::new(),
            names: Names::default(),
            told: Told::default(),
            account,
            mount: tree.mount(),
            tree,
            rules,
        };
        own.look("");
        Ok(own)
    }

    pub(super) fn act(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Watch(label, path, mask) => {
                let wd = self.mount.watch(&self.inotify, path, mask).map_err(unable)?;
                self.labels.insert(wd, label);
            }
            Step::Mark(label, path, flags, mask) => self.mark(label, path, flags, mask)?,
            Step::Mkdir(path) => {
                self.mount.mkdir(path).map_err(unable)?;
                self.look(path);
            }
            Step::Rmdir(path) => self.mount.rmdir(path).map_err(unable)?,
            Step::Open(path) => {
                self.held.push(self.mount.open(path, Access::READ).map_err(unable)?);
            }
            Step::Close => drop(self.held.pop()),
            Step::Pin(path) => self.pinned.push(self.mount.pin(path).map_err(unable)?),
            Step::Unpin => drop(self.pinned.pop()),
            Step::Lookup(name) => {
                if let Some(dir) = self.pinned.last() {
                    // As on the other side.
                    let _ = dir.lookup(name);
                }
            }
            Step::Look(path) => self.look(path),
            Step::Freeze(path, _) => self.write(&format!("{path}/cgroup.freeze"))?,
            Step::Enter(path) => self.write(&format!("{path}/cgroup.procs"))?,
            Step::Leave => self.rules.go(None),
            Step::Controller(on) => self.control(on).map_err(unable)?,
            Step::Reclaim => self.mount.reclaim(),
        }
        self.tree.drain();
        self.read();
        Ok(())
    }

    fn look(&mut self, path: &str) {
        // What is not there has no name.
        if let Ok(stat) = self.mount.lookup(path) {
            self.names.learn(stat.ino, path);
        }
    }

    fn write(&self, path: &str) -> Result<(), Failure> {
        let file = self.mount.open(path, Access::WRITE).map_err(unable)?;
        file.write(b"1").map_err(unable)
    }

    fn control(&self, on: bool) -> Result<(), kernfs::Error> {
        self.rules.controlled.store(on, SeqCst);
        for name in self.tree.root().child_names() {
            let Some(node) = self.tree.root().child(name).filter(|node| node.is_dir()) else {
                continue;
            };
            if on {
                node.make_file(CONTROLLED, silent())?.activate();
            } else {
                node.remove_child(CONTROLLED)?;
            }
        }
        Ok(())
    }

    fn mark(
        &mut self,
        label: &'static str,
        path: &str,
        flags: MarkFlags,
        mask: u64,
    ) -> Result<(), Failure> {
        use fanotify::InitFlags as Init;
        if !self.groups.contains_key(label) {
            let named = Init::REPORT_FID | Init::REPORT_DIR_FID | Init::REPORT_NAME;
            let flags = named | Init::REPORT_TARGET_FID | Init::NONBLOCK;
            self.groups.insert(label, Fanotify::new(&self.account, flags).map_err(unable)?);
        }
        let group = &self.groups[label];
        self.mount.mark(group, MarkFlags::ADD | flags, mask, path).map_err(unable)
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(read) = self.inotify.read(&mut buffer) {
            for record in inotify::records(&buffer[..read]) {
                let label = self.labels.get(&record.wd).copied().unwrap_or("queue");
                self.told.add(label, record.mask.bits(), record.name.unwrap_or_default());
            }
        }
        for (label, group) in &self.groups {
            while let Ok(read) = group.read(&mut buffer) {
                for record in fanotify::records(&buffer[..read]) {
                    if let Some(about) = self.names.describe(record.infos().filter_map(part)) {
                        self.told.add_record(label, record.metadata.mask.bits(), about);
                    }
                }
            }
        }
    }
}

pub(in crate::themes) fn part(info: fanotify::Info<'_>) -> Option<Part<'_>> {
    let role = match info.kind {
        InfoKind::Fid => "fid",
        InfoKind::Dfid => "dfid",
        InfoKind::DfidName => "entry",
    };
    Some(Part { role, id: info.handle.id()?, name: info.name.unwrap_or_default() })
}
