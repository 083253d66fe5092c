//! A tree that behaves as cgroup v2 does towards the VFS: `mkdir` makes a
//! directory with its files, `rmdir` removes both, and controllers come and go.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex},
};

use fsnotify::{
    Account, Limits, Mask,
    inotify::{self, Inotify, WatchMask},
};
use kernfs::{Attribute, Error, Node, Operation, Options, Profile, SuperBlock, SystemCalls, Tree};
use rustix::io::Errno;

pub(crate) const ALL: [Profile; 3] = [Profile::Linux70, Profile::Linux71, Profile::Announced];

/// The files of each directory.
pub(crate) const FILES: [&str; 3] = ["cgroup.events", "memory.events", "memory.high"];

/// A file's content in memory; as cgroup's, it wants to know of its end.
#[derive(Default)]
pub(crate) struct Value {
    pub(crate) content: Mutex<Vec<u8>>,
    pub(crate) released: Mutex<u32>,
}

impl Attribute for Value {
    fn show(&self, _: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        content.extend(&*self.content.lock().unwrap());
        Ok(())
    }

    fn store(&self, _: &Operation<'_>, content: &[u8]) -> Result<(), Errno> {
        *self.content.lock().unwrap() = content.to_vec();
        Ok(())
    }

    fn has_release(&self) -> bool {
        true
    }

    fn release(&self, _: &Node) {
        *self.released.lock().unwrap() += 1;
    }
}

struct Cgroups;

impl SystemCalls for Cgroups {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let node = parent.make_dir(name).map_err(|error| error.errno())?;
        for file in FILES {
            node.make_file(file, Arc::new(Value::default())).unwrap();
        }
        node.activate();
        Ok(())
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        let busy = node.child_names().iter().any(|name| node.child(name).unwrap().is_dir());
        if busy {
            return Err(Errno::BUSY);
        }
        node.remove();
        Ok(())
    }
}

/// A mounted tree and one inotify instance.
pub(crate) struct Hierarchy {
    pub(crate) mount: SuperBlock,
    pub(crate) tree: Tree,
    pub(crate) inotify: Inotify,
    pub(crate) account: Arc<Account>,
    names: RefCell<Vec<String>>,
}

pub(crate) fn options(profile: Profile) -> Options {
    Options {
        profile,
        create_deactivated: true,
        system_calls: Some(Arc::new(Cgroups)),
        ..Options::default()
    }
}

impl Hierarchy {
    pub(crate) fn new(profile: Profile) -> Self {
        let tree = Tree::new(options(profile));
        let mount = tree.mount();
        let account = Account::new(Limits::default());
        let inotify = Inotify::new(&account, inotify::InitFlags::NONBLOCK).unwrap();
        let hierarchy = Self { mount, tree, inotify, account, names: RefCell::default() };
        hierarchy.mount.mkdir("/g").unwrap();
        hierarchy
    }

    pub(crate) fn node(&self, path: &str) -> Arc<Node> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(Arc::clone(self.tree.root()), |node, name| node.child(name).unwrap())
    }

    /// Watches a path; its records are told as `label EVENT`.
    pub(crate) fn watch(&self, label: &str, path: &str, mask: WatchMask) -> i32 {
        let wd = self.mount.watch(&self.inotify, path, mask).unwrap();
        let mut names = self.names.borrow_mut();
        let len = names.len().max(wd as usize + 1);
        names.resize(len, String::new());
        names[wd as usize] = label.to_owned();
        wd
    }

    /// F, D and P of the tables: a file, its directory, the directory above,
    /// with all that can be told of removals and changes.
    pub(crate) fn watch_all(&self) {
        let file = WatchMask::MODIFY | WatchMask::DELETE_SELF;
        let dir = file | WatchMask::CREATE | WatchMask::DELETE;
        self.watch("F", "/g/memory.events", file);
        self.watch("D", "/g", dir);
        self.watch("P", "/", dir);
    }

    /// What was told so far, after the worker ran.
    pub(crate) fn told(&self) -> Vec<String> {
        self.tree.drain();
        self.queued()
    }

    /// What was told so far, without the worker.
    pub(crate) fn queued(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read) = self.inotify.read(&mut buffer) {
            for record in inotify::records(&buffer[..read]) {
                let label = match record.wd {
                    -1 => "queue".to_owned(),
                    wd => self.names.borrow()[wd as usize].clone(),
                };
                let name = record.name.map(String::from_utf8_lossy);
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                told.push(format!("{label} {}{name}", kernel_name(record.mask)));
            }
        }
        told
    }

    /// `echo -memory > cgroup.subtree_control`: the files go, without a word
    /// from the VFS.
    pub(crate) fn disable_controller(&self) {
        self.node("/g").remove_child("memory.events").unwrap();
    }
}

/// The event under its kernel name, without the prefix.
pub(crate) fn kernel_name(mask: Mask) -> String {
    let names: Vec<_> = mask.iter_names().map(|(name, _)| name).collect();
    names.join("|").replace("IN_IGNORED", "IGNORED")
}

/// The errno a call failed with.
pub(crate) fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    result.unwrap_err().errno()
}
