//! The watched roots: adding and removing them, and learning of their own death.
//!
//! A root's death is told by a watch on the directory above it, where there is one; the watches
//! above several roots in one directory are one. Roots do not overlap.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{
    Monitor,
    books::{Node, NodeKey, Watched},
    is_gone,
};
use crate::{
    Depth, Error, LearnedFrom,
    world::{Wd, World, has_long_name},
};

/// A watched root.
#[derive(Debug)]
pub(crate) struct WatchedRoot {
    pub(crate) key: NodeKey,
    /// As the user names it, resolved.
    pub(crate) file_path: PathBuf,
    /// The base that `path` is relative to: see [`World::open`].
    pub(crate) base: usize,
    pub(crate) path: Vec<u8>,
    pub(crate) depth: Depth,
    /// The watch on the directory above it.
    above: Option<Wd>,
    /// Its place in the list of root ids, for ever.
    pub(crate) number: u32,
}

impl<W: World> Monitor<W> {
    /// Watches a root at `path` of `base` and everything below it, as deep as asked. Its baseline
    /// waits to be told.
    pub(crate) fn add_root(
        &mut self,
        file_path: &Path,
        base: usize,
        path: &[u8],
        depth: Depth,
    ) -> Result<(), Error> {
        self.update()?;
        if let Some(root) = self.roots.iter().find(|root| overlap(root, base, path)) {
            let watched = root.file_path.clone();
            return Err(Error::Overlap { path: file_path.into(), watched });
        }
        let watched_above = self.watch_above(base, path);
        let above = watched_above.unwrap_or_default();
        let (dir, stat) = match self.world.open(base, path) {
            Ok(opened) => opened,
            Err(source) => {
                self.unwatch_above(above);
                return Err(open_error(file_path, source));
            }
        };
        let number = u32::try_from(self.root_ids.len()).unwrap_or(u32::MAX);
        let n = self.books.next_instance();
        let mut node = Node::new(n, stat.id, number, self.now_ns);
        node.flags.existing = true;
        node.flags.long = has_long_name(path);
        node.born_ns = self.now_ns;
        let key = self.books.insert_apart(node);
        self.root_ids.push(stat.id);
        let file_path = file_path.to_owned();
        let path = path.to_owned();
        self.roots.push(WatchedRoot { key, file_path, base, path, depth, above, number });
        self.untold.touch(&mut self.books, key);
        self.taking_baseline = true;
        if let Err(errno) = watched_above {
            self.could_not(key, errno);
        }
        self.settle_in(key, dir);
        self.taking_baseline = false;
        // Also if there was a gap meanwhile.
        self.untold.push_ready(&self.books, false);
        self.drain()?;
        self.take_in()?;
        self.turn_timers()
    }

    /// Stops watching a root; nothing more is told of it, also not what waits.
    pub(crate) fn remove_root(&mut self, file_path: &Path) -> Result<(), Error> {
        let at = self.roots.iter().position(|root| root.file_path == file_path);
        let at = at.ok_or_else(|| Error::NotWatched { path: file_path.into() })?;
        let (top, number) = (self.roots[at].key, self.roots[at].number);
        for key in self.books.subtree(top).into_iter().rev() {
            self.unwatch_node(key);
            self.books.bury(key);
        }
        let gone: Vec<_> =
            self.books.iter().filter(|(_, node)| node.root == number).map(|(key, _)| key).collect();
        self.untold.forget(&gone, &mut self.books);
        let root_id = self.root_ids.get(number as usize).copied().unwrap_or(0);
        self.ready.retain(|(kind, _)| kind.cgroup().is_none_or(|its| its.root_id != root_id));
        self.losses.retain(|loss| self.books.get(loss.key).is_some());
        self.drop_root(top);
        Ok(())
    }

    /// The root that a node lies under.
    pub(crate) fn root_of(&self, key: NodeKey) -> Option<&WatchedRoot> {
        let number = self.books.get(key)?.root;
        // They stand in the order of their numbers.
        let at = self.roots.binary_search_by_key(&number, |root| root.number).ok()?;
        self.roots.get(at)
    }

    /// The base that a node is reached from.
    pub(crate) fn base_of(&self, key: NodeKey) -> usize {
        self.root_of(key).map_or(0, |root| root.base)
    }

    /// Puts the path of a node from its base into `self.path`, and returns the base.
    pub(crate) fn push_full_path(&mut self, key: NodeKey) -> usize {
        self.path.clear();
        let mut path = std::mem::take(&mut self.path);
        let root = self.root_of(key);
        path.extend(root.map_or(&b""[..], |root| &root.path));
        self.books.push_path(key, &mut path);
        if path.first() == Some(&b'/') {
            path.remove(0);
        }
        let base = root.map_or(0, |root| root.base);
        self.path = path;
        base
    }

    /// Whether a node's children are watched too.
    pub(crate) fn goes_deeper(&self, key: NodeKey) -> bool {
        let Some(node) = self.books.get(key) else { return false };
        match self.root_of(key).map(|root| root.depth) {
            Some(Depth::AtMost(most)) => node.depth < u32::from(most),
            Some(Depth::All) => true,
            None => false,
        }
    }

    /// Looks whether the watched roots are still there.
    pub(crate) fn check_roots(&mut self, learned_from: LearnedFrom) {
        let keys: Vec<_> = self.roots.iter().map(|root| root.key).collect();
        for key in keys {
            match self.open(key) {
                Ok(Some(dir)) => self.world.close(dir),
                Ok(None) => self.bury_tree(key, learned_from),
                Err(_) => {} // noted
            }
        }
    }

    /// A watched root has died or is watched no more.
    pub(crate) fn drop_root(&mut self, key: NodeKey) {
        let Some(at) = self.roots.iter().position(|root| root.key == key) else { return };
        let above = self.roots.remove(at).above;
        self.unwatch_above(above);
    }

    /// Watches above a root where that failed before.
    pub(crate) fn retry_above(&mut self, key: NodeKey) {
        let Some(at) = self.roots.iter().position(|root| root.key == key) else { return };
        let root = &self.roots[at];
        if root.above.is_some() {
            return;
        }
        let (base, path) = (root.base, root.path.clone());
        match self.watch_above(base, &path) {
            Ok(above) => self.roots[at].above = above,
            Err(errno) => self.could_not(key, errno),
        }
    }

    /// Ends a watch above a root, unless it is above another one too.
    fn unwatch_above(&mut self, above: Option<Wd>) {
        if let Some(wd) = above.filter(|wd| self.roots.iter().all(|root| root.above != Some(*wd))) {
            self.books.unwatch(wd);
            self.world.unwatch(wd);
        }
    }

    /// `None`: nothing is above it, or a mark hears of its death.
    fn watch_above(&mut self, base: usize, path: &[u8]) -> Result<Option<Wd>, Errno> {
        if !self.notified || self.marked || path.is_empty() {
            return Ok(None);
        }
        let above = path.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |at| &path[..at]);
        let (mut dir, _) = self.world.open(base, above)?;
        let wd = self.world.watch(&mut dir);
        self.world.close(dir);
        self.books.watch(wd?, Watched::AboveRoots);
        wd.map(Some)
    }
}

/// One path is the other or lies below it.
fn overlap(root: &WatchedRoot, base: usize, path: &[u8]) -> bool {
    let below = |upper: &[u8], lower: &[u8]| {
        upper.is_empty()
            || lower.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    root.base == base && (below(&root.path, path) || below(path, &root.path))
}

fn open_error(path: &Path, source: Errno) -> Error {
    if is_gone(source) {
        Error::NotFound { path: path.into() }
    } else {
        Error::Path { action: "open", path: path.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By whole names, in both directions; roots of different bases have nothing in common.
    #[test]
    fn a_root_overlaps_what_is_above_and_below_it() {
        let overlaps = |root: &str, base: usize, path: &str| {
            let root = WatchedRoot {
                key: NodeKey::default(),
                file_path: PathBuf::new(),
                base: 0,
                path: root.into(),
                depth: Depth::All,
                above: None,
                number: 0,
            };
            overlap(&root, base, path.as_bytes())
        };
        for (one, other, is) in [
            ("", "", true),
            ("", "a", true),
            ("a", "a", true),
            ("a", "a/b", true),
            ("a/b", "a/b/c/d", true),
            ("a", "ab", false),
            ("a", "b", false),
            ("a/b", "a/c", false),
            ("a/b", "a/bc", false),
        ] {
            assert_eq!(
                [overlaps(one, 0, other), overlaps(other, 0, one)],
                [is; 2],
                "{one} {other}"
            );
            assert!(!overlaps(one, 1, other) && !overlaps(other, 1, one), "{one} {other}");
        }
    }

    /// Each cgroup is reached from the base of the root that it lies under.
    #[cfg(feature = "sim")]
    #[test]
    fn a_cgroup_is_reached_from_the_base_of_its_root() {
        let hierarchy = cgroup_sim::Hierarchy::new(cgroup_sim::Options::default());
        for path in ["/one", "/two", "/two/below"] {
            hierarchy.mkdir(path).unwrap();
        }
        let world = crate::SimWorld::new(std::sync::Arc::new(hierarchy));
        let mut monitor =
            Monitor::new(world, crate::Options::new(), crate::Strategy::Sweep).unwrap();
        for (base, root) in [(2, "one"), (5, "two")] {
            monitor.add_root(Path::new(root), base, root.as_bytes(), Depth::All).unwrap();
        }
        let bases = monitor.books.iter().map(|(key, node)| (node.n, monitor.base_of(key)));
        let mut bases: Vec<_> = bases.collect();
        bases.sort_unstable();
        assert_eq!(bases, [(1, 2), (2, 5), (3, 5)]);
    }
}
