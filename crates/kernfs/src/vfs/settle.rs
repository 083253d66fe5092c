//! What lost its dentry is announced in the order in which that happened,
//! whichever threads did it (kernel: `__dentry_kill` announces a child before
//! it lets go of the parent, and `shrink_dcache_parent` waits for a child that
//! another thread kills).
//!
//! Inodes are queued under the dentry cache's lock and announced without it,
//! by one thread at a time; whoever queued some waits until they are. A
//! readiness hook that comes back here from an announcement does not wait: the
//! thread it runs in goes on with the queue after it.

use std::{collections::VecDeque, sync::Arc};

use fsnotify::{Mask, Object};

use super::{Volume, cache::Cache, cache::Fallout, inode::Inode};
use crate::sync::{Condvar, Mutex, ThreadId, lock, this_thread, wait};

#[derive(Default)]
pub(super) struct Settling {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// Each with whether its end is to be announced.
    queue: VecDeque<(Arc<Inode>, bool)>,
    /// How many were queued, and how many of them are done with.
    queued: u64,
    done: u64,
    /// Who announces at present.
    by: Option<ThreadId>,
}

/// The turn of one inode; it ends also if a hook panics.
struct Turn<'a>(&'a Settling);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.done += 1;
        state.by = None;
        self.0.settled.notify_all();
    }
}

impl Settling {
    /// Queues what came of a change of the cache, whose lock is held. `None`
    /// if that is nothing.
    fn queue(&self, fallout: Fallout) -> Option<u64> {
        if fallout.inodes.is_empty() {
            return None;
        }
        let mut state = lock(&self.state);
        state.queued += fallout.inodes.len() as u64;
        state.queue.extend(fallout.inodes);
        Some(state.queued)
    }
}

impl Volume {
    /// Runs `change` on the dentry cache and settles what comes of it.
    pub(super) fn with_cache<T>(&self, change: impl FnOnce(&mut Cache, &mut Fallout) -> T) -> T {
        let mut fallout = Fallout::default();
        let mut cache = lock(&self.cache);
        let result = change(&mut cache, &mut fallout);
        let until = self.settling.queue(fallout);
        drop(cache);
        if let Some(until) = until {
            self.settle(until);
        }
        result
    }

    /// Waits for all that lost its dentry before this call.
    pub(super) fn settle_all(&self) {
        let queued = lock(&self.settling.state).queued;
        self.settle(queued);
    }

    /// Announces and drops what lost its dentry, or waits for who does. No lock
    /// may be held.
    fn settle(&self, until: u64) {
        let this = this_thread();
        let mut state = lock(&self.settling.state);
        while state.done < until {
            if state.by == Some(this) {
                return;
            }
            if state.by.is_some() {
                state = wait(&self.settling.settled, state);
                continue;
            }
            let Some((inode, announce)) = state.queue.pop_front() else { return };
            state.by = Some(this);
            drop(state);
            let turn = Turn(&self.settling);
            if announce {
                self.tell_inode(Mask::DELETE_SELF, &inode);
                inode.connector().close();
            }
            // Within the turn: its end may close evictable marks.
            drop(inode);
            drop(turn);
            state = lock(&self.settling.state);
        }
    }
}
