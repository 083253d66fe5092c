//! Files opened through a mount: an [`OpenFile`] with a dentry, and the events
//! of the system calls on it.

use std::{fmt, sync::Arc, time::Duration};

use bitflags::bitflags;
use fsnotify::Mask;

use super::Volume;
use crate::{Error, OpenFile, node::NodeFlags};

bitflags! {
    /// What a file is opened for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Reading.
        const READ = 1;
        /// Writing.
        const WRITE = 2;
    }
}

bitflags! {
    /// What a poll finds (`EPOLL*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ready: u32 {
        /// It can be read: always so.
        #[doc(alias = "EPOLLIN")]
        const IN = 0x1;
        /// It changed since it was read, or is dead.
        #[doc(alias = "EPOLLPRI")]
        const PRI = 0x2;
        /// It can be written: always so.
        #[doc(alias = "EPOLLOUT")]
        const OUT = 0x4;
        /// With [`Self::PRI`].
        #[doc(alias = "EPOLLERR")]
        const ERR = 0x8;
    }
}

/// An open file. It holds its dentry, and with it those of the directories
/// above; after its node was removed every use fails with `ENODEV`.
pub struct File {
    volume: Arc<Volume>,
    dentry: usize,
    opened: Arc<OpenFile>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("node", self.opened.node()).finish_non_exhaustive()
    }
}

impl File {
    /// Takes over the caller's hold on the dentry, also if it fails.
    pub(super) fn open(volume: &Arc<Volume>, dentry: usize, access: Access) -> Result<Self, Error> {
        let reached = volume.with_cache(|cache, _| cache.reached(dentry));
        let node = Arc::clone(volume.inode_at(dentry).node());
        match node.open(access) {
            Ok(opened) => {
                volume.tell_path(Mask::OPEN, &reached);
                Ok(Self { volume: Arc::clone(volume), dentry, opened })
            }
            Err(error) => {
                volume.release(dentry);
                Err(error)
            }
        }
    }

    /// Reads at an offset. A read at 0 computes the content anew and takes
    /// note of all notifications so far; others go on in what it gave.
    ///
    /// # Errors
    /// `ENODEV` after removal, `EBADF` if not opened for reading, or what the
    /// attribute says.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Error> {
        let read = self.opened.read_at(offset, buffer)?;
        if read > 0 {
            self.tell(Mask::ACCESS);
        }
        Ok(read)
    }

    /// The whole content, computed anew.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read_at(all.len(), &mut buffer)? {
                0 => return Ok(all),
                read => all.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// Writes. Watchers see `MODIFY`, which they cannot tell from the node's
    /// own notification.
    ///
    /// # Errors
    /// `ENODEV` after removal, `EBADF` if not opened for writing, or what the
    /// attribute says.
    pub fn write(&self, content: &[u8]) -> Result<(), Error> {
        // In flight, so that a removal waits and its events follow this one.
        self.opened.write_then(content, || {
            if !content.is_empty() && !self.removed_itself() {
                self.tell(Mask::MODIFY);
            }
        })
    }

    /// Whether the operation in flight removed its own node, so that, on
    /// `Announced`, its last word may be out already.
    fn removed_itself(&self) -> bool {
        self.volume.core.options.profile.announces()
            && self.opened.node().flags().contains(NodeFlags::UNLINKED)
    }

    /// What is ready now. `ERR|PRI`: it notified since it was last read from
    /// the start, was never read, or is dead.
    #[must_use]
    pub fn poll(&self) -> Ready {
        self.opened.poll()
    }

    /// As [`poll`](Self::poll), and sleeps while nothing is urgent. Removal
    /// wakes the sleeper on `Announced`; on Linux it sleeps to the end.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Ready {
        let announces = self.volume.core.options.profile.announces();
        if !self.poll().contains(Ready::PRI) {
            self.volume.core.sleep_until(limit, || {
                self.opened.is_news() || (announces && self.opened.is_dead())
            });
        }
        self.poll()
    }

    /// Its inode's facts; they stay readable after removal.
    #[must_use]
    pub fn stat(&self) -> super::Stat {
        super::Stat::of(&self.volume.inode_at(self.dentry))
    }

    fn tell(&self, mask: Mask) {
        let reached = self.volume.with_cache(|cache, _| cache.reached(self.dentry));
        self.volume.tell_path(mask, &reached);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let write = self.opened.access().contains(Access::WRITE);
        self.tell(if write { Mask::CLOSE_WRITE } else { Mask::CLOSE_NOWRITE });
        self.opened.release();
        self.volume.release(self.dentry);
    }
}
