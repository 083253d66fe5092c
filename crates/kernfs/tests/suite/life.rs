//! kernel-semantics 2.1 and 2.5: activation, hiding, operations in flight and
//! the three removals.

use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use kernfs::{Access, Attribute, Error, Node, Operation, Options, Profile, Tree};
use rustix::io::Errno;

use crate::hierarchy::{Hierarchy, Value, errno};

fn empty() -> Arc<dyn Attribute> {
    Arc::new(Vec::new)
}

/// A file whose read reports that it runs and goes on when it may.
struct Gate {
    entered: mpsc::Sender<()>,
    leave: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    fn new() -> (Arc<Self>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, is_in) = mpsc::channel();
        let (go, leave) = mpsc::channel();
        (Arc::new(Self { entered, leave: Mutex::new(leave) }), is_in, go)
    }
}

impl Attribute for Gate {
    fn show(&self, operation: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        self.entered.send(()).unwrap();
        self.leave.lock().unwrap().recv().unwrap();
        // What is behind the node is still there, whatever happens outside.
        assert!(!operation.node().name().is_empty());
        content.push(b'1');
        Ok(())
    }
}

/// Whether nothing comes, though others had every chance to send it.
pub(crate) fn still_empty<T>(receiver: &mpsc::Receiver<T>) -> bool {
    (0..1000).all(|_| {
        thread::yield_now();
        matches!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty))
    })
}

/// 2.5: "Draining waits for *operations in flight*".
#[test]
fn drain_waits_for_operations_in_flight() {
    let tree = Tree::new(Options::default());
    let (gate, is_in, go) = Gate::new();
    let node = tree.root().make_file("f", gate).unwrap();
    let mount = tree.mount();
    let file = mount.open("/f", Access::READ).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| file.read_at(0, &mut [0; 8]));
        is_in.recv().unwrap();
        let (removed, is_removed) = mpsc::channel();
        let remover = &node;
        scope.spawn(move || {
            remover.remove();
            removed.send(()).unwrap();
        });
        while !node.is_removed() {
            thread::yield_now();
        }
        // It has begun, nothing starts any more, and it does not end.
        assert_eq!(errno(mount.open("/f", Access::READ)), Errno::NOENT);
        let waits = still_empty(&is_removed);
        go.send(()).unwrap();
        assert!(waits);
        is_removed.recv().unwrap();
        assert_eq!(reader.join().unwrap(), Ok(1), "the operation ended well");
    });
    assert_eq!(errno(file.read()), Errno::NODEV);
}

/// 2.5: "not for open fds"; "Nodes with a `release` op get it called at drain".
#[test]
fn drain_does_not_wait_for_open_files_but_ends_them_once() {
    let tree = Tree::new(Options::default());
    let value = Arc::new(Value::default());
    let node = tree.root().make_file("f", value.clone()).unwrap();
    let mount = tree.mount();
    let open = || mount.open("/f", Access::READ).unwrap();
    let (first, second, closed) = (open(), open(), open());
    drop(closed);
    assert_eq!(*value.released.lock().unwrap(), 1);
    node.remove();
    assert_eq!(*value.released.lock().unwrap(), 3, "told at the drain");
    drop((first, second));
    assert_eq!(*value.released.lock().unwrap(), 3, "and not again at close");
}

/// 2.5: an open file with a release operation stays dead after re-show.
#[test]
fn hiding_ends_open_files_for_good() {
    let world = Hierarchy::new(Profile::Linux71);
    let file = world.mount.open("/g/memory.high", Access::READ).unwrap();
    let node = world.node("/g/memory.high");
    node.show(false).unwrap();
    assert_eq!(errno(world.mount.lookup("/g/memory.high")), Errno::NOENT);
    assert_eq!(world.mount.list("/g").unwrap().len(), 2);
    assert_eq!(errno(file.read()), Errno::NODEV);
    node.show(true).unwrap();
    assert_eq!(errno(file.read()), Errno::NODEV);
    world.mount.open("/g/memory.high", Access::READ).unwrap().read().unwrap();
    assert_eq!(errno(world.node("/g").show(false)), Errno::ISDIR);
}

/// 2.5: files with a release operation are drained when hidden, not when shown; others live on.
#[test]
fn hiding_ends_the_open_files_that_are_to_be_told() {
    let tree = Tree::new(Options::default());
    let value = Arc::new(Value::default());
    let told = tree.root().make_file("told", value.clone()).unwrap();
    let other = tree.root().make_file("other", Arc::new(|| b"1".to_vec())).unwrap();
    let [ended, lives] = [&told, &other].map(|node| node.open(Access::READ).unwrap());
    let released = || *value.released.lock().unwrap();
    for node in [&told, &other] {
        node.show(false).unwrap();
    }
    assert_eq!(released(), 1);
    let again = [&told, &other].map(|node| {
        node.show(true).unwrap();
        node.open(Access::READ).unwrap()
    });
    assert_eq!(released(), 1);
    assert_eq!(errno(ended.read_at(0, &mut [0; 8])), Errno::NODEV);
    assert_eq!(lives.read_at(0, &mut [0; 8]), Ok(1));
    told.show(true).unwrap();
    assert_eq!(again[0].read_at(0, &mut [0; 8]), Ok(0));
}

/// Who hides a file waits for its operations, until somebody shows it again.
#[test]
fn a_file_that_is_shown_again_is_not_waited_for() {
    let tree = Tree::new(Options::default());
    let (gate, is_in, go) = Gate::new();
    let node = tree.root().make_file("f", gate).unwrap();
    let file = node.open(Access::READ).unwrap();
    let reader = thread::spawn(move || file.read_at(0, &mut [0; 8]));
    is_in.recv().unwrap();
    let (hidden, is_hidden) = mpsc::channel();
    let hider = Arc::clone(&node);
    thread::spawn(move || hidden.send(hider.show(false)).unwrap());
    while node.is_active() {
        thread::yield_now();
    }
    assert!(still_empty(&is_hidden));
    node.show(true).unwrap();
    let ended = is_hidden.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(ended, Ok(Ok(())), "while the operation is still in flight");
    go.send(()).unwrap();
    assert_eq!(reader.join().unwrap(), Ok(1));
}

/// Hiding twice hides once, and a hidden node can be removed.
#[test]
fn hide_and_show_do_not_count() {
    let world = Hierarchy::new(Profile::Linux71);
    let node = world.node("/g/memory.high");
    for show in [false, false, true, true] {
        node.show(show).unwrap();
        assert_eq!(node.is_active(), show);
    }
    node.show(false).unwrap();
    node.remove();
    node.show(true).unwrap();
    assert!(!node.is_active(), "a removed node is not shown");
}

/// 2.5: nodes of a CREATE_DEACTIVATED root appear together.
#[test]
fn what_is_made_deactivated_appears_with_activate() {
    let tree = Tree::new(Options { create_deactivated: true, ..Options::default() });
    let dir = tree.root().make_dir("d").unwrap();
    let file = dir.make_file("f", empty()).unwrap();
    let hidden = dir.make_file("h", empty()).unwrap();
    hidden.show(false).unwrap();
    let mount = tree.mount();
    assert_eq!(errno(mount.lookup("/d")), Errno::NOENT);
    assert!(tree.root().child_names().is_empty());
    dir.activate();
    assert!(file.is_active() && dir.is_active() && !hidden.is_active());
    assert!(mount.lookup("/d/f").is_ok());
    hidden.show(true).unwrap();
    assert!(mount.lookup("/d/h").is_ok());
}

/// A file that removes itself when written, and counts the winners.
struct Suicide {
    wins: AtomicU32,
    ended: AtomicU32,
    together: Barrier,
}

impl Attribute for Suicide {
    fn store(&self, operation: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        self.together.wait();
        if operation.remove_self() {
            self.wins.fetch_add(1, SeqCst);
            // The losers wait for this whole operation, not for the removal.
            thread::yield_now();
            self.ended.store(1, SeqCst);
            Ok(())
        } else {
            assert_eq!(self.ended.load(SeqCst), 1);
            Err(Errno::NODEV)
        }
    }
}

/// 2.5: "first caller wins, losers wait for the winner's whole op".
#[test]
fn of_several_that_remove_themselves_one_wins_and_the_others_wait() {
    for threads in [1, 2, 4] {
        let tree = Tree::new(Options::default());
        let suicide = Arc::new(Suicide {
            wins: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            together: Barrier::new(threads),
        });
        let node = tree.root().make_file("f", suicide.clone()).unwrap();
        let mount = tree.mount();
        thread::scope(|scope| {
            for _ in 0..threads {
                let file = mount.open("/f", Access::WRITE).unwrap();
                scope.spawn(move || file.write(b"1"));
            }
        });
        assert_eq!(suicide.wins.load(SeqCst), 1);
        assert!(node.is_removed() && tree.root().child("f").is_none());
        tree.drain();
    }
}

/// Children strictly before parents; each said once, whoever removes.
#[test]
fn concurrent_removals_of_one_subtree_announce_each_node_once() {
    use fsnotify::inotify::WatchMask;
    for _ in 0..20 {
        let world = Hierarchy::new(Profile::Announced);
        for path in ["/g/a", "/g/a/b"] {
            world.mount.mkdir(path).unwrap();
        }
        let paths = ["/g", "/g/a", "/g/a/b", "/g/a/b/memory.events"];
        for path in paths {
            world.watch(path, path, WatchMask::DELETE_SELF);
        }
        let nodes = paths.map(|path| world.node(path));
        thread::scope(|scope| {
            for node in &nodes {
                scope.spawn(|| node.remove());
            }
        });
        let expected: Vec<_> = paths
            .iter()
            .rev()
            .flat_map(|path| [format!("{path} DELETE_SELF"), format!("{path} IGNORED")])
            .collect();
        assert_eq!(world.told(), expected);
    }
}

/// 2.5: `kernfs_remove_by_name_ns`.
#[test]
fn removal_by_name() {
    let tree = Tree::new(Options::default());
    let file = tree.root().make_file("f", empty()).unwrap();
    assert_eq!(errno(tree.root().remove_child("none")), Errno::NOENT);
    assert_eq!(errno(file.remove_child("x")), Errno::NOTDIR);
    tree.root().remove_child("f").unwrap();
    assert!(file.is_removed());
    file.remove();
}

/// 2.1 and PATH_MAX: what no node can be called, and where none can be.
#[test]
fn names_and_places_are_checked() {
    let tree = Tree::new(Options::default());
    let root = tree.root();
    for name in ["", ".", "..", "a/b", "a\0b"] {
        assert_eq!(errno(root.make_dir(name)), Errno::INVAL, "{name:?}");
    }
    assert_eq!(errno(root.make_dir("n".repeat(4096))), Errno::NAMETOOLONG);
    root.make_dir("n".repeat(4095)).unwrap();
    root.make_dir([0xff, 0xfe]).unwrap();
    let file = root.make_file("f", empty()).unwrap();
    assert_eq!(errno(root.make_file("f", empty())), Errno::EXIST);
    assert_eq!(errno(file.make_dir("x")), Errno::NOTDIR);
    let dir = root.make_dir("d").unwrap();
    dir.remove();
    assert_eq!(errno(dir.make_dir("x")), Errno::NOENT, "nothing grows on what is removed");
    assert_eq!(tree.nodes(), 5, "refused nodes are gone");
}

/// 2.5: `kernfs_rename_ns`.
#[test]
fn rename_refuses_what_cannot_be() {
    let tree = Tree::new(Options::default());
    let root = tree.root();
    let (a, b) = (root.make_dir("a").unwrap(), root.make_dir("b").unwrap());
    let below = a.make_dir("below").unwrap();
    let file = b.make_file("f", empty()).unwrap();
    let refused = |result: Result<(), Error>, errno: Errno| {
        assert_eq!(result.unwrap_err().errno(), errno);
    };
    refused(a.rename(&below, "x"), Errno::INVAL);
    refused(a.rename(&a, "x"), Errno::INVAL);
    refused(a.rename(root, "b"), Errno::EXIST);
    refused(a.rename(&file, "x"), Errno::NOTDIR);
    refused(a.rename(root, "x/y"), Errno::INVAL);
    refused(root.rename(&a, "x"), Errno::PERM);
    a.rename(root, "a").unwrap();
    below.rename(&b, "moved").unwrap();
    assert_eq!(&*below.name(), b"moved");
    assert!(a.child("below").is_none() && b.child("moved").is_some());
    b.remove();
    refused(a.rename(&b, "x"), Errno::NOENT);
    refused(below.rename(&a, "x"), Errno::NOENT);
    assert!(below.is_removed());
}

/// 2.5: "cgroup roots forbid parent change (INVARIANT_PARENT)".
#[test]
fn a_tree_may_forbid_to_leave_a_directory() {
    let tree = Tree::new(Options { fixed_parents: true, ..Options::default() });
    let (a, b) = (tree.root().make_dir("a").unwrap(), tree.root().make_dir("b").unwrap());
    let file = a.make_file("f", empty()).unwrap();
    assert_eq!(errno(file.rename(&b, "f")), Errno::INVAL);
    file.rename(&a, "g").unwrap();
    assert!(a.child("g").is_some() && b.child_names().is_empty());
}

/// The worker as a thread: told without a drain, and ended with the tree.
#[test]
fn a_worker_thread_delivers_by_itself() {
    use fsnotify::{
        Account, Limits,
        inotify::{InitFlags, Inotify, WatchMask},
    };
    let tree = Tree::new(Options { worker: true, ..Options::default() });
    let node = tree.root().make_file("f", empty()).unwrap();
    let mount = tree.mount();
    let inotify = Inotify::new(&Account::new(Limits::default()), InitFlags::empty()).unwrap();
    mount.watch(&inotify, "/f", WatchMask::MODIFY).unwrap();
    let mut buffer = [0; 16];
    for _ in 0..3 {
        node.notify();
        assert_eq!(inotify.read(&mut buffer), Ok(16), "a blocking read");
    }
    node.remove();
    // What is pending is told when the tree ends.
    drop(tree);
    assert_eq!(inotify.read(&mut buffer), Ok(16));
    assert_eq!(inotify.watches(), 0);
}

/// The worker holds what the tree holds, and is over when the tree is.
#[test]
fn nothing_of_a_tree_with_a_worker_is_left() {
    struct Calls;
    impl kernfs::SystemCalls for Calls {}
    for _ in 0..20 {
        let calls = Arc::new(Calls);
        let system_calls: Option<Arc<dyn kernfs::SystemCalls>> = Some(calls.clone());
        let tree = Tree::new(Options { worker: true, system_calls, ..Options::default() });
        tree.root().make_file("f", empty()).unwrap().notify();
        drop(tree);
        assert_eq!(Arc::strong_count(&calls), 1);
    }
}

/// Dropping a tree removes everything in it, and says so.
#[test]
fn the_end_of_a_tree_is_a_removal() {
    use fsnotify::inotify::WatchMask;
    let world = Hierarchy::new(Profile::Announced);
    let dir = WatchMask::DELETE_SELF;
    world.watch("F", "/g/memory.events", dir);
    world.watch("root", "/", dir);
    let Hierarchy { tree, mount, inotify, account, .. } = world;
    let node: Arc<Node> = tree.root().child("g").unwrap();
    drop(tree);
    assert!(node.is_removed());
    assert_eq!(inotify.queued(), 4);
    assert_eq!(account.marks(), 0);
    assert_eq!(errno(mount.lookup("/g")), Errno::NOENT);
}
