//! The queue of what is to be emitted, without a hierarchy.

use super::*;
use crate::monitor::{books::Node, tell};

/// A queue in which more than `plain` entries get lanes, and the books it speaks of.
struct Queue {
    books: Books,
    untold: Untold,
}

impl Queue {
    fn new(plain: usize) -> Self {
        Self { books: Books::default(), untold: Untold::new(plain) }
    }

    fn node(&mut self, parent: Option<NodeKey>, name: &str) -> NodeKey {
        let n = self.books.next_instance();
        let mut node = Node::new(n, n, 0, 0);
        node.name = name.as_bytes().into();
        node.parent = parent;
        node.depth = parent.and_then(|key| self.books.get(key)).map_or(0, |above| above.depth + 1);
        self.books.insert(node)
    }

    /// A newborn that has died, both of which wait.
    fn pair(&mut self, parent: Option<NodeKey>, name: &str) -> NodeKey {
        let key = self.node(parent, name);
        self.untold.touch(&mut self.books, key);
        self.books.bury(key);
        self.untold.push_removal(&self.books, key);
        key
    }

    fn settle(&mut self, key: NodeKey, shared_with: &[u64]) {
        let unseen = Unseen { shared_with: shared_with.to_vec(), ..Unseen::default() };
        self.untold.settle_removal(key, Removal { learned_from: LearnedFrom::Lookup, unseen });
    }

    fn open(&mut self) {
        self.untold.open_gap(&self.books, GapReason::QueueOverflow);
    }

    fn gap(&mut self, reason: GapReason) {
        self.untold.push_gap(&self.books, reason);
    }

    fn ready(&mut self, after_gap: bool) {
        self.untold.push_ready(&self.books, after_gap);
    }

    fn bound(&mut self, limit: usize) {
        let schemas = Schemas::new(&[]).unwrap();
        self.untold.bound(&mut self.books, &schemas, limit);
    }

    fn name(&self, entry: &Entry) -> String {
        let name = |key: &NodeKey| {
            let name = self.books.get(*key).map_or(&b"?"[..], |node| &node.name);
            String::from_utf8_lossy(name).into_owned()
        };
        match entry {
            Entry::Living(key) => name(key),
            Entry::Removal(key) => format!("{} removed", name(key)),
            Entry::Gap(reason) => format!("gap {}", reason.name()),
            Entry::Inaccessible(key, _) => format!("{} inaccessible", name(key)),
            Entry::Ready { after_gap: false } => "ready".into(),
            Entry::Ready { after_gap: true } => "ready after gap".into(),
        }
    }

    fn waiting(&self) -> Vec<String> {
        self.untold.queue.iter().map(|entry| self.name(entry)).collect()
    }

    fn pop(&mut self) -> String {
        let entry = self.untold.pop().unwrap();
        self.name(&entry)
    }
}

/// Gaps of a kind that wait are one; one that was emitted is no reason not to say the next.
#[test]
fn a_gap_waits_once_and_is_said_again_after_it_was_emitted() {
    for (reason, said) in [
        (GapReason::Reader, "gap reader"),
        (GapReason::QueueOverflow, "gap queue-overflow"),
        (GapReason::MountChanged, "gap mount-changed"),
    ] {
        let mut queue = Queue::new(10);
        for _ in 0..3 {
            queue.gap(reason.clone());
            queue.gap(reason.clone());
            assert_eq!(queue.waiting(), [said]);
            assert_eq!(queue.untold.len(), 1);
            assert_eq!(queue.pop(), said);
            assert!(queue.untold.is_empty());
        }
    }
}

/// Kinds of gaps do not stand for one another.
#[test]
fn gaps_of_different_kinds_all_wait() {
    let mut queue = Queue::new(10);
    for reason in [GapReason::Reader, GapReason::QueueOverflow, GapReason::MountChanged] {
        queue.gap(reason);
    }
    assert_eq!(queue.waiting(), ["gap reader", "gap queue-overflow", "gap mount-changed"]);
    assert_eq!(queue.untold.len(), 3);
    queue.pop();
    queue.gap(GapReason::QueueOverflow);
    queue.gap(GapReason::Reader);
    assert_eq!(queue.waiting(), ["gap queue-overflow", "gap mount-changed", "gap reader"]);
}

/// All that is compared after an overflow comes before the `ready` that ends the gap, also if that waits
/// when the next overflow is met.
#[test]
fn an_open_gap_has_no_ready_before_it_is_closed() {
    let mut queue = Queue::new(10);
    queue.open();
    assert!(queue.untold.is_gap_open());
    queue.ready(true);
    assert_eq!(queue.waiting(), ["gap queue-overflow"]);
    queue.untold.close_gap(&queue.books);
    assert_eq!(queue.waiting(), ["gap queue-overflow", "ready after gap"]);
    let node = queue.node(None, "node");
    queue.untold.touch(&mut queue.books, node);
    queue.open();
    assert_eq!(queue.waiting(), ["gap queue-overflow", "node"]);
    queue.untold.close_gap(&queue.books);
    assert_eq!(queue.waiting(), ["gap queue-overflow", "node", "ready after gap"]);
}

/// A gap that waits before the end of a baseline ends with that, so that one that is opened after it is
/// said by itself.
#[test]
fn a_gap_that_opens_after_a_baseline_is_said_after_it() {
    let mut queue = Queue::new(10);
    queue.open();
    queue.untold.close_gap(&queue.books);
    queue.pop();
    queue.pop();
    queue.gap(GapReason::QueueOverflow);
    queue.ready(false);
    let node = queue.node(None, "node");
    queue.untold.touch(&mut queue.books, node);
    queue.open();
    assert_eq!(queue.waiting(), ["gap queue-overflow", "ready", "node", "gap queue-overflow"]);
}

/// Every gap has a `ready` after it, and not more of them than it takes.
#[test]
fn a_ready_ends_what_waits_before_it() {
    // That of the baseline ends a gap before it.
    let mut queue = Queue::new(10);
    queue.gap(GapReason::MountChanged);
    queue.ready(false);
    queue.ready(true);
    assert_eq!(queue.waiting(), ["gap mount-changed", "ready"]);
    // It does not end a gap after it.
    let mut queue = Queue::new(10);
    queue.ready(false);
    queue.gap(GapReason::MountChanged);
    queue.ready(true);
    assert_eq!(queue.waiting(), ["ready", "gap mount-changed", "ready after gap"]);
    // One that waits before another gap is not needed.
    for (reason, said) in
        [(GapReason::Reader, "gap reader"), (GapReason::MountChanged, "gap mount-changed")]
    {
        let mut queue = Queue::new(10);
        queue.ready(true);
        queue.gap(reason);
        queue.ready(true);
        assert_eq!(queue.waiting(), [said, "ready after gap"]);
    }
    // But what is set right already need not wait for a baseline.
    let mut queue = Queue::new(10);
    queue.gap(GapReason::MountChanged);
    queue.ready(true);
    queue.ready(false);
    assert_eq!(queue.waiting(), ["gap mount-changed", "ready after gap", "ready"]);
}

/// What could not be looked at is a gap, too.
#[test]
fn what_is_inaccessible_is_ended_by_a_ready_after_it() {
    let mut queue = Queue::new(10);
    let node = queue.node(None, "node");
    queue.ready(false);
    queue.untold.push_inaccessible(&queue.books, node, Errno::ACCESS);
    queue.ready(true);
    assert_eq!(queue.waiting(), ["ready", "node inaccessible", "ready after gap"]);
}

/// More than a plain queue holds is taken in turns of the subtrees.
#[test]
fn a_subtree_does_not_wait_for_another_ones_crowd() {
    let mut queue = Queue::new(0);
    let top = queue.node(None, "top");
    let (storm, other) = (queue.node(Some(top), "storm"), queue.node(Some(top), "other"));
    for _ in 0..10 {
        queue.pair(Some(storm), "brief");
    }
    let quiet = queue.node(Some(other), "quiet");
    queue.untold.push_inaccessible(&queue.books, quiet, Errno::ACCESS);
    assert_eq!(queue.untold.len(), 21);
    let taken = [queue.pop(), queue.pop()];
    assert!(taken.contains(&"quiet inaccessible".to_owned()), "{taken:?}");
}

/// A parent appears before its children, so it is not withheld while one of them is not; nor is what is
/// not settled yet. What others share is emitted if it can be.
#[test]
fn births_are_withheld_with_their_deaths_beyond_a_limit() {
    let withheld = ["gap reader", "ready after gap"];
    let all = ["top", "child", "child removed", "top removed", "alone", "alone removed"];
    for (limit, settled, left, told) in [
        (3, true, &all[..], &[][..]),
        (2, true, &all[..4], &withheld[..]),
        (1, true, &[], &withheld),
        (1, false, &all[..4], &withheld),
    ] {
        let mut queue = Queue::new(100);
        let top = queue.node(None, "top");
        let child = queue.node(Some(top), "child");
        for key in [top, child] {
            queue.untold.touch(&mut queue.books, key);
        }
        for key in [child, top] {
            queue.books.bury(key);
            queue.untold.push_removal(&queue.books, key);
        }
        let alone = queue.pair(None, "alone");
        [top, alone].iter().for_each(|key| queue.settle(*key, &[]));
        if settled {
            queue.settle(child, &[99]);
        }
        queue.bound(limit);
        assert_eq!(queue.waiting(), [left, told].concat(), "{limit} {settled}");
        assert_eq!(queue.untold.take_cancelled().pairs, 3 - left.len() as u64 / 2);
    }
}

/// An owner who makes many has his own withheld, none of another's.
#[test]
fn those_of_the_subtree_with_the_most_are_withheld() {
    let mut queue = Queue::new(100);
    let top = queue.node(None, "top");
    let [owner, other] = ["owner", "other"].map(|name| queue.node(Some(top), name));
    for number in 0..8 {
        queue.pair(Some(owner), &format!("many {number}"));
    }
    queue.pair(Some(other), "few");
    let all: Vec<_> = queue.books.iter().map(|(key, _)| key).collect();
    all.iter().for_each(|key| queue.settle(*key, &[]));
    queue.bound(4);
    let left = ["few", "few removed", "gap reader", "ready after gap"];
    assert_eq!(queue.waiting(), left);
    assert_eq!(queue.untold.take_cancelled().pairs, 8);
}

/// Only what waits with its death counts towards the limit, until it is forgotten.
#[test]
fn what_is_forgotten_counts_no_more_towards_the_limit() {
    let mut queue = Queue::new(100);
    let [brief, left] = ["brief", "left"].map(|name| queue.pair(None, name));
    let existing = queue.node(None, "existing");
    let emitted = queue.node(None, "emitted");
    for (key, existed) in [(existing, true), (emitted, false)] {
        let flags = &mut queue.books.get_mut(key).unwrap().flags;
        (flags.existing, flags.told) = (existed, !existed);
        queue.books.bury(key);
        queue.untold.push_removal(&queue.books, key);
    }
    let living = queue.node(None, "living");
    queue.untold.touch(&mut queue.books, living);
    assert_eq!(queue.untold.pairs, 2);
    queue.untold.forget(&[existing, emitted], &mut queue.books);
    assert_eq!(queue.untold.pairs, 2);
    queue.untold.forget(&[brief], &mut queue.books);
    assert_eq!(queue.untold.pairs, 1);
    assert_eq!(queue.waiting(), ["left", "left removed", "living"]);
    queue.settle(left, &[]);
    queue.untold.forget(&[living], &mut queue.books);
    queue.bound(0);
    assert_eq!(queue.untold.pairs, 0);
}

/// Only a birth that waits with its death, and is emitted, is one fewer.
#[test]
fn only_a_birth_that_waits_with_its_death_is_no_more_one_of_those_when_it_is_emitted() {
    let mut queue = Queue::new(100);
    let [brief, _] = ["brief", "left"].map(|name| queue.pair(None, name));
    let [alive, existing, emitted] = ["alive", "existing", "emitted"].map(|n| queue.node(None, n));
    queue.books.get_mut(existing).unwrap().flags.existing = true;
    queue.books.get_mut(emitted).unwrap().flags.told = true;
    [existing, emitted].iter().for_each(|key| queue.books.bury(*key));
    let schemas = Schemas::new(&[]).unwrap();
    let mut emit = |key: NodeKey| {
        let (books, untold) = (&mut queue.books, &mut queue.untold);
        tell::living(books, untold, &schemas, &[], key, &mut Vec::new());
        queue.untold.pairs
    };
    assert_eq!([alive, existing, emitted, brief, brief].map(&mut emit), [2, 2, 2, 1, 1]);
}

const FILE: FileId = 1;

/// Schemas in which `memory.events` and `pids.events` have one key each.
fn schemas() -> (Schemas, [SchemaId; 2]) {
    let mut schemas = Schemas::new(&["memory.events".into(), "pids.events".into()]).unwrap();
    let taken = ["high 1\n", "max 1\n"];
    let ids = taken.map(|text| schemas.take(text.as_bytes(), 0, &mut Vec::new()));
    (schemas, ids)
}

fn told(file: FileId, schema: SchemaId, total: u64, lost: Option<u64>) -> ToldFile {
    let lost = lost.map(|total| {
        Box::new(Lost { schema, total: [total].into(), own: None, unseen: Unseen::default() })
    });
    ToldFile { file, schema, total: [total].into(), own: None, added: false, lost }
}

/// A file that went, came with counts and went again is one removal, with all that it counted in between.
#[test]
fn a_file_that_goes_twice_is_emitted_as_gone_once() {
    let (schemas, [high, max]) = schemas();
    let mut queue = Queue::new(100);
    let key = queue.node(None, "node");
    let other = FILE + 1;
    queue.untold.told_mut(key).files = vec![
        told(FILE, high, 0, Some(5)),
        told(other, max, 0, Some(1)),
        told(FILE, high, 2, Some(6)),
        told(other, max, 4, None),
    ];
    queue.untold.fold_losses(&schemas, key, FILE);
    queue.untold.fold_losses(&schemas, key, FILE);
    queue.untold.fold_losses(&schemas, key, other);
    let files = &queue.untold.told_mut(key).files;
    let found: Vec<_> = files.iter().map(|t| (t.file, t.lost.is_some(), t.total[0])).collect();
    assert_eq!(found, [(FILE, true, 0), (other, true, 0), (other, false, 4)]);
    let unseen = files[0].lost.as_ref().map(|lost| &lost.unseen).unwrap();
    assert_eq!(unseen.get("memory.events", "high"), 4);
    assert!(files[1].lost.as_ref().unwrap().unseen.is_nothing());
}

/// One that counted nothing in between has nothing that was not seen.
#[test]
fn a_file_that_goes_twice_and_counted_nothing_has_nothing_unseen() {
    let (schemas, [high, _]) = schemas();
    let mut queue = Queue::new(100);
    let key = queue.node(None, "node");
    queue.untold.told_mut(key).files =
        vec![told(FILE, high, 0, Some(5)), told(FILE, high, 2, Some(2))];
    queue.untold.fold_losses(&schemas, key, FILE);
    let files = &queue.untold.told_mut(key).files;
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].lost.as_ref().unwrap().unseen, Unseen::default());
}

/// What was its own so far is set for the file that is there, once, and for no other.
#[test]
fn what_was_its_own_so_far_is_set_for_that_file_alone() {
    let (_, [high, max]) = schemas();
    let mut queue = Queue::new(100);
    let key = queue.node(None, "node");
    queue.untold.told_mut(key).files =
        vec![told(FILE + 1, max, 7, None), told(FILE, high, 9, Some(9)), told(FILE, high, 5, None)];
    let file = File {
        file: FILE,
        id: 0,
        present: true,
        replaced: false,
        schema: high,
        wd: None,
        total: [6].into(),
        kin: None,
    };
    queue.untold.own_so_far(key, &file, &[3]);
    let own = |queue: &mut Queue| -> Vec<Option<Box<[u64]>>> {
        queue.untold.told_mut(key).files.iter().map(|t| t.own.clone()).collect()
    };
    assert_eq!(own(&mut queue), [None, None, Some([3].into())]);
    queue.untold.own_so_far(key, &file, &[1]);
    assert_eq!(own(&mut queue), [None, None, Some([3].into())], "it is known already");
}

/// Few are taken in the order in which they came, wherever they lie.
#[test]
fn few_are_taken_as_they_came() {
    let mut queue = Queue::new(4);
    let top = queue.node(None, "top");
    let (one, other) = (queue.node(Some(top), "one"), queue.node(Some(top), "other"));
    for (parent, name) in [(one, "first"), (one, "second"), (other, "third"), (one, "fourth")] {
        let key = queue.node(Some(parent), name);
        queue.untold.touch(&mut queue.books, key);
    }
    let taken: Vec<_> = (0..4).map(|_| queue.pop()).collect();
    assert_eq!(taken, ["first", "second", "third", "fourth"]);
}

/// The room of what a slow reader did not know is given back once he knows it.
#[test]
fn what_was_kept_for_a_slow_reader_is_given_back() {
    let mut queue = Queue::new(10);
    let keys: Vec<_> = (0..3000).map(|_| queue.node(None, "name")).collect();
    for key in &keys {
        queue.untold.told_mut(*key);
    }
    assert!(queue.untold.told.capacity() >= 3000);
    keys.iter().for_each(|key| drop(queue.untold.take_told(*key)));
    assert!(queue.untold.told.capacity() < 16, "{}", queue.untold.told.capacity());
}
