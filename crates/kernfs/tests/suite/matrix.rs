//! kernel-semantics 4.1 and 4.2: what each action tells each watch, row by
//! row, on 7.0, on 7.1 and later, and on `Announced`.

use fsnotify::inotify::WatchMask;
use kernfs::{Access, Profile};

use crate::hierarchy::{ALL, Hierarchy};

/// Does `action` with all three watches set and compares, profile by profile.
fn row(action: impl Fn(&Hierarchy), expected: [&[&str]; 3]) {
    for (profile, expected) in ALL.into_iter().zip(expected) {
        let world = Hierarchy::new(profile);
        world.watch_all();
        action(&world);
        assert_eq!(world.told(), expected, "{profile:?}");
    }
}

const FILE_AND_DIR: [&str; 4] = ["F DELETE_SELF", "F IGNORED", "D DELETE_SELF", "D IGNORED"];

/// 4.1 rmdir, and the order of 4.3 (A1): file, directory, then the parent.
#[test]
fn rmdir_of_the_cgroup() {
    row(
        |world| world.mount.rmdir("/g").unwrap(),
        [
            &["P DELETE|ISDIR g"],
            &["F DELETE_SELF", "F IGNORED", "D DELETE_SELF", "D IGNORED", "P DELETE|ISDIR g"],
            &["F DELETE_SELF", "F IGNORED", "D DELETE_SELF", "D IGNORED", "P DELETE|ISDIR g"],
        ],
    );
}

/// 4.3: all events of one rmdir are queued when it returns.
#[test]
fn rmdir_is_synchronous() {
    for profile in [Profile::Linux71, Profile::Announced] {
        let world = Hierarchy::new(profile);
        world.watch_all();
        world.mount.rmdir("/g").unwrap();
        assert_eq!(world.queued().len(), 5, "{profile:?}");
    }
}

/// 4.1 mkdir of a child: the directory hears of it by name.
#[test]
fn mkdir_of_a_child() {
    let created: &[&str] = &["D CREATE|ISDIR child"];
    row(|world| world.mount.mkdir("/g/child").unwrap(), [created; 3]);
}

/// 4.1: files appear silently.
#[test]
fn controller_enable() {
    let value = || std::sync::Arc::new(Vec::new);
    row(|world| world.node("/g").make_file("pids.events", value()).unwrap().activate(), [&[]; 3]);
}

/// 4.1 controller disable: nothing at the time, on Linux.
#[test]
fn controller_disable() {
    let gone: &[&str] = &["F DELETE_SELF", "F IGNORED"];
    row(Hierarchy::disable_controller, [&[], &[], gone]);
}

/// 4.1 "last task exits", "counter event": the file, and the directory by name.
#[test]
fn counter_event() {
    let told: &[&str] = &["D MODIFY memory.events", "F MODIFY"];
    row(|world| world.node("/g/memory.events").notify(), [told; 3]);
}

/// 4.1: "directory: only if that file's inode is cached".
#[test]
fn populated_change_of_a_file_that_is_not_cached() {
    row(|world| world.node("/g/cgroup.events").notify(), [&[], &[], &["D MODIFY cgroup.events"]]);
}

/// 4.1 write(2): synchronous, and not to be told from a notification.
#[test]
fn write_by_a_user() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("F", "/g/memory.events", WatchMask::ALL_EVENTS);
        world.watch("D", "/g", WatchMask::ALL_EVENTS);
        let file = world.mount.open("/g/memory.events", Access::WRITE).unwrap();
        file.write(b"1").unwrap();
        drop(file);
        let expected = [
            "D OPEN memory.events",
            "F OPEN",
            "D MODIFY memory.events",
            "F MODIFY",
            "D CLOSE_WRITE memory.events",
            "F CLOSE_WRITE",
        ];
        assert_eq!(world.queued(), expected, "{profile:?}");
    }
}

/// 3.2: reads are told likewise.
#[test]
fn read_by_a_user() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.node("/g/memory.events");
        world.watch("F", "/g/memory.events", WatchMask::ALL_EVENTS);
        let access = Access::READ | Access::WRITE;
        let file = world.mount.open("/g/memory.events", access).unwrap();
        file.read().unwrap();
        file.write(b"1").unwrap();
        assert_eq!(file.read().unwrap(), b"1");
        drop(file);
        let expected = ["F OPEN", "F MODIFY", "F ACCESS", "F CLOSE_WRITE"];
        assert_eq!(world.queued(), expected, "an empty read is no access");
    }
}

/// 4.1: hidden by cgroup.pressure, and shown again.
#[test]
fn hide_and_show() {
    row(
        |world| {
            let node = world.node("/g/memory.events");
            node.show(false).unwrap();
            assert!(world.mount.lookup("/g/memory.events").is_err());
            node.show(true).unwrap();
            assert!(world.mount.lookup("/g/memory.events").is_ok());
        },
        [&[]; 3],
    );
}

/// 4.2 (C4): rmdir's own lookup makes the directory's dentry again.
#[test]
fn dentry_reclaimed_before_rmdir() {
    row(
        |world| {
            world.mount.reclaim();
            world.mount.rmdir("/g").unwrap();
        },
        [
            &["P DELETE|ISDIR g"],
            &["D DELETE_SELF", "D IGNORED", "P DELETE|ISDIR g"],
            &["F DELETE_SELF", "F IGNORED", "D DELETE_SELF", "D IGNORED", "P DELETE|ISDIR g"],
        ],
    );
}

/// 4.2 (C1): an open file keeps its dentry, and that the directory's; other
/// files are not affected.
#[test]
fn fd_open_on_another_file_of_the_cgroup() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch_all();
        let other = world.mount.open("/g/cgroup.events", Access::READ).unwrap();
        assert_eq!(world.told(), [""; 0]);
        world.mount.rmdir("/g").unwrap();
        let at_rmdir = world.told();
        drop(other);
        let at_close = world.told();
        world.mount.reclaim();
        let at_reclaim = world.told();
        match profile {
            Profile::Linux70 => {
                assert_eq!(at_rmdir, ["P DELETE|ISDIR g"]);
                assert!(at_close.is_empty() && at_reclaim.is_empty());
            }
            Profile::Linux71 => {
                assert_eq!(at_rmdir, ["F DELETE_SELF", "F IGNORED", "P DELETE|ISDIR g"]);
                assert!(at_close.is_empty());
                assert_eq!(at_reclaim, ["D DELETE_SELF", "D IGNORED"]);
            }
            Profile::Announced => {
                assert_eq!(at_rmdir[..4], FILE_AND_DIR);
                assert_eq!(at_rmdir[4..], ["P DELETE|ISDIR g"]);
                assert!(at_close.is_empty() && at_reclaim.is_empty());
            }
        }
    }
}

/// 4.2 (B3, B4): a descriptor of the directory or a cwd in it defers the
/// directory's own event to when it is given up.
#[test]
fn directory_fd_or_cwd_inside() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch_all();
        let cwd = world.mount.pin("/g").unwrap();
        world.mount.rmdir("/g").unwrap();
        let at_rmdir = world.told();
        drop(cwd);
        let at_leaving = world.told();
        match profile {
            Profile::Linux70 => assert_eq!((at_rmdir.len(), at_leaving.len()), (1, 0)),
            Profile::Linux71 => {
                assert_eq!(at_rmdir, ["F DELETE_SELF", "F IGNORED", "P DELETE|ISDIR g"]);
                assert_eq!(at_leaving, ["D DELETE_SELF", "D IGNORED"]);
            }
            Profile::Announced => {
                assert_eq!(at_rmdir[..4], FILE_AND_DIR);
                assert_eq!(at_rmdir[4..], ["P DELETE|ISDIR g"]);
                assert!(at_leaving.is_empty());
            }
        }
    }
}

/// 4.2 (B5): the new file at the path is another dentry; the old watch stays
/// silent until reclaim.
#[test]
fn path_created_again_and_looked_up() {
    let world = Hierarchy::new(Profile::Linux71);
    world.watch("F", "/g/memory.events", WatchMask::MODIFY | WatchMask::DELETE_SELF);
    let file = world.mount.open("/g/memory.events", Access::READ).unwrap();
    let old = file.stat().ino;
    world.mount.rmdir("/g").unwrap();
    world.mount.mkdir("/g").unwrap();
    assert_ne!(world.mount.lookup("/g/memory.events").unwrap().ino, old);
    drop(file);
    world.node("/g/memory.events").notify();
    assert!(world.told().is_empty(), "neither the new file's change nor the old one's end");
    world.mount.reclaim();
    assert_eq!(world.told(), ["F DELETE_SELF", "F IGNORED"]);
}

/// kernel-matrix: someone opens, reads and closes the watched file while it is
/// removed; a lookup of the name through an O_PATH descriptor of the directory
/// releases both events.
#[test]
fn a_lookup_through_the_directory_releases_what_an_open_held_back() {
    let world = Hierarchy::new(Profile::Linux71);
    world.watch_all();
    let dir = world.mount.pin("/g").unwrap();
    let file = dir.open("memory.events", Access::READ).unwrap();
    world.mount.rmdir("/g").unwrap();
    drop(file);
    assert_eq!(world.told(), ["P DELETE|ISDIR g"]);
    assert!(dir.lookup("memory.events").is_err());
    assert_eq!(world.told(), ["F DELETE_SELF", "F IGNORED"]);
    drop(dir);
    assert_eq!(world.told(), ["D DELETE_SELF", "D IGNORED"]);
}

/// 4.3 (A9): changes of one file coalesce, pending and in the queue.
#[test]
fn changes_of_one_file_coalesce() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("F", "/g/memory.events", WatchMask::MODIFY);
        for _ in 0..60 {
            world.node("/g/memory.events").notify();
            world.node("/g/memory.events").notify();
            world.tree.drain();
        }
        assert_eq!(world.queued(), ["F MODIFY"], "{profile:?}");
    }
}

/// 2.3: the name is the current one.
#[test]
fn a_renamed_node_is_told_by_its_new_name() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("D", "/g", WatchMask::ALL_EVENTS);
        world.mount.lookup("/g/memory.events").unwrap();
        let node = world.node("/g/memory.events");
        node.notify();
        node.rename(&world.node("/g"), "memory.renamed").unwrap();
        assert_eq!(world.told(), ["D MODIFY memory.renamed"], "{profile:?}: and no event of it");
    }
}

/// 2.5: a stale name is noticed by its next lookup, also after a rename.
#[test]
fn a_rename_of_a_node_makes_its_old_name_stale() {
    let world = Hierarchy::new(Profile::Linux71);
    world.watch("F", "/g/memory.events", WatchMask::MODIFY | WatchMask::DELETE_SELF);
    world.node("/g/memory.events").rename(&world.node("/g"), "new").unwrap();
    assert!(world.mount.lookup("/g/memory.events").is_err());
    assert!(world.told().is_empty(), "it still has its link");
    assert_eq!(world.watch("F", "/g/new", WatchMask::MODIFY | WatchMask::DELETE_SELF), 1);
    world.mount.rmdir("/g").unwrap();
    assert_eq!(world.told(), ["F DELETE_SELF", "F IGNORED"]);
}
