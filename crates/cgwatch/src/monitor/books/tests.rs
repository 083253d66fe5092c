//! What the books keep of a file and its children, and when room is given back.

use super::*;

/// A file may show more keys than it did: what is known of the others stays.
#[test]
fn a_file_with_more_keys_has_counted_nothing_of_the_new_ones() {
    let mut kin = Kin { own: [1, 2].into(), accounted: [3, 4].into(), ahead: true, unsure: false };
    kin.resize(3);
    assert_eq!((&*kin.own, &*kin.accounted), (&[1, 2, 0][..], &[3, 4, 0][..]));
}

/// What the twin shows is believed as far as the file has shown it, and beside what others counted.
#[test]
fn no_more_is_its_own_than_the_file_has_shown() {
    let kin =
        |own, accounted| Kin { own: [own].into(), accounted: [accounted].into(), ..Kin::default() };
    let within = |kin: &Kin, own, total| kin.own_within([own].into(), &[total])[0];
    assert_eq!(within(&kin(0, 0), 5, 5), 5);
    assert_eq!(within(&kin(0, 0), 5, 3), 3, "the rest waits until the file shows it");
    assert_eq!(within(&kin(0, 2), 5, 6), 4, "two are a child's");
    assert_eq!(within(&kin(4, 2), 5, 5), 4, "what was known before is not taken back");
    assert_eq!(within(&kin(7, 0), 5, 5), 5, "unless the twin itself shows less");
}

fn crowd(books: &mut Books) -> Vec<NodeKey> {
    let root = books.insert_apart(Node::new(1, 1, 0, 0));
    let child = |n: u64| {
        let mut node = Node::new(n, n, 0, 0);
        node.parent = Some(root);
        node.name = n.to_string().as_bytes().into();
        books.insert(node)
    };
    (2..5000).map(child).collect()
}

/// Memory is bounded by what is alive and watched, not by what a storm once made.
#[test]
fn after_a_storm_the_room_for_ids_and_watches_is_given_back() {
    let mut books = Books::default();
    books.index_ids();
    let all = crowd(&mut books);
    for (at, key) in all.iter().enumerate() {
        books.watch(Wd(i32::try_from(at).unwrap()), Watched::Directory(*key));
    }
    let room =
        |books: &Books| [books.ids.as_ref().map_or(0, HashMap::capacity), books.watches.capacity()];
    assert!(room(&books).iter().all(|room| *room > 4000));
    for (at, key) in all.into_iter().enumerate() {
        books.unwatch(Wd(i32::try_from(at).unwrap()));
        books.bury(key);
    }
    assert_eq!((books.alive(), books.watches()), (1, 0));
    assert!(room(&books).iter().all(|room| *room < 100), "{:?}", room(&books));
}
