//! kernel-semantics 3.4, the rows on limits, descriptors, add_watch and
//! rm_watch. Kernel: fs/notify/inotify/inotify_user.c.

use std::sync::Arc;

use crate::objects::{self, *};
use fsnotify::{
    Account, Error, Event, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask},
    notify,
};
use rustix::io::Errno;

fn errno(result: Result<i32, Error>) -> Errno {
    result.unwrap_err().errno()
}

/// 3.4 and 3.5, limits: what Linux starts with; of watches the most it gives
/// (1 % of memory, clamped to 8192..1048576).
#[test]
fn the_limits_to_start_with() {
    let limits = Limits::default();
    assert_eq!((limits.queued_events, limits.groups, limits.marks), (16_384, 128, 1_048_576));
}

/// 3.4 limits: `max_user_instances`.
#[test]
fn limit_of_instances_is_emfile() {
    for limit in [0, 1, 3] {
        let account = Account::new(limits(limit, 10, 10));
        let held: Vec<_> =
            (0..limit).map(|_| Inotify::new(&account, InitFlags::empty()).unwrap()).collect();
        let refused = Inotify::new(&account, InitFlags::empty()).unwrap_err();
        assert_eq!(refused, Error::TooManyGroups { limit });
        assert_eq!(refused.errno(), Errno::MFILE);
        drop(held);
        assert_eq!(account.groups(), 0);
    }
}

/// 3.4 limits: `max_user_watches`.
#[test]
fn limit_of_watches_is_enospc_and_removal_gives_back() {
    for limit in [0, 1, 2] {
        let account = Account::new(limits(1, limit, 10));
        let inotify = Inotify::new(&account, InitFlags::NONBLOCK).unwrap();
        let wds: Vec<_> =
            (0..limit).map(|_| watch(&inotify, &objects::dir(), WatchMask::CREATE)).collect();
        assert_eq!(errno(inotify.add_watch(objects::dir(), WatchMask::CREATE)), Errno::NOSPC);
        if let Some(wd) = wds.first() {
            inotify.rm_watch(*wd).unwrap();
            watch(&inotify, &objects::dir(), WatchMask::CREATE);
        }
        assert_eq!(account.marks(), limit, "what was refused is not charged");
        drop(inotify);
        assert_eq!(account.marks(), 0);
    }
}

/// 3.4 limits: "charged per user and all parent user namespaces".
#[test]
fn charges_go_to_the_parent_user_namespaces() {
    let outer = Account::new(limits(1, 1, 10));
    let inner = outer.below(limits(9, 9, 10));
    let inotify = Inotify::new(&inner, InitFlags::NONBLOCK).unwrap();
    assert_eq!((outer.groups(), inner.groups()), (1, 1));
    assert_eq!(
        Inotify::new(&inner, InitFlags::NONBLOCK).unwrap_err(),
        Error::TooManyGroups { limit: 1 }
    );
    assert_eq!(inner.groups(), 1, "a charge refused above is given back below");
    watch(&inotify, &objects::file(), WatchMask::MODIFY);
    assert_eq!(errno(inotify.add_watch(objects::file(), WatchMask::MODIFY)), Errno::NOSPC);
    assert_eq!((outer.marks(), inner.marks()), (1, 1));
    drop(inotify);
    assert_eq!((outer.groups(), outer.marks(), inner.groups(), inner.marks()), (0, 0, 0, 0));
}

/// 3.4 wd: "idr cyclic from 1". That it starts anew after INT_MAX: `group.rs`.
#[test]
fn wd_counts_from_1_and_does_not_come_back() {
    let inotify = inotify();
    let first = watch(&inotify, &objects::file(), WatchMask::MODIFY);
    assert_eq!(first, 1);
    inotify.rm_watch(first).unwrap();
    assert_eq!(watch(&inotify, &objects::file(), WatchMask::MODIFY), 2, "probe: rm 1 -> next 2");
}

/// 3.4 wd: "same inode again => same wd".
#[test]
fn same_object_same_wd() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    assert_eq!(watch(&inotify, &file, WatchMask::ATTRIB), wd);
    assert_eq!(inotify.watches(), 1);
}

/// 3.4 existing watch: "mask replaced, ONESHOT/EXCL_UNLINK flags reset".
#[test]
fn mask_of_an_existing_watch_is_replaced() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY | WatchMask::ONESHOT);
    watch(&inotify, &file, WatchMask::ATTRIB);
    happen(Mask::MODIFY, &file);
    happen(Mask::ATTRIB, &file);
    happen(Mask::ATTRIB, &file);
    // Neither the old mask nor its ONESHOT is left.
    assert_eq!(drain(&inotify), [seen(wd, Mask::ATTRIB)]);
    assert_eq!(inotify.watches(), 1);
}

/// 3.4 existing watch: "MASK_ADD: ORed".
#[test]
fn mask_add_adds() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    watch(&inotify, &file, WatchMask::ATTRIB | WatchMask::MASK_ADD);
    happen(Mask::MODIFY, &file);
    happen(Mask::ATTRIB, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY), seen(wd, Mask::ATTRIB)]);
}

/// 3.4 existing watch: "MASK_ADD: ORed", also with what it has already.
#[test]
fn mask_add_takes_nothing_away() {
    let oneshot = WatchMask::MODIFY | WatchMask::ONESHOT;
    for more in [WatchMask::ATTRIB, WatchMask::MODIFY, oneshot] {
        let (inotify, file) = (inotify(), objects::file());
        let wd = watch(&inotify, &file, oneshot);
        watch(&inotify, &file, more | WatchMask::MASK_ADD);
        happen(Mask::MODIFY, &file);
        let expected = [seen(wd, Mask::MODIFY), seen(wd, Mask::IN_IGNORED)];
        assert_eq!(drain(&inotify), expected, "{more:?}");
    }
}

/// 3.4 add_watch errors: "MASK_CREATE and exists EEXIST".
#[test]
fn mask_create_refuses_an_existing_watch_with_eexist() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY | WatchMask::MASK_CREATE);
    let again = inotify.add_watch(file.clone(), WatchMask::MODIFY | WatchMask::MASK_CREATE);
    assert_eq!(again, Err(Error::AlreadyWatched { wd }));
    assert_eq!(errno(again), Errno::EXIST);
}

/// 3.4 add_watch errors: "unknown bits or no known bit EINVAL".
#[test]
fn bad_masks_are_einval() {
    let inotify = inotify();
    let unknown =
        [0, 0x1000, 0x8_0000, 0x0080_0000, 0x0800_0000, WatchMask::MODIFY.bits() | 0x1000];
    for bits in unknown {
        let mask = WatchMask::from_bits_retain(bits);
        assert_eq!(errno(inotify.add_watch(objects::dir(), mask)), Errno::INVAL, "{bits:#x}");
    }
    let both = WatchMask::MODIFY | WatchMask::MASK_ADD | WatchMask::MASK_CREATE;
    assert_eq!(errno(inotify.add_watch(objects::dir(), both)), Errno::INVAL);
    // A known bit that is no event is enough.
    watch(&inotify, &objects::dir(), WatchMask::ISDIR);
}

/// inotify_init1(2): EINVAL.
#[test]
fn bad_init_flags_are_einval() {
    let account = Account::new(Limits::default());
    for bit in 0..32 {
        let flags = InitFlags::from_bits_retain(1 << bit);
        let known = [InitFlags::NONBLOCK, InitFlags::CLOEXEC, InitFlags::LOCAL_ONLY];
        let made = Inotify::new(&account, flags).map(drop);
        if known.contains(&flags) {
            made.unwrap();
        } else {
            assert_eq!(made.unwrap_err().errno(), Errno::INVAL, "bit {bit}");
        }
    }
}

/// 3.4 add_watch errors, DONT_FOLLOW / ONLYDIR.
#[test]
fn onlydir_on_a_file_is_enotdir() {
    let inotify = inotify();
    let mask = WatchMask::MODIFY | WatchMask::ONLYDIR;
    assert_eq!(errno(inotify.add_watch(objects::file(), mask)), Errno::NOTDIR);
    watch(&inotify, &objects::dir(), mask);
}

/// 3.4 DONT_FOLLOW / ONLYDIR: "only lookup flags; not stored".
#[test]
fn dont_follow_is_not_stored() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY | WatchMask::DONT_FOLLOW);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY)]);
}

/// 3.4 add_watch errors: "no read permission EACCES".
#[test]
fn no_read_permission_is_eacces() {
    assert_eq!(errno(inotify().add_watch(Thing::secret(), WatchMask::MODIFY)), Errno::ACCESS);
}

/// Linux 7.2.13: "fsnotify: prevent mark additions during connector teardown".
#[test]
fn object_in_teardown_is_enoent() {
    use fsnotify::Object;
    let (inotify, file) = (inotify(), objects::file());
    file.connector().close();
    assert_eq!(errno(inotify.add_watch(file, WatchMask::MODIFY)), Errno::NOENT);
    assert_eq!(inotify.watches(), 0);
}

/// 3.4 rm_watch: "unknown wd EINVAL".
#[test]
fn forged_wds_are_einval() {
    let inotify = inotify();
    let wd = watch(&inotify, &objects::file(), WatchMask::MODIFY);
    for forged in [0, -1, i32::MIN, i32::MAX, wd + 1] {
        assert_eq!(inotify.rm_watch(forged), Err(Error::UnknownWatch { wd: forged }));
        assert_eq!(inotify.rm_watch(forged).unwrap_err().errno(), Errno::INVAL);
    }
    inotify.rm_watch(wd).unwrap();
    assert_eq!(inotify.rm_watch(wd), Err(Error::UnknownWatch { wd }), "twice");
}

/// 3.4 rm_watch: "queues IGNORED; already queued events of that wd stay".
/// After IGNORED nothing comes here, while Linux leaves a race.
#[test]
fn rm_watch_queues_ignored_behind_what_is_queued() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    inotify.rm_watch(wd).unwrap();
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY), seen(wd, Mask::IN_IGNORED)]);
}

/// The same for an event that is being told: it goes on with the marks it found.
#[test]
fn a_watch_removed_while_an_event_is_told_hears_nothing_of_it() {
    // Groups are served in the order in which they were made.
    let (first, second, file) = (inotify(), Arc::new(inotify()), objects::file());
    watch(&first, &file, WatchMask::MODIFY);
    let wd = watch(&second, &file, WatchMask::MODIFY);
    let other = Arc::clone(&second);
    first.on_ready(move || other.rm_watch(wd).unwrap());
    happen(Mask::MODIFY, &file);
    assert_eq!(first.queued(), 1);
    assert_eq!(drain(&second), [seen(wd, Mask::IN_IGNORED)]);
}

/// [E C2], and Starnix's gap (implementations 1.3): the watch did not ask.
#[test]
fn the_end_of_an_object_is_ignored_for_every_watch() {
    use fsnotify::Object;
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::DELETE_SELF, &file);
    file.connector().close();
    assert_eq!(drain(&inotify), [seen(wd, Mask::IN_IGNORED)]);
    assert_eq!(inotify.watches(), 0);
    assert_eq!(inotify.rm_watch(wd).unwrap_err().errno(), Errno::INVAL);
}

/// 3.1: "Inode marks pin the inode".
#[test]
fn a_mark_holds_its_object_until_it_goes() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    assert_eq!(Arc::strong_count(&file), 2);
    inotify.rm_watch(wd).unwrap();
    assert_eq!(Arc::strong_count(&file), 1);
    watch(&inotify, &file, WatchMask::MODIFY);
    drop(inotify);
    assert_eq!(Arc::strong_count(&file), 1);
}

/// 3.1: "Mark masks are ORed into the object mask".
#[test]
fn dropping_the_instance_takes_interest_away() {
    use fsnotify::Object;
    let (one, two, file) = (inotify(), inotify(), objects::file());
    watch(&one, &file, WatchMask::MODIFY);
    watch(&two, &file, WatchMask::ATTRIB);
    assert_eq!(file.connector().interest(), Mask::MODIFY | Mask::ATTRIB | Mask::UNMOUNT);
    assert_eq!(file.connector().len(), 2);
    drop(one);
    assert!(!file.connector().is_empty());
    assert_eq!(file.connector().interest(), Mask::ATTRIB | Mask::UNMOUNT);
    drop(two);
    assert_eq!(file.connector().interest(), Mask::empty());
    assert!(file.connector().is_empty());
}

/// 3.4 ONESHOT.
#[test]
fn oneshot_ends_with_its_first_record() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY | WatchMask::ONESHOT);
    happen(Mask::ATTRIB, &file);
    happen(Mask::MODIFY, &file);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY), seen(wd, Mask::IN_IGNORED)]);
    assert_eq!(inotify.watches(), 0);
}

/// "after any reported event (even if merged)".
#[test]
fn oneshot_ends_also_when_its_record_merges() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    watch(&inotify, &file, WatchMask::MODIFY | WatchMask::ONESHOT);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY), seen(wd, Mask::IN_IGNORED)]);
}

/// 3.4 implicit: "UNMOUNT always in the mask"; 3.3: "UNMOUNT then IGNORED".
#[test]
fn unmount_is_told_without_asking_and_ignored_follows() {
    use fsnotify::Object;
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::UNMOUNT, &file);
    file.connector().close();
    assert_eq!(drain(&inotify), [seen(wd, Mask::UNMOUNT), seen(wd, Mask::IN_IGNORED)]);
}

/// Design 3.3: inotify groups get both, or local only on request.
#[test]
fn groups_that_want_local_events_only_get_no_deferred_ones() {
    use fsnotify::Origin;
    let account = Account::new(Limits::default());
    let flags = InitFlags::NONBLOCK | InitFlags::LOCAL_ONLY;
    let local = Inotify::new(&account, flags).unwrap();
    let (both, file) = (inotify(), objects::file());
    let wd = watch(&local, &file, WatchMask::MODIFY);
    watch(&both, &file, WatchMask::MODIFY);
    notify(&Event { origin: Origin::Deferred, ..Event::on(Mask::MODIFY, &*file) });
    assert_eq!(drain(&local), []);
    assert_eq!(drain(&both), [seen(wd, Mask::MODIFY)]);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&local), [seen(wd, Mask::MODIFY)]);
}
