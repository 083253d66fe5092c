//! Whose births are withheld first when too many wait together with their deaths: those of the subtree
//! that has the most, so that no owner of a subtree can have another's withheld in place of his own.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::{Entry, Untold};
use crate::{
    GapReason,
    monitor::{
        books::{Books, NodeKey},
        fair::{LEVELS, Route},
        schema::Schemas,
    },
};

/// A subtree has at least this share of all that wait, lest each gap withhold but a few.
const SHARE: usize = 8;

impl Untold {
    /// Withholds births that wait together with their deaths, if there are more than `limit`: subtree by
    /// subtree, that with the most first, until there are no more than that.
    pub(crate) fn bound(&mut self, books: &mut Books, schemas: &Schemas, limit: usize) {
        if self.pairs <= limit.max(books.alive()) {
            return;
        }
        // An amount that others share is told if it can be.
        for shared in [false, true] {
            while self.pairs > limit.max(books.alive()) {
                let waiting = self.withholdable(books, shared);
                let routes: Vec<_> = waiting.iter().map(|key| books.route(*key)).collect();
                let crowd = Crowd::of(&routes);
                let within = waiting.iter().zip(&routes).filter(|(_, route)| crowd.holds(route));
                let keys: Vec<_> = within.map(|(key, _)| *key).collect();
                if keys.is_empty() {
                    break;
                }
                self.withhold(books, schemas, &keys);
            }
        }
        self.push_gap(books, GapReason::Reader);
        self.push_ready(books, true);
    }

    /// Births that can be withheld: they wait together with their deaths, which are settled. `shared`: also
    /// those whose amounts others share.
    fn withholdable(&self, books: &Books, shared: bool) -> Vec<NodeKey> {
        let mut all = Vec::new();
        // A parent dies after its children, so it comes later, and stays if one of them does.
        let mut parents = HashSet::new();
        for entry in self.queue.iter() {
            let Entry::Removal(key) = entry else { continue };
            let Some(node) = books.get(*key) else { continue };
            let removal = self.told.get(key).and_then(|told| told.removal.as_ref());
            let may =
                removal.is_some_and(|removal| shared || removal.unseen.shared_with.is_empty());
            if may && !node.flags.told && !node.flags.existing && !parents.contains(key) {
                all.push(*key);
            } else {
                parents.extend(node.parent);
            }
        }
        all
    }

    fn withhold(&mut self, books: &mut Books, schemas: &Schemas, keys: &[NodeKey]) {
        for key in keys {
            let told = self.told.remove(key);
            if let Some(node) = books.forget(*key) {
                self.pairs = self.pairs.saturating_sub(1);
                self.cancelled.add_node(&node, told.as_ref(), schemas);
            }
            self.cancelled.add_told(told.as_ref(), schemas);
        }
        self.drop_forgotten(books);
    }
}

/// A subtree: the lane of its top, and how many lanes are above that. Without one, the whole hierarchy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Crowd(Option<(usize, u64)>);

impl Crowd {
    /// The lowest subtree that has more than its neighbours on every level.
    fn of(waiting: &[Route]) -> Self {
        let mut crowd = Self::default();
        let mut within: Vec<&Route> = waiting.iter().collect();
        for level in 0..LEVELS {
            let mut counts: IndexMap<Option<u64>, usize> = IndexMap::new();
            for route in &within {
                *counts.entry(route.lane(level)).or_default() += 1;
            }
            let subtrees = counts.iter().filter_map(|(lane, count)| Some(((*lane)?, *count)));
            let Some((lane, most)) = subtrees.max_by_key(|(_, count)| *count) else { break };
            let equal = counts.len() > 1 && most.saturating_mul(counts.len()) <= within.len();
            if equal || most.saturating_mul(SHARE) < waiting.len() {
                break;
            }
            crowd = Self(Some((level, lane)));
            within.retain(|route| crowd.holds(route));
        }
        crowd
    }

    fn holds(self, route: &Route) -> bool {
        self.0.is_none_or(|(level, lane)| route.lane(level) == Some(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::{Crowd, Route};

    /// Lanes are named by the whole path, as those of the books are.
    fn route(path: &str) -> Route {
        let mut route = Route::default();
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            route.push(
                path.as_bytes()[..at]
                    .iter()
                    .fold(7, |hash, byte| hash.wrapping_mul(31) ^ u64::from(*byte)),
            );
        }
        route
    }

    /// Of paths and how many wait at each, those that are withheld first.
    fn withheld<'a>(waiting: &[(&'a str, usize)]) -> Vec<&'a str> {
        let all = waiting.iter().flat_map(|(path, count)| vec![route(path); *count]);
        let crowd = Crowd::of(&all.collect::<Vec<_>>());
        waiting.iter().map(|(path, _)| *path).filter(|path| crowd.holds(&route(path))).collect()
    }

    #[test]
    fn it_is_the_subtree_with_the_most() {
        assert_eq!(
            withheld(&[("r/owner/a", 60), ("r/owner/b", 30), ("r/other/c", 10)]),
            ["r/owner/a"]
        );
        assert_eq!(withheld(&[("r/a", 45), ("r/b", 46), ("r/c", 9)]), ["r/b"]);
        assert_eq!(
            withheld(&[("r/other", 1), ("r/owner", 1), ("r/owner/a/b/c", 8)]),
            ["r/owner/a/b/c"]
        );
    }

    #[test]
    fn equals_are_withheld_together() {
        assert_eq!(withheld(&[("r/a", 5), ("r/b", 5)]), ["r/a", "r/b"]);
        assert_eq!(withheld(&[("r", 5), ("r/b", 5)]), ["r", "r/b"]);
        assert!(withheld(&[]).is_empty());
    }

    #[test]
    fn a_few_are_not_worth_a_gap() {
        let many: Vec<String> = (0..20).map(|n| format!("r/owner/{n}")).collect();
        let mut waiting: Vec<_> = many.iter().map(|path| (path.as_str(), 10)).collect();
        waiting[3].1 = 20;
        let owners = waiting.iter().map(|(path, _)| *path).collect::<Vec<_>>();
        waiting.push(("r/other", 10));
        assert_eq!(withheld(&waiting), owners);
    }

    #[test]
    fn whatever_is_deeper_than_lanes_is_one() {
        assert_eq!(
            withheld(&[("r/other", 3), ("r/1/2/3/4/5/6/7/8/a", 5), ("r/1/2/3/4/5/6/7/8/b", 4)]),
            ["r/1/2/3/4/5/6/7/8/a", "r/1/2/3/4/5/6/7/8/b"]
        );
    }
}
