//! Who is told to have counted what was left over.
//!
//! An amount stands in exactly one event: the removal of the last that died in one settlement, or,
//! with no removal pending, as `late` in a `changed` of the parent. It is certain (`bounded`) only
//! if no other removal can share it, and no file that has just been replaced (a controller was
//! written) can have counted it unread.

use std::cell::OnceCell;

use indexmap::IndexSet;

use super::{
    Map, Monitor,
    books::{File, NodeKey},
    schema::FileId,
    settle::{LeftOver, Loss},
    untold::Removal,
};
use crate::{Confidence, Unseen, Values, world::World};

/// Those that are settled together.
struct Losses {
    all: Vec<Loss>,
    /// See [`Monitor::below`]. Of no use unless something is left over.
    below: OnceCell<Map<NodeKey, Vec<usize>>>,
}

impl<W: World> Monitor<W> {
    /// Gives what was left over to those that died, and lets their removals be told.
    pub(crate) fn attribute(&mut self, losses: Vec<Loss>, mut left_over: LeftOver) {
        let mut unseen: Vec<Unseen> = losses.iter().map(|_| Unseen::default()).collect();
        let losses = Losses { all: losses, below: OnceCell::new() };
        // Dead parents first, by their last values: all their children are dead too.
        for loss in &losses.all {
            let parent = self.books.get(loss.key).and_then(|node| node.parent);
            let Some(parent) = parent.filter(|key| self.books.living(*key).is_none()) else {
                continue;
            };
            for file in self.schemas.files() {
                if self.is_summed(file) {
                    let amount = self.take_rest(parent, file);
                    self.give(&losses, &mut unseen, (parent, file), amount);
                }
            }
        }
        for loss in losses.all.iter().filter(|loss| loss.file.is_none()) {
            for file in self.schemas.files() {
                if self.is_summed(file) {
                    let amount = self.take_rest(loss.key, file);
                    self.tell_late(loss.key, file, &amount);
                }
            }
        }
        let mut amounts: Vec<_> = left_over.drain().collect();
        amounts.sort_unstable_by_key(|((key, file), _)| (*key, *file));
        for (account, amount) in amounts {
            self.give(&losses, &mut unseen, account, amount);
        }
        self.mark_unknowable(&losses.all, &mut unseen);
        for (loss, unseen) in losses.all.into_iter().zip(unseen) {
            match loss.file {
                Some(file) => self.untold.set_unseen_of_lost(loss.key, file, unseen),
                None => {
                    let removal = Removal { learned_from: loss.learned_from, unseen };
                    self.untold.settle_removal(loss.key, removal);
                }
            }
        }
    }

    /// The places of those that are lost and lie below a cgroup, or are it, the settled ones first.
    fn below(&self, losses: &[Loss]) -> Map<NodeKey, Vec<usize>> {
        let mut below: Map<NodeKey, Vec<usize>> = Map::default();
        for (at, loss) in losses.iter().chain(&self.losses).enumerate() {
            let parent_of = |key: &NodeKey| self.books.get(*key)?.parent;
            for key in std::iter::successors(Some(loss.key), parent_of) {
                below.entry(key).or_default().push(at);
            }
        }
        below
    }

    /// What is left over of one file of one parent goes to the last that died below it.
    fn give(
        &mut self,
        losses: &Losses,
        unseen: &mut [Unseen],
        (account, file): (NodeKey, FileId),
        amount: Values<u64>,
    ) {
        if amount.is_empty() {
            return;
        }
        let dead = self.books.living(account).is_none();
        let itself_may = self.books.get(account).is_some_and(|node| {
            let kin = |f: &File| f.kin.as_ref().is_some_and(|kin| f.file == file && kin.unsure);
            node.files.iter().any(kin)
        });
        let is_member = |loss: &Loss| -> bool {
            let its = loss.file.is_none_or(|lost| lost == file);
            let below = match dead {
                true => loss.key != account || itself_may,
                false => self.account_of(loss, file) == Some(account),
            };
            its && below
        };
        let below = losses.below.get_or_init(|| self.below(&losses.all));
        let losses = losses.all.as_slice();
        let below = below.get(&account).into_iter().flatten().copied();
        // Who died since the last reading may own a part of it too, and is settled later.
        let (mut members, newest): (Vec<usize>, Vec<usize>) = below
            .filter(|at| {
                losses
                    .get(*at)
                    .or_else(|| self.losses.get(at - losses.len()))
                    .is_some_and(is_member)
            })
            .partition(|at| *at < losses.len());
        // A file may be the first that is seen to go of a cgroup that is being removed.
        members.sort_by_key(|at| losses[*at].file.is_none());
        let Some((&carrier, others)) = members.split_last() else {
            return self.tell_late(account, file, &amount);
        };
        let name = self.schemas.spec(file).name.clone();
        let n = |loss: &Loss| self.books.get(loss.key).map_or(0, |node| node.n);
        // Itself may be among them, with a file that went just before it.
        let itself = n(&losses[carrier]);
        let sharers = others.iter().map(|at| n(&losses[*at]));
        let newest = newest.iter().map(|at| n(&self.losses[at - losses.len()]));
        let sharers: IndexSet<u64> = sharers.chain(newest).filter(|n| *n != itself).collect();
        let unsure = self.rests.contains_key(&account)
            || !self.losses.is_empty()
            || !self.hints.controls.is_empty()
            || self.turns.doubts(account)
            || self.misses_births(account)
            || self.misses_files(account, file)
            || self.takes_stranger(account);
        let alone = sharers.is_empty() && !dead && !unsure;
        for &other in others {
            unseen[other].unseen_in = Some(itself);
        }
        let unseen = &mut unseen[carrier];
        unseen.add(&name, amount);
        if unseen.confidence != Some(Confidence::Shared) {
            unseen.confidence = Some(if alone { Confidence::Bounded } else { Confidence::Shared });
        }
        sharers.into_iter().for_each(|sharer| unseen.share_with(sharer));
    }

    /// A child that nobody knew may have counted here, up to now: the amount is all there is.
    fn takes_stranger(&mut self, key: NodeKey) -> bool {
        let node = self.books.get_mut(key);
        node.is_some_and(|node| std::mem::take(&mut node.flags.had_stranger))
    }

    /// A child may have had the file, and have lost it before it was read.
    pub(crate) fn misses_files(&self, key: NodeKey, file: FileId) -> bool {
        let mut children = self.books.children(key).filter_map(|child| self.books.get(child));
        children.any(|child| child.present(file).is_none())
    }

    /// Some may have lived and died here that nobody tells of.
    fn misses_births(&self, key: NodeKey) -> bool {
        self.births_missed || !self.hears_of_births(key)
    }

    /// Says of which files it cannot be known what was not seen.
    fn mark_unknowable(&mut self, losses: &[Loss], unseen: &mut [Unseen]) {
        let mount_changed = self.mount_switched;
        let mut at_most = None;
        for (loss, unseen) in losses.iter().zip(unseen) {
            let Some(node) = self.books.get(loss.key) else { continue };
            for file in self.schemas.files() {
                let spec = self.schemas.spec(file);
                let its = loss.file.is_none_or(|lost| lost == file);
                let had = match node.flags.settled {
                    false => spec.seen, // it may have had any that there is
                    true => node.files.iter().any(|f| f.file == file),
                };
                if spec.states || !spec.name.ends_with(".events") || !its || !had {
                    continue;
                }
                let account = self.account_of(loss, file);
                let knowable = !mount_changed
                    && self.is_summed(file)
                    && account.is_some_and(|account| !self.hides_some(account));
                if knowable || unseen.files.iter().any(|(name, _)| *name == spec.name) {
                    continue;
                }
                unseen.files.push((spec.name.clone(), None));
                if &*spec.name == "memory.events" {
                    let at_most = at_most.get_or_insert_with(|| {
                        let now = self.world.host_oom_kills()?;
                        let since = now.saturating_sub(self.host_kills?);
                        Some(since.saturating_sub(self.told_kills))
                    });
                    unseen.host_oom_kill_at_most = *at_most;
                }
            }
        }
    }

    /// What has no removal to be told in.
    fn tell_late(&mut self, key: NodeKey, file: FileId, amount: &Values<u64>) {
        if amount.is_empty() {
            return;
        }
        let slot = self.books.get(key).and_then(|n| n.files.iter().find(|f| f.file == file));
        let Some(slot) = slot else { return };
        let (schema, keys) = (slot.schema, self.schemas.keys(slot.schema));
        let amounts: Vec<u64> = keys.iter().map(|k| amount.get(k).unwrap_or(0)).collect();
        let late = &mut self.untold.told_mut(key).late;
        match late.iter_mut().find(|(f, s, _)| *f == file && *s == schema) {
            Some((.., sums)) => {
                sums.iter_mut()
                    .zip(amounts)
                    .for_each(|(sum, amount)| *sum = sum.saturating_add(amount));
            }
            None => late.push((file, schema, amounts)),
        }
        self.untold.touch(&mut self.books, key);
    }
}
