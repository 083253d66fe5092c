//! Files open on no mount of this process, and listeners.

use std::sync::{Arc, Mutex, Weak};

use kernfs::{Access, Attribute, Listener, Node, Options, Permissions, Ready, SystemCalls, Tree};
use rustix::io::Errno;

use crate::hierarchy::{Value, errno};

#[test]
fn a_first_read_in_the_middle_computes_the_content() {
    let tree = Tree::new(Options::default());
    let node = tree.root().make_file("f", Arc::new(|| b"0123456789".to_vec())).unwrap();
    let file = node.open(Access::READ).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(5, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"5678");
    assert_eq!(file.poll(), Ready::IN | Ready::OUT);
}

#[test]
fn what_is_read_on_belongs_to_what_was_read_at_the_start() {
    let tree = Tree::new(Options::default());
    let content = Arc::new(Mutex::new(b"old-old".to_vec()));
    let show = Arc::clone(&content);
    let node = tree.root().make_file("f", Arc::new(move || show.lock().unwrap().clone())).unwrap();
    let file = node.open(Access::READ).unwrap();
    assert_eq!(file.read_with(0, 3, <[u8]>::to_vec).unwrap(), b"old");
    *content.lock().unwrap() = b"new-new".to_vec();
    assert_eq!(file.read_with(3, 9, <[u8]>::to_vec).unwrap(), b"-old");
    assert_eq!(file.read_with(0, 9, <[u8]>::to_vec).unwrap(), b"new-new");
    node.remove();
    assert_eq!(file.read_with(0, 9, <[u8]>::to_vec).unwrap_err().errno().raw_os_error(), 19);
    assert!(file.poll().contains(Ready::PRI | Ready::ERR));
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn note(&self, what: &str, node: &Node) {
        let name = String::from_utf8_lossy(&node.name()).into_owned();
        self.0.lock().unwrap().push(format!("{what} {name}"));
    }
}

impl Listener for Heard {
    fn modified(&self, node: &Arc<Node>) {
        self.note("modified", node);
    }

    fn removed(&self, node: &Arc<Node>) {
        self.note("removed", node);
    }
}

#[test]
fn a_listener_is_told_what_mounts_are_told() {
    let tree = Tree::new(Options::default());
    let heard = Arc::new(Heard::default());
    let weak: Weak<Heard> = Arc::downgrade(&heard);
    tree.listen(weak);
    let dir = tree.root().make_dir("d").unwrap();
    let file = dir.make_file("f", Arc::new(Vec::new)).unwrap();
    file.notify();
    file.notify();
    dir.remove();
    assert_eq!(tree.drain(), 2, "nodes");
    assert_eq!(*heard.0.lock().unwrap(), ["modified f", "removed f", "removed d"]);
}

#[test]
fn each_listener_is_told_for_as_long_as_it_lives() {
    let tree = Tree::new(Options::default());
    let node = tree.root().make_file("f", Arc::new(Vec::new)).unwrap();
    let [one, gone, other] = [(); 3].map(|()| Arc::new(Heard::default()));
    let listen = |heard: &Arc<Heard>| tree.listen(Arc::downgrade(heard) as Weak<dyn Listener>);
    [&one, &gone].into_iter().for_each(listen);
    drop(gone);
    listen(&other);
    node.notify();
    tree.drain();
    for heard in [&one, &other] {
        assert_eq!(*heard.0.lock().unwrap(), ["modified f"]);
    }
}

/// An attribute that says no more than it must: `kernfs_ops` without `seq_show` and `write`.
#[test]
fn an_attribute_without_content_is_einval() {
    struct Bare;
    impl Attribute for Bare {}
    let tree = Tree::new(Options::default());
    let node = tree.root().make_file("f", Arc::new(Bare)).unwrap();
    let file = node.open(Access::READ | Access::WRITE).unwrap();
    assert_eq!(errno(file.read_at(0, &mut [0; 8])), Errno::INVAL);
    assert_eq!(errno(file.write(b"1")), Errno::INVAL);
    assert_eq!(node.permissions(), Permissions { mode: 0o644, uid: 0, gid: 0 });
}

#[test]
fn to_drop_an_open_file_closes_it() {
    let tree = Tree::new(Options::default());
    let value = Arc::new(Value::default());
    let node = tree.root().make_file("f", value.clone()).unwrap();
    drop(node.open(Access::READ).unwrap());
    assert_eq!(*value.released.lock().unwrap(), 1);
}

/// Another mount's server makes directories by what the tree has for it.
#[test]
fn a_tree_hands_out_its_system_calls() {
    struct Making;
    impl SystemCalls for Making {
        fn mkdir(&self, parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
            parent.make_dir(name).map(drop).map_err(|error| error.errno())
        }
    }
    assert!(Tree::new(Options::default()).system_calls().is_none());
    let system_calls: Option<Arc<dyn SystemCalls>> = Some(Arc::new(Making));
    let tree = Tree::new(Options { system_calls, ..Options::default() });
    tree.system_calls().unwrap().mkdir(tree.root(), b"d").unwrap();
    assert!(tree.root().child("d").is_some());
}
