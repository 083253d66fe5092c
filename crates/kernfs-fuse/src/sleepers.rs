//! Who sleeps in a poll of a file.
//!
//! At most one per open file: the kernel keeps one, too. It is entered before
//! the file is asked whether it is ready, and a node counts its notification
//! before it is told here, so none is missed.

use std::sync::Mutex;

use fuser::PollNotifier;
use hashbrown::HashMap;

use crate::lock::lock;

/// By node, then by open file.
#[derive(Default)]
pub(crate) struct Sleepers(Mutex<HashMap<u64, HashMap<u64, PollNotifier>>>);

impl Sleepers {
    pub(crate) fn add(&self, node: u64, file: u64, notifier: PollNotifier) {
        lock(&self.0).entry(node).or_default().insert(file, notifier);
    }

    /// The file was closed.
    pub(crate) fn remove(&self, node: u64, file: u64) {
        let mut all = lock(&self.0);
        if let Some(sleepers) = all.get_mut(&node) {
            sleepers.remove(&file);
            if sleepers.is_empty() {
                all.remove(&node);
            }
        }
    }

    /// Wakes those of a node. They ask again, and sleep again if they like.
    pub(crate) fn wake(&self, node: u64) {
        let Some(sleepers) = lock(&self.0).remove(&node) else { return };
        for notifier in sleepers.into_values() {
            // The kernel no longer knows the file: nobody sleeps.
            let _ = notifier.notify();
        }
    }
}
