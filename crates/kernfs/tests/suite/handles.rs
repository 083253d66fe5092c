//! kernel-semantics 2.1: ids and file handles.

use fsnotify::FileHandle;
use kernfs::Profile;
use rustix::io::Errno;

use crate::hierarchy::{Hierarchy, errno};

/// 2.1: "the inode number is the whole id"; "type FILEID_KERNFS 0xfe, 8 bytes
/// = id"; "Root = id 1".
#[test]
fn the_inode_number_is_the_id_and_the_handle_holds_it() {
    let world = Hierarchy::new(Profile::Linux71);
    let pin = world.mount.pin("/g").unwrap();
    let id = world.node("/g").id();
    assert_eq!(pin.stat().ino, id);
    assert_eq!(pin.handle().kind(), 0xfe);
    assert_eq!(pin.handle().bytes(), id.to_ne_bytes());
    assert_eq!(world.mount.lookup("/").unwrap().ino, 1, "the root");
}

/// 2.1: the handle is the id, so that neither name nor cache matters.
#[test]
fn a_handle_finds_its_file_wherever_it_is() {
    let world = Hierarchy::new(Profile::Linux71);
    let handle = world.mount.pin("/g/memory.events").unwrap().handle();
    world.node("/g/memory.events").rename(&world.node("/g"), "moved").unwrap();
    world.mount.reclaim();
    let found = world.mount.pin_handle(&handle).unwrap();
    assert_eq!(found.handle(), handle);
    let root = world.mount.pin("/").unwrap().handle();
    assert_eq!(world.mount.pin_handle(&root).unwrap().stat().ino, 1);
}

/// 2.1: "also accepts INO32_GEN (low, high)".
#[test]
fn a_handle_of_inode_number_and_generation_is_the_same_id() {
    let world = Hierarchy::new(Profile::Linux71);
    let id = world.node("/g").id();
    let halves = [(id as u32).to_ne_bytes(), ((id >> 32) as u32).to_ne_bytes()].concat();
    let handle = FileHandle::new(1, &halves).unwrap();
    assert_eq!(world.mount.pin_handle(&handle).unwrap().stat().ino, id);
    for forged in [&halves[..4], &halves[..7], &[0; 8], &[halves.clone(), vec![0]].concat()] {
        let handle = FileHandle::new(1, forged).unwrap();
        assert_eq!(errno(world.mount.pin_handle(&handle)), Errno::STALE);
    }
}

/// The generation is the id's upper half, which counts the cycles of the lower one.
#[test]
fn the_generation_in_a_handle_is_the_upper_half_of_the_id() {
    let world = Hierarchy::new(Profile::Linux71);
    let dir = world.tree.root().make_dir_with_id("cycled", 7 << 32 | 0x1234).unwrap();
    dir.activate();
    for (generation, found) in [(7_u32, true), (0, false), (6, false)] {
        let halves = [0x1234_u32.to_ne_bytes(), generation.to_ne_bytes()].concat();
        let pin = world.mount.pin_handle(&FileHandle::new(1, &halves).unwrap());
        assert_eq!(pin.map(|pin| pin.stat().ino).ok(), found.then(|| dir.id()), "{generation}");
    }
}

/// [E 395 -> 439]: the same path again is a new id; the old handle is stale.
#[test]
fn a_handle_is_stale_after_removal_also_if_the_path_is_back() {
    let world = Hierarchy::new(Profile::Linux71);
    let handle = world.mount.pin("/g").unwrap().handle();
    let old = world.node("/g").id();
    world.mount.rmdir("/g").unwrap();
    assert_eq!(errno(world.mount.pin_handle(&handle)), Errno::STALE);
    world.mount.mkdir("/g").unwrap();
    assert!(world.node("/g").id() > old);
    assert_eq!(errno(world.mount.pin_handle(&handle)), Errno::STALE);
}

/// 2.1: "Decoding needs the node *active*, else ESTALE".
#[test]
fn a_hidden_file_is_stale_too() {
    let world = Hierarchy::new(Profile::Linux71);
    let handle = world.mount.pin("/g/memory.events").unwrap().handle();
    world.node("/g/memory.events").show(false).unwrap();
    assert_eq!(errno(world.mount.pin_handle(&handle)), Errno::STALE);
}

/// 2.1: ESTALE for whatever no active node has.
#[test]
fn forged_handles_are_stale() {
    let world = Hierarchy::new(Profile::Linux71);
    let forged = [
        FileHandle::of_id(0xfe, 0),
        FileHandle::of_id(0xfe, u64::MAX),
        FileHandle::of_id(0x81, 1),
        FileHandle::new(0xfe, &[1]).unwrap(),
        FileHandle::new(0xfe, &[0; 24]).unwrap(),
    ];
    for handle in forged {
        assert_eq!(errno(world.mount.pin_handle(&handle)), Errno::STALE, "{handle:?}");
    }
    assert_eq!(FileHandle::new(0xfe, &[0; 25]), None);
}

/// Only roots with export operations: cgroup yes, sysfs no.
#[test]
fn a_tree_without_export_decodes_no_handles_and_takes_no_super_block_mark() {
    use fsnotify::fanotify::{Fanotify, InitFlags, MarkFlags};
    use kernfs::{Options, Tree};
    let tree = Tree::new(Options { decodes_handles: false, ..Options::default() });
    let mount = tree.mount();
    let handle = mount.pin("/").unwrap().handle();
    assert_eq!(errno(mount.pin_handle(&handle)), Errno::OPNOTSUPP);
    let account = fsnotify::Account::new(fsnotify::Limits::default());
    let group = Fanotify::new(&account, InitFlags::REPORT_FID).unwrap();
    let on_super_block = MarkFlags::ADD | MarkFlags::FILESYSTEM;
    assert_eq!(errno(mount.mark(&group, on_super_block, 2, "/")), Errno::OPNOTSUPP);
    mount.mark(&group, MarkFlags::ADD, 2, "/").unwrap();
}
