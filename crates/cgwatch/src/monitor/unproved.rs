//! What was called a cgroup's own because no child of it was known, and may be a child's all the same:
//! one that was born and counted before the reading, and whose record was read after it.
//!
//! By the end of a pass that began with a drain after the reading, every child born before that is
//! known: until then it is kept what the file showed before.

use super::{Map, books::NodeKey, schema::FileId};

/// More than these are a storm's.
const MANY: usize = 1024;

/// What files showed before, of this pass and of the one before.
#[derive(Debug, Default)]
pub(crate) struct Unproved([Pass; 2]);

type Pass = Map<(NodeKey, FileId), Box<[u64]>>;

impl Unproved {
    /// A file of a cgroup without known children showed something new.
    pub(crate) fn note(&mut self, key: NodeKey, file: FileId, before: &[u64], now: &[u64]) {
        if before != now && now.iter().any(|value| *value != 0) {
            self.0[0].entry((key, file)).or_insert_with(|| before.into());
        }
    }

    /// What it surely counted itself, if that may be less than what it showed last.
    pub(crate) fn get(&self, key: NodeKey, file: FileId) -> Option<&[u64]> {
        let of = |pass: usize| self.0[pass].get(&(key, file));
        of(1).or_else(|| of(0)).map(AsRef::as_ref)
    }

    /// A pass is complete.
    pub(crate) fn age(&mut self) {
        let [now, before] = &mut self.0;
        before.clear();
        if before.capacity() > MANY {
            before.shrink_to_fit();
        }
        std::mem::swap(now, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until a whole pass began after a reading and ended, it is what the file showed before the
    /// oldest of those readings that is sure, not what it showed before the newest.
    #[test]
    fn what_is_sure_is_what_was_shown_before_the_first_reading_that_is_not() {
        let (key, file) = (NodeKey::default(), FileId::default());
        let mut unproved = Unproved::default();
        unproved.note(key, file, &[0, 0], &[0, 0]);
        unproved.note(key, file, &[1, 0], &[1, 0]);
        assert_eq!(unproved.get(key, file), None, "nothing new was shown");
        unproved.note(key, file, &[1, 0], &[2, 0]);
        unproved.note(key, file, &[2, 0], &[3, 0]);
        assert_eq!(unproved.get(key, file), Some(&[1, 0][..]), "twice in one pass");
        unproved.age();
        assert_eq!(unproved.get(key, file), Some(&[1, 0][..]), "the next pass has only begun");
        unproved.note(key, file, &[3, 0], &[4, 0]);
        assert_eq!(unproved.get(key, file), Some(&[1, 0][..]), "once in each of two passes");
        unproved.age();
        assert_eq!(unproved.get(key, file), Some(&[3, 0][..]));
        unproved.age();
        assert_eq!(unproved.get(key, file), None);
    }

    /// The room that a storm took is given back; what a few take is kept for the next.
    #[test]
    fn the_room_of_a_storm_is_given_back() {
        let room = |count: u16| {
            let mut unproved = Unproved::default();
            for _ in 0..2 {
                (0..count).for_each(|file| unproved.note(NodeKey::default(), file, &[0], &[1]));
                unproved.age();
            }
            let before = unproved.0.each_ref().map(Map::capacity);
            (0..2).for_each(|_| unproved.age());
            (before, unproved.0.each_ref().map(Map::capacity))
        };
        let (few, kept) = room(8);
        assert_eq!(few, kept);
        let (many, kept) = room(3000);
        assert!(many.iter().any(|room| *room >= 3000), "{many:?}");
        assert!(kept.iter().all(|room| *room < 16), "{kept:?}");
    }
}
