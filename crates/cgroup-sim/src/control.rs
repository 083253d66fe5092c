//! Which controllers a cgroup has (kernel: `cgroup_subtree_control_write`,
//! `cgroup_apply_control_enable`, `cgroup_apply_control_disable`).

use rustix::io::Errno;

use crate::{
    Controllers,
    controller::Body,
    state::{ROOT, State},
    truth::What,
};

impl State {
    /// What the cgroup may give to its children (kernel: `cgroup_control`).
    pub(crate) fn control(&self, at: usize) -> Controllers {
        self.given(at, |state, parent| state.cgroups[parent].subtree_control)
    }

    /// The same with what is needed beside (kernel: `cgroup_ss_mask`).
    fn mask(&self, at: usize) -> Controllers {
        self.given(at, |state, parent| state.cgroups[parent].subtree_mask)
    }

    fn given(&self, at: usize, of: impl Fn(&Self, usize) -> Controllers) -> Controllers {
        match self.cgroups[at].parent {
            None => self.options.controllers,
            Some(parent) if self.cgroups[at].threaded => of(self, parent) & Controllers::THREADED,
            Some(parent) => of(self, parent),
        }
    }

    /// `+memory -pids`.
    pub(crate) fn write_subtree_control(&mut self, at: usize, text: &str) -> Result<(), Errno> {
        let (mut enable, mut disable) = (Controllers::empty(), Controllers::empty());
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (sign, name) = word.split_at_checked(1).ok_or(Errno::INVAL)?;
            let one = Controllers::named(name).ok_or(Errno::INVAL)?;
            if !self.options.controllers.contains(one) {
                return Err(Errno::INVAL);
            }
            let (into, from) = match sign {
                "+" => (&mut enable, &mut disable),
                "-" => (&mut disable, &mut enable),
                _ => return Err(Errno::INVAL),
            };
            into.insert(one);
            from.remove(one);
        }
        let has = self.cgroups[at].subtree_control;
        enable -= has;
        disable &= has;
        let possible = self.control(at);
        let children = self.cgroups[at].children.values();
        let in_use = children
            .fold(Controllers::empty(), |all, child| all | self.cgroups[*child].subtree_control);
        // The first controller in the kernel's order that cannot be had decides.
        for one in Controllers::all().iter() {
            if enable.contains(one) && !possible.contains(one) {
                return Err(Errno::NOENT);
            }
            if disable.contains(one) && in_use.contains(one) {
                return Err(Errno::BUSY);
            }
        }
        if enable.is_empty() && disable.is_empty() {
            return Ok(());
        }
        self.vet_enable(at, enable)?;
        // Files of the same names may still be there; on Linux this waits.
        if self.removing > 0 {
            return Err(Errno::AGAIN);
        }
        let control = &mut self.cgroups[at].subtree_control;
        control.insert(enable);
        control.remove(disable);
        self.apply_control(at)
    }

    /// Kernel: `cgroup_vet_subtree_control_enable`.
    fn vet_enable(&self, at: usize, enable: Controllers) -> Result<(), Errno> {
        if enable.is_empty() {
            return Ok(());
        }
        if !self.is_valid_domain(self.domain(at)) {
            return Err(Errno::OPNOTSUPP);
        }
        if at == ROOT {
            return Ok(());
        }
        let threaded = self.cgroups[at].threaded;
        if enable.intersects(!Controllers::THREADED) {
            if self.is_thread_root(at) || threaded {
                return Err(Errno::OPNOTSUPP);
            }
        } else if self.can_be_thread_root(at) || threaded {
            return Ok(());
        }
        // The rule of no internal processes.
        if self.cgroups[at].tasks.is_empty() { Ok(()) } else { Err(Errno::BUSY) }
    }

    /// Brings states and files into line with the control masks of a subtree (kernel:
    /// `cgroup_apply_control`, `cgroup_finalize_control`).
    pub(crate) fn apply_control(&mut self, at: usize) -> Result<(), Errno> {
        let subtree = self.subtree(at);
        for at in &subtree {
            let possible = self.control(*at);
            let mask = self.mask(*at);
            let cgroup = &mut self.cgroups[*at];
            cgroup.subtree_control &= possible;
            cgroup.subtree_mask = cgroup.subtree_control.with_needed() & mask;
        }
        for at in &subtree {
            self.enable_below(*at)?;
        }
        for at in subtree.iter().rev() {
            self.disable_below(*at);
        }
        Ok(())
    }

    /// Makes the states and files a cgroup shall have (kernel: `cgroup_apply_control_enable` for
    /// one cgroup).
    pub(crate) fn enable_below(&mut self, at: usize) -> Result<(), Errno> {
        if at == ROOT {
            return Ok(());
        }
        let (mask, control) = (self.mask(at), self.control(at));
        for one in mask.iter() {
            if self.cgroups[at].states[one.index()].is_none() {
                self.make_state(at, one);
            }
            if control.contains(one) && !self.cgroups[at].visible.contains(one) {
                self.make_files(at, Some(one))?;
                self.cgroups[at].visible.insert(one);
                let id = self.cgroups[at].id;
                self.tell(id, What::Enabled(one));
            }
        }
        Ok(())
    }

    /// Takes away what it shall not have (kernel: `cgroup_apply_control_disable`). What another
    /// controller needs is hidden and its limits reset; its counters go on.
    fn disable_below(&mut self, at: usize) {
        if at == ROOT {
            return;
        }
        let (mask, control) = (self.mask(at), self.control(at));
        for one in Controllers::all().iter() {
            let Some(state) = self.cgroups[at].states[one.index()] else { continue };
            let kept = mask.contains(one);
            if !control.contains(one) && self.cgroups[at].visible.contains(one) {
                self.remove_files(at, one);
                self.cgroups[at].visible.remove(one);
                let id = self.cgroups[at].id;
                self.lives.disabled(id, one);
                self.tell(id, What::Disabled { controller: one, hidden: kept });
                if let Body::Memory(memory) = self.body(state) {
                    memory.reset_limits();
                }
            }
            if !kept {
                self.kill_state(at, one);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use crate::{Hierarchy, Options};

    /// Files of the same names may still be there.
    #[test]
    fn while_another_thread_removes_files_nothing_is_enabled() {
        let all = Hierarchy::new(Options::default());
        all.mkdir("a").unwrap();
        all.shared.with(|state| state.removing = 1);
        let refused = all.write("cgroup.subtree_control", "+memory").unwrap_err();
        assert_eq!(refused.errno(), Errno::AGAIN);
        assert_eq!(all.read("cgroup.subtree_control").unwrap(), "");
        all.shared.with(|state| state.removing = 0);
        all.write("cgroup.subtree_control", "+memory").unwrap();
    }
}
