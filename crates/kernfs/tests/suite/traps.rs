//! kernel-semantics 0, the traps: what each does on the Linux profiles, and
//! that `Announced` has none of them. The traps of fsnotify itself (9 to 12)
//! are tested there; 14 is FUSE's.

use fsnotify::inotify::WatchMask;
use kernfs::{Access, Profile};

use crate::hierarchy::{ALL, Hierarchy};

const F_GONE: [&str; 2] = ["F DELETE_SELF", "F IGNORED"];

fn f_only(profile: Profile) -> Hierarchy {
    let world = Hierarchy::new(profile);
    world.watch("F", "/g/memory.events", WatchMask::MODIFY | WatchMask::DELETE_SELF);
    world
}

/// The heart of the matter: the plain removal of a watched file. Up to 7.0
/// the watch leaks; from 7.1 it is told.
#[test]
fn the_watch_of_a_removed_file_leaks_on_linux_7_0_only() {
    for profile in ALL {
        let world = f_only(profile);
        world.mount.rmdir("/g").unwrap();
        let leaks = profile == Profile::Linux70;
        assert_eq!(world.told(), if leaks { vec![] } else { F_GONE.to_vec() }, "{profile:?}");
        assert_eq!(world.inotify.watches(), usize::from(leaks), "{profile:?}");
        assert_eq!(world.account.marks(), u64::from(leaks), "{profile:?}");
        // A leaked watch holds its inode, even through reclaim and for ever.
        world.mount.reclaim();
        assert_eq!(world.mount.cached().inodes, 1 + usize::from(leaks), "{profile:?}");
    }
}

/// Trap 1: removal of a node sends nothing; the death of its dentry does.
#[test]
fn trap_1_delete_self_is_sent_by_the_dentry_not_by_the_removal() {
    let world = f_only(Profile::Linux71);
    world.node("/g/memory.events").remove();
    assert!(world.told().is_empty(), "the node is gone, its dentry is not");
    world.mount.reclaim();
    assert_eq!(world.told(), F_GONE);
}

/// Trap 2 (probes A2, C4): the dentry was reclaimed before.
#[test]
fn trap_2_a_reclaimed_dentry_silences_the_removal_for_good() {
    for profile in ALL {
        let world = f_only(profile);
        world.mount.reclaim();
        world.mount.rmdir("/g").unwrap();
        world.mount.reclaim();
        let announced = profile == Profile::Announced;
        assert_eq!(world.told(), if announced { F_GONE.to_vec() } else { vec![] }, "{profile:?}");
        assert_eq!(world.inotify.watches(), usize::from(!announced), "{profile:?} leaks");
    }
}

/// Trap 3 (A8, B5): the file was open at rmdir. Its dentry stays hashed, so
/// that even closing it announces nothing.
#[test]
fn trap_3_an_open_file_defers_the_removal_without_bound() {
    for profile in ALL {
        let world = f_only(profile);
        world.watch("D", "/g", WatchMask::DELETE_SELF);
        let file = world.mount.open("/g/memory.events", Access::READ).unwrap();
        world.mount.rmdir("/g").unwrap();
        let all = ["F DELETE_SELF", "F IGNORED", "D DELETE_SELF", "D IGNORED"];
        if profile == Profile::Announced {
            assert_eq!(world.told(), all, "whoever holds it open");
            continue;
        }
        assert!(world.told().is_empty());
        drop(file);
        assert!(world.told().is_empty(), "{profile:?}: closing it changes nothing");
        world.mount.reclaim();
        let late: &[&str] = if profile == Profile::Linux71 { &all } else { &[] };
        assert_eq!(world.told(), late, "{profile:?}: dcache reclaim does");
    }
}

/// Trap 4 (A3, A4): deferred, not never.
#[test]
fn trap_4_a_disabled_controller_is_announced_by_the_next_lookup() {
    for profile in ALL {
        let world = f_only(profile);
        world.disable_controller();
        let before = world.told();
        assert!(world.mount.lookup("/g/memory.events").is_err());
        let after = world.told();
        match profile {
            Profile::Linux70 => assert!(before.is_empty() && after.is_empty()),
            Profile::Linux71 => {
                assert!(before.is_empty());
                assert_eq!(after, F_GONE, "a plain failing stat flushes it");
            }
            Profile::Announced => {
                assert_eq!(before, F_GONE, "at once");
                assert!(after.is_empty(), "and once");
            }
        }
    }
}

/// Trap 4 (A4): so does reclaim.
#[test]
fn trap_4_a_disabled_controller_is_announced_by_reclaim() {
    let world = f_only(Profile::Linux71);
    world.disable_controller();
    assert!(world.told().is_empty());
    world.mount.reclaim();
    assert_eq!(world.told(), F_GONE);
}

/// Trap 4: so does a later rmdir.
#[test]
fn trap_4_a_disabled_controller_is_announced_by_a_later_rmdir() {
    let world = f_only(Profile::Linux71);
    world.disable_controller();
    world.mount.rmdir("/g").unwrap();
    assert_eq!(world.told(), F_GONE);
}

/// Trap 4: a file that was said to be gone and is held to the end takes the directory it was in with
/// it, if that went meanwhile (`__dentry_kill`).
#[test]
fn trap_4_the_last_file_of_a_removed_directory_is_announced_with_it() {
    let world = f_only(Profile::Linux71);
    world.watch("D", "/g", WatchMask::DELETE_SELF);
    let file = world.mount.open("/g/memory.events", Access::READ).unwrap();
    world.disable_controller();
    assert!(world.mount.lookup("/g/memory.events").is_err());
    world.mount.rmdir("/g").unwrap();
    assert!(world.told().is_empty(), "both are held");
    drop(file);
    assert_eq!(world.told(), [F_GONE.as_slice(), &["D DELETE_SELF", "D IGNORED"]].concat());
    assert_eq!(world.mount.cached().dentries, 1);
}

/// Trap 6 (B2): a change that a rate limit holds back is lost with the file.
#[test]
fn trap_6_a_change_held_back_is_lost_with_the_file_except_on_announced() {
    for profile in ALL {
        let world = f_only(profile);
        world.node("/g/memory.events").notify_later();
        assert!(world.told().is_empty(), "held back");
        world.mount.rmdir("/g").unwrap();
        let expected: &[&str] = match profile {
            Profile::Linux70 => &[],
            Profile::Linux71 => &F_GONE,
            Profile::Announced => &["F MODIFY", "F DELETE_SELF", "F IGNORED"],
        };
        assert_eq!(world.told(), expected, "{profile:?}");
    }
}

/// A change that was held back and then told is not told again.
#[test]
fn a_change_held_back_is_told_once() {
    let world = f_only(Profile::Announced);
    let node = world.node("/g/memory.events");
    node.notify_later();
    node.notify();
    assert_eq!(world.told(), ["F MODIFY"]);
    world.mount.rmdir("/g").unwrap();
    assert_eq!(world.told(), F_GONE);
}

/// Trap 6 (B1): the removal wins the race against the worker.
#[test]
fn trap_6_a_pending_change_is_lost_with_the_file_except_on_announced() {
    for profile in ALL {
        let world = f_only(profile);
        world.node("/g/memory.events").notify();
        world.mount.rmdir("/g").unwrap();
        let expected: &[&str] = match profile {
            // The inode outlives its removal here, and the change is told.
            Profile::Linux70 => &["F MODIFY"],
            Profile::Linux71 => &F_GONE,
            Profile::Announced => &["F MODIFY", "F DELETE_SELF", "F IGNORED"],
        };
        assert_eq!(world.told(), expected, "{profile:?}");
    }
}

/// Trap 7 (A5): LIFO across nodes.
#[test]
fn trap_7_the_last_pending_node_is_told_first_on_linux() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.mount.mkdir("/g/child").unwrap();
        world.watch("parent", "/g/cgroup.events", WatchMask::MODIFY);
        world.watch("child", "/g/child/cgroup.events", WatchMask::MODIFY);
        world.node("/g/child/cgroup.events").notify();
        world.node("/g/cgroup.events").notify();
        let mut expected = vec!["child MODIFY", "parent MODIFY"];
        if profile != Profile::Announced {
            expected.reverse();
        }
        assert_eq!(world.told(), expected, "{profile:?}");
    }
}

/// Trap 8 (A7): the worker finds inodes only in the cache.
#[test]
fn trap_8_a_file_nobody_looked_up_tells_its_directory_nothing_on_linux() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("D", "/g", WatchMask::MODIFY);
        world.node("/g/memory.events").notify();
        let told = ["D MODIFY memory.events"];
        let expected = if profile == Profile::Announced { &told[..] } else { &[] };
        assert_eq!(world.told(), expected, "{profile:?}: never looked up");
        world.mount.lookup("/g/memory.events").unwrap();
        world.node("/g/memory.events").notify();
        assert_eq!(world.told(), told, "{profile:?}: looked up");
        world.mount.reclaim();
        world.node("/g/memory.events").notify();
        assert_eq!(world.told(), expected, "{profile:?}: reclaimed");
    }
}

/// Trap 11: EXCL_UNLINK needs path data, which neither event has.
#[test]
fn trap_11_excl_unlink_filters_neither_notifications_nor_removals() {
    for profile in [Profile::Linux71, Profile::Announced] {
        let world = Hierarchy::new(profile);
        let mask = WatchMask::MODIFY | WatchMask::DELETE_SELF | WatchMask::EXCL_UNLINK;
        world.watch("F", "/g/memory.events", mask);
        world.node("/g/memory.events").notify();
        assert_eq!(world.told(), ["F MODIFY"]);
        world.mount.rmdir("/g").unwrap();
        assert_eq!(world.told(), F_GONE);
    }
}

/// Trap 13 (C2): who asked for MODIFY only gets IGNORED too, from 7.1 on.
#[test]
fn trap_13_a_watch_for_modify_alone_is_ignored_too() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        let wd = world.watch("F", "/g/memory.events", WatchMask::MODIFY);
        world.mount.rmdir("/g").unwrap();
        let stays = profile == Profile::Linux70;
        assert_eq!(world.told(), if stays { vec![] } else { vec!["F IGNORED"] }, "{profile:?}");
        assert_eq!(world.inotify.rm_watch(wd).is_ok(), stays, "{profile:?}: the wd is valid");
    }
}

/// Trap 9, as the selftest test_memcg_inotify_delete_dir has it.
#[test]
fn trap_9_the_removed_directory_itself_is_said_without_isdir() {
    for profile in [Profile::Linux71, Profile::Announced] {
        let world = Hierarchy::new(profile);
        world.watch("D", "/g", WatchMask::DELETE_SELF);
        world.mount.rmdir("/g").unwrap();
        assert_eq!(world.told(), ["D DELETE_SELF", "D IGNORED"]);
    }
}

/// selftest test_memcg_inotify_delete_file: two reads of one record's size.
#[test]
fn selftest_two_reads_of_sixteen_bytes() {
    let world = Hierarchy::new(Profile::Linux71);
    let wd = world.watch("F", "/g/memory.events", WatchMask::DELETE_SELF);
    world.mount.rmdir("/g").unwrap();
    for mask in [0x400_u32, 0x8000] {
        let mut buffer = [0; 16];
        assert_eq!(world.inotify.read(&mut buffer), Ok(16));
        assert_eq!(buffer[..4], wd.to_ne_bytes());
        assert_eq!(buffer[4..8], mask.to_ne_bytes());
    }
}
