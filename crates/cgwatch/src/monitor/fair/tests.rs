//! Turns: order within a lane, and who waits behind whom.

use proptest::prelude::*;

use super::*;

/// What an outbox holds: a cgroup by its path and instance, or what belongs to none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: Vec<u8>,
    order: Order,
    what: usize,
}

impl Item for Entry {
    fn order(&self) -> Order {
        self.order
    }
}

fn entry(path: &[u8], order: Order, what: usize) -> Entry {
    Entry { path: path.to_vec(), order, what }
}

fn route(entry: &Entry) -> Route {
    let mut route = Route::default();
    for end in 1..=entry.path.len() {
        route.push(
            entry.path[..end]
                .iter()
                .fold(7, |id: u64, name| id.wrapping_mul(1_000_003) + u64::from(*name)),
        );
    }
    route
}

fn push(queue: &mut FairQueue<Entry>, plain: usize, entry: Entry) {
    queue.push(entry, plain, route);
}

fn take_all(queue: &mut FairQueue<Entry>) -> Vec<Entry> {
    std::iter::from_fn(|| queue.pop().map(|taken| taken.item)).collect()
}

#[test]
fn a_lone_item_does_not_wait_behind_a_crowd() {
    let mut queue = FairQueue::default();
    for child in 0..200 {
        push(&mut queue, 4, entry(&[1, 2, child], Order::Before, 0));
    }
    push(&mut queue, 4, entry(&[1, 3, 9], Order::Before, 1));
    let at = take_all(&mut queue).iter().position(|entry| entry.what == 1);
    assert!(at.is_some_and(|at| at < 2), "{at:?}");
}

#[test]
fn a_crowd_is_counted_where_it_stands() {
    let mut queue = FairQueue::default();
    for child in 0..200 {
        push(&mut queue, 0, entry(&[1, 2, child], Order::Before, 0));
    }
    push(&mut queue, 0, entry(&[1, 3, 9], Order::Before, 1));
    let mut beside = [0; 2];
    while let Some(taken) = queue.pop() {
        beside[taken.item.what] = beside[taken.item.what].max(taken.beside);
    }
    assert_eq!(beside, [200, 1]);
}

#[test]
fn beyond_the_levels_it_is_first_come_first_served() {
    let deep: Vec<u8> = (0..20).collect();
    let mut queue = FairQueue::default();
    let pushed: Vec<_> = (9..20).map(|end| entry(&deep[..end], Order::Before, end)).collect();
    pushed.iter().for_each(|entry| push(&mut queue, 0, entry.clone()));
    assert_eq!(take_all(&mut queue), pushed);
}

#[test]
fn what_belongs_to_no_cgroup_waits_for_what_was_there_and_holds_up_nothing() {
    let mut queue = FairQueue::default();
    for child in 0..50 {
        push(&mut queue, 0, entry(&[1, 2, child], Order::Before, 0));
    }
    push(&mut queue, 0, entry(&[], Order::After, 1));
    push(&mut queue, 0, entry(&[1, 3], Order::Before, 2));
    let all: Vec<_> = take_all(&mut queue).iter().map(|entry| entry.what).collect();
    let at = |what| all.iter().position(|other| *other == what);
    assert!(at(2) < Some(3) && at(1) == Some(51), "{all:?}");
}

fn lanes(queue: &FairQueue<Entry>) -> usize {
    queue.lanes.as_ref().map_or(0, |lanes| lanes.all.len())
}

/// Memory is bounded by what waits, also where something always does.
#[test]
fn a_lane_in_which_nothing_waits_is_gone() {
    let mut queue = FairQueue::default();
    push(&mut queue, 0, entry(&[0, 0], Order::Before, 0));
    for storm in 1..=200 {
        push(&mut queue, 0, entry(&[storm, 1], Order::Before, 1));
        push(&mut queue, 0, entry(&[storm, 2], Order::Before, 1));
        queue.pop();
        queue.pop();
    }
    // Those of one path, of three at most, and the top.
    assert!(queue.len() == 1 && lanes(&queue) <= 3, "{} lanes", lanes(&queue));
}

/// What is dropped has no turns, and nobody waits beside it any more.
#[test]
fn what_is_dropped_leaves_no_lane() {
    let mut queue = FairQueue::default();
    for storm in 1..=9 {
        push(&mut queue, 0, entry(&[storm], Order::Before, 1));
        push(&mut queue, 0, entry(&[storm, 1], Order::Before, 1));
    }
    push(&mut queue, 0, entry(&[10], Order::Before, 0));
    queue.retain(|entry| entry.what == 0);
    assert_eq!((queue.len(), lanes(&queue)), (1, 2));
    assert_eq!(queue.pop().map(|taken| taken.beside), Some(1));
}

/// `one` was pushed before `other` and must be taken before it.
fn bound(one: &Entry, other: &Entry) -> bool {
    let below = |upper: &Entry, lower: &Entry| lower.path.starts_with(&upper.path);
    one.path == other.path
        || (one.order == Order::Before && below(one, other) && !one.path.is_empty())
        || (other.order == Order::After && below(other, one))
}

proptest! {
    /// Whatever is pushed and taken in between, the order that was promised holds, and nothing is
    /// lost or doubled.
    #[test]
    fn order_is_kept(
        steps: Vec<(Vec<bool>, bool, u8)>,
        plain in 0_usize..6,
        dropped in 0_usize..9,
    ) {
        let mut queue = FairQueue::default();
        let (mut pushed, mut taken) = (Vec::new(), Vec::new());
        for (what, (path, after, takes)) in steps.into_iter().enumerate() {
            let path: Vec<u8> = path.into_iter().map(u8::from).take(10).collect();
            let order = if after { Order::After } else { Order::Before };
            pushed.push(entry(&path, order, what));
            push(&mut queue, plain, entry(&path, order, what));
            for _ in 0..takes % 3 {
                taken.extend(queue.pop().map(|taken| taken.item));
            }
            if takes == 255 {
                let gone = |entry: &Entry| entry.what % 9 == dropped;
                queue.retain(|entry| !gone(entry));
                pushed.retain(|entry| !gone(entry) || taken.contains(entry));
                prop_assert_eq!(queue.len() + taken.len(), pushed.len());
            }
        }
        taken.extend(take_all(&mut queue));
        prop_assert!(queue.is_empty());
        let mut sorted = taken.clone();
        sorted.sort_by_key(|entry| entry.what);
        prop_assert_eq!(&sorted, &pushed);
        for (at, later) in taken.iter().enumerate() {
            for earlier in &taken[..at] {
                let swapped = later.what < earlier.what && bound(later, earlier);
                prop_assert!(!swapped, "{:?} was taken before {:?}", earlier, later);
            }
        }
    }
}
