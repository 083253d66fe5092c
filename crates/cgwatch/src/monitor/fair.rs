//! A queue in which a cgroup does not wait behind the crowd in another subtree.
//!
//! The items of each cgroup are in a *lane*; lanes form a tree, as the cgroups do. An item is taken
//! from the lanes below one lane in turns, so that at every level each subtree in which something
//! waits gets an equal share, as the kernel shares a processor between cgroups. So an item waits for
//! no more others than the product of the numbers of busy siblings on its path. Cgroups below
//! [`LEVELS`] share the lane of their ancestor there, first come, first served.
//!
//! Order, whatever the shares: of one lane as pushed; an item that goes [`Order::Before`] comes
//! before all that was pushed after it below its lane, one that goes [`Order::After`] after all that
//! was pushed before it there. So a cgroup appears before its children and is removed after them.
//! What belongs to no cgroup keeps that order to everything, but holds up nothing.
//!
//! As long as no more wait than would be noticed, it is one plain queue.

use std::collections::VecDeque;

use hashbrown::HashMap;
use slotmap::{SlotMap, new_key_type};

/// How many levels, that of the watched roots among them, have lanes.
pub(crate) const LEVELS: usize = 8;

/// Names the lanes on the way to an item's own: each by all names from the root on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Route {
    lanes: [u64; LEVELS],
    length: usize,
}

impl Route {
    /// Appends the next lane on the way; beyond [`LEVELS`] nothing.
    pub(crate) fn push(&mut self, lane: u64) {
        if let Some(slot) = self.lanes.get_mut(self.length) {
            *slot = lane;
            self.length += 1;
        }
    }

    fn lanes(&self) -> &[u64] {
        &self.lanes[..self.length]
    }

    /// The lane on the way that so many others are above, if there is one.
    pub(crate) fn lane(&self, level: usize) -> Option<u64> {
        self.lanes().get(level).copied()
    }
}

/// Where an item stands to those below its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Before,
    After,
}

/// What can wait in a [`FairQueue`].
pub(crate) trait Item {
    fn order(&self) -> Order;
}

new_key_type! { struct LaneKey; }

#[derive(Debug)]
struct Lane<T> {
    /// By which it is found.
    id: u64,
    level: usize,
    /// With the numbers in which they were pushed.
    items: VecDeque<(u64, T)>,
    /// Those directly below in which something waits; the first has its turn next.
    below: VecDeque<LaneKey>,
}

impl<T> Lane<T> {
    fn new(id: u64, level: usize) -> Self {
        // Most hold one item, and there may be as many as cgroups.
        Self { id, level, items: VecDeque::with_capacity(1), below: VecDeque::new() }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.below.is_empty()
    }
}

/// The lanes, while more wait than a plain queue should hold.
#[derive(Debug)]
struct Lanes<T> {
    all: SlotMap<LaneKey, Lane<T>>,
    by_id: HashMap<u64, LaneKey>,
    /// Of what belongs to no cgroup; all others are below it.
    top: LaneKey,
    /// How many were pushed before the item with this number, the first of the top lane.
    older: Option<(u64, usize)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    plain: VecDeque<(u64, T)>,
    lanes: Option<Lanes<T>>,
    pushed: u64,
    length: usize,
}

/// An item that was taken.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    pub(crate) item: T,
    /// How many were waiting beside it, itself included: in its own lane or in lanes next to that.
    pub(crate) beside: usize,
    number: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { plain: VecDeque::new(), lanes: None, pushed: 0, length: 0 }
    }
}

impl<T: Item> FairQueue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends an item. Once more than `plain` of them wait they get lanes, which `route` tells.
    pub(crate) fn push(&mut self, item: T, plain: usize, route: impl Fn(&T) -> Route) {
        self.pushed += 1;
        self.length += 1;
        if self.lanes.is_none() && self.plain.len() >= plain {
            let mut lanes = Lanes::new();
            for (number, item) in std::mem::take(&mut self.plain) {
                lanes.push(route(&item), number, item);
            }
            self.lanes = Some(lanes);
        }
        match &mut self.lanes {
            Some(lanes) => lanes.push(route(&item), self.pushed, item),
            None => self.plain.push_back((self.pushed, item)),
        }
    }

    /// Takes the next item.
    pub(crate) fn pop(&mut self) -> Option<Taken<T>> {
        let taken = match &mut self.lanes {
            Some(lanes) => lanes.pop(),
            None => {
                let beside = self.plain.len();
                self.plain.pop_front().map(|(number, item)| Taken { item, beside, number })
            }
        };
        self.length = self.length.saturating_sub(usize::from(taken.is_some()));
        if self.length == 0 {
            self.lanes = None;
        }
        taken
    }

    /// Every item, as pushed.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let lanes = self.lanes.iter().flat_map(|lanes| lanes.all.values());
        let laned = lanes.flat_map(|lane| lane.items.iter());
        let mut all: Vec<_> = self.plain.iter().chain(laned).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, item)| item)
    }

    /// Drops the items that are not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.plain.retain(|(_, item)| keep(item));
        self.length = self.plain.len();
        if let Some(lanes) = &mut self.lanes {
            self.length += lanes.retain(keep);
        }
        if self.length == 0 {
            self.lanes = None;
        }
    }
}

impl<T: Item> Lanes<T> {
    fn new() -> Self {
        let mut all = SlotMap::with_key();
        let top = all.insert(Lane::new(0, 0));
        Self { all, by_id: HashMap::new(), top, older: None }
    }

    fn push(&mut self, route: Route, number: u64, item: T) {
        let mut at = self.top;
        for (level, &id) in route.lanes().iter().enumerate() {
            let all = &mut self.all;
            at = *self.by_id.entry(id).or_insert_with(|| {
                let new = all.insert(Lane::new(id, level + 1));
                if let Some(above) = all.get_mut(at) {
                    above.below.push_back(new);
                }
                new
            });
        }
        if let Some(lane) = self.all.get_mut(at) {
            lane.items.push_back((number, item));
        }
    }

    fn pop(&mut self) -> Option<Taken<T>> {
        let first = self.all.get(self.top)?.items.front();
        let taken = match first.map(|(number, item)| (*number, item.order())) {
            Some((number, Order::After)) if self.has_older(number) => {
                self.pop_below(self.top, u64::MAX)
            }
            Some(_) => self.take(self.top, 1),
            None => self.pop_below(self.top, u64::MAX),
        }?;
        if let Some((number, left)) = &mut self.older {
            *left = left.saturating_sub(usize::from(taken.number < *number));
        }
        Some(taken)
    }

    /// Something that was pushed before this number is left. Counted once a number.
    fn has_older(&mut self, number: u64) -> bool {
        let left = self.older.filter(|(counted, _)| *counted == number).map(|(_, left)| left);
        let left = left.unwrap_or_else(|| {
            let items = self.all.values().flat_map(|lane| &lane.items);
            items.filter(|(pushed, _)| *pushed < number).count()
        });
        self.older = Some((number, left));
        left > 0
    }

    /// The next item of a lane and those below it, of those pushed before `limit`.
    fn pop_in(&mut self, key: LaneKey, limit: u64, beside: usize) -> Option<Taken<T>> {
        let first = self.all.get(key)?.items.front().filter(|(number, _)| *number < limit);
        match first.map(|(number, item)| (*number, item.order())) {
            Some((_, Order::Before)) => self.take(key, beside),
            Some((number, Order::After)) => {
                self.pop_below(key, number).or_else(|| self.take(key, beside))
            }
            None => self.pop_below(key, limit),
        }
    }

    /// The next item of the lanes below one, which have their turns; as deep as there are levels.
    fn pop_below(&mut self, key: LaneKey, limit: u64) -> Option<Taken<T>> {
        let turns = self.all.get(key)?.below.len();
        for _ in 0..turns {
            let lane = self.all.get_mut(key)?;
            lane.below.rotate_left(1);
            let below = *lane.below.back()?;
            if let Some(taken) = self.pop_in(below, limit, turns) {
                if self.all.get(below).is_some_and(Lane::is_empty) {
                    self.remove(below);
                    self.all.get_mut(key)?.below.pop_back();
                }
                return Some(taken);
            }
        }
        None
    }

    fn take(&mut self, key: LaneKey, beside: usize) -> Option<Taken<T>> {
        let items = &mut self.all.get_mut(key)?.items;
        let beside = beside.max(items.len());
        items.pop_front().map(|(number, item)| Taken { item, beside, number })
    }

    fn remove(&mut self, key: LaneKey) {
        if let Some(lane) = self.all.remove(key) {
            self.by_id.remove(&lane.id);
        }
    }

    /// Tells how many are left.
    fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) -> usize {
        self.older = None;
        let mut left = 0;
        let mut deepest_first: Vec<_> = self.all.iter().map(|(key, l)| (l.level, key)).collect();
        deepest_first.sort_unstable_by_key(|(level, _)| std::cmp::Reverse(*level));
        for (_, key) in deepest_first {
            let Some(lane) = self.all.get_mut(key) else { continue };
            lane.items.retain(|(_, item)| keep(item));
            left += lane.items.len();
            let mut below = std::mem::take(&mut lane.below);
            below.retain(|key| self.all.contains_key(*key));
            let Some(lane) = self.all.get_mut(key) else { continue };
            lane.below = below;
            if lane.is_empty() && key != self.top {
                self.remove(key);
            }
        }
        left
    }
}

#[cfg(test)]
mod tests;
