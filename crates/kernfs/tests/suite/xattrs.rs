//! Extended attributes, as fs/kernfs/inode.c and fs/xattr.c have them.

use kernfs::{Error, Options, SetXattr, Tree};
use rustix::io::Errno;

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, errno: Errno) {
    assert_eq!(result.unwrap_err().errno(), errno);
}

/// `kernfs_xattr_handlers`, and `xattr_resolve_name` above them.
#[test]
fn three_kinds_and_no_others() {
    let tree = Tree::new(Options::default());
    let node = tree.root().make_dir("d").unwrap();
    for name in ["user.a", "trusted.a", "security.a"] {
        node.set_xattr(name.as_bytes(), b"v", SetXattr::Either).unwrap();
        assert_eq!(node.xattr(name.as_bytes()).unwrap(), b"v");
    }
    refused(node.set_xattr(b"system.a", b"", SetXattr::Either), Errno::OPNOTSUPP);
    refused(node.xattr(b"user"), Errno::OPNOTSUPP);
    refused(node.set_xattr(b"user.", b"", SetXattr::Either), Errno::INVAL);
    assert_eq!(node.xattr_names().len(), 3);
    assert!(tree.root().xattr_names().is_empty());
}

/// `simple_xattr_set`, `XATTR_CREATE` and `XATTR_REPLACE`.
#[test]
fn what_is_there_and_what_is_not() {
    let tree = Tree::new(Options::default());
    let node = tree.root().make_dir("d").unwrap();
    refused(node.set_xattr(b"user.a", b"1", SetXattr::Replace), Errno::NODATA);
    node.set_xattr(b"user.a", b"1", SetXattr::Create).unwrap();
    refused(node.set_xattr(b"user.a", b"2", SetXattr::Create), Errno::EXIST);
    node.set_xattr(b"user.a", b"3", SetXattr::Replace).unwrap();
    assert_eq!(node.xattr(b"user.a").unwrap(), b"3");
    node.remove_xattr(b"user.a").unwrap();
    refused(node.remove_xattr(b"user.a"), Errno::NODATA);
    refused(node.xattr(b"user.a"), Errno::NODATA);
}

/// `KERNFS_MAX_USER_XATTRS`, `KERNFS_USER_XATTR_SIZE_LIMIT`: what is replaced
/// still counts; `trusted` is root's alone and is not counted.
#[test]
fn users_have_so_much_room() {
    let tree = Tree::new(Options::default());
    let node = tree.root().make_dir("d").unwrap();
    refused(node.set_xattr(b"user.a", &[0; 65537], SetXattr::Either), Errno::TOOBIG);
    refused(
        node.set_xattr(&[b"user.", [b'n'; 251].as_slice()].concat(), b"", SetXattr::Either),
        Errno::RANGE,
    );
    let longest = [b"user.", [b'n'; 250].as_slice()].concat();
    node.set_xattr(&longest, b"", SetXattr::Either).unwrap();
    node.remove_xattr(&longest).unwrap();
    for name in [b"user.a", b"user.b"] {
        node.set_xattr(name, &[0; 65536], SetXattr::Either).unwrap();
    }
    refused(node.set_xattr(b"user.c", b"1", SetXattr::Either), Errno::NOSPC);
    refused(node.set_xattr(b"user.a", b"1", SetXattr::Either), Errno::NOSPC);
    node.set_xattr(b"trusted.c", &[0; 65536], SetXattr::Either).unwrap();
    node.remove_xattr(b"user.b").unwrap();
    for number in 1..128 {
        node.set_xattr(format!("user.{number}").as_bytes(), b"", SetXattr::Either).unwrap();
    }
    refused(node.set_xattr(b"user.128", b"", SetXattr::Either), Errno::NOSPC);
}
