//! rmdir(2) in steps (kernel: `cgroup_destroy_locked`): the files of the controllers go one by one,
//! then those that every cgroup has, the directory last. Who looks meanwhile finds a living directory
//! without some of its files.
//!
//! All the while the kernel holds `cgroup_mutex` and the locks of the directory and of the one it is
//! in: what needs one of them waits until the cgroup is gone. Here the waiting call is what completes
//! the removal.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::{
    Error, Hierarchy,
    file::File,
    state::{ROOT, State},
};

/// An rmdir(2) under way.
pub(crate) struct Removal {
    id: u64,
    path: Vec<u8>,
    /// The files that are still there.
    files: VecDeque<File>,
}

impl Hierarchy {
    /// Begins to remove a cgroup, whose files and directory go by [`step_rmdir`](Self::step_rmdir).
    /// One removal is under way at a time: another that is begun, and every other call that needs
    /// the kernel's locks, completes it first.
    ///
    /// # Errors
    /// Those of [`rmdir`](Self::rmdir).
    pub fn begin_rmdir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        self.finish_rmdir();
        let id = self.mount().lookup(path)?.ino;
        self.shared.with(|state| {
            let at = state.living(id).ok_or(Error::NoCgroup { id })?;
            let refused = |errno| Error::Refused { what: "to remove a cgroup", errno };
            state.check_removal(at).map_err(refused)?;
            let files = state.files_in_order_of_removal(at);
            state.removal = Some(Removal { id, path: path.to_vec(), files });
            Ok(())
        })
    }

    /// The next step of the removal that is under way. Tells whether steps are left.
    pub fn step_rmdir(&self) -> bool {
        let last = self.shared.with(|state| {
            let Some(removal) = &mut state.removal else { return None };
            match removal.files.pop_front() {
                Some(file) => {
                    let id = removal.id;
                    state.take_file(id, file);
                    None
                }
                None => state.removal.take(),
            }
        });
        if let Some(removal) = last {
            // Nothing can refuse: it was checked, and what could change that waited.
            let _ = self.mount().rmdir(&removal.path);
        }
        self.shared.look(|state| state.removal.is_some())
    }

    /// Completes the removal that is under way, as whoever waits for `cgroup_mutex` finds it.
    pub fn finish_rmdir(&self) {
        while self.step_rmdir() {}
    }

    /// As who waits for the lock of the directory with this id, to list it or to look up a name in it
    /// that is not cached.
    pub fn wait_for_rmdir_in(&self, id: u64) {
        let holds = self.shared.look(|state| {
            let removed = state.removal.as_ref().map(|removal| removal.id)?;
            let above = state.cgroups[state.living(removed)?].parent;
            Some(removed == id || above.is_some_and(|above| state.cgroups[above].id == id))
        });
        if holds == Some(true) {
            self.finish_rmdir();
        }
    }
}

impl State {
    /// Kernel: the first lines of `cgroup_destroy_locked`.
    pub(crate) fn check_removal(&self, at: usize) -> Result<(), Errno> {
        let cgroup = &self.cgroups[at];
        match at == ROOT || cgroup.is_populated() || !cgroup.children.is_empty() {
            true => Err(Errno::BUSY),
            false => Ok(()),
        }
    }

    /// Kernel: `css_clear_dir`, of each controller (`kill_css`) before that of the cgroup itself.
    fn files_in_order_of_removal(&self, at: usize) -> VecDeque<File> {
        let own = |file: &File| file.controller().is_none();
        let all = File::all().filter(|file| !own(file)).chain(File::all().filter(own));
        all.filter(|file| self.has_file(at, *file)).collect()
    }

    /// Kernel: `cgroup_rm_file`.
    fn take_file(&mut self, id: u64, file: File) {
        let Some(at) = self.living(id) else { return };
        self.unbind_notice(at, file);
        let directory = self.cgroups[at].directory.as_ref();
        if let Some(node) = directory.and_then(|directory| directory.child(file.name())) {
            self.remove_later(node);
        }
    }
}
