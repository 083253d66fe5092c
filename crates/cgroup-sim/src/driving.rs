//! The hierarchy from below: what on Linux processes and the kernel do.

use rustix::io::Errno;

use crate::{Error, Event, Hierarchy, Use, memory::pages, state::State};

impl Hierarchy {
    /// Counts something at a cgroup and above it, and notifies: as if it had happened there. The
    /// cgroup may be dead, if it is remembered: what is still charged to it goes on counting.
    ///
    /// [`Event::PidsForkFail`] is [`Event::PidsMax`] here: a fork that failed at its own limit.
    ///
    /// # Errors
    /// No such cgroup; it has not the controller.
    pub fn count(&self, id: u64, event: Event, times: u64) -> Result<(), Error> {
        self.shared.with(|state| {
            let at = state.known(id).ok_or(Error::NoCgroup { id })?;
            let controller = event.controller();
            let missing = Error::NoController { id, controller: controller.name() };
            let css = state.cgroups[at].states[controller.index()].ok_or(missing)?;
            state.count(css, event, times);
            Ok(())
        })
    }

    /// The same at the state that a disable took from a living or dead cgroup last: what is still
    /// charged to that counts for those above, and for no file of the cgroup.
    ///
    /// # Errors
    /// No such cgroup; nothing was taken from it, or it is not remembered.
    pub fn count_former(&self, id: u64, event: Event, times: u64) -> Result<(), Error> {
        self.shared.with(|state| {
            let at = state.known(id).ok_or(Error::NoCgroup { id })?;
            let controller = event.controller();
            let missing = Error::NoController { id, controller: controller.name() };
            let former = state.cgroups[at].former.iter().rev().copied();
            let css = former
                .into_iter()
                .find(|css| state.states[*css].controller == controller)
                .ok_or(missing)?;
            state.count(css, event, times);
            Ok(())
        })
    }

    /// Starts a process in a cgroup, as with `clone3(CLONE_INTO_CGROUP)`; returns its number.
    ///
    /// # Errors
    /// No such cgroup; `EBUSY` if it gives controllers to its children; `EOPNOTSUPP` if its
    /// `cgroup.type` is invalid; `EAGAIN` at a `pids.max`, which counts.
    pub fn spawn(&self, id: u64) -> Result<u32, Error> {
        self.finish_rmdir();
        self.shared.with(|state| {
            let at = state.living(id).ok_or(Error::NoCgroup { id })?;
            state.spawn(at).map_err(|errno| Error::Refused { what: "to start a process", errno })
        })
    }

    /// A task starts a child process; returns its number.
    ///
    /// # Errors
    /// No such task; `EAGAIN` at a `pids.max`, which counts.
    pub fn fork(&self, pid: u32) -> Result<u32, Error> {
        self.task(pid, "to fork", |state| state.fork(pid, false))
    }

    /// A task starts another thread of its process; returns its number.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    pub fn start_thread(&self, pid: u32) -> Result<u32, Error> {
        self.task(pid, "to start a thread", |state| state.fork(pid, true))
    }

    /// A process ends with all its threads, and its memory is given back.
    ///
    /// # Errors
    /// No such task.
    pub fn exit(&self, pid: u32) -> Result<(), Error> {
        self.task(pid, "to exit", |state| state.exit_process(pid))
    }

    /// The tasks in a cgroup itself, by number.
    #[must_use]
    pub fn tasks(&self, id: u64) -> Vec<u32> {
        self.shared.look(|state| {
            let at = state.living(id);
            at.map(|at| state.cgroups[at].tasks.iter().copied().collect()).unwrap_or_default()
        })
    }

    /// The cgroup a task is in.
    #[must_use]
    pub fn cgroup_of(&self, pid: u32) -> Option<u64> {
        self.shared.look(|state| Some(state.cgroups[state.tasks.get(&pid)?.cgroup].id))
    }

    /// Whether a task is frozen.
    #[must_use]
    pub fn is_frozen(&self, pid: u32) -> bool {
        self.shared.look(|state| state.tasks.get(&pid).is_some_and(|task| task.frozen))
    }

    /// A process takes memory of its own: charged to its cgroup, which may breach limits, swap,
    /// reclaim and kill, also the process itself (`EINTR`).
    ///
    /// # Errors
    /// No such task; `ENOMEM` at a limit when nothing could be killed; `EINTR`.
    pub fn allocate(&self, pid: u32, bytes: u64) -> Result<(), Error> {
        self.task(pid, "to allocate", |state| state.allocate(pid, pages(bytes)))
    }

    /// A process gives memory back; not more than it has.
    ///
    /// # Errors
    /// No such task.
    pub fn free(&self, pid: u32, bytes: u64) -> Result<(), Error> {
        self.task(pid, "to free", |state| state.free(pid, pages(bytes)))
    }

    /// A cgroup, dead or alive, takes memory that is no task's.
    ///
    /// # Errors
    /// No such cgroup; `ENOMEM` at a limit when nothing could be killed.
    pub fn charge(&self, id: u64, kind: Use, bytes: u64) -> Result<(), Error> {
        self.shared.with(|state| {
            let at = state.known(id).ok_or(Error::NoCgroup { id })?;
            let charged = state.use_memory(at, kind, pages(bytes));
            charged.map_err(|errno| Error::Refused { what: "to charge", errno })
        })
    }

    /// And gives it back; not more than it has.
    ///
    /// # Errors
    /// No such cgroup.
    pub fn uncharge(&self, id: u64, kind: Use, bytes: u64) -> Result<(), Error> {
        self.shared.with(|state| {
            let at = state.known(id).ok_or(Error::NoCgroup { id })?;
            state.unuse_memory(at, kind, pages(bytes));
            Ok(())
        })
    }

    /// Whether a task can be frozen now (a sleep in the kernel can prevent it), and whether the
    /// OOM killer may take it.
    ///
    /// # Errors
    /// No such task.
    pub fn set_task(&self, pid: u32, freezable: bool, killable: bool) -> Result<(), Error> {
        self.task(pid, "to change a task", |state| {
            let task = state.tasks.get_mut(&pid).ok_or(Errno::SRCH)?;
            (task.freezable, task.killable) = (freezable, killable);
            state.freeze_task(pid);
            Ok(())
        })
    }

    fn task<T>(
        &self,
        pid: u32,
        what: &'static str,
        work: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        self.shared.with(|state| {
            if !state.tasks.contains_key(&pid) {
                return Err(Error::NoTask { pid });
            }
            work(state).map_err(|errno| Error::Refused { what, errno })
        })
    }
}
