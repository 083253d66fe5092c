//! Files open on no mount of this process, and listeners.

use std::sync::{Arc, Mutex, Weak};

use kernfs::{Access, Listener, Node, Options, Ready, Tree};

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
    tree.drain();
    assert_eq!(*heard.0.lock().unwrap(), ["modified f", "removed f", "removed d"]);
}
