//! After notifications were lost: everything is compared anew.

use super::{Monitor, books::NodeKey, names::Ahead};
use crate::{GapReason, LearnedFrom, world::World};

/// So many cgroups are looked at between two drains, lest the queue fill again meanwhile.
const BETWEEN_DRAINS: usize = 256;

impl<W: World> Monitor<W> {
    /// Tells a gap, compares everything, tells `ready`.
    pub(crate) fn reconcile(&mut self, reason: GapReason) {
        self.untold.push_gap(reason);
        self.births_missed = true;
        // Hints from before say nothing any more that the comparison does not find.
        self.hints.clear();
        self.ahead.clear();
        self.deaths.forget_strays();
        self.check_roots(LearnedFrom::Reconcile);
        let mut all: Vec<NodeKey> = self.roots.iter().map(|root| root.key).collect();
        let mut at = 0;
        while let Some(&key) = all.get(at) {
            at += 1;
            let children: Vec<_> = self.books.children(key).collect();
            for child in children {
                if let Some(node) = self.books.get_mut(child) {
                    node.ahead = node.ahead.after_gap();
                }
            }
            if self.check_node(key, LearnedFrom::Reconcile) {
                self.compare_children(key, Ahead::AFTER_GAP, LearnedFrom::Reconcile);
                all.extend(self.books.children(key));
            }
            if at % BETWEEN_DRAINS == 0 && self.drain().is_err() {
                break;
            }
        }
        self.settle();
        self.untold.push_ready(true);
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
