//! How births and deaths of directories reach those who watch the parent.
//!
//! On Linux `CREATE` and `DELETE` belong to the system calls `mkdir` and `rmdir`; nothing else
//! raises them. So the feed makes these calls, on the mount the tree is shown by, and the tree lets
//! them through only when they are what the feed is about to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernfs::{Node, SuperBlock, SystemCalls};
use rustix::io::Errno;

/// A mount of the tree, to be told of births and deaths by system calls on it.
pub trait Front: Send {
    /// `mkdir` of a path from the root, without a leading `/`.
    ///
    /// # Errors
    /// If it could not be made this way.
    fn make_dir(&self, path: &[u8]) -> Result<(), Errno>;

    /// `rmdir` of a path from the root, without a leading `/`.
    ///
    /// # Errors
    /// If it could not be removed this way.
    fn remove_dir(&self, path: &[u8]) -> Result<(), Errno>;
}

/// A mount within this process.
impl Front for Arc<SuperBlock> {
    fn make_dir(&self, path: &[u8]) -> Result<(), Errno> {
        self.mkdir(path).map_err(|error| error.errno())
    }

    fn remove_dir(&self, path: &[u8]) -> Result<(), Errno> {
        self.rmdir(path).map_err(|error| error.errno())
    }
}

/// What the feed is about to do; anything else is refused.
pub(crate) enum Step {
    /// A directory is born.
    Birth(Box<dyn FnOnce() -> Result<(), Errno> + Send>, Arc<Node>, Box<[u8]>),
    /// A directory is gone.
    Death(Arc<Node>),
}

/// The tree's system calls: they do the feed's next step, and nothing else.
#[derive(Default)]
pub(crate) struct NextStep(Mutex<Option<Step>>);

impl NextStep {
    fn lock(&self) -> MutexGuard<'_, Option<Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, step: Step) {
        *self.lock() = Some(step);
    }

    /// The step, if nobody has done it.
    pub(crate) fn take(&self) -> Option<Step> {
        self.lock().take()
    }
}

impl SystemCalls for NextStep {
    fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
        let mut step = self.lock();
        let expected = match &*step {
            Some(Step::Birth(_, of, called)) => Arc::ptr_eq(of, parent) && **called == *name,
            _ => false,
        };
        match step.take_if(|_| expected) {
            Some(Step::Birth(make, ..)) => {
                drop(step);
                make()
            }
            _ => Err(Errno::ROFS),
        }
    }

    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        let expected = |step: &mut Step| matches!(step, Step::Death(of) if Arc::ptr_eq(of, node));
        let step = self.lock().take_if(expected);
        if step.is_none() {
            return Err(Errno::ROFS);
        }
        node.remove();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kernfs::Tree;

    use super::*;

    #[test]
    fn no_step_is_let_through_but_the_next_one() {
        let tree = Tree::new(kernfs::Options::default());
        let root = tree.root();
        let [other, gone] = ["other", "gone"].map(|name| root.make_dir(name).unwrap());
        let next = NextStep::default();
        let make = {
            let root = Arc::clone(root);
            move || root.make_dir("a").map(drop).map_err(|error| error.errno())
        };
        next.set(Step::Birth(Box::new(make), Arc::clone(root), b"a".as_slice().into()));
        assert_eq!(next.mkdir(root, b"b"), Err(Errno::ROFS));
        assert_eq!(next.mkdir(&other, b"a"), Err(Errno::ROFS));
        assert_eq!(next.rmdir(&gone), Err(Errno::ROFS));
        assert_eq!(next.mkdir(root, b"a"), Ok(()));
        assert!(root.child("a").is_some());
        assert_eq!(next.mkdir(root, b"a"), Err(Errno::ROFS));
        next.set(Step::Death(Arc::clone(&gone)));
        assert_eq!(next.rmdir(&other), Err(Errno::ROFS));
        assert_eq!(next.mkdir(root, b"b"), Err(Errno::ROFS));
        assert_eq!(next.rmdir(&gone), Ok(()));
        assert!(root.child("gone").is_none() && root.child("other").is_some());
    }
}
