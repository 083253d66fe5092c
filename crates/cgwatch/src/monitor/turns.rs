//! Readings and checks that have to wait for their turn, lest one subtree hold up all others: one
//! write freezes ten thousand cgroups, or has the files of ten thousand children checked.
//!
//! Stated bounds, which README's guarantee 3 gives its readers:
//! * Between two drains of the kernel's queue no more is read than [`Options::batch`] files, a check
//!   counting as [`CHECK`] of them; in one pass no more than [`BATCHES`] times that.
//! * Batches are filled by turns ([`FairQueue`]), so that every subtree with something to read gets
//!   its share.
//! * In a crowd, of more cgroups side by side than a batch holds, one that was read within the last
//!   second waits until that second is over ([`PACE_NS`]).
//! * After a check of a cgroup's children the next one waits so long that checks take a tenth of a
//!   processor ([`REST_NS`] a child).
//!
//! A check that waits is a doubt: what is left over in its directory is nobody's alone, since a file
//! that was replaced there may have counted it.
//!
//! [`Options::batch`]: crate::Options::batch

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};

use super::{
    Map, Monitor, Set,
    books::{Books, NodeKey},
    fair::{FairQueue, Item, Order},
    schema::FileId,
    untold::Touch,
};
use crate::{LearnedFrom, world::World};

/// What a check costs, in readings.
const CHECK: usize = 4;
/// And that of its children's names.
const COMPARISON: usize = 2;
/// How many batches a pass may take.
const BATCHES: usize = 4;
/// How long one that was just read waits in a crowd.
const PACE_NS: u64 = 1_000_000_000;
/// After a check of a directory's children: ten times what one of them takes.
const REST_NS: u64 = 300_000;

/// What is to be done with one cgroup.
#[derive(Debug, Default)]
struct Due {
    files: Vec<FileId>,
    check: Option<Check>,
    /// Records were lost: its children are to be compared, too.
    compare: bool,
    /// It has waited for its pace.
    rested: bool,
}

/// Everything of a cgroup is to be read anew, and its files compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// The directory whose files or children's files may have come or gone.
    of: NodeKey,
    learned_from: LearnedFrom,
}

/// A directory that rests between two checks of its children.
#[derive(Debug, Default)]
struct Resting {
    /// It is to be checked, too.
    itself: bool,
    /// Children that were checked since its last hint, for reasons of their own.
    checked: HashSet<NodeKey>,
}

impl Item for NodeKey {
    fn order(&self) -> Order {
        Order::Before
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    queue: FairQueue<NodeKey>,
    due: HashMap<NodeKey, Due>,
    /// Those that wait for their pace, by its end.
    paced: BTreeSet<(u64, NodeKey)>,
    /// How many checks wait, by the directory they are for.
    checks: Map<NodeKey, usize>,
    /// Those of which none waits any more.
    checked: Vec<NodeKey>,
    /// When a directory's children may be checked again.
    rests: Map<NodeKey, u64>,
    /// Directories whose children are to be checked then.
    resting: Map<NodeKey, Resting>,
    /// How many are to be compared.
    comparisons: usize,
    /// How many readings this pass may still take.
    left: usize,
}

impl Turns {
    /// Nothing waits that could be done now.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// There is something to do, and this pass may do it.
    pub(crate) fn has_turn(&self) -> bool {
        !self.queue.is_empty() && self.left > 0
    }

    /// A pass begins.
    pub(crate) fn begin(&mut self, batch: usize) {
        self.left = batch.saturating_mul(BATCHES);
    }

    /// When there is something to do again.
    pub(crate) fn next_ns(&self, now_ns: u64) -> Option<u64> {
        let now = (!self.queue.is_empty()).then_some(now_ns);
        let paced = self.paced.first().map(|(due, _)| *due);
        let resting = self.resting.keys().filter_map(|dir| self.rests.get(dir).copied()).min();
        now.into_iter().chain(paced).chain(resting).min()
    }

    /// A cgroup waits to be read or checked.
    pub(crate) fn awaits(&self, key: NodeKey) -> bool {
        self.due.contains_key(&key)
    }

    /// Everything of a cgroup is being read. Tells whether its children are to be compared.
    pub(crate) fn forget(&mut self, books: &Books, key: NodeKey) -> bool {
        if !self.resting.is_empty()
            && let Some(parent) = books.get(key).and_then(|node| node.parent)
            && let Some(resting) = self.resting.get_mut(&parent)
        {
            resting.checked.insert(key);
        }
        !self.due.is_empty() && self.take(key).is_some_and(|due| due.compare)
    }

    /// Something is still to be compared.
    pub(crate) fn is_comparing(&self) -> bool {
        self.comparisons > 0
    }

    /// A cgroup waits to be checked, by itself or with all children of its directory.
    pub(crate) fn awaits_check(&self, books: &Books, key: NodeKey) -> bool {
        let rests = |dir: NodeKey| {
            self.resting.get(&dir).is_some_and(|resting| !resting.checked.contains(&key))
        };
        self.due.get(&key).is_some_and(|due| due.check.is_some())
            || !self.resting.is_empty()
                && books.get(key).and_then(|node| node.parent).is_some_and(rests)
    }

    /// A file may have been replaced in a directory, and that was not checked yet.
    pub(crate) fn doubts(&self, dir: NodeKey) -> bool {
        self.checks.contains_key(&dir)
            || self.resting.contains_key(&dir)
            || self.checked.contains(&dir)
    }

    /// Directories of which the last check was made since this was last asked. What a file that was
    /// replaced before it was watched had counted may be left over in them.
    fn take_checked(&mut self) -> Vec<NodeKey> {
        std::mem::take(&mut self.checked)
    }

    /// Everything is compared anew anyway.
    pub(crate) fn clear(&mut self) {
        *self = Self { left: self.left, ..Self::default() };
    }

    fn due_mut(&mut self, books: &Books, batch: usize, key: NodeKey) -> &mut Due {
        self.due.entry(key).or_insert_with(|| {
            self.queue.push(key, batch, |key| books.route(*key));
            Due::default()
        })
    }

    fn read(&mut self, books: &Books, batch: usize, key: NodeKey, file: FileId) {
        let due = self.due_mut(books, batch, key);
        if !due.files.contains(&file) {
            due.files.push(file);
        }
    }

    fn check(&mut self, books: &Books, batch: usize, key: NodeKey, check: Check) {
        let before = self.due_mut(books, batch, key).check.replace(check);
        if let Some(before) = before {
            self.forget_check(before);
        }
        *self.checks.entry(check.of).or_default() += 1;
    }

    /// A cgroup is to be checked and its children compared.
    pub(crate) fn compare(&mut self, books: &Books, batch: usize, key: NodeKey) {
        let due = self.due_mut(books, batch, key);
        if !std::mem::replace(&mut due.compare, true) {
            self.comparisons += 1;
        }
        let of = books.get(key).and_then(|node| node.parent).unwrap_or(key);
        self.check(books, batch, key, Check { of, learned_from: LearnedFrom::Reconcile });
    }

    fn forget_check(&mut self, check: Check) {
        if let Some(left) = self.checks.get_mut(&check.of) {
            *left -= 1;
            if *left == 0 {
                self.checks.swap_remove(&check.of);
                self.checked.push(check.of);
            }
        }
    }

    /// What is to be done next, if its turn has come.
    fn pop(&mut self, books: &Books, batch: usize, now_ns: u64) -> Option<(NodeKey, Due)> {
        loop {
            let taken = self.queue.pop()?;
            let key = taken.item;
            let Some(due) = self.due.get_mut(&key) else { continue };
            let read_ns = books.living(key).map_or(0, |node| node.read_ns);
            let paced_ns = read_ns.saturating_add(PACE_NS);
            if taken.beside > batch && paced_ns > now_ns && due.check.is_none() && !due.rested {
                due.rested = true;
                self.paced.insert((paced_ns, key));
                continue;
            }
            if let Some(due) = self.take(key) {
                return Some((key, due));
            }
        }
    }

    /// Takes what is to be done with a cgroup, whether or not its turn has come: it is being done.
    fn take(&mut self, key: NodeKey) -> Option<Due> {
        let due = self.due.remove(&key)?;
        if let Some(check) = due.check {
            self.forget_check(check);
        }
        self.comparisons -= usize::from(due.compare);
        if self.due.is_empty() && self.due.capacity() > 1024 {
            self.due.shrink_to_fit();
        }
        Some(due)
    }

    /// Those whose pace allows it wait for their turn again.
    fn wake_paced(&mut self, books: &Books, batch: usize, now_ns: u64) {
        while let Some(&(due, key)) = self.paced.first().filter(|(due, _)| *due <= now_ns) {
            self.paced.remove(&(due, key));
            if self.due.contains_key(&key) {
                self.queue.push(key, batch, |key| books.route(*key));
            }
        }
    }

    /// Directories that have rested, and are to be checked; `true`: themselves too.
    fn take_rested(&mut self, now_ns: u64) -> Vec<(NodeKey, bool)> {
        self.rests.retain(|_, until| *until > now_ns);
        let rested = self.resting.keys().filter(|dir| !self.rests.contains_key(*dir));
        let rested: Vec<NodeKey> = rested.copied().collect();
        let take = |dir| self.resting.swap_remove(&dir).map(|resting| (dir, resting.itself));
        rested.into_iter().filter_map(take).collect()
    }
}

impl<W: World> Monitor<W> {
    /// Checks a cgroup that waits for it before anything else is read of it or believed of its children:
    /// a file may have been replaced, and a name be borne by another.
    pub(crate) fn check_first(&mut self, key: NodeKey) {
        if self.turns.awaits_check(&self.books, key) {
            self.check_node(key, LearnedFrom::Lookup);
        }
    }

    /// Lets wait what cannot be read at once. What woke and is little is left to be read now.
    pub(crate) fn queue_wakes(&mut self) {
        let batch = self.options.batch;
        if self.turns.is_empty() && self.turns.due.is_empty() && self.hints.wakes.len() <= batch {
            return;
        }
        for (key, file) in std::mem::take(&mut self.hints.wakes) {
            if self.options.touches {
                self.untold.note_touch(&mut self.books, key, Touch::File(file));
            }
            if self.books.living(key).is_some() {
                self.turns.read(&self.books, batch, key, file);
            }
        }
    }

    /// Reads and checks one batch of what waits.
    pub(crate) fn take_turn(&mut self) {
        let batch = self.options.batch;
        let mut left = batch.min(self.turns.left);
        while left > 0 {
            let Some((key, due)) = self.turns.pop(&self.books, batch, self.now_ns) else { break };
            let cost = if due.check.is_some() { CHECK } else { due.files.len() };
            let cost = cost + usize::from(due.compare) * COMPARISON;
            left = left.saturating_sub(cost);
            self.turns.left = self.turns.left.saturating_sub(cost);
            match due.check {
                Some(check) if self.books.living(key).is_some() => {
                    let alive = self.check_node(key, check.learned_from);
                    if alive && due.compare {
                        self.compare_after_gap(key);
                    }
                }
                Some(_) => {}
                None => self.wake(key, &due.files),
            }
        }
        self.read_woken();
        for dir in self.turns.take_checked() {
            self.books.note_stranger(dir);
        }
    }

    /// What waits for a time has its turn when that has come.
    pub(crate) fn turn_paces(&mut self) {
        self.turns.wake_paced(&self.books, self.options.batch, self.now_ns);
        let rested = self.turns.take_rested(self.now_ns);
        self.check_controls(rested);
    }

    /// The files of directories' children may have come or gone, or (`true`) their own.
    pub(crate) fn check_controls(&mut self, written: impl IntoIterator<Item = (NodeKey, bool)>) {
        let mut doubtful: Set<NodeKey> = Set::default();
        let mut checks = Vec::new();
        for (dir, itself) in written {
            let Some(node) = self.books.living(dir) else { continue };
            if self.turns.rests.get(&dir).is_some_and(|until| *until > self.now_ns) {
                let resting = self.turns.resting.entry(dir).or_default();
                resting.itself |= itself;
                resting.checked.clear();
                continue;
            }
            doubtful.extend(node.parent.filter(|_| itself).into_iter().chain([dir]));
            let mut keys: Vec<_> = self.books.children(dir).collect();
            keys.extend(itself.then_some(dir));
            if !keys.is_empty() {
                let rest = REST_NS.saturating_mul(keys.len() as u64);
                self.turns.rests.insert(dir, self.now_ns.saturating_add(rest));
                checks.push((dir, keys));
            }
        }
        // Once each, however many of its children were written: it looks at all of them.
        for dir in doubtful {
            self.expect_strangers(dir);
        }
        for (dir, keys) in checks {
            self.check_all(keys, Some(dir), LearnedFrom::Lookup);
        }
    }

    /// Checks cgroups: at once if they are few and nothing else waits. The files of `of`, or of its
    /// children, may have come or gone; `None`: those of the children of what is above each.
    pub(crate) fn check_all(
        &mut self,
        keys: Vec<NodeKey>,
        of: Option<NodeKey>,
        learned_from: LearnedFrom,
    ) {
        let cost = keys.len().saturating_mul(CHECK);
        let at_once = self.turns.is_empty() && cost <= self.options.batch.min(self.turns.left);
        if at_once {
            self.turns.left -= cost;
        }
        for key in keys {
            let Some(node) = self.books.living(key) else { continue };
            if at_once {
                self.check_node(key, learned_from);
            } else {
                let of = of.or(node.parent).unwrap_or(key);
                let check = Check { of, learned_from };
                self.turns.check(&self.books, self.options.batch, key, check);
            }
        }
    }
}

#[cfg(test)]
mod tests;
