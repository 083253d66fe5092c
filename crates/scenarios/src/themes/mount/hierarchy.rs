//! A mounted tree as small as it can be: directories of three files, made by
//! `mkdir` and removed by `rmdir`, as a cgroup hierarchy has them.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kernfs::{Attribute, Node, Operation, Options, SystemCalls, Tree};
use kernfs_fuse::{Mount, Weakness};
use rustix::{io::Errno, thread::CapabilitySet};

use crate::{Environment, Failure, mounts};

const NAME: &str = "cgwatch-mount-";

/// The files of each directory.
pub(crate) const FILES: [&str; 3] = ["cgroup.events", "memory.events", "cgroup.procs"];

/// A file that says how often it was changed, and counts what is stored.
#[derive(Default)]
struct Counted {
    shown: AtomicU64,
    stored: Arc<AtomicU64>,
}

impl Attribute for Counted {
    fn show(&self, _: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        let shown = self.shown.fetch_add(1, Ordering::Relaxed);
        content.extend(format!("shown {shown}\n").bytes());
        Ok(())
    }

    fn store(&self, operation: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        self.stored.fetch_add(1, Ordering::Relaxed);
        if operation.node().name().ends_with(b".events") { Err(Errno::INVAL) } else { Ok(()) }
    }

    fn has_release(&self) -> bool {
        true
    }
}

struct Calls {
    stored: Arc<AtomicU64>,
}

impl Calls {
    fn fill(&self, directory: &Arc<Node>) -> Result<(), Errno> {
        for name in FILES {
            let file = Counted { stored: Arc::clone(&self.stored), ..Counted::default() };
            directory.make_file(name, Arc::new(file)).map_err(|error| error.errno())?;
        }
        Ok(())
    }
}

impl SystemCalls for Calls {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let directory = parent.make_dir(name).map_err(|error| error.errno())?;
        self.fill(&directory)
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        if node.all_children().iter().any(|child| child.is_dir()) {
            return Err(Errno::BUSY);
        }
        node.remove();
        Ok(())
    }
}

/// The tree and its mount, in a directory of their own. Unmounted and removed
/// when dropped.
pub(crate) struct Hierarchy {
    mount: Mutex<Option<Mount>>,
    tree: Tree,
    path: PathBuf,
    calls: Arc<Calls>,
}

impl Hierarchy {
    pub(crate) fn mount(environment: &Environment) -> Result<Self, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        mounts::clear_orphans(&environment.scratch, NAME);
        let name = format!("{NAME}{}-{number}", std::process::id());
        let path = environment.scratch.join(name);
        fs::create_dir(&path).map_err(Failure::driver("make", &path))?;
        let calls = Arc::new(Calls { stored: Arc::default() });
        let tree = Tree::new(Options {
            worker: true,
            system_calls: Some(Arc::clone(&calls) as _),
            ..Options::default()
        });
        let mut hierarchy = Self { mount: Mutex::new(None), tree, path, calls };
        let mount = Mount::new(&hierarchy.tree, &hierarchy.path, &kernfs_fuse::Options::default());
        let mount = mount.map_err(|error| Failure::broken(format!("{error}: {error:?}")))?;
        if mount.weaknesses() != expected_weaknesses()? {
            return Err(Failure::broken(format!("{:?}", mount.weaknesses())));
        }
        hierarchy.mount = Mutex::new(Some(mount));
        Ok(hierarchy)
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// What the server itself makes; told to nobody.
    pub(crate) fn make(&self, path: &str) -> Result<Arc<Node>, Failure> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.node(above)?.make_dir(name).and_then(|directory| {
            self.calls.fill(&directory).map_err(|_| kernfs::Error::Stale)?;
            Ok(directory)
        });
        directory.map_err(|error| Failure::broken(format!("{path}: {error}")))
    }

    pub(crate) fn node(&self, path: &str) -> Result<Arc<Node>, Failure> {
        let mut node = Arc::clone(self.tree.root());
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let missing = || Failure::broken(format!("no node {path}"));
            node = node.child(name).ok_or_else(missing)?;
        }
        Ok(node)
    }

    /// How many writes came to the files.
    pub(crate) fn stored(&self) -> u64 {
        self.calls.stored.load(Ordering::Relaxed)
    }

    pub(crate) fn with_mount<T>(&self, use_it: impl FnOnce(&Mount) -> T) -> Result<T, Failure> {
        let mount = self.mount.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        mount.as_ref().map(use_it).ok_or_else(|| Failure::broken("unmounted"))
    }

    /// Ends the mount.
    pub(crate) fn unmount(&self) {
        let mount = self.mount.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        drop(mount);
    }

    /// Has the kernel forget the names of a directory and all in it: by
    /// memory pressure in a guest, one by one elsewhere.
    pub(crate) fn reclaim(&self, environment: &Environment, path: &str) -> Result<(), Failure> {
        if !environment.guest {
            let node = self.node(path)?;
            return self.with_mount(|mount| mount.reclaim(&node));
        }
        // Siblings that nobody watches, looked up after what is to go.
        let siblings: Vec<_> = (0..64).map(|n| format!("sibling-{n}")).collect();
        for name in &siblings {
            self.make(name)?;
            let path = self.path.join(name).join(FILES[0]);
            fs::metadata(&path).map_err(Failure::driver("stat", path))?;
        }
        let known = self.with_mount(Mount::known)?;
        let drop_caches = "/proc/sys/vm/drop_caches";
        for _ in 0..20 {
            fs::write(drop_caches, "2").map_err(Failure::driver("write", drop_caches))?;
            // Each sibling and its file.
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end {
                if self.with_mount(Mount::known)? + 2 * siblings.len() <= known {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Err(Failure::Skip("the kernel reclaimed nothing".into()))
    }
}

/// What a mount of this process says it cannot do.
fn expected_weaknesses() -> Result<&'static [Weakness], Failure> {
    let all = rustix::thread::capabilities(None)?.effective;
    let has_all = all.contains(CapabilitySet::DAC_READ_SEARCH);
    Ok(if has_all { &[] } else { &[Weakness::NoHandles] })
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        self.unmount();
        // Nothing is in it, or something of a failure, to be looked at.
        let _ = fs::remove_dir(&self.path);
    }
}
