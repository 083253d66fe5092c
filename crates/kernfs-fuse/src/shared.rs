//! What the event loops and the two announcing threads share.

use std::sync::Arc;

use kernfs::{Listener, Node, SystemCalls};

use crate::{
    announce::Queues, handles::Handles, known::Known, own::OwnThreads, sleepers::Sleepers,
};

pub(crate) struct Shared {
    pub(crate) root: Arc<Node>,
    pub(crate) system_calls: Option<Arc<dyn SystemCalls>>,
    pub(crate) read_only: bool,
    pub(crate) known: Known,
    pub(crate) handles: Handles,
    pub(crate) sleepers: Sleepers,
    pub(crate) own: OwnThreads,
    pub(crate) queues: Queues,
}

impl Shared {
    /// Whether the kernel knows a node or the directory it is in: else nobody
    /// can watch either.
    fn can_be_watched(&self, node: &Node) -> bool {
        self.known.contains(node.id())
            || node.parent().is_some_and(|parent| self.known.contains(parent.id()))
    }
}

/// The tree's worker tells; the queues take it, so that it never waits for a
/// client.
impl Listener for Shared {
    fn modified(&self, node: &Arc<Node>) {
        self.sleepers.wake(node.id());
        if self.can_be_watched(node) {
            self.queues.modified(node);
        }
    }

    fn removed(&self, node: &Arc<Node>) {
        self.sleepers.wake(node.id());
        self.queues.removed(node, &self.known);
    }
}
