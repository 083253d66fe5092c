//! What all nodes and mounts of a tree share (kernel: `struct kernfs_root`).

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::{
    Listener, Node, Options,
    id::Ids,
    notify::{Notifier, Pending},
    sync::{Condvar, Mutex, lock, wait_until},
    vfs::{Inode, Volume},
};

pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) ids: Ids,
    pub(crate) pending: Notifier,
    /// Links change under it: unlinking and renaming exclude each other.
    pub(crate) moving: Mutex<()>,
    /// Activation changes under it, and those who wait for operations sleep.
    pub(crate) draining: Mutex<()>,
    pub(crate) drained: Condvar,
    volumes: Mutex<Vec<Weak<Volume>>>,
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
    poll: Poll,
}

/// What a removal looked at under [`Core::moving`], and drops after it: the
/// end of an inode or mount takes locks of `fsnotify`.
#[derive(Default)]
pub(crate) struct Held {
    volumes: Vec<Arc<Volume>>,
    inodes: Vec<Arc<Inode>>,
}

impl Held {
    pub(crate) fn clear(&mut self) {
        self.volumes.clear();
        self.inodes.clear();
    }
}

/// Where open files wait for a notification.
struct Poll {
    lock: Mutex<()>,
    woken: Condvar,
}

impl Core {
    pub(crate) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            ids: Ids::new(),
            pending: Notifier::new(),
            moving: Mutex::new(()),
            draining: Mutex::new(()),
            drained: Condvar::new(),
            volumes: Mutex::new(Vec::new()),
            listeners: Mutex::new(Vec::new()),
            poll: Poll { lock: Mutex::new(()), woken: Condvar::new() },
        })
    }

    pub(crate) fn add_volume(&self, volume: &Arc<Volume>) {
        lock(&self.volumes).push(Arc::downgrade(volume));
    }

    pub(crate) fn remove_volume(&self, gone: &Volume) {
        lock(&self.volumes).retain(|volume| !std::ptr::eq(volume.as_ptr(), gone));
    }

    /// The mounts of the tree, into a list that is used again and again.
    pub(crate) fn volumes(&self, into: &mut Vec<Arc<Volume>>) {
        into.clear();
        into.extend(lock(&self.volumes).iter().filter_map(Weak::upgrade));
    }

    pub(crate) fn add_listener(&self, listener: Weak<dyn Listener>) {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|other| other.strong_count() > 0);
        listeners.push(listener);
    }

    /// Those that listen, into a list that is used again and again.
    pub(crate) fn listeners(&self, into: &mut Vec<Arc<dyn Listener>>) {
        into.clear();
        into.extend(lock(&self.listeners).iter().filter_map(Weak::upgrade));
    }

    /// A node is out of the tree: what that means behind it is the profile's.
    /// To be called under [`Self::moving`], in the step that unlinked it. What
    /// must not be dropped there is put into `held`. Whether someone sleeps in
    /// a poll and is to be woken.
    pub(crate) fn unlinked(&self, node: &Arc<Node>, held: &mut Held) -> bool {
        let profile = self.options.profile;
        if profile.clears_links() {
            self.volumes(&mut held.volumes);
            let cleared = held.volumes.iter().filter_map(|volume| volume.clear_links(node.id()));
            held.inodes.extend(cleared);
        }
        profile.announces() && self.pending.push(node, Pending::REMOVED)
    }

    /// Lists a node for the worker and wakes who sleeps in a poll.
    pub(crate) fn tell_later(&self, node: &Arc<Node>, what: Pending) {
        if self.pending.push(node, what) {
            self.wake_poll();
        }
    }

    /// Wakes who sleeps in a poll.
    pub(crate) fn wake_poll(&self) {
        let _guard = lock(&self.poll.lock);
        self.poll.woken.notify_all();
    }

    /// Emits what is pending up to a node's removal, which is among it.
    pub(crate) fn deliver_removal(&self, node: &Node) {
        self.pending.deliver_while(self, || !node.is_announced());
    }

    /// Sleeps until `ready`, or as long as `limit`; the models know no time.
    pub(crate) fn sleep_until(&self, limit: Duration, ready: impl Fn() -> bool) {
        // `None`: longer than the clock goes.
        let end = Instant::now().checked_add(limit);
        let is_over = || end.is_some_and(|end| Instant::now() >= end);
        let mut guard = lock(&self.poll.lock);
        // Under the notifier's lock, as is the look for sleepers: either it
        // finds this one, or what it told is ready below.
        self.pending.count_sleeper(true);
        while !ready() && !is_over() {
            guard = wait_until(&self.poll.woken, guard, end);
        }
        self.pending.count_sleeper(false);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{Access, Profile, Ready, Tree};

    struct Deaf;

    impl Listener for Deaf {
        fn modified(&self, _: &Arc<Node>) {}
        fn removed(&self, _: &Arc<Node>) {}
    }

    #[test]
    fn mounts_and_listeners_that_are_gone_leave_nothing() {
        let tree = Tree::new(Options::default());
        let core = tree.root().core();
        for _ in 0..3 {
            let mount = tree.mount();
            assert_eq!(lock(&core.volumes).len(), 1);
            let held = mount.pin("/").unwrap();
            drop(mount);
            assert_eq!(lock(&core.volumes).len(), 0);
            drop(held);
            let listener: Arc<dyn Listener> = Arc::new(Deaf);
            tree.listen(Arc::downgrade(&listener));
            assert_eq!(lock(&core.listeners).len(), 1);
        }
    }

    /// Who sleeps in a poll is woken by what he sleeps for.
    #[test]
    fn a_poll_that_sleeps_is_woken_and_counted() {
        type Happen = fn(&Arc<Node>);
        let cases: [(Profile, Happen); 3] = [
            (Profile::Linux71, Node::notify),
            (Profile::Announced, Node::notify),
            (Profile::Announced, Node::remove),
        ];
        for (profile, happen) in cases {
            let tree = Tree::new(Options { profile, ..Options::default() });
            let node = tree.root().make_file("f", Arc::new(Vec::new)).unwrap();
            let other = tree.root().make_file("other", Arc::new(Vec::new)).unwrap();
            let file = tree.mount().open("/f", Access::READ).unwrap();
            file.read().unwrap();
            let sleepers = || node.core().pending.sleepers();
            let (woken, is_woken) = mpsc::channel();
            thread::spawn(move || woken.send(file.wait(Duration::MAX)));
            while sleepers() == 0 {
                assert_eq!(is_woken.try_recv(), Err(mpsc::TryRecvError::Empty), "{profile:?}");
                thread::yield_now();
            }
            other.notify();
            assert_eq!(sleepers(), 1, "what is nothing to him ends no sleep");
            happen(&node);
            let ready = is_woken.recv_timeout(Duration::from_secs(60));
            assert!(ready.is_ok_and(|ready| ready.contains(Ready::PRI)), "{profile:?}");
            assert_eq!(sleepers(), 0);
        }
    }
}
