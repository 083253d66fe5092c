//! Mounts that clients are let loose on, each with a directory `d` and its file `cgroup.events`.

use std::{
    any::Any,
    fs,
    fs::File,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use kernfs::{Node, Tree};
use kernfs_fuse::Mount;

use crate::running::skipped;
use crate::{
    mounting::Mounted,
    running::{Cgroup, cgwatch, until},
};

/// One of the mounts.
pub(crate) struct Place {
    pub(crate) what: &'static str,
    /// `d`.
    pub(crate) directory: PathBuf,
    change: Box<dyn FnMut()>,
    remove: Box<dyn FnOnce()>,
    /// What is ended with it, in this order.
    _holds: Vec<Box<dyn Any>>,
}

impl Place {
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("cgroup.events")
    }

    /// Has the file's content change.
    pub(crate) fn change(&mut self) {
        (self.change)();
    }

    /// Has the directory removed; the place stays mounted until what is given is dropped.
    pub(crate) fn remove(self) -> impl Any {
        (self.remove)();
        self._holds
    }
}

/// All of them that can be mounted here.
pub(crate) fn all() -> Vec<Place> {
    let tree = tree().map(|tree| tree.place);
    [tree, hierarchy(), mirror()].into_iter().flatten().collect()
}

/// A tree of this process, changed by its server alone.
pub(crate) struct Served {
    pub(crate) place: Place,
    pub(crate) mount: Arc<Mount>,
    pub(crate) file: Arc<Node>,
}

pub(crate) fn tree() -> Option<Served> {
    if File::options().read(true).write(true).open("/dev/fuse").is_err()
        || !rustix::process::geteuid().is_root()
    {
        skipped("no /dev/fuse, or not root");
        return None;
    }
    let tree = Tree::new(kernfs::Options { worker: true, ..kernfs::Options::default() });
    let directory = tree.root().make_dir("d").unwrap();
    let file = directory.make_file("cgroup.events", Arc::new(|| b"populated 0\n".to_vec()));
    let file = file.unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let options = kernfs_fuse::Options::default();
    let mount = Arc::new(Mount::new(&tree, temporary.path(), &options).unwrap());
    let changing = Arc::clone(&file);
    let place = Place {
        what: "a tree",
        directory: mount.path().join("d"),
        change: Box::new(move || changing.notify()),
        remove: Box::new(move || directory.remove()),
        _holds: vec![Box::new(Arc::clone(&mount)), Box::new(tree), Box::new(temporary)],
    };
    Some(Served { place, mount, file })
}

/// `cgwatch mount`, changed by system calls on it.
fn hierarchy() -> Option<Place> {
    let mounted = Mounted::new(&[])?;
    let directory = mounted.make("d");
    Some(frozen_by_turns("cgwatch mount", directory.clone(), directory, vec![Box::new(mounted)]))
}

/// `cgwatch mirror`, changed on the host.
fn mirror() -> Option<Place> {
    // Tests may run at the same time.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("clients-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let Some(cgroup) = Cgroup::new(&name) else {
        skipped("no cgroup can be made");
        return None;
    };
    let real = cgroup.make("d");
    let mounted = Mounted::serving(|directory| {
        let mut command = cgwatch(["mirror".as_ref(), directory.as_os_str(), "--root".as_ref()]);
        command.arg(&cgroup.0).stderr(Stdio::null());
        command
    })?;
    let directory = mounted.directory.join("d");
    until("mirrored", || fs::read(directory.join("cgroup.events")).is_ok());
    Some(frozen_by_turns(
        "cgwatch mirror",
        real,
        directory,
        vec![Box::new(mounted), Box::new(cgroup)],
    ))
}

/// Seen at `directory`, and changed at `real`.
fn frozen_by_turns(
    what: &'static str,
    real: PathBuf,
    directory: PathBuf,
    holds: Vec<Box<dyn Any>>,
) -> Place {
    let switch = real.join("cgroup.freeze");
    let mut frozen = false;
    let change = move || {
        frozen = !frozen;
        fs::write(&switch, if frozen { "1" } else { "0" }).unwrap();
    };
    Place {
        what,
        directory,
        change: Box::new(change),
        remove: Box::new(move || fs::remove_dir(&real).unwrap()),
        _holds: holds,
    }
}
