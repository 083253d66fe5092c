//! kernel-semantics 3.5 and 3.2: what can be marked by whom, what marks wish
//! for, and how they end.

use std::sync::Arc;

use fsnotify::{
    Account, Error, Event, FileSystem, Fsid, Limits, Mask, Object, ObjectKind,
    fanotify::{Fanotify, InitFlags, MarkFlags},
    notify,
};
use rustix::io::Errno;

use super::*;

/// 3.5 defaults: `max_user_groups` (EMFILE), `max_user_marks` (ENOSPC);
/// FAN_UNLIMITED_MARKS is not charged.
#[test]
fn limits_of_groups_and_marks() {
    for limit in [0, 1, 2] {
        let world = World::with(limits(limit, limit, 10));
        let groups: Vec<_> = (0..limit).map(|_| world.group(FID)).collect();
        let refused = Fanotify::new(&world.account, FID).unwrap_err();
        assert_eq!((&refused, refused.errno()), (&Error::TooManyGroups { limit }, Errno::MFILE));
        let objects = [&world.file, &world.dir];
        for (group, object) in groups.iter().zip(objects) {
            add(group, Mask::MODIFY, object);
        }
        if let Some(group) = groups.first() {
            let more = Thing::in_file_system(ObjectKind::File, STRONG) as Arc<dyn Object>;
            let refused = mark(group, MarkFlags::ADD, Mask::MODIFY, &more).unwrap_err();
            assert_eq!((&refused, refused.errno()), (&Error::TooManyMarks { limit }, Errno::NOSPC));
        }
        drop(groups);
        assert_eq!((world.account.groups(), world.account.marks()), (0, 0));
    }
    let world = World::with(limits(1, 0, 10));
    let unlimited = world.group(FID | InitFlags::UNLIMITED_MARKS);
    add(&unlimited, Mask::MODIFY, &world.file);
    assert_eq!(world.account.marks(), 0);
}

/// 3.5 info flags: what needs what, "FID modes only with CLASS_NOTIF". All
/// combinations are asked of Linux in `arguments`.
#[test]
fn init_flags_that_need_or_exclude_others_are_einval() {
    let account = Account::new(Limits::default());
    let alone = InitFlags::REPORT_TARGET_FID;
    for flags in [
        InitFlags::REPORT_NAME,
        FID | InitFlags::REPORT_NAME,
        alone,
        FID | alone,
        DFID_NAME | alone,
        FID | InitFlags::REPORT_DIR_FID | alone,
        FID | InitFlags::CLASS_CONTENT,
        DFID_NAME | InitFlags::CLASS_PRE_CONTENT,
        InitFlags::CLASS_CONTENT | InitFlags::CLASS_PRE_CONTENT,
        InitFlags::REPORT_PIDFD | InitFlags::REPORT_TID,
        FID | InitFlags::REPORT_MNT,
        InitFlags::from_bits_retain(1 << 15),
    ] {
        assert_eq!(Fanotify::new(&account, flags).unwrap_err().errno(), Errno::INVAL, "{flags:?}");
    }
    for flags in [FID, InitFlags::REPORT_DIR_FID, DFID_NAME, FID | DFID_NAME, TARGET] {
        Fanotify::new(&account, flags).unwrap();
    }
}

/// 3.5: "DELETE_SELF, MOVE_SELF, ATTRIB, CREATE, DELETE, MOVE, RENAME need a
/// FID group and are refused (EINVAL) on mount marks".
#[test]
fn events_of_inodes_need_handles_and_are_none_of_a_mount() {
    let world = World::new();
    let (plain, fid) = (world.group(InitFlags::empty()), world.group(FID));
    for mask in [
        Mask::DELETE_SELF,
        Mask::MOVE_SELF,
        Mask::ATTRIB,
        Mask::CREATE,
        Mask::DELETE,
        Mask::MOVED_FROM,
        Mask::MOVED_TO,
        Mask::RENAME,
        Mask::MODIFY | Mask::DELETE_SELF,
    ] {
        let on_mount = MarkFlags::ADD | MarkFlags::MOUNT;
        for (group, flags) in [(&plain, MarkFlags::ADD), (&plain, on_mount), (&fid, on_mount)] {
            let refused = mark(group, flags, mask, &world.dir).unwrap_err();
            assert_eq!(refused.errno(), Errno::INVAL, "{flags:?} {mask:?}");
        }
        if mask != Mask::RENAME {
            add(&fid, mask, &world.dir);
        }
    }
    // A rename has two names, so its group must report names.
    let refused = mark(&fid, MarkFlags::ADD, Mask::RENAME, &world.dir).unwrap_err();
    assert_eq!(refused.errno(), Errno::INVAL);
}

/// What design 3.1 does not list: a clear error, and the errno of a kernel that
/// lacks it.
#[test]
fn what_linux_can_and_this_crate_cannot_is_eopnotsupp() {
    let world = World::new();
    for flags in [
        InitFlags::CLASS_CONTENT,
        InitFlags::CLASS_PRE_CONTENT,
        InitFlags::ENABLE_AUDIT,
        FID | InitFlags::REPORT_PIDFD,
        InitFlags::REPORT_MNT,
    ] {
        let refused = Fanotify::new(&world.account, flags).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{flags:?}: {refused}");
        assert_eq!(refused.errno(), Errno::OPNOTSUPP);
    }
    let group = world.group(FID | DFID_NAME);
    const FS_ERROR: u64 = 0x8000;
    for (flags, mask, object) in [
        (MarkFlags::ADD | MarkFlags::MOUNT, Mask::MODIFY.bits().into(), &world.dir),
        (WHOLE, FS_ERROR, &world.whole),
    ] {
        let refused = group.mark(flags, mask, object).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{flags:?}: {refused}");
    }
    // Permission events are refused as in any group of the class there is.
    const OPEN_PERM: u64 = 0x1_0000;
    let refused = group.mark(MarkFlags::ADD, OPEN_PERM, &world.file).unwrap_err();
    assert_eq!(refused.errno(), Errno::INVAL);
    assert_eq!(group.marks(), 0);
}

/// ONDIR: of directories only if asked; ON_CHILD: of children only if asked.
#[test]
fn directories_and_children_are_told_if_asked_for() {
    for (mask, on_dir, on_child) in [
        (Mask::OPEN, false, false),
        (Mask::OPEN | Mask::ISDIR, true, false),
        (Mask::OPEN | Mask::EVENT_ON_CHILD, false, true),
        (Mask::OPEN | Mask::EVENT_ON_CHILD | Mask::ISDIR, true, true),
    ] {
        let world = World::new();
        let group = world.group(FID);
        add(&group, mask, &world.dir);
        notify(&world.on_dir(Mask::OPEN));
        assert_eq!(told(&group).len(), usize::from(on_dir), "{mask:?}");
        notify(&world.on_file(Mask::OPEN));
        assert_eq!(told(&group).len(), usize::from(on_child), "{mask:?}");
    }
}

/// v5.19: an evictable mark does not hold its inode, and cannot replace one
/// that does; the other way round it can.
#[test]
fn evictable_marks() {
    let world = World::new();
    let group = world.group(FID);
    let evictable = MarkFlags::ADD | MarkFlags::EVICTABLE;
    mark(&group, evictable, Mask::MODIFY, &world.file).unwrap();
    assert_eq!(Arc::strong_count(&world.file), 1);
    add(&group, Mask::OPEN, &world.file);
    assert_eq!(Arc::strong_count(&world.file), 2, "held from now on");
    let weaker = mark(&group, evictable, Mask::MODIFY, &world.file).unwrap_err();
    assert_eq!((&weaker, weaker.errno()), (&Error::MarkIsStronger, Errno::EXIST));
    mark(&group, MarkFlags::REMOVE, Mask::MODIFY | Mask::OPEN, &world.file).unwrap();
    assert_eq!((Arc::strong_count(&world.file), group.marks()), (1, 0));
}

/// v6.8, 30ad1938326b: weak fsids.
#[test]
fn file_systems_without_an_id() {
    let weak = |identity| FileSystem { identity, ..FileSystem::default() };
    let thing = |kind, fs| -> Arc<dyn Object> { Thing::in_file_system(kind, fs) };
    let world = World::new();
    let group = world.group(FID);
    let whole = thing(ObjectKind::SuperBlock, weak(2));
    let refused = mark(&group, WHOLE, Mask::MODIFY, &whole).unwrap_err();
    assert_eq!(refused.errno(), Errno::NODEV);
    let (one, same) = (thing(ObjectKind::File, weak(2)), thing(ObjectKind::File, weak(2)));
    let other = thing(ObjectKind::File, weak(3));
    add(&group, Mask::MODIFY, &one);
    add(&group, Mask::MODIFY, &same);
    for object in [&other, &world.file] {
        let refused = mark(&group, MarkFlags::ADD, Mask::MODIFY, object).unwrap_err();
        assert_eq!(refused.errno(), Errno::XDEV);
    }
    let undecodable = FileSystem { decodes_handles: false, ..STRONG };
    let whole = thing(ObjectKind::SuperBlock, undecodable);
    let refused = mark(&world.group(FID), WHOLE, Mask::MODIFY, &whole).unwrap_err();
    assert_eq!(refused.errno(), Errno::OPNOTSUPP);
    // Two file systems with ids are fine.
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    let second = FileSystem { identity: 9, fsid: Fsid([9; 8]), decodes_handles: true };
    add(&group, Mask::MODIFY, &thing(ObjectKind::File, second));
}

/// v5.13: what those without CAP_SYS_ADMIN may.
#[test]
fn unprivileged_groups() {
    let world = World::new();
    let account = Account::unprivileged(Limits::default(), 7);
    for flags in [
        InitFlags::empty(),
        FID | InitFlags::UNLIMITED_QUEUE,
        FID | InitFlags::UNLIMITED_MARKS,
        FID | InitFlags::REPORT_TID,
        FID | InitFlags::REPORT_PIDFD,
    ] {
        assert_eq!(Fanotify::new(&account, flags).unwrap_err().errno(), Errno::PERM, "{flags:?}");
    }
    let group = Fanotify::new(&account, FID | InitFlags::NONBLOCK).unwrap();
    let refused = mark(&group, WHOLE, Mask::MODIFY, &world.whole).unwrap_err();
    assert_eq!(refused.errno(), Errno::PERM);
    add(&group, Mask::MODIFY, &world.file);
    notify(&world.on_file(Mask::MODIFY));
    notify(&Event { pid: 8, ..world.on_file(Mask::MODIFY) });
    assert_eq!(told(&group), ["MODIFY 7 F2", "MODIFY 0 F2"], "its own pid, and nobody else's");
}

/// "fanotify has no IGNORED; the mark just disappears."
#[test]
fn marks_go_with_their_object_without_a_word() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    world.file.connector().close();
    assert_eq!((group.marks(), group.queued(), world.account.marks()), (0, 0, 0));
    let refused = mark(&group, MarkFlags::ADD, Mask::MODIFY, &world.file).unwrap_err();
    assert_eq!(refused.errno(), Errno::NOENT);
}

/// fanotify_mark(2), FAN_MARK_FLUSH.
#[test]
fn flush_removes_the_marks_of_one_kind() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY, &world.file);
    add(&group, Mask::MODIFY, &world.dir);
    mark(&group, WHOLE, Mask::MODIFY, &world.whole).unwrap();
    mark(&group, MarkFlags::FLUSH, Mask::empty(), &world.file).unwrap();
    assert_eq!(group.marks(), 1);
    let whole = MarkFlags::FLUSH | MarkFlags::FILESYSTEM;
    mark(&group, whole, Mask::empty(), &world.whole).unwrap();
    assert_eq!(group.marks(), 0);
}

/// fanotify_mark(2), FAN_MARK_REMOVE.
#[test]
fn a_mark_of_which_nothing_is_left_goes() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY | Mask::OPEN, &world.file);
    mark(&group, MarkFlags::REMOVE, Mask::OPEN, &world.file).unwrap();
    notify(&world.on_file(Mask::OPEN));
    assert!(told(&group).is_empty());
    assert_eq!(group.marks(), 1);
    mark(&group, MarkFlags::REMOVE, Mask::MODIFY, &world.file).unwrap();
    assert_eq!(group.marks(), 0);
    let refused = mark(&group, MarkFlags::REMOVE, Mask::MODIFY, &world.file).unwrap_err();
    assert_eq!(refused.errno(), Errno::NOENT);
}

/// A mark's flags and its object must be of one kind.
#[test]
fn a_super_block_mark_is_one_of_a_super_block() {
    let world = World::new();
    let group = world.group(FID);
    for (flags, object) in [(WHOLE, &world.file), (MarkFlags::ADD, &world.whole)] {
        let refused = mark(&group, flags, Mask::MODIFY, object).unwrap_err();
        assert_eq!(refused.errno(), Errno::INVAL);
    }
}

/// `fanotify_mark_add_to_mask`: what is asked for again is not taken away.
#[test]
fn to_ask_again_takes_nothing_away() {
    let world = World::new();
    let group = world.group(FID);
    for mask in [Mask::MODIFY, Mask::MODIFY | Mask::OPEN] {
        add(&group, mask, &world.file);
        notify(&world.on_file(Mask::MODIFY));
        assert_eq!(told(&group), ["MODIFY 7 F2"]);
    }
}

/// A remark without an event keeps no mark, where it says nothing: of a file,
/// and in the older ignore mask.
#[test]
fn a_mark_of_which_idle_remarks_are_left_goes() {
    let (on_child, both) = (Mask::EVENT_ON_CHILD, Mask::EVENT_ON_CHILD | Mask::ISDIR);
    let none = MarkFlags::empty();
    let world = World::new();
    for (kind, object, remarks, stays) in [
        (none, &world.file, on_child, false),
        (none, &world.dir, on_child, true),
        (MarkFlags::IGNORED_MASK, &world.dir, both, false),
        (MarkFlags::IGNORED_MASK, &world.file, both, false),
    ] {
        let group = world.group(FID);
        mark(&group, MarkFlags::ADD | kind, Mask::OPEN | remarks, object).unwrap();
        mark(&group, MarkFlags::REMOVE | kind, Mask::OPEN, object).unwrap();
        assert_eq!(group.marks(), usize::from(stays), "{kind:?} {remarks:?}");
    }
}

/// `fanotify_may_update_existing_mark`: what a mark promised, it keeps.
#[test]
fn a_stronger_mark_is_not_replaced_by_a_weaker_one() {
    let survive = MarkFlags::IGNORED_SURV_MODIFY;
    for (first, then) in [
        (MarkFlags::empty(), MarkFlags::EVICTABLE),
        (MarkFlags::IGNORE | survive, MarkFlags::IGNORED_MASK),
        (MarkFlags::IGNORE | survive, MarkFlags::IGNORED_MASK | survive),
        (MarkFlags::IGNORE | survive, MarkFlags::IGNORE),
    ] {
        let world = World::new();
        let group = world.group(FID);
        mark(&group, MarkFlags::ADD | first, Mask::OPEN, &world.file).unwrap();
        let refused = mark(&group, MarkFlags::ADD | then, Mask::OPEN, &world.file);
        assert_eq!(refused, Err(Error::MarkIsStronger), "{first:?}, {then:?}");
        mark(&group, MarkFlags::ADD | first, Mask::OPEN, &world.file).unwrap();
    }
}

/// A mark that goes while an event is told hears nothing of it.
#[test]
fn a_mark_removed_while_an_event_is_told_hears_nothing_of_it() {
    let world = World::new();
    // Groups are served in the order in which they were made.
    let (first, second) = (world.group(FID), Arc::new(world.group(FID)));
    add(&first, Mask::MODIFY, &world.file);
    add(&second, Mask::MODIFY, &world.file);
    let (other, file) = (Arc::clone(&second), Arc::clone(&world.file));
    first.on_ready(move || mark(&other, MarkFlags::REMOVE, Mask::MODIFY, &file).unwrap());
    notify(&world.on_file(Mask::MODIFY));
    assert_eq!(told(&first).len(), 1);
    assert!(told(&second).is_empty());
}
