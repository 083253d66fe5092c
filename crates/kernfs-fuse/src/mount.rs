//! A mounted tree: made, announced on, ended.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use fuser::{BackgroundSession, INodeNo, Notifier};
use kernfs::{Answer, Listener, Node, Tree};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::{
    Error, MountId, MountPoint, Options, OwnThread,
    announce::{self, Queues},
    attach::{Served, attach},
    handles::Handles,
    kick::Kick,
    known::Known,
    own::OwnThreads,
    place::Attached,
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
    /// Root without `CAP_DAC_OVERRIDE` or `CAP_FOWNER` cannot touch what other
    /// users own: their watchers miss `MODIFY`, and `CREATE` and `DELETE`
    /// where the server itself makes and removes directories.
    NoOverride,
}

/// Whether this process may touch all there can be in a tree of its own. Any
/// other user than root cannot have anything in it that is not his.
fn overrides_owners() -> bool {
    let needed = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    let has = |sets: CapabilitySets| sets.effective.contains(needed);
    !rustix::process::geteuid().is_root() || rustix::thread::capabilities(None).is_ok_and(has)
}

/// A tree that is mounted. Dropping it ends the mount at once, whatever
/// clients hold open: those get errors from then on, and watches get
/// `UNMOUNT` and `IGNORED`.
pub struct Mount {
    attached: Arc<Attached>,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    threads: Vec<JoinHandle<()>>,
    weaknesses: Vec<Weakness>,
    root: Option<Arc<OwnedFd>>,
    notifier: Notifier,
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount")
            .field("attached", &self.attached)
            .field("weaknesses", &self.weaknesses)
            .finish_non_exhaustive()
    }
}

impl Mount {
    /// Mounts a tree at an empty directory. What the tree's worker tells is
    /// raised as kernel events from now on: the tree must have one
    /// ([`kernfs::Options::worker`]) or be drained, or clients' `rmdir`s wait.
    ///
    /// # Errors
    /// [`Error`] says which; nothing is mounted then.
    pub fn new(tree: &Tree, path: &Path, options: &Options) -> Result<Self, Error> {
        Self::at(tree, MountPoint::open(path, &options.name)?, options)
    }

    /// The same at a directory that was opened before.
    ///
    /// # Errors
    /// As [`Mount::new`].
    pub fn at(tree: &Tree, place: MountPoint, options: &Options) -> Result<Self, Error> {
        if tree.capabilities().announces_every_removal != Answer::Yes {
            return Err(Error::Profile);
        }
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
        // Before it is mounted: a client that comes first may remove a directory, and waits until all
        // of that was told.
        let listener: Arc<dyn Listener> = Arc::clone(&shared) as _;
        tree.listen(Arc::downgrade(&listener));
        let path = place.path().to_owned();
        let served = attach(Server::new(Arc::clone(&shared)), place, options)
            .map_err(|source| Error::Mount { path, source })?;
        let Served { session, attached, root, weakness } = served;
        let (root, notifier) = (Arc::new(root), session.notifier());
        // From here on dropping it unmounts.
        let mut mount = Self {
            attached: Arc::new(attached),
            shared,
            session: Some(session),
            threads: Vec::new(),
            weaknesses: weakness.into_iter().collect(),
            root: Some(Arc::clone(&root)),
            notifier: notifier.clone(),
        };
        let kick = Kick::new(root, notifier, tree.root());
        if !kick.uses_handles() {
            mount.weaknesses.push(Weakness::NoHandles);
        }
        if !overrides_owners() {
            mount.weaknesses.push(Weakness::NoOverride);
        }
        mount.announce("kernfs-changes", kick.another(), announce::tell_changes)?;
        mount.announce("kernfs-removals", kick, announce::finish_removals)?;
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

    /// Where it was mounted, without links. Whoever owns a directory on the
    /// way may lead it elsewhere by now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.attached.place.path()
    }

    /// Which mount it is.
    #[must_use]
    pub fn id(&self) -> MountId {
        self.attached.id
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

    /// How many nodes the kernel has an inode of, each of which the server keeps.
    #[must_use]
    pub fn known(&self) -> usize {
        self.shared.known.len()
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

    /// Whether it is still mounted where it was, with nothing over it: someone
    /// else may unmount it.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        self.attached.is_mounted()
    }

    /// What ends it from anywhere.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        Unmounter(Arc::clone(&self.attached))
    }
}

/// Ends a mount at once, whoever else holds it.
#[derive(Clone, Debug)]
pub struct Unmounter(Arc<Attached>);

impl Unmounter {
    /// Unmounts: clients' requests fail from now on, and those of the server's own that are in
    /// flight. Nothing else that is mounted there is touched.
    ///
    /// # Errors
    /// Those of umount2(2): `EINVAL`, it is not mounted any more, or another mount is over it;
    /// `EPERM`.
    pub fn unmount(&self) -> rustix::io::Result<()> {
        self.0.unmount()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Requests in flight fail, so that nothing waits for what ends here.
        // Whoever holds files open keeps them, dead. Someone else may have
        // unmounted it.
        let _ = self.attached.unmount();
        self.shared.queues.close();
        for thread in self.threads.drain(..) {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
        self.root = None;
        drop(self.session.take());
    }
}
