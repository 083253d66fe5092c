//! The pids controller (kernel: kernel/cgroup/pids.c).

use rustix::io::Errno;

use crate::{controller::Body, state::State};

/// Its state of one cgroup.
#[derive(Debug)]
pub(crate) struct Pids {
    /// Tasks in the cgroup and below.
    pub(crate) current: u64,
    pub(crate) peak: u64,
    /// None: no limit.
    pub(crate) max: Option<u64>,
}

impl Pids {
    pub(crate) fn with(current: u64) -> Self {
        Self { current, peak: current, max: None }
    }
}

impl State {
    fn pids_chain(&self, at: usize) -> Vec<usize> {
        std::iter::successors(self.pids_state(at), |state| self.states[*state].parent).collect()
    }

    fn pids(&mut self, state: usize) -> Option<&mut Pids> {
        match self.body(state) {
            Body::Pids(pids) => Some(pids),
            _ => None,
        }
    }

    /// One task more in a cgroup, whatever the limits (kernel: `pids_charge`).
    pub(crate) fn charge_pid(&mut self, at: usize) {
        for state in self.pids_chain(at) {
            if let Some(pids) = self.pids(state) {
                pids.current += 1;
                pids.peak = pids.peak.max(pids.current);
            }
        }
    }

    /// One less (kernel: `pids_uncharge`).
    pub(crate) fn uncharge_pid(&mut self, at: usize) {
        for state in self.pids_chain(at) {
            if let Some(pids) = self.pids(state) {
                pids.current = pids.current.saturating_sub(1);
            }
        }
    }

    /// One task more if no limit forbids it (kernel: `pids_can_fork`).
    pub(crate) fn charge_fork(&mut self, at: usize) -> Result<(), Errno> {
        let chain = self.pids_chain(at);
        let limiting = chain.iter().copied().find(|state| {
            // The root has no limit.
            self.states[*state].parent.is_some()
                && matches!(&self.states[*state].body,
                    Body::Pids(pids) if pids.max.is_some_and(|max| pids.current >= max))
        });
        match (limiting, chain.first()) {
            (Some(limiting), Some(forking)) => {
                self.count_refused_fork(*forking, limiting, 1);
                Err(Errno::AGAIN)
            }
            _ => {
                self.charge_pid(at);
                Ok(())
            }
        }
    }
}
