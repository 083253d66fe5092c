//! The life of a cgroup (kernel: `cgroup_mkdir`, `cgroup_create`, `cgroup_destroy_locked`,
//! kernel/cgroup/cgroup.c).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use kernfs::{Node, SystemCalls};
use rustix::io::Errno;

use crate::{
    Controllers,
    limiter::Notice,
    state::{Cgroup, Freezer, Shared, State},
    truth::What,
};

/// What the tree's `mkdir` and `rmdir` do.
pub(crate) struct Calls {
    pub(crate) shared: Weak<Shared>,
}

impl SystemCalls for Calls {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let shared = self.shared.upgrade().ok_or(Errno::NODEV)?;
        shared.with(|state| state.mkdir(parent, name))
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        let shared = self.shared.upgrade().ok_or(Errno::NODEV)?;
        shared.with(|state| state.rmdir(node.id()))
    }
}

impl State {
    /// Enters the root, which has a state of every controller.
    pub(crate) fn plant(&mut self, root: &Arc<Node>) {
        let at = self.cgroups.insert(Cgroup::new(root, None));
        self.by_id.insert(root.id(), at);
        self.lives.born(root.id(), b"/".to_vec(), self.now);
        for controller in self.options.controllers.iter() {
            self.make_state(at, controller);
        }
        // Nothing can refuse: the root was made for this.
        let _ = self.make_files(at, None);
        root.activate();
    }

    fn mkdir(&mut self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        // /proc/PID/cgroup must stay parseable.
        if name.contains(&b'\n') {
            return Err(Errno::INVAL);
        }
        let above = self.living(parent.id()).ok_or(Errno::NODEV)?;
        self.check_limits(above)?;
        let node = parent.make_dir(name).map_err(|error| error.errno())?;
        let id = node.id();
        let mut cgroup = Cgroup::new(&node, Some(above));
        let freezes = self.cgroups[above].freezer.effective;
        // Kernel: `freezer.freeze` is its own; what it inherits is that its tasks shall freeze,
        // and without any it is frozen at once.
        cgroup.freezer.effective = freezes;
        cgroup.freezer.freezing = freezes > 0;
        cgroup.freezer.frozen = freezes > 0;
        let at = self.cgroups.insert(cgroup);
        self.by_id.insert(id, at);
        self.cgroups[above].children.insert(id, at);
        for above in self.above(at).collect::<Vec<_>>() {
            let cgroup = &mut self.cgroups[above];
            cgroup.descendants += 1;
            cgroup.freezer.descendants += u32::from(freezes > 0);
        }
        let path = self.path(at);
        self.lives.born(id, path, self.now);
        self.tell(id, What::Born { parent: parent.id() });
        let made = self.make_files(at, None).and_then(|()| self.enable_below(at));
        if let Err(errno) = made {
            // As if it had never been; nobody could see it yet.
            self.bury(at);
            return Err(errno);
        }
        node.activate();
        Ok(())
    }

    /// Kernel: `cgroup_check_hierarchy_limits`.
    fn check_limits(&self, parent: usize) -> Result<(), Errno> {
        let chain = std::iter::once(parent).chain(self.above(parent));
        for (level, at) in (1..).zip(chain) {
            let cgroup = &self.cgroups[at];
            let full = cgroup.max_descendants.is_some_and(|max| cgroup.descendants >= max);
            if full || cgroup.max_depth.is_some_and(|max| level > max) {
                return Err(Errno::AGAIN);
            }
        }
        Ok(())
    }

    fn rmdir(&mut self, id: u64) -> Result<(), Errno> {
        // Kernel: `cgroup_rmdir` succeeds where the cgroup is dead already.
        let Some(at) = self.living(id) else { return Ok(()) };
        self.check_removal(at)?;
        self.bury(at);
        Ok(())
    }

    /// The end of a cgroup. What its controllers' states still hold goes on counting.
    fn bury(&mut self, at: usize) {
        let cgroup = &mut self.cgroups[at];
        let (id, threaded, frozen) = (cgroup.id, cgroup.threaded, cgroup.freezer.frozen);
        cgroup.live = false;
        // The directory takes the files with it.
        cgroup.events.unbind();
        let directory = cgroup.directory.take();
        let states = cgroup.states;
        if let Some(directory) = directory {
            self.remove_later(directory);
        }
        if let Some(parent) = self.cgroups[at].parent {
            self.cgroups[parent].children.remove(&id);
            self.cgroups[parent].threaded_children -= u32::from(threaded);
        }
        for above in self.above(at).collect::<Vec<_>>() {
            let cgroup = &mut self.cgroups[above];
            cgroup.descendants -= 1;
            cgroup.dying_descendants += 1;
            cgroup.freezer.descendants -= u32::from(frozen);
        }
        self.lives.died(id, self.now);
        self.tell(id, What::Died);
        for state in states.into_iter().flatten() {
            self.take_offline(state);
            for notice in &mut self.states[state].notices {
                notice.unbind();
            }
            self.release_state(state);
        }
        self.release_cgroup(at);
    }

    /// Makes the files of a controller, or those that every cgroup has (kernel:
    /// `css_populate_dir`).
    pub(crate) fn make_files(
        &mut self,
        at: usize,
        controller: Option<Controllers>,
    ) -> Result<(), Errno> {
        let Some(directory) = self.cgroups[at].directory.clone() else { return Err(Errno::NODEV) };
        for n in 0..self.files.len() {
            let (file, attribute) = &self.files[n];
            let file = *file;
            if file.controller() != controller || !file.exists(self, at) {
                continue;
            }
            let node = directory.make_file(file.name(), Arc::clone(attribute));
            let node = node.map_err(|error| error.errno())?;
            // Those of a directory in the making appear with it.
            if directory.is_active() {
                node.activate();
            }
            self.bind_notice(at, file, &node);
        }
        Ok(())
    }

    /// Removes the files of a controller (kernel: `css_clear_dir`).
    pub(crate) fn remove_files(&mut self, at: usize, controller: Controllers) {
        if let Some(state) = self.cgroups[at].states[controller.index()] {
            for notice in &mut self.states[state].notices {
                notice.unbind();
            }
        }
        let Some(directory) = self.cgroups[at].directory.clone() else { return };
        for n in 0..self.files.len() {
            let file = self.files[n].0;
            if file.controller() == Some(controller)
                && let Some(node) = directory.child(file.name())
            {
                self.remove_later(node);
            }
        }
    }
}

impl Cgroup {
    fn new(directory: &Arc<Node>, parent: Option<usize>) -> Self {
        Self {
            id: directory.id(),
            name: directory.name(),
            parent,
            children: BTreeMap::new(),
            live: true,
            directory: Some(Arc::clone(directory)),
            events: Notice::default(),
            tasks: BTreeSet::new(),
            populated_domains: 0,
            populated_threaded: 0,
            threaded: false,
            threaded_children: 0,
            descendants: 0,
            dying_descendants: 0,
            max_descendants: None,
            max_depth: None,
            freezer: Freezer::default(),
            subtree_control: Controllers::empty(),
            subtree_mask: Controllers::empty(),
            states: [None; crate::event::CONTROLLERS],
            held: 0,
            visible: Controllers::empty(),
            former: Vec::new(),
        }
    }
}
