//! What is in the mirror's files: whatever the host's file holds when it is read.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use cgwatch::{HostEntry, HostReader};
use kernfs::{Access, Attribute, Node, Operation, Permissions};
use rustix::io::Errno;

/// The host, as seen by all files of a mirror.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) reader: HostReader,
    /// The modes of control files by name. They are the kernel's own, the same in every cgroup,
    /// unless someone changed one.
    modes: RwLock<HashMap<Box<[u8]>, u16>>,
}

impl Host {
    pub(crate) fn new(reader: HostReader) -> Self {
        Self { reader, modes: RwLock::default() }
    }

    /// The mode a control file of this name is made with, if one was ever looked at.
    pub(crate) fn usual_mode(&self, name: &[u8]) -> Option<u16> {
        self.modes.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    pub(crate) fn learn_mode(&self, name: &[u8], mode: u16) {
        let mut modes = self.modes.write().unwrap_or_else(PoisonError::into_inner);
        modes.entry(name.into()).or_insert(mode);
    }
}

/// The attribute of all files of one cgroup; which of them it is about, the node says.
pub(crate) struct Files {
    pub(crate) host: Arc<Host>,
    /// The host's id of the cgroup.
    pub(crate) cgroup: u64,
    /// Whose the files are that were given to nobody else.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Attribute for Files {
    /// After the cgroup's removal on the host, or the file's, `ENODEV`, whether or not the mirror
    /// knows it yet.
    fn show(&self, operation: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        let node = operation.node();
        let cgroup = path(node.parent().as_ref().ok_or(Errno::NODEV)?);
        let read =
            self.host.reader.read((&cgroup, self.cgroup), (&node.name(), node.id()), content);
        match read {
            Ok(now) if may_be_read(operation, now) => {
                // It is kept for as long as a client keeps the file open.
                content.shrink_to_fit();
                Ok(())
            }
            Ok(_) => Err(Errno::ACCESS),
            Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR) => Err(Errno::NODEV),
            Err(errno) => Err(errno),
        }
    }

    fn permissions(&self, node: &Node) -> Permissions {
        let mode = self.host.usual_mode(&node.name()).unwrap_or(0o444);
        Permissions { mode, uid: self.uid, gid: self.gid }
    }
}

/// The kernel decided by what the mirror shows. If the host's file has other permissions by now, who
/// opened the mirror's is held to those, as far as he is known: of his groups only the first is if
/// everybody could read the file.
fn may_be_read(operation: &Operation<'_>, now: HostEntry) -> bool {
    let HostEntry { mode, uid, gid, .. } = now;
    let now = Permissions { mode, uid, gid };
    // In this process there is no one to be kept out.
    operation.credentials().is_none_or(|user| now.allow(user, Access::READ))
        || operation.node().permissions() == now
}

/// A directory's path from the mirror's root: `/` for the root itself, else `/a/b`.
pub(crate) fn path(directory: &Arc<Node>) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = Arc::clone(directory);
    while let Some(above) = at.parent() {
        names.push(at.name());
        at = above;
    }
    if names.is_empty() {
        return b"/".to_vec();
    }
    names.iter().rev().flat_map(|name| [b"/".as_slice(), name]).flatten().copied().collect()
}
