//! What each notification is a hint of, and that none is kept twice or for ever.

use super::*;
use crate::{
    monitor::books::{File, Node},
    world::Wd,
};

const DIR: Wd = Wd(1);
const FILE: Wd = Wd(2);
const ABOVE: Wd = Wd(3);
/// The number that is kept at most.
const MOST: usize = 65_536;

/// A directory and one of its files, both watched, and what is above it.
fn watched() -> (Books, NodeKey) {
    let mut books = Books::default();
    let mut node = Node::new(1, 1, 0, 0);
    node.wd = Some(DIR);
    let file = |file, wd| File {
        file,
        id: 0,
        present: true,
        replaced: false,
        schema: 0,
        wd: Some(wd),
        total: Box::default(),
        kin: None,
    };
    node.files = vec![file(0, FILE), file(1, Wd(4))];
    let key = books.insert(node);
    books.watch(DIR, Watched::Directory(key));
    books.watch(FILE, Watched::File(key, 0));
    books.watch(ABOVE, Watched::AboveRoots);
    (books, key)
}

fn fill(hints: &mut Hints, books: &mut Books, names: usize) {
    for name in 0..names {
        hints.take(books, Notification::Created(DIR, name.to_string().as_bytes()));
    }
}

/// Both files by which controllers and threads are switched are hints, others are none.
#[test]
fn what_was_written_says_whose_files_may_have_come_or_gone() {
    let (mut books, key) = watched();
    let mut hints = Hints::default();
    hints.take(&mut books, Notification::Written(DIR, b"memory.max"));
    assert!(hints.is_empty());
    hints.take(&mut books, Notification::Written(DIR, b"cgroup.subtree_control"));
    hints.take(&mut books, Notification::Written(DIR, b"cgroup.type"));
    assert_eq!(hints.controls.iter().collect::<Vec<_>>(), [&(key, false), &(key, true)]);
}

/// What is gone, or watched no more, is looked at.
#[test]
fn what_was_watched_and_is_gone_is_suspected() {
    for wd in [DIR, FILE] {
        for notification in [Notification::Gone(wd), Notification::Ignored(wd)] {
            let (mut books, key) = watched();
            let mut hints = Hints::default();
            hints.take(&mut books, notification);
            assert_eq!(hints.suspects.iter().collect::<Vec<_>>(), [&key], "{notification:?}");
        }
    }
    let (mut books, _) = watched();
    let mut hints = Hints::default();
    hints.take(&mut books, Notification::Gone(Wd(9)));
    assert!(hints.is_empty(), "nothing was watched by that");
    hints.take(&mut books, Notification::Gone(ABOVE));
    assert!(hints.above);
}

/// A watch that the kernel took away is not relied on any more.
#[test]
fn a_watch_that_is_gone_is_forgotten() {
    let (mut books, key) = watched();
    let mut hints = Hints::default();
    hints.take(&mut books, Notification::Ignored(FILE));
    let state = |books: &Books| {
        let node = books.get(key).unwrap();
        let files = node.files.iter().map(|file| (file.wd, file.replaced));
        (node.wd, files.collect::<Vec<_>>())
    };
    assert_eq!(state(&books), (Some(DIR), vec![(None, true), (Some(Wd(4)), false)]));
    hints.take(&mut books, Notification::Ignored(DIR));
    assert_eq!(state(&books), (None, vec![(None, true), (Some(Wd(4)), false)]));
    assert_eq!(books.watched(DIR), None);
}

/// More names than are kept are an overflow, in which they end; so are deaths.
#[test]
fn more_names_than_are_kept_are_an_overflow() {
    let (mut books, _) = watched();
    let mut hints = Hints::default();
    fill(&mut hints, &mut books, MOST);
    fill(&mut hints, &mut books, MOST);
    assert!(!hints.overflow, "each name counts once");
    hints.take(&mut books, Notification::DeletedIn { parent: 1, name: b"one", id: 2 });
    assert!(hints.overflow && hints.names.is_empty() && hints.deaths.is_empty());
}

/// Names that are put back count as before.
#[test]
fn names_that_are_put_back_count_again() {
    let (mut books, key) = watched();
    let mut hints = Hints::default();
    fill(&mut hints, &mut books, MOST);
    let names = hints.take_names_in(key);
    assert_eq!(names.len(), MOST);
    hints.put_back(key, names);
    assert!(!hints.overflow);
    hints.take(&mut books, Notification::Created(DIR, b"one more"));
    assert!(hints.overflow);
}

/// After records were lost no older hint is left.
#[test]
fn what_is_cleared_is_empty() {
    let (mut books, _) = watched();
    let mut hints = Hints::default();
    fill(&mut hints, &mut books, MOST);
    for notification in [
        Notification::DeletedIn { parent: 1, name: b"one", id: 2 },
        Notification::Modified(FILE),
        Notification::Gone(DIR),
        Notification::Gone(ABOVE),
        Notification::Written(DIR, b"cgroup.type"),
    ] {
        hints.take(&mut books, notification);
    }
    hints.clear();
    assert!(hints.is_empty());
    fill(&mut hints, &mut books, MOST);
    assert!(!hints.overflow);
}

/// The room that a storm took is given back; what a few take is kept for the next.
#[test]
fn the_room_of_a_storm_is_given_back() {
    let keys: Vec<_> = {
        let mut all = slotmap::SlotMap::<NodeKey, ()>::with_key();
        (0..3000).map(|_| all.insert(())).collect()
    };
    let room = |few: bool| {
        let keys = if few { &keys[..8] } else { &keys[..] };
        let mut hints = Hints::default();
        for (id, key) in keys.iter().enumerate() {
            hints.names.entry(*key).or_default();
            hints.deaths.entry(id as u64).or_default();
            hints.wakes.insert((*key, 0));
        }
        let of = |hints: &Hints| {
            [hints.names.capacity(), hints.deaths.capacity(), hints.wakes.capacity()]
        };
        let before = of(&hints);
        keys.iter().for_each(|key| drop(hints.take_names_in(*key)));
        (0..keys.len()).for_each(|id| drop(hints.take_deaths_in(id as u64)));
        hints.wakes.clear();
        hints.shrink();
        (before, of(&hints))
    };
    let (few, kept) = room(true);
    assert_eq!(few, kept);
    let (many, kept) = room(false);
    assert!(many.iter().all(|room| *room >= 3000), "{many:?}");
    assert!(kept.iter().all(|room| *room < 16), "{kept:?}");
}

#[test]
fn what_is_put_back_stands_before_what_came_meanwhile() {
    let (mut hints, dir) = (Hints::default(), NodeKey::default());
    let record = |hints: &mut Hints, name: &[u8], birth| {
        hints.take_name(Some(Watched::Directory(dir)), name, birth);
    };
    record(&mut hints, b"a", true);
    record(&mut hints, b"b", false);
    let taken = hints.take_names(|_| 0).swap_remove(&dir).unwrap_or_default();
    record(&mut hints, b"c", true);
    record(&mut hints, b"a", false);
    hints.put_back(dir, taken);
    assert_eq!(hints.many, 3);
    let names = hints.take_names_in(dir);
    let names: Vec<_> = names.iter().map(|(name, records)| (&**name, *records)).collect();
    let mut born_and_dead = Records::one(true);
    born_and_dead.push(false);
    let expected: [(&[u8], Records); 3] =
        [(b"a", born_and_dead), (b"b", Records::one(false)), (b"c", Records::one(true))];
    assert_eq!(names, expected);
    assert_eq!(hints.many, 0);
}
