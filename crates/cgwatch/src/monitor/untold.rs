//! What is still to be told: the difference between the books and what the reader knows.
//!
//! Nothing is queued per change. A node waits in the queue at most twice, once to be told as it is
//! and once for its removal, and what it was last told stands beside it only while it differs. So
//! memory is bounded by the number of cgroups, however slow the reader; the one thing that could
//! still grow, births that wait together with their deaths, is withheld beyond a limit and summed
//! up in a `gap`.

use std::mem::{Discriminant, discriminant};

use hashbrown::HashMap;
use rustix::io::Errno;

use super::{
    books::{Books, File, NodeKey},
    cancelled::Cancelled,
    fair::{FairQueue, Item, LEVELS, Order, Route},
    schema::{FileId, SchemaId, Schemas},
};
use crate::{GapReason, LearnedFrom, Unseen, Values};

/// What waits in the queue.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The node as it is: its appearance, or what differs.
    Living(NodeKey),
    /// Its removal.
    Removal(NodeKey),
    Gap(GapReason),
    /// Something of a living cgroup could not be looked at.
    Inaccessible(NodeKey, Errno),
    Ready {
        after_gap: bool,
    },
}

impl Item for Entry {
    fn order(&self) -> Order {
        match self {
            Self::Living(_) | Self::Gap(_) | Self::Inaccessible(..) => Order::Before,
            Self::Removal(_) | Self::Ready { .. } => Order::After,
        }
    }
}

impl Entry {
    fn is_gap(&self) -> bool {
        matches!(self, Self::Gap(_) | Self::Inaccessible(..))
    }

    /// The cgroup that it is about.
    fn key(&self) -> Option<NodeKey> {
        match self {
            Self::Living(key) | Self::Removal(key) | Self::Inaccessible(key, _) => Some(*key),
            Self::Gap(_) | Self::Ready { .. } => None,
        }
    }

    fn route(&self, books: &Books) -> Route {
        self.key().map_or_else(Route::default, |key| books.route(key))
    }

    /// It takes its time to be told, since the path of its cgroup may be long: deeper than lanes reach,
    /// where hundreds of names of kilobytes may stand in it.
    fn is_costly(&self, books: &Books) -> bool {
        self.key().and_then(|key| books.get(key)).is_some_and(|node| node.depth as usize >= LEVELS)
    }
}

/// What the reader knows of a node, where it differs from the books.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) files: Vec<ToldFile>,
    /// What dead descendants counted late: file, schema, amounts.
    pub(crate) late: Vec<(FileId, SchemaId, Vec<u64>)>,
    pub(crate) removal: Option<Box<Removal>>,
    /// Files that were written, whether or not a value differs.
    pub(crate) touches: Vec<Touch>,
}

/// A file that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// An event file.
    File(FileId),
    /// `cgroup.subtree_control`
    Control,
    /// `cgroup.type`
    Type,
}

/// One file as the reader knows it.
#[derive(Debug)]
pub(crate) struct ToldFile {
    pub(crate) file: FileId,
    pub(crate) schema: SchemaId,
    pub(crate) total: Box<[u64]>,
    /// The `.local` values; `None` while all counts are the cgroup's own.
    pub(crate) own: Option<Box<[u64]>>,
    /// The reader does not know that the file is there: `total` is its new baseline.
    pub(crate) added: bool,
    /// The file went after what the reader knows.
    pub(crate) lost: Option<Box<Lost>>,
}

/// A file that went, as it was last read.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) schema: SchemaId,
    pub(crate) total: Box<[u64]>,
    pub(crate) own: Option<Box<[u64]>>,
    pub(crate) unseen: Unseen,
}

/// What a `removed` will say.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) learned_from: LearnedFrom,
    pub(crate) unseen: Unseen,
}

/// The queue, and what the reader knows.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    queue: FairQueue<Entry>,
    /// More than these wait in lanes, or any if one of them is costly.
    plain: usize,
    told: HashMap<NodeKey, Told>,
    cancelled: Cancelled,
    pairs: usize,
    /// The kinds of gaps that wait, but for the reader's.
    gaps_queued: Vec<Discriminant<GapReason>>,
    reader_gap_queued: bool,
    /// Everything is being compared; only then is it `Ready` again.
    gap_open: bool,
    /// A gap is told that no `Ready` ends yet.
    ready_owed: bool,
}

impl Untold {
    /// Up to `plain` entries wait in one line; more by turns of the subtrees.
    pub(crate) fn new(plain: usize) -> Self {
        Self { plain, ..Self::default() }
    }

    fn push(&mut self, books: &Books, entry: Entry) {
        let plain = if entry.is_costly(books) { 0 } else { self.plain };
        self.queue.push(entry, plain, |entry| entry.route(books));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.queue.pop().map(|taken| taken.item);
        match &entry {
            Some(Entry::Gap(GapReason::Reader)) => self.reader_gap_queued = false,
            Some(Entry::Gap(reason)) => {
                let kind = discriminant(reason);
                self.gaps_queued.retain(|queued| *queued != kind);
            }
            _ => {}
        }
        entry
    }

    pub(crate) fn told_mut(&mut self, key: NodeKey) -> &mut Told {
        self.told.entry(key).or_default()
    }

    pub(crate) fn take_told(&mut self, key: NodeKey) -> Option<Told> {
        let told = self.told.remove(&key);
        if self.told.is_empty() && self.told.capacity() > 1024 {
            self.told.shrink_to_fit();
        }
        told
    }

    pub(crate) fn take_cancelled(&mut self) -> Cancelled {
        std::mem::take(&mut self.cancelled)
    }

    /// The node differs from what the reader knows.
    pub(crate) fn touch(&mut self, books: &mut Books, key: NodeKey) {
        let Some(node) = books.get_mut(key) else { return };
        if !std::mem::replace(&mut node.flags.queued, true) {
            self.push(books, Entry::Living(key));
        }
    }

    /// A file was written, which is to be told whether or not a value differs.
    pub(crate) fn note_touch(&mut self, books: &mut Books, key: NodeKey, what: Touch) {
        if books.living(key).is_some() {
            let touches = &mut self.told_mut(key).touches;
            if !touches.contains(&what) {
                touches.push(what);
            }
            self.touch(books, key);
        }
    }

    /// Keeps what the reader knows of a file, before it is read anew.
    pub(crate) fn keep(&mut self, key: NodeKey, file: &File) {
        let told = self.told_mut(key);
        if !told.files.iter().any(|t| t.file == file.file && t.lost.is_none()) {
            told.files.reserve_exact(1);
            told.files.push(ToldFile {
                file: file.file,
                schema: file.schema,
                total: file.total.clone(),
                own: file.kin.as_ref().map(|kin| kin.own.clone()),
                added: false,
                lost: None,
            });
        }
    }

    /// The `.local` values of a file that counted alone until now have been read for the first time.
    /// How much of what was told before was its own nobody knows: all of it, at most. So no more is
    /// told as its own than surely was.
    pub(crate) fn own_so_far(&mut self, key: NodeKey, file: &File, own: &[u64]) {
        let Some(told) = self.told.get_mut(&key) else { return };
        let is = |t: &&mut ToldFile| t.file == file.file && t.lost.is_none() && t.own.is_none();
        let Some(t) = told.files.iter_mut().find(is) else { return };
        let own_of = |(at, told): (usize, &u64)| own.get(at).map_or(0, |own| *own.min(told));
        t.own = Some(t.total.iter().enumerate().map(own_of).collect());
    }

    /// A file that went, came and went again before any of it was told has one removal.
    pub(crate) fn fold_losses(&mut self, schemas: &Schemas, key: NodeKey, file: FileId) {
        let Some(told) = self.told.get_mut(&key) else { return };
        let is = |t: &ToldFile| t.file == file && t.lost.is_some();
        let Some(first) = told.files.iter().position(is) else { return };
        let Some(last) = told.files.iter().rposition(is).filter(|last| *last != first) else {
            return;
        };
        let later = told.files.remove(last);
        let (Some(lost), Some(earlier)) = (later.lost, &mut told.files[first].lost) else { return };
        let keys = schemas.keys(lost.schema);
        let before = later.own.as_ref().unwrap_or(&later.total);
        let now = lost.own.as_ref().unwrap_or(&lost.total);
        let counted = keys.iter().enumerate().map(|(at, key)| {
            let before = before.get(at).copied().unwrap_or(0);
            (key.clone(), now.get(at).copied().unwrap_or(0).saturating_sub(before))
        });
        let counted = Values(counted.filter(|(_, amount)| *amount != 0).collect());
        if !counted.is_empty() {
            earlier.unseen.add(&schemas.spec(file).name, counted);
        }
        earlier.unseen.fold(lost.unseen);
    }

    /// What was recovered of a file that went.
    pub(crate) fn set_unseen_of_lost(&mut self, key: NodeKey, file: FileId, unseen: Unseen) {
        let Some(told) = self.told.get_mut(&key) else { return };
        let lost = told.files.iter_mut().filter(|t| t.file == file).filter_map(|t| t.lost.as_mut());
        let Some(lost) = lost.last() else { return };
        let before = std::mem::replace(&mut lost.unseen, unseen);
        lost.unseen.fold(before);
    }

    /// Forgets nodes that nothing more is to be told of.
    pub(crate) fn forget(&mut self, gone: &[NodeKey], books: &mut Books) {
        for key in gone {
            self.told.remove(key);
            if let Some(node) = books.forget(*key)
                && !node.flags.told
                && !node.flags.existing
                && node.flags.dead
            {
                self.pairs = self.pairs.saturating_sub(1);
            }
        }
        self.drop_forgotten(books);
    }

    /// A node has died: its removal has its place in the queue from now on, so that the next bearer
    /// of its name is told after it. What it says comes with [`Untold::settle_removal`].
    pub(crate) fn push_removal(&mut self, books: &Books, key: NodeKey) {
        self.push(books, Entry::Removal(key));
        if books.get(key).is_some_and(|node| !node.flags.told && !node.flags.existing) {
            self.pairs += 1;
        }
    }

    /// What a removal will say.
    pub(crate) fn settle_removal(&mut self, key: NodeKey, removal: Removal) {
        self.told_mut(key).removal = Some(Box::new(removal));
    }

    /// A birth and its death are being told after all.
    pub(crate) fn pair_was_told(&mut self) {
        self.pairs = self.pairs.saturating_sub(1);
    }

    /// What follows is set right up to the next `Ready`; several gaps of a kind that wait become one.
    pub(crate) fn push_gap(&mut self, books: &Books, reason: GapReason) {
        let kind = discriminant(&reason);
        let is_queued = match reason {
            GapReason::Reader => std::mem::replace(&mut self.reader_gap_queued, true),
            _ => self.gaps_queued.contains(&kind),
        };
        if is_queued {
            return;
        }
        if reason != GapReason::Reader {
            self.gaps_queued.push(kind);
        }
        self.push(books, Entry::Gap(reason));
    }

    /// Something of a living cgroup could not be looked at. At most once until that is over.
    pub(crate) fn push_inaccessible(&mut self, books: &Books, key: NodeKey, errno: Errno) {
        self.push(books, Entry::Inaccessible(key, errno));
    }

    /// [`Untold::push_gap`], and no `Ready` ends it before [`Untold::close_gap`] does.
    pub(crate) fn open_gap(&mut self, books: &Books, reason: GapReason) {
        let ends =
            |entry: &&Entry| entry.is_gap() || matches!(entry, Entry::Ready { after_gap: false });
        let last = self.queue.iter().rfind(ends);
        if matches!(last, Some(Entry::Ready { .. })) {
            self.gaps_queued.clear(); // those that wait end with that baseline
        } else if last.is_some() {
            // The one that waits is open again.
            self.queue.retain(|entry| !matches!(entry, Entry::Ready { after_gap: true }));
        }
        self.push_gap(books, reason);
        self.gap_open = true;
    }

    pub(crate) fn is_gap_open(&self) -> bool {
        self.gap_open
    }

    pub(crate) fn close_gap(&mut self, books: &Books) {
        self.gap_open = false;
        self.push_ready(books, true);
    }

    /// The gap that was told ends with the next `Ready`.
    pub(crate) fn owe_ready(&mut self) {
        self.ready_owed = true;
    }

    /// Ends a gap that no other `Ready` has ended.
    pub(crate) fn pay_ready(&mut self, books: &Books) {
        if self.ready_owed {
            self.push_ready(books, true);
        }
    }

    /// A baseline is complete, or (`after_gap`) all is set right after a gap.
    pub(crate) fn push_ready(&mut self, books: &Books, mut after_gap: bool) {
        if after_gap && self.gap_open {
            self.ready_owed = true;
            return;
        }
        self.ready_owed = false;
        if after_gap {
            // A gap before the end of a baseline that still waits ends with that.
            let queue: Vec<_> = self.queue.iter().collect();
            let last = |is: fn(&Entry) -> bool| queue.iter().rposition(|entry| is(entry));
            let baseline = last(|entry| matches!(entry, Entry::Ready { after_gap: false }));
            after_gap = baseline.is_none_or(|at| last(Entry::is_gap).is_some_and(|gap| gap > at));
        }
        if !after_gap {
            // Of several roots added together, one: when all that there is has been told.
            self.queue.retain(|entry| !matches!(entry, Entry::Ready { after_gap: false }));
        }
        if after_gap && (!self.gaps_queued.is_empty() || self.reader_gap_queued) {
            self.queue.retain(|entry| !matches!(entry, Entry::Ready { after_gap: true }));
        }
        self.push(books, Entry::Ready { after_gap });
    }

    /// Takes nodes that are forgotten out of the queue.
    fn drop_forgotten(&mut self, books: &Books) {
        self.queue.retain(|entry| entry.key().is_none_or(|key| books.get(key).is_some()));
    }
}

mod withhold;

#[cfg(test)]
mod tests;
