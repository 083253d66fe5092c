//! A mount on which every removal is announced, as on Linux 7.1, whatever this machine's kernel.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use kernfs::{Attribute, Node, Operation, SystemCalls, Tree};
use kernfs_fuse::Mount;
use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};
use tempfile::TempDir;

/// No test takes longer. Whoever is killed while it makes a call on its own mount cannot end.
const LONGEST: Duration = Duration::from_secs(40);

/// A file that counts how often it is read.
struct Events(Arc<AtomicU64>);

impl Attribute for Events {
    fn show(&self, _: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        self.0.fetch_add(1, Relaxed);
        content.extend(b"populated 0\n");
        Ok(())
    }
}

/// A directory that is made has the two files that every cgroup has.
struct Cgroups(Arc<AtomicU64>);

impl SystemCalls for Cgroups {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let made = parent.make_dir(name).map_err(|error| error.errno())?;
        for file in ["cgroup.events", "cgroup.procs"] {
            let made = made.make_file(file, Arc::new(Events(Arc::clone(&self.0))));
            made.map_err(|error| error.errno())?;
        }
        Ok(())
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        node.remove();
        Ok(())
    }
}

pub(crate) struct Announcing {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    readings: Arc<AtomicU64>,
    _in_time: Sender<()>,
    _mount: Mount,
    _tree: Tree,
    /// Dropped last.
    _directory: TempDir,
}

impl Announcing {
    /// `None`, with the reason printed, if nothing can be mounted here.
    pub(crate) fn mount() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        if fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            println!("skipped: /dev/fuse cannot be opened");
            return None;
        }
        let readings = Arc::default();
        let calls = Cgroups(Arc::clone(&readings));
        let options = kernfs::Options {
            worker: true,
            system_calls: Some(Arc::new(calls)),
            ..kernfs::Options::default()
        };
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("mount");
        fs::create_dir(&path).unwrap();
        let tree = Tree::new(options);
        let mount = Mount::new(&tree, &path, &kernfs_fuse::Options::default()).unwrap();
        let (_in_time, over) = channel();
        let point = path.clone();
        thread::spawn(move || {
            if over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                let _ = unmount(point, UnmountFlags::FORCE);
            }
        });
        Some(Self { path, readings, _in_time, _mount: mount, _tree: tree, _directory: directory })
    }

    /// How often a file was read.
    pub(crate) fn readings(&self) -> u64 {
        self.readings.load(Relaxed)
    }
}
