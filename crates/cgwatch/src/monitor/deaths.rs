//! Deaths as the mark on the superblock tells them: the record bears the id of what died, so it is
//! the truth, also of one that was never found.
//!
//! Births need no such accounting: a CREATE is a hint that is looked up, and what was gone by then
//! has a death of its own. So each cgroup is told once, by its id:
//! * A death whose id the books know ends that one.
//! * One that was found dead otherwise is told already; its record is *due*, and says nothing more.
//! * Any other was born and gone unseen. If the directory it was in is known, it is told at once. If
//!   not, that directory is outside of what is watched, or was itself born and gone unseen: then
//!   the record is a *stray* until the directory's own death shows where both of them lay.

use indexmap::IndexMap;
use rustix::io::Errno;

use super::{
    Monitor, Set,
    books::NodeKey,
    hints::{Death, Hints},
    is_gone,
};
use crate::{LearnedFrom, world::World};

/// An rmdir(2) that has taken a cgroup away may be interrupted before it tells, but not for so long.
const AGE_NS: u64 = 10_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Deaths {
    /// What died in directories that are dead too and not known yet, by their ids.
    strays: IndexMap<u64, Vec<Death>>,
    /// Told already, and their records still to come: those of this age and of the one before. Older
    /// ones were lost to an overflow.
    due: [Set<u64>; 2],
    /// When this age began.
    aged_ns: u64,
    /// Directories in which a newborn was gone when it was looked up. Its record may not have been
    /// written yet.
    vanished: Set<NodeKey>,
}

impl Deaths {
    /// A sweep is complete. An age takes [`AGE_NS`] at least, however brief sweeps are.
    pub(crate) fn age(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.aged_ns) < AGE_NS {
            return;
        }
        self.aged_ns = now_ns;
        self.due.swap(0, 1);
        self.due[0] = Set::default();
        self.vanished = Set::default();
    }

    /// Records were lost.
    pub(crate) fn forget_strays(&mut self) {
        self.strays.clear();
    }

    /// One that died needs no look any more.
    fn expect(&mut self, key: NodeKey, id: u64) {
        self.vanished.swap_remove(&key);
        if id != 0 {
            self.due[0].insert(id);
        }
    }

    pub(crate) fn note_vanished(&mut self, dir: NodeKey) {
        self.vanished.insert(dir);
    }

    fn was_due(&mut self, id: u64) -> bool {
        self.due.iter_mut().any(|due| due.swap_remove(&id))
    }

    /// Gives back what a storm had filled.
    fn shrink(&mut self) {
        const SPARE: usize = 16;
        for due in self.due.iter_mut().filter(|due| due.is_empty() && due.capacity() > SPARE) {
            due.shrink_to_fit();
        }
        if self.strays.is_empty() && self.strays.capacity() > SPARE {
            self.strays.shrink_to_fit();
        }
    }

    /// What is known of the deaths in a directory that is not watched, also what has not been looked at yet.
    fn take_below(&mut self, hints: &mut Hints, dir: u64) -> Vec<Death> {
        let mut below = self.strays.swap_remove(&dir).unwrap_or_default();
        below.extend(hints.take_deaths_in(dir));
        below
    }
}

impl<W: World> Monitor<W> {
    /// The kernel tells of every birth and death in this directory.
    pub(crate) fn hears_of_births(&self, key: NodeKey) -> bool {
        self.books.living(key).is_some_and(|node| self.marked || node.wd.is_some())
    }

    /// Tells of the deaths in directories that the books know. To be done before names are looked
    /// up, so that the bearers of one name are told in their order, as far as that can be.
    pub(crate) fn take_deaths(&mut self) {
        let parents = self.hints.deaths.keys().filter_map(|id| self.books.with_id(*id));
        let mut parents: Vec<NodeKey> = parents.collect();
        // The deepest first: a directory's own death comes after all that happened in it.
        let depth = |key: &NodeKey| self.books.get(*key).map_or(0, |node| node.depth);
        parents.sort_by_cached_key(|key| std::cmp::Reverse(depth(key)));
        for parent in parents {
            self.take_deaths_in(parent);
        }
    }

    /// Takes in every birth and death that has happened by now, also those whose record is just being
    /// written: rmdir(2) takes a cgroup away before it tells, but holds the directory's lock all the
    /// while, for which a listing waits.
    pub(crate) fn take_all_lives(&mut self) {
        const TRIES: usize = 8;
        self.take_lives();
        for _ in 0..TRIES {
            if self.deaths.vanished.is_empty() {
                return;
            }
            for dir in std::mem::take(&mut self.deaths.vanished) {
                if let Ok(Some(mut handle)) = self.open(dir) {
                    let listed = self.world.list(&mut handle, &mut |_, _, _| {});
                    self.world.close(handle);
                    if let Err(errno) = listed {
                        self.could_not(dir, errno);
                    }
                }
            }
            if self.drain().is_err() || self.hints.overflow {
                return;
            }
            self.take_lives();
        }
    }

    /// Whether one that was found in a directory has died since, and is told. The earlier bearers of
    /// its name have died before it was born, so that their records are there: they are told first.
    pub(crate) fn has_died_since(&mut self, dir: NodeKey, id: u64) -> bool {
        if !self.marked || self.drain().is_err() {
            return false;
        }
        let parent = self.books.get(dir).map_or(0, |node| node.id);
        let died = self.hints.has_died(parent, id);
        self.take_deaths_in(dir);
        died
    }

    /// Tells of the other deaths, or keeps them, once every name was looked up. `false`: there are
    /// names again, one of which may be that of a directory in which one died.
    pub(crate) fn take_strays(&mut self) -> bool {
        while let Some(&parent) = self.hints.deaths.keys().next() {
            if !self.hints.names.is_empty() {
                return false;
            }
            match self.books.with_id(parent) {
                Some(key) => self.take_deaths_in(key),
                None => self.take_strays_in(parent),
            }
        }
        self.deaths.shrink();
        true
    }

    /// Tells of the deaths in one directory that the books know.
    pub(crate) fn take_deaths_in(&mut self, dir: NodeKey) {
        let Some(id) = self.books.get(dir).map(|node| node.id).filter(|_| self.marked) else {
            return;
        };
        self.check_first(dir);
        for death in self.hints.take_deaths_in(id) {
            if self.bury_known(&death) || !self.goes_deeper(dir) {
                continue;
            }
            if self.taking_baseline {
                // It is not told, but may have counted since the directory's files were read.
                self.books.note_stranger(dir);
            } else {
                self.tell_unseen(dir, &death);
            }
        }
    }

    /// Ends the one with this id, unless that has been told. `false`: it was never known.
    fn bury_known(&mut self, death: &Death) -> bool {
        if let Some(key) = self.books.with_id(death.id) {
            self.bury_tree(key, LearnedFrom::Fanotify);
        }
        self.deaths.was_due(death.id)
    }

    /// One was born and gone unseen, and perhaps others in it.
    fn tell_unseen(&mut self, dir: NodeKey, death: &Death) {
        let Some(key) = self.enter_dead(dir, &death.name, death.id) else { return };
        let inside = self.deaths.take_below(&mut self.hints, death.id);
        if self.goes_deeper(key) {
            for death in &inside {
                self.tell_unseen(key, death);
            }
        }
        self.tell_death(key, LearnedFrom::Fanotify);
    }

    /// What died in a directory that the books do not know.
    fn take_strays_in(&mut self, parent: u64) {
        let mut unknown = self.hints.take_deaths_in(parent);
        unknown.retain(|death| !self.bury_known(death)); // a watched root lies in such a one
        if unknown.is_empty() {
            return;
        }
        let Some((base, root)) = self.roots.first().map(|root| (root.base, root.key)) else {
            return self.drop_strays(unknown);
        };
        match self.world.open_id(base, parent).unwrap_or(Err(Errno::STALE)) {
            Err(errno) if is_gone(errno) => {
                self.deaths.strays.entry(parent).or_default().extend(unknown);
            }
            Ok(dir) => {
                self.world.close(dir);
                self.drop_strays(unknown);
            }
            // Where they lay is not known. If it was below a root, its parents tell what they counted.
            Err(errno) => {
                self.drop_strays(unknown);
                self.could_not(root, errno);
            }
        }
    }

    /// What died in a directory lies outside of what is watched, and all below that but the watched roots:
    /// nothing would ever show where it lay.
    fn drop_strays(&mut self, outside: Vec<Death>) {
        let mut waiting = outside;
        while let Some(death) = waiting.pop() {
            let mut below = self.deaths.take_below(&mut self.hints, death.id);
            below.retain(|death| !self.bury_known(death));
            waiting.extend(below);
        }
    }

    /// A death is being told; its record may not have been read yet.
    pub(crate) fn expect_death(&mut self, key: NodeKey) {
        if self.marked {
            self.deaths.expect(key, self.books.get(key).map_or(0, |node| node.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{monitor::books::Books, world::Notification};

    #[test]
    fn a_record_is_due_for_a_while_however_often_is_swept() {
        let mut deaths = Deaths::default();
        let now = 3 * AGE_NS;
        deaths.age(now);
        deaths.expect(NodeKey::default(), 7);
        (1..9).for_each(|ms| deaths.age(now + ms * 1_000_000));
        assert!(deaths.was_due(7), "its death would be told again");
        deaths.expect(NodeKey::default(), 8);
        (1..3).for_each(|ages| deaths.age(now + ages * AGE_NS));
        assert!(!deaths.was_due(8), "lost to an overflow, and kept for ever");
    }

    /// A record that is due may have been lost: it is waited for through two sweeps, and a cgroup that
    /// vanished to the end of this one.
    #[test]
    fn what_is_due_is_forgotten_after_two_sweeps() {
        let mut deaths = Deaths::default();
        deaths.expect(NodeKey::default(), 7);
        deaths.expect(NodeKey::default(), 8);
        deaths.note_vanished(NodeKey::default());
        deaths.age(3 * AGE_NS);
        assert!(deaths.vanished.is_empty());
        assert!(deaths.was_due(7) && !deaths.was_due(7), "once");
        deaths.age(4 * AGE_NS);
        assert!(!deaths.was_due(8));
    }

    /// Directories in which one vanished are looked at again, until all that was there is dead.
    #[test]
    fn a_dead_directory_needs_no_look() {
        let mut deaths = Deaths::default();
        deaths.note_vanished(NodeKey::default());
        assert_eq!(deaths.vanished.len(), 1);
        deaths.expect(NodeKey::default(), 0);
        assert!(deaths.vanished.is_empty());
    }

    fn stray(deaths: &mut Deaths, parent: u64, id: u64) {
        let death = Death { id, name: b"name".as_slice().into() };
        deaths.strays.entry(parent).or_default().push(death);
    }

    /// Those that were kept, and those that have not been looked at yet.
    #[test]
    fn what_is_known_below_a_directory_is_taken_once() {
        let (mut deaths, mut hints, mut books) =
            (Deaths::default(), Hints::default(), Books::default());
        stray(&mut deaths, 2, 3);
        stray(&mut deaths, 10, 11);
        for (parent, id) in [(2, 4), (12, 13)] {
            hints.take(&mut books, Notification::DeletedIn { parent, name: b"name", id });
        }
        let mut taken = |dir| {
            let below = deaths.take_below(&mut hints, dir);
            below.iter().map(|death| death.id).collect::<Vec<_>>()
        };
        assert_eq!([2, 2].map(&mut taken), [vec![3, 4], vec![]]);
        assert_eq!(deaths.strays.keys().collect::<Vec<_>>(), [&10]);
        assert_eq!(hints.deaths.keys().collect::<Vec<_>>(), [&12]);
        // The record that would tell of it may be among those that were lost.
        deaths.forget_strays();
        assert!(deaths.strays.is_empty());
    }

    #[test]
    fn after_a_storm_the_room_is_given_back() {
        let mut deaths = Deaths::default();
        for id in 1..5000 {
            deaths.expect(NodeKey::default(), id);
            stray(&mut deaths, id, id);
        }
        let room = |deaths: &Deaths| [deaths.due[0].capacity(), deaths.strays.capacity()];
        deaths.shrink();
        assert!(room(&deaths).iter().all(|room| *room > 4000), "{:?}", room(&deaths));
        for id in 1..5000 {
            deaths.was_due(id);
            deaths.strays.swap_remove(&id);
        }
        deaths.shrink();
        assert!(room(&deaths).iter().all(|room| *room < 100), "{:?}", room(&deaths));
    }
}
