//! Who moves a simulated world.

use cgroup_sim::Hierarchy;
use rustix::io::Errno;

/// What the watcher is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// Open a directory, or a control file by its id.
    Open,
    /// List a directory.
    List,
    /// Read a control file.
    Read,
    /// Watch a directory or a control file.
    Watch,
}

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

    /// The errno with which a call fails that is about to be made though the hierarchy would let it
    /// succeed: EMFILE, EACCES, EIO and the like. `directory` is the id of what is opened, or in which
    /// something is opened, listed, read or watched; 0 if it is opened by its path.
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        let _ = (verb, directory);
        None
    }

    /// The errno with which a directory is not opened by its path, which is given from the
    /// hierarchy's root without a slash before it: EACCES on the way, and the like.
    fn refuses_way(&mut self, path: &[u8]) -> Option<Errno> {
        let _ = path;
        None
    }

    /// Whether the kernel finds this directory by its id. It may not if it, or one above it, has a name
    /// of more than 255 bytes and was dropped from the cache of names (`exportfs_get_name`).
    fn finds_by_id(&mut self, directory: u64) -> bool {
        let _ = directory;
        true
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
