//! A tree and how nodes come into it (kernel: `kernfs_create_root`,
//! `kernfs_add_one`).

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    Attribute, Capabilities, Error, Node, Profile, SuperBlock, SystemCalls, core::Core,
    error::text, node::check_name, sync::lock,
};

/// The root's id, as on Linux.
pub(crate) const ROOT_ID: u64 = 1;

/// How a tree is made.
#[derive(Clone)]
pub struct Options {
    /// Whose rules it follows.
    pub profile: Profile,
    /// Nodes are made unusable and invisible, and appear with
    /// [`Node::activate`] (kernel: `KERNFS_ROOT_CREATE_DEACTIVATED`; cgroup).
    pub create_deactivated: bool,
    /// Handles can be turned back into files (kernel:
    /// `KERNFS_ROOT_SUPPORT_EXPORTOP`; cgroup yes, sysfs no). Without it no
    /// super block can be marked.
    pub decodes_handles: bool,
    /// A node keeps its directory for life; it may be renamed within (kernel:
    /// `KERNFS_ROOT_INVARIANT_PARENT`; cgroup).
    pub fixed_parents: bool,
    /// Whether a thread delivers what is pending; otherwise it waits for
    /// [`Tree::drain`].
    pub worker: bool,
    /// What `mkdir`, `rmdir` and `rename` do; not permitted without.
    pub system_calls: Option<Arc<dyn SystemCalls>>,
    /// The process that system calls are made by, in fanotify records.
    pub pid: i32,
    /// The process that deferred events come from, in fanotify records.
    pub worker_pid: i32,
}

impl Default for Options {
    /// [`Profile::Announced`], delivery by hand, no system calls.
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            create_deactivated: false,
            decodes_handles: true,
            fixed_parents: false,
            worker: false,
            system_calls: None,
            pid: 1,
            worker_pid: 2,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("profile", &self.profile)
            .field("create_deactivated", &self.create_deactivated)
            .field("decodes_handles", &self.decodes_handles)
            .field("fixed_parents", &self.fixed_parents)
            .field("worker", &self.worker)
            .field("system_calls", &self.system_calls.is_some())
            .finish_non_exhaustive()
    }
}

/// A tree of nodes. Dropping it removes all of them, tells what is pending,
/// and ends the worker; mounts and open files that are left find it empty. Not
/// to be dropped from a readiness hook, as it drains.
#[doc(alias = "kernfs_root")]
pub struct Tree {
    core: Arc<Core>,
    root: Arc<Node>,
    #[cfg(not(loom))]
    worker: Option<std::thread::JoinHandle<()>>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("options", &self.core.options)
            .field("nodes", &self.nodes())
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// A tree with an empty root.
    #[must_use]
    pub fn new(options: Options) -> Self {
        #[cfg(not(loom))]
        let with_worker = options.worker;
        let core = Core::new(options);
        let root = Node::new(&core, &Weak::new(), b"", None, None);
        root.activate();
        Self {
            #[cfg(not(loom))]
            worker: with_worker.then(|| {
                let core = Arc::clone(&core);
                std::thread::spawn(move || core.pending.work(&core))
            }),
            core,
            root,
        }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// What can be relied on.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.core.options.profile.capabilities()
    }

    /// What `mkdir`, `rmdir` and `rename` do, for servers of other mounts.
    #[must_use]
    pub fn system_calls(&self) -> Option<Arc<dyn SystemCalls>> {
        self.core.options.system_calls.clone()
    }

    /// Mounts the tree: one more view with a cache and marks of its own.
    #[must_use]
    pub fn mount(&self) -> SuperBlock {
        SuperBlock::new(&self.core, &self.root)
    }

    /// Tells all that is pending, in this thread. When it returns, what was
    /// pending at the call has been told, also if a worker thread did it.
    /// Not to be called from a readiness hook. Returns how many nodes it told
    /// about.
    pub fn drain(&self) -> usize {
        self.core.pending.deliver(&self.core)
    }

    /// Nodes that have something to tell.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.core.pending.len()
    }

    /// Nodes in memory, removed ones that someone holds among them.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.core.ids.len()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.root.remove();
        self.drain();
        self.core.pending.close();
        #[cfg(not(loom))]
        if let Some(worker) = self.worker.take()
            && worker.thread().id() != std::thread::current().id()
        {
            // A worker that panicked has nothing left to tell.
            let _ = worker.join();
        }
    }
}

impl Node {
    /// Makes a directory in this one.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` (this one is being removed), `ENOTDIR`, `EINVAL` and
    /// `ENAMETOOLONG` (the name).
    #[doc(alias = "kernfs_create_dir")]
    pub fn make_dir(self: &Arc<Self>, name: impl AsRef<[u8]>) -> Result<Arc<Self>, Error> {
        self.add(name.as_ref(), None, None)
    }

    /// As [`make_dir`](Self::make_dir), with this id unless a node in memory
    /// has its lower half: for trees that show another's nodes.
    ///
    /// # Errors
    /// As [`make_dir`](Self::make_dir).
    pub fn make_dir_with_id(
        self: &Arc<Self>,
        name: impl AsRef<[u8]>,
        id: u64,
    ) -> Result<Arc<Self>, Error> {
        self.add(name.as_ref(), None, Some(id))
    }

    /// Makes a file in this directory.
    ///
    /// # Errors
    /// As [`make_dir`](Self::make_dir).
    #[doc(alias = "kernfs_create_file")]
    pub fn make_file(
        self: &Arc<Self>,
        name: impl AsRef<[u8]>,
        attribute: Arc<dyn Attribute>,
    ) -> Result<Arc<Self>, Error> {
        self.add(name.as_ref(), Some(attribute), None)
    }

    /// As [`make_file`](Self::make_file), with an id as in
    /// [`make_dir_with_id`](Self::make_dir_with_id).
    ///
    /// # Errors
    /// As [`make_dir`](Self::make_dir).
    pub fn make_file_with_id(
        self: &Arc<Self>,
        name: impl AsRef<[u8]>,
        id: u64,
        attribute: Arc<dyn Attribute>,
    ) -> Result<Arc<Self>, Error> {
        self.add(name.as_ref(), Some(attribute), Some(id))
    }

    fn add(
        self: &Arc<Self>,
        name: &[u8],
        attribute: Option<Arc<dyn Attribute>>,
        id: Option<u64>,
    ) -> Result<Arc<Self>, Error> {
        check_name(name)?;
        let Some(children) = self.children() else {
            return Err(Error::NotDirectory { name: self.text() });
        };
        let node = Self::new(self.core(), &Arc::downgrade(self), name, attribute, id);
        {
            let mut children = lock(children);
            if self.is_removed() {
                return Err(Error::NotFound { name: self.text() });
            }
            if children.get(name).is_some() {
                return Err(Error::Exists { name: text(name) });
            }
            children.insert(node.name(), Arc::clone(&node));
        }
        if !self.core().options.create_deactivated {
            node.activate();
        }
        Ok(node)
    }
}
