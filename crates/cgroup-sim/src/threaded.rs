//! Threaded cgroups (kernel: `cgroup_is_threaded` to `cgroup_is_valid_domain`,
//! `cgroup_enable_threaded`, kernel/cgroup/cgroup.c).

use rustix::io::Errno;

use crate::{
    Controllers,
    state::{ROOT, State},
};

impl State {
    /// The cgroup that is responsible for its processes: the nearest that is not threaded.
    pub(crate) fn domain(&self, at: usize) -> usize {
        if !self.cgroups[at].threaded {
            return at;
        }
        self.above(at).find(|at| !self.cgroups[*at].threaded).unwrap_or(ROOT)
    }

    pub(crate) fn can_be_thread_root(&self, at: usize) -> bool {
        let cgroup = &self.cgroups[at];
        at == ROOT
            || (!cgroup.threaded
                && cgroup.populated_domains == 0
                && Controllers::THREADED.contains(cgroup.subtree_control))
    }

    pub(crate) fn is_thread_root(&self, at: usize) -> bool {
        let cgroup = &self.cgroups[at];
        let threads = cgroup.subtree_control.intersects(Controllers::THREADED);
        !cgroup.threaded && (cgroup.threaded_children > 0 || (!cgroup.tasks.is_empty() && threads))
    }

    pub(crate) fn is_valid_domain(&self, at: usize) -> bool {
        !self.cgroups[at].threaded
            && !self.above(at).any(|above| {
                self.cgroups[above].threaded || (above != ROOT && self.is_thread_root(above))
            })
    }

    /// `cgroup.type`.
    pub(crate) fn kind(&self, at: usize) -> &'static str {
        if self.cgroups[at].threaded {
            "threaded"
        } else if !self.is_valid_domain(at) {
            "domain invalid"
        } else if self.is_thread_root(at) {
            "domain threaded"
        } else {
            "domain"
        }
    }

    /// `threaded` written to `cgroup.type`.
    pub(crate) fn make_threaded(&mut self, at: usize) -> Result<(), Errno> {
        let cgroup = &self.cgroups[at];
        let Some(parent) = cgroup.parent else { return Err(Errno::OPNOTSUPP) };
        if cgroup.threaded {
            return Ok(());
        }
        let domain = self.domain(parent);
        if cgroup.is_populated()
            || cgroup.subtree_control.intersects(!Controllers::THREADED)
            || !self.is_valid_domain(domain)
            || !self.can_be_thread_root(domain)
        {
            return Err(Errno::OPNOTSUPP);
        }
        self.cgroups[at].threaded = true;
        self.cgroups[parent].threaded_children += 1;
        self.apply_control(at)
    }
}
