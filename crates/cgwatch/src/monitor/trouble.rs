//! Calls that fail though the cgroup is there: nothing is known of what they were to find out, so the
//! cgroup is swept, and the reader is told why, once an episode.
//!
//! * A limit of the process or the machine (watches, open files) is one `gap` for all. Its episode ends
//!   with the first sweep that does not meet it.
//! * Anything else (EACCES, EPERM, EIO, EXDEV where a mount covers it) is a `gap` for each cgroup. Its
//!   episode ends with the first sweep that finds all of the cgroup.
//!
//! But for the limit on watches, what such a cgroup counts is not known: until a whole sweep has found
//! all of it, what is left over in its parent is given to nobody ([`Monitor::hides_some`]).

use rustix::io::Errno;

use super::{Monitor, Set, books::NodeKey, is_gone};
use crate::{GapReason, world::World};

/// Which limits were met, and where something could not be read.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Cgroups of which, or of a child of which, something could not be read: since this sweep began,
    /// and since the one before.
    hiding: [Set<NodeKey>; 2],
    /// In this sweep.
    watches_met: bool,
    descriptors_met: bool,
    /// The reader knows.
    descriptors_said: bool,
}

impl<W: World> Monitor<W> {
    /// A call on a cgroup failed with this errno. Nothing to do if that says that it is gone.
    pub(crate) fn could_not(&mut self, key: NodeKey, errno: Errno) {
        if is_gone(errno) || self.books.living(key).is_none() {
            return;
        }
        self.books.set_unwatched(key, true);
        if errno != Errno::NOSPC {
            let parent = self.books.get(key).and_then(|node| node.parent);
            self.trouble.hiding[0].extend([key].into_iter().chain(parent));
        }
        match errno {
            Errno::NOSPC => self.met_watch_limit(),
            Errno::MFILE | Errno::NFILE => self.met_descriptor_limit(errno),
            _ => self.is_inaccessible(key, errno),
        }
    }

    fn met_watch_limit(&mut self) {
        self.trouble.watches_met = true;
        if !std::mem::replace(&mut self.watch_limit_told, true) {
            let limit = self.world.watch_limit();
            self.report_limit(GapReason::WatchLimit { limit: limit.name, value: limit.value });
        }
    }

    fn met_descriptor_limit(&mut self, errno: Errno) {
        self.trouble.descriptors_met = true;
        if !std::mem::replace(&mut self.trouble.descriptors_said, true) {
            let limit = self.world.descriptor_limit(errno);
            self.report_limit(GapReason::DescriptorLimit { limit: limit.name, value: limit.value });
        }
    }

    fn report_limit(&mut self, reason: GapReason) {
        self.untold.push_gap(&self.books, reason);
        self.untold.owe_ready();
    }

    fn is_inaccessible(&mut self, key: NodeKey, errno: Errno) {
        let Some(node) = self.books.get_mut(key) else { return };
        node.flags.inaccessible = true;
        if !std::mem::replace(&mut node.flags.inaccessible_said, true) {
            self.untold.push_inaccessible(&self.books, key, errno);
            self.untold.owe_ready();
        }
    }

    /// A sweep begins: a limit that the one before did not meet is one to be told again.
    pub(crate) fn begin_sweep(&mut self) {
        let met = std::mem::take(&mut self.trouble);
        self.watch_limit_told &= met.watches_met;
        self.trouble.descriptors_said = met.descriptors_said && met.descriptors_met;
        let [last, before] = met.hiding;
        // What was left over in them was given to nobody meanwhile.
        self.touched.extend(before.into_iter().filter(|key| !last.contains(key)));
        self.trouble.hiding[1] = last;
    }

    /// Something of a cgroup or of its children could not be read: what is left over in it may be
    /// counts of theirs, which will be known once that is possible again.
    pub(crate) fn hides_some(&self, key: NodeKey) -> bool {
        self.trouble.hiding.iter().any(|hiding| hiding.contains(&key))
    }

    /// The sweep begins to look at all of a cgroup. Tells whether anything of it was missed before.
    pub(crate) fn begin_look(&mut self, key: NodeKey) -> bool {
        let Some(node) = self.books.get_mut(key) else { return false };
        node.flags.inaccessible = false;
        node.flags.unwatched
    }

    /// The sweep has looked at all of a cgroup.
    pub(crate) fn end_look(&mut self, key: NodeKey) {
        if let Some(node) = self.books.get_mut(key) {
            node.flags.inaccessible_said &= node.flags.inaccessible;
        }
    }
}
