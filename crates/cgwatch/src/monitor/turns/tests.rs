//! What waits for its turn, without a hierarchy.

use super::*;
use crate::monitor::books::Node;

const BATCH: usize = 2;
const FILE: FileId = 1;

/// A directory with so many children, all read at time 0.
fn directory(children: usize) -> (Books, NodeKey, Vec<NodeKey>) {
    let mut books = Books::default();
    let mut insert = |parent: Option<NodeKey>, name: String| {
        let n = books.next_instance();
        let mut node = Node::new(n, n, 0, 0);
        (node.parent, node.depth) = (parent, u32::from(parent.is_some()));
        node.name = name.into_bytes().into();
        books.insert(node)
    };
    let dir = insert(None, String::new());
    let children = (0..children).map(|child| insert(Some(dir), format!("{child}"))).collect();
    (books, dir, children)
}

fn check_of(of: NodeKey) -> Check {
    Check { of, learned_from: LearnedFrom::Lookup }
}

fn keys(popped: Vec<(NodeKey, Due)>) -> Vec<NodeKey> {
    popped.into_iter().map(|(key, _)| key).collect()
}

fn pop_all(turns: &mut Turns, books: &Books, now_ns: u64) -> Vec<(NodeKey, Due)> {
    std::iter::from_fn(|| turns.pop(books, BATCH, now_ns)).collect()
}

/// What waits is done once, however often it is asked for, and not at all once it was done otherwise.
#[test]
fn what_waits_is_done_once() {
    let (books, _, children) = directory(3);
    let [first, second, idle] = children[..] else { unreachable!() };
    let mut turns = Turns::default();
    assert_eq!(turns.next_ns(7), None);
    for file in [FILE, FILE, FILE + 1] {
        turns.read(&books, BATCH, first, file);
    }
    turns.read(&books, BATCH, second, FILE);
    assert_eq!([first, second, idle].map(|key| turns.awaits(key)), [true, true, false]);
    assert_eq!(turns.next_ns(7), Some(7));
    assert!(!turns.forget(&books, second), "its children need no comparison");
    assert!(!turns.awaits(second));
    assert!(!turns.forget(&books, idle));
    let popped = pop_all(&mut turns, &books, 7);
    let popped: Vec<_> = popped.into_iter().map(|(key, due)| (key, due.files)).collect();
    assert_eq!(popped, [(first, vec![FILE, FILE + 1])]);
    assert_eq!(turns.next_ns(7), None);
}

/// A gap stays open until the last comparison, also of one that was read for another reason before.
#[test]
fn a_comparison_waits_until_it_is_done_or_has_to_be() {
    let (books, _, children) = directory(2);
    let [first, second] = children[..] else { unreachable!() };
    let mut turns = Turns::default();
    assert!(!turns.is_comparing());
    for key in [first, first, second] {
        turns.compare(&books, BATCH, key);
    }
    assert!(turns.is_comparing());
    assert!(turns.forget(&books, first), "whoever reads all of it has to compare");
    assert!(turns.is_comparing());
    let (key, due) = turns.pop(&books, BATCH, 0).unwrap();
    assert!(key == second && due.compare && due.check.is_some());
    assert!(!turns.is_comparing());
}

/// Until the last check for a directory was made, what is left over there is nobody's alone; and once
/// more after that.
#[test]
fn a_directory_is_in_doubt_until_its_last_check_was_asked_for() {
    let (books, dir, children) = directory(2);
    let [first, second] = children[..] else { unreachable!() };
    let mut turns = Turns::default();
    for key in [first, second] {
        turns.check(&books, BATCH, key, check_of(dir));
    }
    assert!(turns.doubts(dir) && !turns.doubts(first));
    turns.pop(&books, BATCH, 0).unwrap();
    assert!(turns.doubts(dir));
    assert_eq!(turns.take_checked(), []);
    turns.pop(&books, BATCH, 0).unwrap();
    assert!(turns.doubts(dir), "nobody has asked yet");
    assert_eq!(turns.take_checked(), [dir]);
    assert!(!turns.doubts(dir));
    assert_eq!(turns.take_checked(), []);
    // One check takes the place of another.
    turns.check(&books, BATCH, first, check_of(dir));
    turns.check(&books, BATCH, first, check_of(second));
    assert_eq!(turns.take_checked(), [dir]);
    assert!(!turns.doubts(dir) && turns.doubts(second));
    turns.forget(&books, first);
    assert_eq!(turns.take_checked(), [second]);
    // One that rests has a check to come.
    turns.resting.entry(dir).or_default();
    assert!(turns.doubts(dir) && !turns.doubts(second));
}

/// Nothing of a cgroup is believed before a check that it waits for, by itself or with its siblings.
#[test]
fn a_cgroup_awaits_its_own_check_and_that_of_its_directory() {
    let (books, dir, children) = directory(3);
    let [first, second, third] = children[..] else { unreachable!() };
    let mut turns = Turns::default();
    let awaits = |turns: &Turns| [dir, first, second, third].map(|k| turns.awaits_check(&books, k));
    turns.read(&books, BATCH, first, FILE);
    assert_eq!(awaits(&turns), [false; 4], "a reading is no check");
    turns.check(&books, BATCH, first, check_of(dir));
    assert_eq!(awaits(&turns), [false, true, false, false]);
    // The children of `third` are to be checked: that is none of these.
    turns.resting.entry(third).or_default();
    assert_eq!(awaits(&turns), [false, true, false, false]);
    turns.forget(&books, first);
    turns.resting.entry(dir).or_default();
    assert_eq!(awaits(&turns), [false, true, true, true]);
    turns.forget(&books, second);
    assert_eq!(awaits(&turns), [false, true, false, true], "that one was just checked");
}

/// When everything is compared anew nothing else waits, but the pass takes no more than it may.
#[test]
fn what_is_cleared_waits_no_more() {
    let (books, dir, children) = directory(3);
    let mut turns = Turns::default();
    turns.begin(BATCH);
    assert!(!turns.has_turn());
    turns.read(&books, BATCH, children[0], FILE);
    turns.check(&books, BATCH, children[1], check_of(dir));
    turns.compare(&books, BATCH, children[2]);
    turns.resting.entry(dir).or_default();
    assert!(turns.has_turn());
    turns.clear();
    assert!(turns.is_empty() && !turns.is_comparing() && !turns.doubts(dir));
    assert!(!children.iter().any(|key| turns.awaits(*key) || turns.awaits_check(&books, *key)));
    turns.read(&books, BATCH, children[0], FILE);
    assert!(turns.has_turn(), "the pass may still take some");
}

/// In a crowd those that were just read wait, until no more than a batch is left of it.
#[test]
fn a_crowd_is_read_at_its_pace() {
    let (mut books, dir, children) = directory(5);
    let [first, second, third, fourth, checked] = children[..] else { unreachable!() };
    let mut turns = Turns::default();
    for key in [first, second, third, fourth] {
        turns.read(&books, BATCH, key, FILE);
    }
    turns.check(&books, BATCH, checked, check_of(dir));
    let popped = keys(pop_all(&mut turns, &books, PACE_NS - 1));
    assert_eq!(popped, [fourth, checked], "a check does not wait");
    assert_eq!(turns.next_ns(1), Some(PACE_NS));
    turns.wake_paced(&books, BATCH, PACE_NS - 1);
    assert!(turns.is_empty() && turns.awaits(first));
    // One that is read otherwise meanwhile need not be read again ...
    turns.forget(&books, second);
    // ... and one whose reading is the newest does not wait for ever.
    books.get_mut(first).unwrap().read_ns = PACE_NS;
    turns.wake_paced(&books, BATCH, PACE_NS);
    for key in [fourth, checked] {
        books.get_mut(key).unwrap().read_ns = PACE_NS;
        turns.read(&books, BATCH, key, FILE);
    }
    let popped = keys(pop_all(&mut turns, &books, PACE_NS));
    assert_eq!(popped, [first, third, fourth, checked]);
    assert_eq!(turns.next_ns(PACE_NS), None);
}

/// Whoever was read long enough ago does not wait, in a crowd; nor who is in none.
#[test]
fn who_is_in_no_crowd_or_was_read_long_ago_is_read_at_once() {
    let (books, _, children) = directory(4);
    let mut turns = Turns::default();
    for key in &children {
        turns.read(&books, BATCH, *key, FILE);
    }
    assert_eq!(keys(pop_all(&mut turns, &books, PACE_NS)), children);
    for key in &children[..BATCH] {
        turns.read(&books, BATCH, *key, FILE);
    }
    assert_eq!(keys(pop_all(&mut turns, &books, 0)), children[..BATCH]);
}

/// A directory whose children were checked rests until its time is over; of one that has rested and has
/// nothing to do nothing is kept.
#[test]
fn a_directory_rests_until_its_time_is_over() {
    let (_, dir, children) = directory(2);
    let [idle, other] = children[..] else { unreachable!() };
    let mut turns = Turns::default();
    turns.rests.extend([(dir, 100), (idle, 100), (other, 200)]);
    turns.resting.entry(dir).or_default().itself = true;
    turns.resting.entry(other).or_default();
    assert_eq!(turns.next_ns(0), Some(100));
    assert_eq!(turns.take_rested(99), []);
    assert_eq!(turns.take_rested(100), [(dir, true)]);
    assert_eq!(turns.rests.keys().collect::<Vec<_>>(), [&other]);
    assert_eq!(turns.next_ns(0), Some(200));
    assert_eq!(turns.take_rested(201), [(other, false)]);
    assert!(turns.rests.is_empty() && turns.next_ns(0).is_none());
}

/// The room that a storm took is given back; what a few take is kept for the next.
#[test]
fn the_room_of_a_storm_is_given_back() {
    let room = |count: usize| {
        let (books, _, children) = directory(count);
        let mut turns = Turns::default();
        for key in &children {
            turns.read(&books, BATCH, *key, FILE);
        }
        let before = turns.due.capacity();
        for key in &children {
            turns.forget(&books, *key);
        }
        (before, turns.due.capacity())
    };
    let (few, kept) = room(8);
    assert_eq!(few, kept);
    let (many, kept) = room(3000);
    assert!(many >= 3000 && kept < 16, "{many} {kept}");
}
