//! What requests do to the tree, and find in it.

use std::{sync::Arc, time::SystemTime};

use fuser::{Errno, FileAttr, FileHandle, INodeNo, ReplyEntry, Request, TimeOrNow};
use kernfs::{Node, Permissions};

use crate::{caller, facts, names, shared::Shared};

/// Answers the kernel.
pub(crate) struct Server(pub(crate) Arc<Shared>);

impl Server {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    fn is_own(&self, request: &Request) -> bool {
        self.0.own.contains(request.pid())
    }

    /// A node that the kernel knows. It asks for no other, unless it decodes a
    /// client's file handle.
    pub(crate) fn node(&self, id: INodeNo) -> Result<Arc<Node>, Errno> {
        self.0.known.get(id.0).ok_or(Errno::ESTALE)
    }

    pub(crate) fn facts(&self, node: &Node) -> FileAttr {
        facts::of(node, self.0.known.times(node.id()))
    }

    /// The node of a name, counted as looked up.
    pub(crate) fn look_up(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
    ) -> Result<Arc<Node>, Errno> {
        let directory = self.node(parent)?;
        let own = self.is_own(request);
        let found = match name {
            // For the decoding of file handles. The kernel asks if it has no inode: then nobody
            // watches, and there is nothing to tell; or no dentry of a directory.
            b"." | b".." if own => None,
            b"." => Some(Arc::clone(&directory)),
            b".." => Some(directory.parent().unwrap_or_else(|| Arc::clone(&directory))),
            _ if own => {
                let revealed = self.0.known.revealed(request.pid(), parent.0, name);
                revealed.or_else(|| active(&directory, name))
            }
            _ => active(&directory, name),
        };
        let node = found.ok_or(Errno::ENOENT)?;
        self.0.known.add(&node);
        if node.is_removed() && !own && !matches!(name, b"." | b"..") {
            self.0.known.forget(node.id(), 1);
            return Err(Errno::ENOENT);
        }
        Ok(node)
    }

    pub(crate) fn may_change(&self, request: &Request) -> Result<(), Errno> {
        if self.0.read_only && !self.is_own(request) { Err(Errno::EROFS) } else { Ok(()) }
    }

    pub(crate) fn make_directory(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
        mode: u32,
    ) -> Result<Arc<Node>, Errno> {
        self.may_change(request)?;
        let parent = self.node(parent)?;
        let calls = self.0.system_calls.as_ref().ok_or(Errno::EPERM)?;
        if !parent.is_active() {
            return Err(Errno::ENODEV);
        }
        caller::during(request, || calls.mkdir(&parent, name)).map_err(errno)?;
        // Another may have removed it again.
        let node = parent.child(name).ok_or(Errno::ENOENT)?;
        if !self.is_own(request) {
            let (uid, gid) = (request.uid(), request.gid());
            // Kernel: `cgroup_mkdir`, which gives all of it to the maker.
            for file in node.all_children().iter().filter(|_| (uid, gid) != (0, 0)) {
                let permissions = Permissions { uid, gid, ..file.permissions() };
                file.set_permissions(permissions);
            }
            // The low twelve bits.
            node.set_permissions(Permissions { mode: (mode & 0o7777) as u16, uid, gid });
        }
        self.0.known.add(&node);
        Ok(node)
    }

    /// The directory that `rmdir` removed, whose reply is due when the
    /// removals thread says so; `None` if there is nothing to wait for.
    pub(crate) fn remove_directory(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
    ) -> Result<Option<Arc<Node>>, Errno> {
        self.may_change(request)?;
        let parent = self.node(parent)?;
        let node = active(&parent, name).ok_or(Errno::ENOENT)?;
        if !node.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let calls = self.0.system_calls.as_ref().ok_or(Errno::EPERM)?;
        if !self.0.queues.begin_removal(&node) {
            return Err(Errno::EBUSY);
        }
        if let Err(error) = caller::during(request, || calls.rmdir(&node)) {
            self.0.queues.cancel_removal(&node, &self.0.known);
            return Err(errno(error));
        }
        if node.is_removed() {
            return Ok(Some(node));
        }
        self.0.queues.cancel_removal(&node, &self.0.known);
        Ok(None)
    }

    pub(crate) fn set_facts(
        &self,
        request: &Request,
        node: &Node,
        change: &Change,
    ) -> Result<(), Errno> {
        if self.is_own(request) {
            return Ok(());
        }
        self.may_change(request)?;
        let Change { mode, uid, gid, accessed, modified } = *change;
        if mode.is_some() || uid.is_some() || gid.is_some() {
            let old = node.permissions();
            node.set_permissions(Permissions {
                // The low twelve bits.
                mode: mode.map_or(old.mode, |mode| (mode & 0o7777) as u16),
                uid: uid.unwrap_or(old.uid),
                gid: gid.unwrap_or(old.gid),
            });
        }
        self.0.known.set_times(node.id(), |times| {
            times.accessed = accessed.map_or(times.accessed, time);
            times.modified = modified.map_or(times.modified, time);
            times.changed = SystemTime::now();
        });
        Ok(())
    }

    pub(crate) fn reply_entry(&self, found: Result<Arc<Node>, Errno>, reply: ReplyEntry) {
        match found {
            Ok(node) => {
                let validity = facts::validity(&node);
                reply.entry(&validity, &self.facts(&node), facts::GENERATION);
            }
            Err(error) => reply.error(error),
        }
    }

    /// Hands out the entries of a directory from an offset on, until `add`
    /// says that there is no room. `.` and `..` are at 1 and 2, and each child
    /// at its id, moved on by these two: what stays is listed once, whatever
    /// comes and goes, also by who goes back.
    pub(crate) fn list(
        &self,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut add: impl FnMut(&Arc<Node>, u64, &[u8]) -> bool,
    ) -> Result<(), Errno> {
        let directory = self.node(id)?;
        let listing = self.0.handles.directory(handle.0).ok_or(Errno::EBADF)?;
        // As an empty directory, as kernfs does.
        if directory.is_removed() {
            return Ok(());
        }
        let above = directory.parent().unwrap_or_else(|| Arc::clone(&directory));
        for (node, at, name) in [(&directory, 1, b".".as_slice()), (&above, 2, b"..")] {
            if offset < at && add(node, at, name) {
                return Ok(());
            }
        }
        // An empty reply is the end. So an entry that no reply has room for is passed over.
        let mut is_empty = offset >= 2;
        listing.read(&directory, offset.saturating_sub(2), |node| {
            let name = node.name();
            if !node.is_active() || !names::is_taken(&name) {
                return false;
            }
            let is_full = add(node, node.id().saturating_add(2), &name);
            is_empty &= is_full;
            is_full && !is_empty
        });
        Ok(())
    }
}

/// What a client sets.
pub(crate) struct Change {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) accessed: Option<TimeOrNow>,
    pub(crate) modified: Option<TimeOrNow>,
}

fn active(directory: &Node, name: &[u8]) -> Option<Arc<Node>> {
    directory.child(name).filter(|node| node.is_active())
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}
