//! After notifications were lost: everything is compared anew, by turns with what happens meanwhile.
//!
//! Until the last comparison nobody is alone with what is left over (`births_missed`), and the account of
//! a directory is closed, and its records are believed, only once its own children were compared: one that
//! was born unnoticed has its counts there, one that died unnoticed still bears its name.

use super::{Monitor, books::NodeKey, names::Ahead};
use crate::{GapReason, LearnedFrom, world::World};

impl<W: World> Monitor<W> {
    /// Tells a gap, and lets everything be compared. `ready` follows the last comparison.
    pub(crate) fn reconcile(&mut self, reason: GapReason) {
        self.untold.open_gap(&self.books, reason);
        self.births_missed = true;
        // Hints from before say nothing any more that the comparison does not find.
        self.hints.clear();
        self.turns.clear();
        self.ahead.clear();
        self.deaths.forget_strays();
        self.check_roots(LearnedFrom::Reconcile);
        let mut all: Vec<NodeKey> = self.roots.iter().map(|root| root.key).collect();
        let mut at = 0;
        while let Some(&key) = all.get(at) {
            at += 1;
            all.extend(self.books.children(key));
            if let Some(node) = self.books.get_mut(key) {
                node.ahead = node.ahead.after_gap();
            }
            self.turns.compare(&self.books, self.options.batch, key);
        }
    }

    /// Compares the children of a cgroup that was just checked. What some had counted of which nobody
    /// will ever tell is left over in it.
    pub(crate) fn compare_after_gap(&mut self, key: NodeKey) {
        self.compare_children(key, Ahead::AFTER_GAP, LearnedFrom::Reconcile);
        if self.books.living(key).is_some_and(|node| node.flags.has_kin) {
            self.doubt_rest(key, true);
        }
    }

    /// Everything was compared.
    pub(crate) fn end_reconcile(&mut self) {
        if self.untold.is_gap_open() && !self.turns.is_comparing() {
            self.untold.close_gap(&self.books);
        }
    }

    /// Lists the children of a node: who is missing has died, who is new was born.
    pub(crate) fn compare_children(
        &mut self,
        key: NodeKey,
        ahead: Ahead,
        learned_from: LearnedFrom,
    ) {
        if !self.goes_deeper(key) {
            return;
        }
        let mut names: Vec<(Box<[u8]>, u64)> = Vec::new();
        let Ok(Some(mut dir)) = self.open(key) else { return };
        let listed = self.world.list(&mut dir, &mut |name, is_dir, id| {
            if is_dir {
                names.push((name.into(), id));
            }
        });
        match listed {
            Ok(()) => self.compare_names(key, &mut dir, names, ahead, learned_from),
            Err(errno) => self.could_not(key, errno),
        }
        self.world.close(dir);
    }

    fn compare_names(
        &mut self,
        key: NodeKey,
        dir: &mut W::Dir,
        mut names: Vec<(Box<[u8]>, u64)>,
        ahead: Ahead,
        learned_from: LearnedFrom,
    ) {
        names.sort_unstable();
        let known: Vec<_> = self.books.children(key).collect();
        for child in known {
            let Some(node) = self.books.get(child) else { continue };
            if names.binary_search_by(|(name, _)| name.cmp(&node.name)).is_err() {
                // The listing may be older than the birth: look the name up.
                if matches!(self.open(child), Ok(None)) {
                    self.bury_tree(child, learned_from);
                }
            }
        }
        for (name, id) in names {
            let known = self.books.child(key, &name);
            if known.and_then(|child| self.books.get(child)).is_some_and(|node| node.id == id) {
                continue;
            }
            let Some((handle, stat)) = self.look_up(key, dir, &name) else { continue };
            if known.and_then(|child| self.books.get(child)).is_some_and(|n| n.id == stat.id) {
                self.world.close(handle);
                continue;
            }
            if let Some(child) = known {
                self.bury_tree(child, learned_from);
            }
            self.adopt(key, &name, handle, stat, ahead);
        }
    }
}
