//! The way to a cgroup that the books know: by its id alone, whatever its depth.
//!
//! The kernel finds a directory by its id at once while it has it in its cache of names. What was
//! dropped from there it looks for by name, and has no room for a long one ([`has_long_name`]): then it
//! fails as if it were removed. So where there is such a name a failure proves nothing, and names are
//! walked by from the nearest cgroup above that is found, which puts them into the cache again. A walk
//! of the whole path for each of a thousand nested cgroups would hold up everybody else for seconds.
//!
//! What turns out to be removed is marked with all that was below it on the way, since ids never come
//! back: that way is not walked again for each of them.
//!
//! Without ids (no CAP_DAC_READ_SEARCH) the whole path is walked each time.
//!
//! [`has_long_name`]: crate::world::has_long_name

use rustix::io::Errno;

use super::{Monitor, books::NodeKey, is_gone};
use crate::world::World;

impl<W: World> Monitor<W> {
    /// Opens a cgroup's directory if it is still the same cgroup. `Ok(None)`: it is removed. Any error is
    /// noted.
    pub(crate) fn open(&mut self, key: NodeKey) -> Result<Option<W::Dir>, Errno> {
        match self.find(key) {
            Ok(dir) => Ok(Some(dir)),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(errno) => {
                self.could_not(key, errno);
                Err(errno)
            }
        }
    }

    /// As [`Self::open`], where the use of the handle may show just as well that it is removed.
    pub(crate) fn reach(&mut self, key: NodeKey) -> Result<Option<W::Dir>, Errno> {
        let base = self.base_of(key);
        match self.books.get(key).filter(|node| !node.flags.long && !node.flags.removed) {
            Some(node) if let Some(dir) = self.world.reach(base, node.id) => Ok(Some(dir)),
            _ => self.open(key),
        }
    }

    fn find(&mut self, key: NodeKey) -> Result<W::Dir, Errno> {
        let node = self.books.get(key).filter(|node| !node.flags.removed).ok_or(Errno::NOENT)?;
        let (id, long) = (node.id, node.flags.long);
        match self.world.open_id(self.base_of(key), id) {
            Some(Err(_)) if long => self.find_by_names(key),
            Some(found) => found,
            None => self.walk(key),
        }
    }

    /// Walks the whole path.
    fn walk(&mut self, key: NodeKey) -> Result<W::Dir, Errno> {
        let base = self.push_full_path(key);
        let (dir, stat) = self.world.open(base, &self.path)?;
        self.expect_id(key, dir, stat.id)
    }

    /// The directory, if it is the one that the books mean.
    fn expect_id(&mut self, key: NodeKey, dir: W::Dir, id: u64) -> Result<W::Dir, Errno> {
        if self.books.get(key).is_some_and(|node| node.id == id) {
            return Ok(dir);
        }
        self.world.close(dir);
        Err(Errno::STALE)
    }

    /// Walks from the nearest cgroup above that is found by its id.
    fn find_by_names(&mut self, key: NodeKey) -> Result<W::Dir, Errno> {
        let base = self.base_of(key);
        // Those that are not found so, the lowest first.
        let mut below = vec![key];
        let mut above = self.books.get(key).and_then(|node| node.parent);
        let mut found = loop {
            let Some(parent) = above else {
                let root = below.pop().unwrap_or(key);
                break self.walk(root);
            };
            let Some(node) = self.books.living(parent).filter(|node| !node.flags.removed) else {
                break Err(Errno::NOENT);
            };
            let long = node.flags.long;
            above = node.parent;
            match self.world.open_id(base, node.id).unwrap_or(Err(Errno::STALE)) {
                Err(_) if long => below.push(parent),
                found => break found,
            }
        };
        while let Some(next) = below.pop() {
            found = found.and_then(|dir| self.step(dir, next));
            if found.as_ref().is_err_and(|errno| is_gone(*errno)) {
                below.push(next);
                self.mark_removed(&below);
                break;
            }
        }
        found
    }

    /// From a directory to one in it.
    fn step(&mut self, mut dir: W::Dir, next: NodeKey) -> Result<W::Dir, Errno> {
        let name = self.books.get(next).map(|node| node.name.clone()).unwrap_or_default();
        let opened = self.world.open_child(&mut dir, &name);
        self.world.close(dir);
        let (dir, stat) = opened?;
        self.expect_id(next, dir, stat.id)
    }

    fn mark_removed(&mut self, all: &[NodeKey]) {
        for key in all {
            if let Some(node) = self.books.get_mut(*key) {
                node.flags.removed = true;
            }
        }
    }
}
