//! Open files (kernel: fs/kernfs/file.c, `struct kernfs_open_file`).

use std::{fmt, sync::Arc, time::Duration};

use bitflags::bitflags;
use fsnotify::Mask;

use super::Volume;
use crate::{
    Error, Node, Operation,
    sync::{AtomicBool, AtomicU32, Mutex, Ordering, lock},
};

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

/// What a node knows of an open file.
pub(crate) struct Opened {
    node: Arc<Node>,
    released: AtomicBool,
    /// The node's count of notifications when it was last read.
    seen: AtomicU32,
    content: Mutex<Vec<u8>>,
}

impl Opened {
    fn new(node: &Arc<Node>) -> Result<Arc<Self>, Error> {
        let _operation = Operation::start(node)?;
        let opened = Arc::new(Self {
            node: Arc::clone(node),
            released: AtomicBool::new(false),
            seen: AtomicU32::new(0),
            content: Mutex::new(Vec::new()),
        });
        // Entered while the operation runs: a removal drains it later, or the
        // operation would not have started.
        if opened.has_release() {
            node.add_opened(&opened);
        }
        Ok(opened)
    }

    fn has_release(&self) -> bool {
        self.node.attribute().is_some_and(|attribute| attribute.has_release())
    }

    /// The end, told to the attribute once.
    pub(crate) fn release(&self) {
        if self.has_release()
            && !self.released.swap(true, Ordering::AcqRel)
            && let Some(attribute) = self.node.attribute()
        {
            attribute.release(&self.node);
        }
    }

    fn is_dead(&self) -> bool {
        !self.node.is_active() || self.released.load(Ordering::Acquire)
    }

    fn is_news(&self) -> bool {
        self.seen.load(Ordering::Relaxed) != self.node.notified.load(Ordering::Acquire)
    }

    /// An operation, unless the file is dead.
    fn operate(&self) -> Result<Operation<'_>, Error> {
        let operation = Operation::start(&self.node)?;
        if self.released.load(Ordering::Acquire) {
            return Err(Error::Removed { id: self.node.id() });
        }
        Ok(operation)
    }
}

/// An open file. It holds its dentry, and with it those of the directories
/// above; after its node was removed every use fails with `ENODEV`.
pub struct File {
    volume: Arc<Volume>,
    dentry: usize,
    opened: Arc<Opened>,
    access: Access,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("node", &self.opened.node).finish_non_exhaustive()
    }
}

impl File {
    /// Takes over the caller's hold on the dentry, also if it fails.
    pub(super) fn open(volume: &Arc<Volume>, dentry: usize, access: Access) -> Result<Self, Error> {
        let reached = volume.with_cache(|cache, _| cache.reached(dentry));
        let node = Arc::clone(volume.inode_at(dentry).node());
        let opened = if node.is_dir() {
            Err(Error::IsDirectory { name: node.text() })
        } else {
            Opened::new(&node)
        };
        match opened {
            Ok(opened) => {
                volume.tell_path(Mask::OPEN, &reached);
                Ok(Self { volume: Arc::clone(volume), dentry, opened, access })
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
    /// `ENODEV` after removal, `EINVAL` if not opened for reading, or what the
    /// attribute says.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Error> {
        let refused = |errno| Error::Refused { name: self.opened.node.text(), errno };
        if !self.access.contains(Access::READ) {
            return Err(refused(rustix::io::Errno::BADF));
        }
        let operation = self.opened.operate()?;
        let mut content = if offset == 0 {
            // Before the content is made: a change in between is news.
            let notified = self.opened.node.notified.load(Ordering::Acquire);
            self.opened.seen.store(notified, Ordering::Relaxed);
            let mut fresh = Vec::new();
            if let Some(attribute) = self.opened.node.attribute() {
                attribute.show(&operation, &mut fresh).map_err(refused)?;
            }
            fresh
        } else {
            std::mem::take(&mut *lock(&self.opened.content))
        };
        drop(operation);
        let rest = content.get(offset..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        std::mem::swap(&mut *lock(&self.opened.content), &mut content);
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
        let refused = |errno| Error::Refused { name: self.opened.node.text(), errno };
        if !self.access.contains(Access::WRITE) {
            return Err(refused(rustix::io::Errno::BADF));
        }
        let operation = self.opened.operate()?;
        if let Some(attribute) = self.opened.node.attribute() {
            attribute.store(&operation, content).map_err(refused)?;
        }
        drop(operation);
        if !content.is_empty() {
            self.tell(Mask::MODIFY);
        }
        Ok(())
    }

    /// What is ready now. `ERR|PRI`: it notified since it was last read from
    /// the start, was never read, or is dead.
    #[must_use]
    #[doc(alias = "kernfs_generic_poll")]
    pub fn poll(&self) -> Ready {
        let calm = Ready::IN | Ready::OUT;
        let urgent = self.opened.is_dead() || self.opened.is_news();
        if urgent { calm | Ready::ERR | Ready::PRI } else { calm }
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
        let write = self.access.contains(Access::WRITE);
        self.tell(if write { Mask::CLOSE_WRITE } else { Mask::CLOSE_NOWRITE });
        self.opened.release();
        self.volume.release(self.dentry);
    }
}
