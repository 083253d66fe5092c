//! kernel-semantics 3.2: ignore masks.

use std::sync::Arc;

use fsnotify::{Connector, Mask, Object, ObjectKind, fanotify::MarkFlags, notify};

use super::*;

/// 3.2: an ignore mask of one mark silences the group; a modification clears
/// it, unless it is to survive.
#[test]
fn ignore_masks() {
    for (flags, cleared) in [
        (MarkFlags::IGNORED_MASK, true),
        (MarkFlags::IGNORED_MASK | MarkFlags::IGNORED_SURV_MODIFY, false),
        (MarkFlags::IGNORE, true),
        (MarkFlags::IGNORE | MarkFlags::IGNORED_SURV_MODIFY, false),
    ] {
        let world = World::new();
        let (group, other) = (world.group(FID), world.group(FID));
        for group in [&group, &other] {
            mark(group, WHOLE, Mask::MODIFY | Mask::OPEN, &world.whole).unwrap();
        }
        mark(&group, MarkFlags::ADD | flags, Mask::OPEN | Mask::MODIFY, &world.file).unwrap();
        notify(&world.on_file(Mask::OPEN));
        assert!(told(&group).is_empty(), "{flags:?}");
        assert_eq!(told(&other).len(), 1, "only that group");
        notify(&world.on_file(Mask::MODIFY));
        notify(&world.on_file(Mask::OPEN));
        // The modification itself, too, is not ignored if it clears.
        let expected: &[&str] = if cleared { &["MODIFY|OPEN 7 F2"] } else { &[] };
        assert_eq!(told(&group), expected, "{flags:?}");
    }
}

/// FAN_MARK_IGNORE says itself whether it covers directories and children;
/// the older call covers directories always, and children if watched.
#[test]
fn ignore_masks_of_directories() {
    let survive = MarkFlags::ADD | MarkFlags::IGNORED_SURV_MODIFY;
    let on_child = Mask::EVENT_ON_CHILD;
    for (flags, ignored, own, child) in [
        (MarkFlags::IGNORED_MASK, Mask::OPEN, true, false),
        (MarkFlags::IGNORE, Mask::OPEN, false, false),
        (MarkFlags::IGNORE, Mask::OPEN | Mask::ISDIR, true, false),
        (MarkFlags::IGNORE, Mask::OPEN | on_child, false, true),
        (MarkFlags::IGNORE, Mask::OPEN | on_child | Mask::ISDIR, true, true),
    ] {
        let world = World::new();
        let group = world.group(FID);
        mark(&group, WHOLE, Mask::OPEN | Mask::ISDIR, &world.whole).unwrap();
        mark(&group, survive | flags, ignored, &world.dir).unwrap();
        notify(&world.on_dir(Mask::OPEN));
        assert_eq!(told(&group).is_empty(), own, "{flags:?} {ignored:?}: itself");
        notify(&world.on_file(Mask::OPEN));
        assert_eq!(told(&group).is_empty(), child, "{flags:?} {ignored:?}: a child");
    }
}

/// The older call covers children that the mark watches.
#[test]
fn the_older_ignore_mask_covers_children_that_are_watched() {
    for (watched, ignored) in [(Mask::empty(), false), (Mask::EVENT_ON_CHILD, true)] {
        let world = World::new();
        let group = world.group(FID);
        mark(&group, WHOLE, Mask::OPEN, &world.whole).unwrap();
        add(&group, Mask::ACCESS | watched, &world.dir);
        mark(&group, MarkFlags::ADD | MarkFlags::IGNORED_MASK, Mask::OPEN, &world.dir).unwrap();
        notify(&world.on_file(Mask::OPEN));
        assert_eq!(told(&group).is_empty(), ignored, "{watched:?}");
    }
}

/// `fsnotify_calc_mask`: an object is asked about what a mark wants, what it
/// ignores, and modifications, which end that; also if these overlap.
#[test]
fn what_is_wanted_and_ignored_is_told_again_after_a_modification() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::MODIFY | Mask::OPEN, &world.file);
    for _ in 0..2 {
        // Twice is as once.
        mark(&group, MarkFlags::ADD | MarkFlags::IGNORED_MASK, Mask::OPEN, &world.file).unwrap();
    }
    notify(&world.on_file(Mask::OPEN));
    assert!(told(&group).is_empty());
    notify(&world.on_file(Mask::MODIFY));
    assert_eq!(told(&group), ["MODIFY 7 F2"]);
    notify(&world.on_file(Mask::OPEN));
    assert_eq!(told(&group), ["OPEN 7 F2"]);
}

/// What a mark wants and ignores at once is left when something else is taken.
#[test]
fn a_mark_that_wants_what_it_ignores_stays() {
    let world = World::new();
    let group = world.group(FID);
    add(&group, Mask::OPEN | Mask::MODIFY, &world.file);
    mark(&group, MarkFlags::ADD | MarkFlags::IGNORED_MASK, Mask::OPEN, &world.file).unwrap();
    mark(&group, MarkFlags::REMOVE, Mask::MODIFY, &world.file).unwrap();
    assert_eq!(group.marks(), 1);
}

/// A child's modification is none of a directory's that does not watch its
/// children (`fsnotify_iter_select_report_types`).
#[test]
fn what_a_directory_ignores_is_not_cleared_by_a_child() {
    for (watched, cleared) in [(Mask::empty(), false), (Mask::EVENT_ON_CHILD, true)] {
        let world = World::new();
        let group = world.group(FID);
        mark(&group, WHOLE, Mask::OPEN | Mask::ISDIR, &world.whole).unwrap();
        add(&group, Mask::ACCESS | watched, &world.dir);
        mark(&group, MarkFlags::ADD | MarkFlags::IGNORED_MASK, Mask::OPEN, &world.dir).unwrap();
        notify(&world.on_file(Mask::MODIFY));
        notify(&world.on_dir(Mask::OPEN));
        assert_eq!(told(&group).is_empty(), !cleared, "{watched:?}");
    }
}

/// An object that says no more than it must.
struct Least(Connector);

impl Object for Least {
    fn connector(&self) -> &Connector {
        &self.0
    }

    fn kind(&self) -> ObjectKind {
        ObjectKind::File
    }
}

/// An ignore mask that does not survive modifications is not set while the
/// object is open for writing, which it is only if it says so.
#[test]
fn an_object_is_not_open_for_writing_unless_it_says_so() {
    let group = World::new().group(FID);
    let object: Arc<dyn Object> = Arc::new(Least(Connector::new()));
    mark(&group, MarkFlags::ADD | MarkFlags::IGNORED_MASK, Mask::OPEN, &object).unwrap();
    assert_eq!(group.marks(), 1);
    let written = Thing::in_file_system(ObjectKind::File, FileSystem::default());
    written.set_written(true);
    let object: Arc<dyn Object> = written;
    mark(&group, MarkFlags::ADD | MarkFlags::IGNORED_MASK, Mask::OPEN, &object).unwrap();
    assert_eq!(group.marks(), 1);
}
