//! What holds a dentry without opening the file.

use std::{fmt, sync::Arc};

use fsnotify::{FileHandle, Mask, inotify};

use super::{Access, File, Stat, Volume};
use crate::{Entry, Error, Node};

/// A place held by path: an `O_PATH` descriptor, a descriptor of a directory,
/// a working directory. Making and dropping it tells nobody.
pub struct Pin {
    pub(super) volume: Arc<Volume>,
    pub(super) dentry: usize,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("stat", &self.stat()).finish_non_exhaustive()
    }
}

impl Pin {
    /// Looks a path up from here. To do so is what flushes a removed file's
    /// announcement on `Linux71`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Result<Stat, Error> {
        Ok(self.pin(path)?.stat())
    }

    /// Pins what a path leads to from here.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn pin(&self, path: impl AsRef<[u8]>) -> Result<Self, Error> {
        let dentry = self.volume.walk(self.dentry, path.as_ref())?;
        Ok(Self { volume: Arc::clone(&self.volume), dentry })
    }

    /// What is in the directory. Nothing is looked up by it: readdir(3) gives
    /// kinds and inode numbers without.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` once it is removed.
    #[doc(alias = "getdents")]
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let inode = self.volume.inode_at(self.dentry);
        let node = inode.node();
        match node.entries() {
            None => Err(Error::NotDirectory { name: node.text() }),
            Some(_) if node.is_removed() => Err(Error::NotFound { name: node.text() }),
            Some(entries) => Ok(entries),
        }
    }

    /// How many directories are in the directory (`st_nlink` beyond its first
    /// two); 0 in a file.
    #[must_use]
    pub fn subdirectories(&self) -> u64 {
        self.volume.inode_at(self.dentry).node().subdirectories()
    }

    /// Opens a file from here.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup); `EISDIR`; `ENODEV` if it is just removed.
    pub fn open(&self, path: impl AsRef<[u8]>, access: Access) -> Result<File, Error> {
        let dentry = self.volume.walk(self.dentry, path.as_ref())?;
        File::open(&self.volume, dentry, access)
    }

    /// Watches the very inode that is pinned, whatever its name means by now.
    ///
    /// # Errors
    /// Those of [`inotify::Inotify::add_watch`]; `EOPNOTSUPP` as
    /// [`SuperBlock::watch`](super::SuperBlock::watch).
    pub fn watch(
        &self,
        inotify: &inotify::Inotify,
        mask: inotify::WatchMask,
    ) -> Result<i32, Error> {
        self.volume.refuse_undeliverable(inotify.is_local_only())?;
        let inode = self.volume.inode_at(self.dentry);
        Ok(inotify.add_watch(inode, mask)?)
    }

    /// What is pinned.
    #[must_use]
    pub fn stat(&self) -> Stat {
        Stat::of(&self.volume.inode_at(self.dentry))
    }

    /// The node that is pinned.
    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(self.volume.inode_at(self.dentry).node())
    }

    /// A system call did something with what is pinned, by path.
    pub(crate) fn tell(&self, mask: Mask) {
        let reached = self.volume.with_cache(|cache, _| cache.reached(self.dentry));
        self.volume.tell_path(mask, &reached);
    }

    /// Its handle.
    #[must_use]
    #[doc(alias = "name_to_handle_at")]
    pub fn handle(&self) -> FileHandle {
        self.volume.inode_at(self.dentry).handle()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.volume.release(self.dentry);
    }
}
