//! Freezing (kernel: kernel/cgroup/freezer.c).
//!
//! A task that can be frozen is so at once; one that sleeps uninterruptibly when it wakes.

use crate::{state::State, truth::What};

impl State {
    /// `cgroup.freeze` of a cgroup (kernel: `cgroup_freeze`).
    pub(crate) fn freeze(&mut self, at: usize, freeze: bool) {
        if self.cgroups[at].freezer.freeze == freeze {
            return;
        }
        self.cgroups[at].freezer.freeze = freeze;
        let mut applied = false;
        for below in self.subtree(at) {
            let freezer = &mut self.cgroups[below].freezer;
            let before = freezer.effective;
            freezer.effective = if freeze { before + 1 } else { before.saturating_sub(1) };
            if (before > 0) != (freezer.effective > 0) {
                self.do_freeze(below, freeze);
                applied = true;
            }
        }
        if !applied {
            // There is nothing to wait for: an ancestor decides.
            self.notify_events(at);
        }
    }

    /// Kernel: `cgroup_do_freeze`.
    fn do_freeze(&mut self, at: usize, freeze: bool) {
        self.cgroups[at].freezer.freezing = freeze;
        for pid in self.cgroups[at].tasks.clone() {
            self.freeze_task(pid);
        }
        // Empty ones, and those whose descendants are there already.
        let cgroup = &self.cgroups[at];
        if cgroup.descendants == cgroup.freezer.descendants {
            self.update_frozen(at);
        }
    }

    /// Brings a task into the state its cgroup wants (kernel: `cgroup_freeze_task`, and
    /// `cgroup_enter_frozen` or `cgroup_leave_frozen` by the task itself).
    pub(crate) fn freeze_task(&mut self, pid: u32) {
        let Some(task) = self.tasks.get(&pid) else { return };
        let at = task.cgroup;
        let freeze = self.cgroups[at].freezer.freezing;
        if task.frozen == freeze || (freeze && !task.freezable) {
            return;
        }
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.frozen = freeze;
        }
        let frozen = &mut self.cgroups[at].freezer.tasks;
        *frozen = if freeze { *frozen + 1 } else { *frozen - 1 };
        self.update_frozen(at);
    }

    /// Kernel: `cgroup_update_frozen`.
    pub(crate) fn update_frozen(&mut self, at: usize) {
        let cgroup = &self.cgroups[at];
        let all = cgroup.freezer.tasks as usize == cgroup.tasks.len();
        let frozen = cgroup.freezer.freezing && all;
        if self.set_frozen(at, frozen) {
            self.propagate_frozen(at, frozen);
        }
    }

    fn set_frozen(&mut self, at: usize, frozen: bool) -> bool {
        let cgroup = &mut self.cgroups[at];
        if std::mem::replace(&mut cgroup.freezer.frozen, frozen) == frozen {
            return false;
        }
        let id = cgroup.id;
        self.notify_events(at);
        self.tell(id, What::Frozen(frozen));
        true
    }

    /// Kernel: `cgroup_propagate_frozen`.
    fn propagate_frozen(&mut self, at: usize, frozen: bool) {
        let mut changed = 1;
        for above in self.above(at).collect::<Vec<_>>() {
            let descendants = self.cgroups[above].descendants;
            let freezer = &mut self.cgroups[above].freezer;
            let turns = if frozen {
                freezer.descendants += changed;
                freezer.freezing && freezer.descendants == descendants
            } else {
                freezer.descendants -= changed;
                true
            };
            if turns && self.set_frozen(above, frozen) {
                changed += 1;
            }
        }
    }
}
