//! Owner, group and mode of nodes. Kernel: fs/kernfs/inode.c.

use fsnotify::inotify::WatchMask;
use kernfs::{Permissions, Profile};

use crate::hierarchy::{ALL, Hierarchy};

const DELEGATED: Permissions = Permissions { mode: 0o664, uid: 1000, gid: 100 };

/// `set_default_inode_attr`, until something was set.
#[test]
fn a_new_node_is_roots() {
    let world = Hierarchy::new(Profile::Linux71);
    let of = |path: &str| world.mount.lookup(path).unwrap().permissions;
    assert_eq!(of("/g"), Permissions { mode: 0o755, uid: 0, gid: 0 });
    assert_eq!(of("/g/memory.events"), Permissions { mode: 0o644, uid: 0, gid: 0 });
}

/// kernfs_setattr, as cgroup calls it for whom it delegates to: no event; and
/// it outlives the inode.
#[test]
fn what_the_owner_of_the_tree_sets_is_told_to_nobody_and_stays() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("F", "/g/memory.events", WatchMask::ATTRIB);
        world.node("/g/memory.events").set_permissions(DELEGATED);
        assert!(world.told().is_empty(), "{profile:?}");
        world.mount.reclaim();
        assert_eq!(world.mount.lookup("/g/memory.events").unwrap().permissions, DELEGATED);
    }
}

/// kernel-semantics 3.2: "mode/uid/gid -> ATTRIB", on the file and its
/// directory, of any attribute the VFS changes (`fsnotify_change`).
#[test]
fn what_a_system_call_sets_is_told_at_once() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("F", "/g/memory.events", WatchMask::ATTRIB);
        world.watch("D", "/g", WatchMask::ATTRIB);
        let permissions = Permissions { mode: 0o100_600, ..DELEGATED };
        world.mount.set_permissions("/g/memory.events", permissions).unwrap();
        assert_eq!(world.queued(), ["D ATTRIB memory.events", "F ATTRIB"], "{profile:?}");
        let stat = world.mount.lookup("/g/memory.events").unwrap();
        assert_eq!(stat.permissions.mode, 0o600, "the file's type is not set");
        world.mount.set_permissions("/g", DELEGATED).unwrap();
        assert_eq!(world.queued(), ["D ATTRIB|ISDIR"], "{profile:?}");
    }
}

/// An open file to be told and permissions share a place in the node.
#[test]
fn permissions_survive_the_end_of_open_files() {
    let world = Hierarchy::new(Profile::Linux71);
    let node = world.node("/g/memory.events");
    node.set_permissions(DELEGATED);
    let file = world.mount.open("/g/memory.events", kernfs::Access::READ).unwrap();
    node.show(false).unwrap();
    assert!(file.read().is_err());
    assert_eq!(node.permissions(), DELEGATED);
    drop(file);
}
