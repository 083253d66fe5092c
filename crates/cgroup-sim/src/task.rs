//! Tasks: where they are, and who is populated by them (kernel: `css_set_move_task`,
//! `cgroup_update_populated`, `cgroup_attach_task`, `cgroup_kill`, kernel/cgroup/cgroup.c).
//!
//! A task is a thread; the first of a process gives it its number. A killed simulated task is gone
//! at once, an adopted one when its exit is reported.

use std::{collections::BTreeSet, sync::Arc};

use kernfs::{Access, Credentials, Node};
use rustix::io::Errno;

use crate::{Controllers, controller::Body, file::File, memory::Charge, state::State, truth::What};

/// A thread.
#[derive(Debug)]
pub(crate) struct Task {
    /// The process it belongs to.
    pub(crate) process: u32,
    pub(crate) cgroup: usize,
    /// It is frozen.
    pub(crate) frozen: bool,
    /// It can be frozen now: it does not sleep uninterruptibly.
    pub(crate) freezable: bool,
    /// The OOM killer may take it (`oom_score_adj` above -1000).
    pub(crate) killable: bool,
    /// It is of the real system.
    pub(crate) adopted: bool,
    /// Of a process's first thread: the others.
    pub(crate) others: Vec<u32>,
    /// Of a process's first thread: its memory, by the states it was charged to.
    pub(crate) charges: Vec<Charge>,
}

impl State {
    /// A new thread in a cgroup: of a new process, or of one that is there. The controllers have
    /// let it pass.
    fn enter(&mut self, pid: u32, process: u32, at: usize, adopted: bool) {
        let task = Task {
            process,
            cgroup: at,
            frozen: false,
            freezable: true,
            killable: true,
            adopted,
            others: Vec::new(),
            charges: Vec::new(),
        };
        if let Some(first) = self.tasks.get_mut(&process) {
            first.others.push(pid);
        }
        self.tasks.insert(pid, task);
        self.put_task(pid, at);
        // Into a frozen cgroup it comes frozen, without a moment in between (kernel:
        // `cgroup_post_fork`).
        self.freeze_task(pid);
    }

    /// A number for a new task.
    fn next_pid(&mut self) -> u32 {
        loop {
            let pid = self.next_pid;
            self.next_pid = self.next_pid.wrapping_add(1).max(1);
            if !self.tasks.contains_key(&pid) {
                return pid;
            }
        }
    }

    /// A process from outside, as with `clone3(CLONE_INTO_CGROUP)` (kernel:
    /// `cgroup_css_set_fork`).
    pub(crate) fn spawn(&mut self, at: usize) -> Result<u32, Errno> {
        self.vet_destination(at)?;
        self.charge_fork(at)?;
        let pid = self.next_pid();
        self.enter(pid, pid, at, false);
        Ok(pid)
    }

    /// A child process, or another thread, beside a task (kernel: `cgroup_can_fork`).
    pub(crate) fn fork(&mut self, parent: u32, thread: bool) -> Result<u32, Errno> {
        let task = self.tasks.get(&parent).ok_or(Errno::SRCH)?;
        let (at, process) = (task.cgroup, task.process);
        self.charge_fork(at)?;
        let pid = self.next_pid();
        self.enter(pid, if thread { process } else { pid }, at, false);
        Ok(pid)
    }

    /// A thread ends (kernel: `cgroup_task_exit`).
    pub(crate) fn exit(&mut self, pid: u32) -> Result<(), Errno> {
        let task = self.tasks.remove(&pid).ok_or(Errno::SRCH)?;
        for charge in task.charges {
            self.uncharge(charge);
        }
        let at = task.cgroup;
        self.uncharge_pid(at);
        if task.frozen {
            // To be killed it thaws: for a moment the cgroup is not frozen.
            self.cgroups[at].freezer.tasks -= 1;
            self.update_frozen(at);
        }
        self.take_task(pid, at);
        self.update_frozen(at);
        Ok(())
    }

    /// A process ends, with all its threads.
    pub(crate) fn exit_process(&mut self, pid: u32) -> Result<(), Errno> {
        let process = self.tasks.get(&pid).ok_or(Errno::SRCH)?.process;
        for thread in self.threads(process) {
            self.exit(thread)?;
        }
        Ok(())
    }

    /// The threads of a process, the first last.
    fn threads(&self, process: u32) -> Vec<u32> {
        let mut threads = self.tasks.get(&process).map(|first| first.others.clone());
        threads.iter_mut().for_each(|threads| threads.push(process));
        threads.unwrap_or_default()
    }

    /// A signal that ends a process (kernel: `send_sig(SIGKILL)`).
    pub(crate) fn kill_process(&mut self, pid: u32) {
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        if task.adopted {
            // Dying: nobody waits for it twice.
            task.killable = false;
            self.kill_later(pid);
        } else {
            // It was there a moment ago.
            let _ = self.exit_process(pid);
        }
    }

    /// `1` written to `cgroup.kill`.
    pub(crate) fn kill_cgroup(&mut self, at: usize) {
        for at in self.subtree(at) {
            for pid in self.cgroups[at].tasks.clone() {
                self.kill_process(pid);
            }
        }
    }

    /// Whether processes may be put there (kernel: `cgroup_migrate_vet_dst`).
    fn vet_destination(&self, at: usize) -> Result<(), Errno> {
        if !self.is_valid_domain(self.domain(at)) {
            return Err(Errno::OPNOTSUPP);
        }
        if self.can_be_thread_root(at) || self.cgroups[at].threaded {
            return Ok(());
        }
        if self.cgroups[at].subtree_control.is_empty() { Ok(()) } else { Err(Errno::BUSY) }
    }

    /// Whether processes may be moved from one cgroup to another by who opened the file: only by
    /// who may write to the `cgroup.procs` of the nearest cgroup that both are in, or a delegated
    /// subtree could take from its neighbours (kernel: `cgroup_procs_write_permission`).
    fn vet_migration(&self, from: usize, to: usize, by: &Credentials) -> Result<(), Errno> {
        let line = |at| std::iter::once(at).chain(self.above(at));
        let above: BTreeSet<usize> = line(to).collect();
        let common = line(from).find(|at| above.contains(at));
        let directory = common.and_then(|at| self.cgroups[at].directory.as_ref());
        let procs = directory.and_then(|directory| directory.child(File::Procs.name()));
        let may = |procs: &Arc<Node>| procs.permissions().allow(by, Access::WRITE);
        if procs.as_ref().is_some_and(may) { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// A number written to `cgroup.procs`, or to `cgroup.threads`, through a file that was opened
    /// with these credentials, which count in place of the writer's (kernel:
    /// `__cgroup_procs_write`).
    pub(crate) fn attach(
        &mut self,
        at: usize,
        pid: u32,
        thread: bool,
        by: Option<&Credentials>,
    ) -> Result<(), Errno> {
        let adopted = match self.tasks.get(&pid) {
            Some(_) => false,
            None => {
                let processes = self.options.processes.clone().ok_or(Errno::SRCH)?;
                self.vet_destination(at)?;
                processes.adopt(pid, by)?;
                true
            }
        };
        if adopted {
            self.charge_pid(at);
            self.enter(pid, pid, at, true);
            return Ok(());
        }
        let Some(task) = self.tasks.get(&pid) else { return Err(Errno::SRCH) };
        let (from, process) = (task.cgroup, task.process);
        if let Some(by) = by {
            self.vet_migration(from, at, by)?;
        }
        self.vet_destination(at)?;
        if thread && self.domain(from) != self.domain(at) {
            return Err(Errno::OPNOTSUPP);
        }
        let moved = if thread { vec![pid] } else { self.threads(process) };
        for pid in moved {
            self.migrate(pid, at);
        }
        Ok(())
    }

    fn migrate(&mut self, pid: u32, to: usize) {
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        let from = std::mem::replace(&mut task.cgroup, to);
        let frozen = task.frozen;
        if from == to {
            return;
        }
        self.charge_pid(to);
        self.uncharge_pid(from);
        // The destination first, so that what both are in is populated throughout.
        self.put_task(pid, to);
        self.take_task(pid, from);
        if frozen {
            self.cgroups[to].freezer.tasks += 1;
            self.cgroups[from].freezer.tasks -= 1;
        }
        self.update_frozen(to);
        self.update_frozen(from);
        self.freeze_task(pid);
    }

    /// The tasks of a cgroup changed, which was populated before or not (kernel:
    /// `cgroup_update_populated`).
    fn update_populated(&mut self, at: usize, was: bool) {
        let (mut at, mut was) = (at, was);
        loop {
            let cgroup = &self.cgroups[at];
            let is = cgroup.is_populated();
            if was == is {
                return;
            }
            let (id, threaded, parent) = (cgroup.id, cgroup.threaded, cgroup.parent);
            self.notify_events(at);
            self.tell(id, What::Populated(is));
            let Some(parent) = parent else { return };
            let above = &mut self.cgroups[parent];
            was = above.is_populated();
            let count = match threaded {
                true => &mut above.populated_threaded,
                false => &mut above.populated_domains,
            };
            *count = if is { *count + 1 } else { *count - 1 };
            at = parent;
        }
    }

    fn put_task(&mut self, pid: u32, at: usize) {
        let was = self.cgroups[at].is_populated();
        self.cgroups[at].tasks.insert(pid);
        self.update_populated(at, was);
    }

    fn take_task(&mut self, pid: u32, at: usize) {
        let was = self.cgroups[at].is_populated();
        self.cgroups[at].tasks.remove(&pid);
        self.update_populated(at, was);
    }

    /// What the tasks of a cgroup were charged to.
    pub(crate) fn pids_state(&self, at: usize) -> Option<usize> {
        self.effective(at, Controllers::PIDS)
            .filter(|state| matches!(self.states[*state].body, Body::Pids(_)))
    }
}
