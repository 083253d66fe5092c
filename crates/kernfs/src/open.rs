//! Open files without a mount (kernel: `struct kernfs_open_file` and
//! `struct kernfs_open_node`, fs/kernfs/file.c).
//!
//! [`File`](crate::File) is one reached through this process's own cache, with
//! the events that go with it; a server of another mount holds [`OpenFile`].
//!
//! Invariant: `content` is what the last read at 0 gave, or nothing yet.

use std::sync::Arc;

use rustix::io::Errno;

use crate::{
    Access, Credentials, Error, Node, Operation, Ready,
    sync::{AtomicBool, AtomicU32, Mutex, Ordering, lock},
};

/// An open file of a node. After the node was removed every use fails with
/// `ENODEV`. It tells nobody; dropping it closes it.
#[doc(alias = "kernfs_open_file")]
pub struct OpenFile {
    node: Arc<Node>,
    access: Access,
    /// Of a client; boxed, since this process's own files have none.
    credentials: Option<Box<Credentials>>,
    released: AtomicBool,
    /// The node's count of notifications when it was last read.
    seen: AtomicU32,
    content: Mutex<Option<Vec<u8>>>,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the file, on no mount.
    ///
    /// # Errors
    /// `EISDIR`; `ENODEV` if it was removed or is hidden.
    pub fn open(self: &Arc<Self>, access: Access) -> Result<Arc<OpenFile>, Error> {
        self.open_with(access, None)
    }

    /// The same for a user: what the attribute judges by rights, it judges by
    /// his ([`Operation::credentials`]). Whether he may open the file is the
    /// caller's to decide.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(
        self: &Arc<Self>,
        access: Access,
        user: Credentials,
    ) -> Result<Arc<OpenFile>, Error> {
        self.open_with(access, Some(Box::new(user)))
    }

    fn open_with(
        self: &Arc<Self>,
        access: Access,
        credentials: Option<Box<Credentials>>,
    ) -> Result<Arc<OpenFile>, Error> {
        if self.is_dir() {
            return Err(Error::IsDirectory { name: self.text() });
        }
        let _operation = Operation::start(self, None)?;
        let opened = Arc::new(OpenFile {
            node: Arc::clone(self),
            access,
            credentials,
            released: AtomicBool::new(false),
            seen: AtomicU32::new(0),
            content: Mutex::new(None),
        });
        // Entered while the operation runs: a removal drains it later, or the
        // operation would not have started.
        if opened.has_release() {
            self.add_opened(&opened);
        }
        Ok(opened)
    }
}

impl OpenFile {
    /// The node it is open on.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Reads at an offset. A read at 0 computes the content anew and takes
    /// note of all notifications so far; others go on in what it gave.
    ///
    /// # Errors
    /// `ENODEV` after removal, `EBADF` if not opened for reading, or what the
    /// attribute says.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Error> {
        self.with_content(offset, |content| {
            let rest = content.get(offset..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            read
        })
    }

    /// As [`read_at`](Self::read_at), without a copy: hands what is there from
    /// the offset on, at most `limit` bytes, to `take`.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn read_with<T>(
        &self,
        offset: usize,
        limit: usize,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        self.with_content(offset, |content| {
            let rest = content.get(offset..).unwrap_or_default();
            take(&rest[..rest.len().min(limit)])
        })
    }

    fn with_content<T>(&self, offset: usize, take: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        if !self.access.contains(Access::READ) {
            return Err(self.refused(Errno::BADF));
        }
        let operation = self.operate()?;
        let kept = if offset == 0 { None } else { lock(&self.content).take() };
        let content = match kept {
            Some(content) => content,
            None => {
                // Before the content is made: a change in between is news.
                let notified = self.node.notified.load(Ordering::Acquire);
                self.seen.store(notified, Ordering::Relaxed);
                let mut fresh = Vec::new();
                if let Some(attribute) = self.node.attribute() {
                    attribute.show(&operation, &mut fresh).map_err(|e| self.refused(e))?;
                }
                fresh
            }
        };
        drop(operation);
        let taken = take(&content);
        *lock(&self.content) = Some(content);
        Ok(taken)
    }

    /// Writes; whoever watches is not told by this.
    ///
    /// # Errors
    /// `ENODEV` after removal, `EBADF` if not opened for writing, or what the
    /// attribute says.
    pub fn write(&self, content: &[u8]) -> Result<(), Error> {
        self.write_then(content, || {})
    }

    /// As [`write`](Self::write); `then` runs while the operation is in
    /// flight, which a removal of the node waits for.
    pub(crate) fn write_then(&self, content: &[u8], then: impl FnOnce()) -> Result<(), Error> {
        if !self.access.contains(Access::WRITE) {
            return Err(self.refused(Errno::BADF));
        }
        let operation = self.operate()?;
        if let Some(attribute) = self.node.attribute() {
            attribute.store(&operation, content).map_err(|e| self.refused(e))?;
        }
        then();
        Ok(())
    }

    /// What is ready now. `ERR|PRI`: it notified since it was last read from
    /// the start, was never read, or is dead.
    #[must_use]
    #[doc(alias = "kernfs_generic_poll")]
    pub fn poll(&self) -> Ready {
        let calm = Ready::IN | Ready::OUT;
        let urgent = self.is_dead() || self.is_news();
        if urgent { calm | Ready::ERR | Ready::PRI } else { calm }
    }

    pub(crate) fn access(&self) -> Access {
        self.access
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

    pub(crate) fn is_dead(&self) -> bool {
        !self.node.is_active() || self.released.load(Ordering::Acquire)
    }

    pub(crate) fn is_news(&self) -> bool {
        self.seen.load(Ordering::Relaxed) != self.node.notified.load(Ordering::Acquire)
    }

    /// An operation, unless the file is dead.
    fn operate(&self) -> Result<Operation<'_>, Error> {
        let operation = Operation::start(&self.node, self.credentials.as_deref())?;
        if self.released.load(Ordering::Acquire) {
            return Err(Error::Removed { id: self.node.id() });
        }
        Ok(operation)
    }

    fn refused(&self, errno: Errno) -> Error {
        Error::Refused { name: self.node.text(), errno }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attribute, Options, Tree};

    struct Told;

    impl Attribute for Told {
        fn has_release(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_node_remembers_no_files_that_were_closed() {
        let tree = Tree::new(Options::default());
        let node = tree.root().make_file("f", Arc::new(Told)).unwrap();
        for _ in 0..3 {
            drop(node.open(Access::READ).unwrap());
        }
        let held = node.open(Access::READ).unwrap();
        assert_eq!(node.take_opened().len(), 1);
        drop(held);
    }
}
