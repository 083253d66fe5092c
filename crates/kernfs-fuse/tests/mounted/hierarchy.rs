//! A small tree, mounted in the test's own process at a directory of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kernfs::{Attribute, Credentials, Node, Operation, SystemCalls, Tree};
use kernfs_fuse::Mount;
use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, Gid, Uid, capabilities, set_capabilities, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};
use tempfile::TempDir;

/// No test waits longer than this for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Says what this machine lacks. Where `CI=true` nothing may be lacking.
fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped: {why}");
    println!("skipped: {why}");
}

/// Waits for what nothing announces.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A file with the content "content\n" that keeps what was written last, and with whose rights.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Mutex<Option<(usize, Credentials)>>);

impl Attribute for Kept {
    fn show(&self, _: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        content.extend(b"content\n");
        Ok(())
    }

    fn store(&self, operation: &Operation<'_>, content: &[u8]) -> Result<(), Errno> {
        let credentials = operation.credentials().cloned().ok_or(Errno::INVAL)?;
        *self.0.lock().unwrap() = Some((content.len(), credentials));
        Ok(())
    }
}

/// A file of this name changes once more when its directory is removed.
pub(crate) const CHANGES_LAST: &str = "events";

/// `mkdir` makes a directory with one file; `rmdir` removes one with all below it.
struct Calls;

impl SystemCalls for Calls {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let directory = parent.make_dir(name).map_err(|error| error.errno())?;
        let file = directory.make_file("file", Arc::<Kept>::default());
        file.map(drop).map_err(|error| error.errno())
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        node.child(CHANGES_LAST).iter().for_each(Node::notify);
        node.remove();
        Ok(())
    }
}

/// The tree and its mount. Unmounted when dropped.
pub(crate) struct Hierarchy {
    pub(crate) mount: Mount,
    pub(crate) tree: Tree,
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// Dropped last.
    _directory: TempDir,
}

impl Hierarchy {
    /// `None`, with the reason printed, if nothing can be mounted here.
    pub(crate) fn mount() -> Option<Self> {
        Self::mount_without(CapabilitySet::empty())
    }

    /// The same by a server without some of its capabilities.
    pub(crate) fn mount_without(lacking: CapabilitySet) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("needs root");
            return None;
        }
        if fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            skipped("/dev/fuse cannot be opened");
            return None;
        }
        // The helper that mounts for a server without this capability.
        let helper = || Command::new("fusermount3").arg("--version").output();
        if lacking.contains(CapabilitySet::SYS_ADMIN) && helper().is_err() {
            skipped("there is no fusermount3");
            return None;
        }
        let directory = TempDir::new().unwrap();
        // Other users' clients follow the way to it.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("mount");
        fs::create_dir(&path).unwrap();
        let options = kernfs::Options {
            worker: true,
            system_calls: Some(Arc::new(Calls)),
            ..kernfs::Options::default()
        };
        let tree = Tree::new(options);
        let options = kernfs_fuse::Options {
            name: "kernfs-fuse-test".into(),
            allow_other: true,
            ..kernfs_fuse::Options::default()
        };
        // All threads of the server have what the thread has that starts them.
        let mount = || {
            let mut sets = capabilities(None).unwrap();
            for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
                set.remove(lacking);
            }
            set_capabilities(None, sets).unwrap();
            Mount::new(&tree, &path, &options).unwrap()
        };
        let mount = std::thread::scope(|scope| scope.spawn(mount).join().unwrap());
        Some(Self { mount, tree, path, _directory: directory })
    }

    /// Where a node of this path is to be found.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    /// Makes a directory in the root, in the tree itself.
    pub(crate) fn make_dir(&self, name: &str) -> Arc<Node> {
        self.tree.root().make_dir(name).unwrap()
    }
}

/// Makes a file that nobody asks what was written to it.
pub(crate) fn make_file(directory: &Arc<Node>, name: &str) -> Arc<Node> {
    directory.make_file(name, Arc::<Kept>::default()).unwrap()
}

/// Runs a client with another user's credentials: those of one thread, which has no capabilities
/// then.
pub(crate) fn as_user<T: Send>(
    user: u32,
    group: u32,
    groups: &[u32],
    client: impl FnOnce() -> T + Send,
) -> T {
    let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    let client = move || {
        set_thread_groups(&groups).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        client()
    };
    std::thread::scope(|scope| scope.spawn(client).join().unwrap())
}
