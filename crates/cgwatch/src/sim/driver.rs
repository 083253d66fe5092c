//! Who moves a simulated world.

use cgroup_sim::Hierarchy;

/// Moves a simulated world while a [`Watcher`](crate::Watcher) watches it. By default nothing ever
/// happens but what the test itself does.
pub trait Driver: Send {
    /// Called before each system call of the watcher: whatever happens here happens between any two
    /// of them.
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let _ = hierarchy;
    }

    /// From now on the watcher is told of births in the directory with this id.
    fn watches_births_in(&mut self, directory: u64) {
        let _ = directory;
    }

    /// Whether the notification of a change that the watcher is about to read is lost. That is not
    /// what a kernel does to one that was queued; but what is counted must not depend on any of them.
    fn loses_a_change(&mut self) -> bool {
        false
    }

    /// The id of a cgroup that the kernel has taken away and not told of yet, by fanotify: rmdir(2)
    /// tells last, and a busy machine may do anything else before that.
    fn withholds_death_of(&mut self) -> Option<u64> {
        None
    }

    /// The directory with this id is being listed. That waits until an rmdir(2) in it has told of the
    /// death, for it holds the directory's lock. Who looks up the name need not wait: it says that
    /// there is nothing before it is told (`d_delete_notify`).
    fn lets_list(&mut self, directory: u64) {
        let _ = directory;
    }

    /// When it wants to act next while the watcher waits (virtual time, nanoseconds). `None`: never.
    fn next_ns(&mut self) -> Option<u64> {
        None
    }

    /// Acts, at the time it asked for.
    fn act(&mut self, hierarchy: &Hierarchy) {
        let _ = hierarchy;
    }
}

/// Nothing happens.
pub(super) struct Nobody;

impl Driver for Nobody {}
