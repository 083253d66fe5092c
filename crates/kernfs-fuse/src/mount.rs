//! A mounted tree: made, announced on, ended.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use fuser::{BackgroundSession, INodeNo, MountOption, Notifier, Session, SessionACL};
use kernfs::{Answer, Listener, Node, Tree};
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{MountFlags, OpenTreeFlags, UnmountFlags, mount_remount, open_tree, unmount},
};

use crate::{
    Error, Options, OwnThread,
    announce::{self, Queues},
    handles::Handles,
    kick::Kick,
    known::Known,
    own::OwnThreads,
    requests::Server,
    shared::Shared,
    sleepers::Sleepers,
};

/// What a mount cannot do for lack of a privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Weakness {
    /// Without `CAP_DAC_READ_SEARCH` no file can be opened by handle: a file
    /// whose dentry the kernel reclaimed does not announce that a client's
    /// `rmdir` removed it; and the directory's own end is told after its
    /// `DELETE` at the one above.
    NoHandles,
    /// Without `CAP_SYS_ADMIN` there is no second, private mount: the mount
    /// point stays busy for a plain `umount`, and a read-only tree is kept so
    /// by the server alone.
    NoPrivateMount,
}

/// A tree that is mounted. Dropping it ends the mount at once, whatever
/// clients hold open: those get errors from then on, and watches get
/// `UNMOUNT` and `IGNORED`.
pub struct Mount {
    path: PathBuf,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    threads: Vec<JoinHandle<()>>,
    weaknesses: Vec<Weakness>,
    root: Option<Arc<OwnedFd>>,
    notifier: Notifier,
    /// The mount's device number, by which it is told from others there.
    device: u64,
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount")
            .field("path", &self.path)
            .field("weaknesses", &self.weaknesses)
            .finish_non_exhaustive()
    }
}

/// What a mount holds for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Nodes that the kernel has an inode of.
    pub known: usize,
    /// Files and directories that are open.
    pub open: usize,
    /// Nodes whose events wait to be raised.
    pub pending: usize,
}

impl Mount {
    /// Mounts a tree at an empty directory. What the tree's worker tells is
    /// raised as kernel events from now on: the tree must have one
    /// ([`kernfs::Options::worker`]) or be drained, or clients' `rmdir`s wait.
    ///
    /// # Errors
    /// [`Error`] says which; nothing is mounted then.
    pub fn new(tree: &Tree, path: &Path, options: &Options) -> Result<Self, Error> {
        if tree.capabilities().announces_every_removal != Answer::Yes {
            return Err(Error::Profile);
        }
        let path = check_mount_point(path)?;
        let shared = Arc::new(Shared {
            root: Arc::clone(tree.root()),
            system_calls: tree.system_calls(),
            read_only: options.read_only,
            known: Known::new(tree.root()),
            handles: Handles::default(),
            sleepers: Sleepers::default(),
            own: OwnThreads::default(),
            queues: Queues::default(),
        });
        let failed = |source| Error::Mount { path: path.clone(), source };
        let session =
            Session::new(Server::new(Arc::clone(&shared)), &path, &session_options(options))
                .map_err(failed)?;
        let notifier = session.notifier();
        let session = session.spawn().map_err(failed)?;
        let mut mount = Self {
            path: path.clone(),
            shared,
            session: Some(session),
            threads: Vec::new(),
            weaknesses: Vec::new(),
            root: None,
            notifier: notifier.clone(),
            device: 0,
        };
        // From here on dropping it unmounts.
        let root = Arc::new(mount.private_root(options.read_only).map_err(|e| failed(e.into()))?);
        mount.device = rustix::fs::fstat(&root).map_err(|e| failed(e.into()))?.st_dev;
        mount.root = Some(Arc::clone(&root));
        let kick = Kick::new(root, notifier, tree.root());
        if !kick.uses_handles() {
            mount.weaknesses.push(Weakness::NoHandles);
        }
        mount.announce("kernfs-changes", kick.another(), announce::tell_changes)?;
        mount.announce("kernfs-removals", kick, announce::finish_removals)?;
        let listener: Arc<dyn Listener> = Arc::clone(&mount.shared) as _;
        tree.listen(Arc::downgrade(&listener));
        Ok(mount)
    }

    fn announce(
        &mut self,
        name: &str,
        kick: Kick,
        life: fn(&Arc<Shared>, &Kick),
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(name.into());
        let thread = thread.spawn(move || life(&shared, &kick)).map_err(Error::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Our own way into the mount: a detached copy of it, which leaves the
    /// mount point free to be unmounted, and stays writable when clients' is
    /// not.
    fn private_root(&mut self, read_only: bool) -> rustix::io::Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = open_tree(CWD, &self.path, flags).and_then(|tree| {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(tree, c".", flags, Mode::empty())
        });
        match copy {
            Ok(root) => {
                if read_only {
                    let flags = MountFlags::BIND
                        | MountFlags::RDONLY
                        | MountFlags::NOSUID
                        | MountFlags::NODEV
                        | MountFlags::NOEXEC;
                    // A client who tries to write at this moment is in the way, not for long; and
                    // the server refuses him anyway.
                    for _ in 0..100 {
                        match mount_remount(&self.path, flags, c"") {
                            Err(Errno::BUSY) => thread::sleep(Duration::from_millis(1)),
                            done => return done.map(|()| root),
                        }
                    }
                }
                Ok(root)
            }
            Err(_) => {
                self.weaknesses.push(Weakness::NoPrivateMount);
                let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(&self.path, flags, Mode::empty())
            }
        }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its root directory, by a way of the server's own where that is
    /// permitted: what an [`OwnThread`] changes, it changes from here. Stays
    /// open for as long as the mount lives.
    #[must_use]
    pub fn root(&self) -> Option<Arc<OwnedFd>> {
        self.root.clone()
    }

    /// What it cannot do for lack of a privilege; empty for root.
    #[must_use]
    pub fn weaknesses(&self) -> &[Weakness] {
        &self.weaknesses
    }

    /// What it holds for its clients.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            known: self.shared.known.len(),
            open: self.shared.handles.len(),
            pending: self.shared.queues.len(),
        }
    }

    /// Has the kernel drop the names of a node, and all below it, from its
    /// cache, as memory pressure may: what is open or a working directory
    /// stays, but is found under its name no more. For tests of what
    /// watchers are told afterwards; they are told nothing by this.
    pub fn reclaim(&self, node: &Arc<Node>) {
        if let Some(parent) = node.parent() {
            // There may be no such name in the cache.
            let name = node.name();
            let _ = self.notifier.inval_entry(INodeNo(parent.id()), OsStr::from_bytes(&name));
        }
    }

    /// Makes the present thread one of the server's own: it may change a
    /// read-only tree through the mount, so that watchers see `CREATE` and
    /// `DELETE`. It must hold no lock that a node's attribute needs while it
    /// does.
    #[must_use]
    pub fn own_thread(&self) -> OwnThread {
        OwnThread::enter(&self.shared)
    }

    /// Whether it is still mounted where it was: someone else may unmount it.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|stat| stat.st_dev == self.device)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Not another one that was mounted over it.
        if self.device == 0 || self.is_mounted() {
            // Requests in flight fail, so that nothing waits for what ends
            // here. Whoever holds files open keeps them, dead.
            let _ = end_mount(&self.path);
        }
        self.shared.queues.close();
        for thread in self.threads.drain(..) {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
        self.root = None;
        drop(self.session.take());
    }
}

fn session_options(options: &Options) -> fuser::Config {
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.name.clone()),
        // The kernel checks modes and owners.
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.event_loops.max(1));
    // Each event loop is woken by its own requests.
    config.clone_fd = true;
    config
}

/// The real path of an empty directory. A mount that a killed server left
/// there is taken away first.
///
/// # Errors
/// [`Error::NoDevice`], [`Error::MountPoint`], [`Error::NotDirectory`], [`Error::NotEmpty`].
pub fn check_mount_point(path: &Path) -> Result<PathBuf, Error> {
    fs::File::options().read(true).write(true).open("/dev/fuse").map_err(Error::NoDevice)?;
    let unusable = |source| Error::MountPoint { path: path.to_owned(), source };
    let stale = |error: &io::Error| error.raw_os_error() == Some(not_connected());
    // Not by its attributes, which the kernel may have kept.
    if fs::read_dir(path).as_ref().is_err_and(stale) {
        end_mount(path).map_err(|error| unusable(error.into()))?;
    }
    let path = fs::canonicalize(path).map_err(unusable)?;
    let metadata = fs::metadata(&path).map_err(unusable)?;
    if !metadata.is_dir() {
        return Err(Error::NotDirectory { path });
    }
    if fs::read_dir(&path).map_err(unusable)?.next().is_some() {
        return Err(Error::NotEmpty { path });
    }
    Ok(path)
}

/// Ends a mount of this user at once: requests in flight fail, and who holds
/// files open keeps them, dead. Without `CAP_SYS_ADMIN` it is `fusermount3` that
/// ends it, which leaves requests waiting for as long as their server lives.
///
/// # Errors
/// Those of umount2(2): `EINVAL`, it is no mount any more; `EPERM`.
pub fn end_mount(path: &Path) -> rustix::io::Result<()> {
    let ended = unmount(path, UnmountFlags::FORCE | UnmountFlags::DETACH);
    if ended != Err(Errno::PERM) {
        return ended;
    }
    let mut command = Command::new("fusermount3");
    command.args(["-u", "-z", "-q", "--"]).arg(path).stdin(Stdio::null());
    let helped = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if helped.is_ok_and(|status| status.success()) { Ok(()) } else { ended }
}

/// What every call on a mount without a server fails with.
fn not_connected() -> i32 {
    Errno::NOTCONN.raw_os_error()
}
