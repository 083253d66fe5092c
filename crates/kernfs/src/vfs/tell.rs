//! The events of a mount: which objects each concerns, and what names them.

use std::sync::Arc;

use fsnotify::{Event, Mask, Object, Origin, PathData, notify};

use super::{
    Volume,
    cache::Cache,
    inode::{Inode, handle_of},
};
use crate::Node;

/// Where an inode was reached, for events of a path.
pub(super) struct Reached {
    inode: Arc<Inode>,
    above: Option<(Arc<Inode>, Arc<[u8]>)>,
    path: PathData,
}

impl Cache {
    pub(super) fn reached(&self, id: usize) -> Reached {
        let dentry = self.get(id);
        let above = dentry
            .parent
            .map(|parent| (Arc::clone(&self.get(parent).inode), Arc::clone(&dentry.name)));
        let path = if dentry.hashed { PathData::Linked } else { PathData::Unlinked };
        Reached { inode: Arc::clone(&dentry.inode), above, path }
    }
}

fn dir_bit(node: &Node) -> Mask {
    if node.is_dir() { Mask::ISDIR } else { Mask::empty() }
}

fn object(inode: &Option<Arc<Inode>>) -> Option<&dyn Object> {
    inode.as_deref().map(|inode| inode as &dyn Object)
}

impl Volume {
    fn event<'a>(&'a self, mask: Mask, node: &Node) -> Event<'a> {
        Event {
            super_block: Some(self),
            fsid: self.file_system().fsid,
            target: Some(handle_of(node)),
            pid: self.core.options.pid,
            ..Event::new(mask | dir_bit(node))
        }
    }

    /// From the worker: not local, if the profile tells the difference.
    fn deferred_event<'a>(&'a self, mask: Mask, node: &Node) -> Event<'a> {
        let deferred = self.core.options.profile.knows_deferred();
        Event {
            pid: self.core.options.worker_pid,
            origin: if deferred { Origin::Deferred } else { Origin::Local },
            ..self.event(mask, node)
        }
    }

    /// A system call did something with what was reached by path.
    pub(super) fn tell_path(&self, mask: Mask, at: &Reached) {
        let node = at.inode.node();
        let event = Event { inode: Some(&*at.inode), path: at.path, ..self.event(mask, node) };
        match &at.above {
            None => notify(&event),
            Some((dir, name)) => notify(&Event {
                mask: event.mask | Mask::EVENT_ON_CHILD,
                dir: Some(&**dir),
                name: Some(name),
                parent: Some(dir.handle()),
                ..event
            }),
        }
    }

    /// A name came, went or moved. `node` is what it stands for; `known` says
    /// whether the event can name it: the dentry of a name that was just
    /// created is still negative.
    pub(super) fn tell_entry(
        &self,
        mask: Mask,
        dir: &Arc<Inode>,
        name: &[u8],
        node: &Node,
        known: bool,
        cookie: u32,
    ) {
        let event = self.event(mask, node);
        notify(&Event {
            dir: Some(&**dir),
            name: Some(name),
            parent: Some(dir.handle()),
            target: event.target.filter(|_| known),
            cookie,
            ..event
        });
    }

    /// An event on an inode alone.
    pub(super) fn tell_inode(&self, mask: Mask, inode: &Inode) {
        notify(&Event { inode: Some(inode), ..self.event(mask, inode.node()) });
    }

    /// From the worker: the node changed. On Linux only if its inode is
    /// cached, and by name only if its directory's is; else always.
    pub(crate) fn tell_modified(&self, node: &Arc<Node>) {
        let inode = self.cached_inode(node.id());
        let always = self.core.options.profile.announces();
        if inode.is_none() && !always {
            return;
        }
        let (name, parent) = node.place();
        let dir = parent.as_ref().and_then(|parent| self.cached_inode(parent.id()));
        let event = Event { inode: object(&inode), ..self.deferred_event(Mask::MODIFY, node) };
        match parent.filter(|_| always || dir.is_some()) {
            None => notify(&event),
            Some(parent) => notify(&Event {
                mask: event.mask | Mask::EVENT_ON_CHILD,
                dir: object(&dir),
                name: Some(&name),
                parent: Some(handle_of(&parent)),
                ..event
            }),
        }
    }

    /// From the worker: the node was removed, and this is its last word.
    pub(crate) fn tell_removed(&self, node: &Arc<Node>) {
        let inode = self.cached_inode(node.id());
        let event = self.deferred_event(Mask::DELETE_SELF, node);
        notify(&Event { inode: object(&inode), ..event });
        if let Some(inode) = inode {
            inode.connector().close();
        }
    }
}
