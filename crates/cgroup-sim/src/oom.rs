//! Killing for memory (kernel: mm/oom_kill.c, `select_bad_process`, `oom_kill_process`;
//! `mem_cgroup_get_oom_group`).

use crate::{Controllers, Event, state::State};

impl State {
    /// Kills the process that has most of the memory under a limit, and if the cgroup is to go as
    /// one, all of it. Whether there was any.
    pub(crate) fn kill_for_memory(&mut self, limiting: usize) -> bool {
        let at = self.states[limiting].cgroup;
        let Some(victim) = self.victim(at) else { return false };
        let group = self.oom_group(victim, limiting);
        self.kill_one(victim);
        if let Some(group) = group {
            self.count(group, Event::MemoryOomGroupKill, 1);
            for at in self.subtree(self.states[group].cgroup) {
                for pid in self.cgroups[at].tasks.clone() {
                    let task = self.tasks.get(&pid);
                    if task.is_some_and(|task| task.process == pid && task.killable) {
                        self.kill_one(pid);
                    }
                }
            }
        }
        true
    }

    fn victim(&self, at: usize) -> Option<u32> {
        let mut chosen = None;
        for at in self.subtree(at) {
            for pid in &self.cgroups[at].tasks {
                let Some(task) = self.tasks.get(pid) else { continue };
                if task.process != *pid || !task.killable {
                    continue;
                }
                let has = task.charges.iter().map(|charge| charge.anonymous + charge.swap).sum();
                // Of equals the last, as in the kernel.
                if chosen.is_none_or(|(most, _): (u64, _)| has >= most) {
                    chosen = Some((has, *pid));
                }
            }
        }
        chosen.map(|(_, pid)| pid)
    }

    /// The topmost state with `memory.oom.group` from the victim's up to the limit's.
    fn oom_group(&self, victim: u32, limiting: usize) -> Option<usize> {
        let at = self.tasks.get(&victim)?.cgroup;
        let mut group = None;
        for state in self.chain(self.effective(at, Controllers::MEMORY)?) {
            if self.memory_at(state).is_some_and(|memory| memory.oom_group) {
                group = Some(state);
            }
            if state == limiting {
                break;
            }
        }
        group
    }

    /// Counted where the victim lives, and before it dies.
    fn kill_one(&mut self, pid: u32) {
        let Some(task) = self.tasks.get(&pid) else { return };
        if let Some(state) = self.effective(task.cgroup, Controllers::MEMORY) {
            self.count(state, Event::MemoryOomKill, 1);
        }
        self.kill_process(pid);
    }
}
