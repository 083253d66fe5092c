//! kernel-semantics 3.4, the rows on records, merging, overflow and reading;
//! traps 9, 11 and 12. Kernel: fs/notify/inotify.

use std::{sync::Arc, thread};

use crate::objects::{self, *};
use fsnotify::{
    Account, Error, Event, Limits, Mask, PathData,
    inotify::{InitFlags, Inotify, WatchMask},
    notify,
};

/// An event in `dir` about a name.
fn entry(mask: Mask, dir: &Thing, name: &str, cookie: u32) {
    notify(&Event { cookie, ..Event::in_dir(mask, dir, name.as_bytes()) });
}

/// 3.4 event record: "len 0 when no name".
#[test]
fn record_without_a_name_is_16_bytes() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    let mut buffer = [0xaa; 64];
    assert_eq!(inotify.read(&mut buffer), Ok(16));
    let mut expected = Vec::new();
    for word in [wd as u32, 2, 0, 0] {
        expected.extend(word.to_ne_bytes());
    }
    assert_eq!(buffer[..16], expected);
    assert_eq!(buffer[16..], [0xaa; 48], "nothing beyond the record is written");
}

/// "name NUL-padded to a multiple of 16".
#[test]
fn names_are_closed_and_padded() {
    for len in [1, 14, 15, 16, 17, 31, 32, 255, 256, 1000] {
        let (inotify, dir) = (inotify(), objects::dir());
        watch(&inotify, &dir, WatchMask::CREATE);
        let name = "n".repeat(len);
        entry(Mask::CREATE, &dir, &name, 0);
        let padded = (len + 1).next_multiple_of(16);
        assert_eq!(inotify.readable_bytes(), 16 + padded);
        let mut buffer = vec![0xaa; 2048];
        assert_eq!(inotify.read(&mut buffer), Ok(16 + padded));
        assert_eq!(buffer[12..16], (padded as u32).to_ne_bytes());
        assert_eq!(buffer[16..16 + len], *name.as_bytes());
        assert!(buffer[16 + len..16 + padded].iter().all(|byte| *byte == 0));
    }
}

/// 3.4 merge: "only against the tail".
#[test]
fn equal_neighbours_merge() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::ALL_EVENTS);
    for mask in [Mask::MODIFY, Mask::MODIFY, Mask::ACCESS, Mask::MODIFY] {
        happen(mask, &file);
    }
    assert_eq!((inotify.counts().queued, inotify.counts().merged), (3, 1));
    let all = [seen(wd, Mask::MODIFY), seen(wd, Mask::ACCESS), seen(wd, Mask::MODIFY)];
    assert_eq!(drain(&inotify), all);
}

/// Trap 12: mask, wd and name count, the cookie does not.
#[test]
fn the_cookie_does_not_hinder_a_merge() {
    let (inotify, dir) = (inotify(), objects::dir());
    let wd = watch(&inotify, &dir, WatchMask::MOVED_FROM);
    entry(Mask::MOVED_FROM, &dir, "a", 7);
    entry(Mask::MOVED_FROM, &dir, "a", 8);
    entry(Mask::MOVED_FROM, &dir, "ab", 8);
    let first = (wd, Mask::MOVED_FROM, 7, "a".to_owned());
    assert_eq!(drain(&inotify), [first, (wd, Mask::MOVED_FROM, 8, "ab".to_owned())]);
}

/// Trap 12: an IGNORED tail never merges.
#[test]
fn nothing_merges_with_ignored() {
    let (inotify, one, two) = (inotify(), objects::file(), objects::file());
    let wd = watch(&inotify, &one, WatchMask::MODIFY);
    let other = watch(&inotify, &two, WatchMask::MODIFY);
    inotify.rm_watch(wd).unwrap();
    inotify.rm_watch(other).unwrap();
    assert_eq!(drain(&inotify), [seen(wd, Mask::IN_IGNORED), seen(other, Mask::IN_IGNORED)]);
}

/// 3.4 merge: equal wd.
#[test]
fn different_watches_do_not_merge() {
    let (inotify, one, two) = (inotify(), objects::file(), objects::file());
    let first = watch(&inotify, &one, WatchMask::MODIFY);
    let second = watch(&inotify, &two, WatchMask::MODIFY);
    for thing in [&one, &two, &one] {
        happen(Mask::MODIFY, thing);
    }
    let all = [first, second, first].map(|wd| seen(wd, Mask::MODIFY));
    assert_eq!(drain(&inotify), all);
}

fn overflow() -> Seen {
    seen(-1, Mask::Q_OVERFLOW)
}

/// [E C6]: with max 3: OPEN, CLOSE, OPEN, Q_OVERFLOW.
#[test]
fn full_queue_ends_with_one_overflow_record() {
    let (inotify, file) = (inotify_of(limits(1, 1, 3)), objects::file());
    let wd = watch(&inotify, &file, WatchMask::ALL_EVENTS);
    for _ in 0..4 {
        happen(Mask::OPEN, &file);
        happen(Mask::CLOSE_NOWRITE, &file);
    }
    assert_eq!(inotify.queued(), 4, "the overflow record counts in the length");
    assert_eq!(inotify.counts().dropped, 5);
    let open = seen(wd, Mask::OPEN);
    assert_eq!(drain(&inotify), [open.clone(), seen(wd, Mask::CLOSE_NOWRITE), open, overflow()]);
}

/// "tested before merge: full => even a mergeable event becomes overflow".
#[test]
fn full_queue_loses_what_would_merge() {
    let (inotify, file) = (inotify_of(limits(1, 1, 1)), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY), overflow()]);
}

/// "queued once until read".
#[test]
fn overflow_record_comes_back_only_after_it_was_read() {
    let (inotify, file) = (inotify_of(limits(1, 1, 2)), objects::file());
    let wd = watch(&inotify, &file, WatchMask::ALL_EVENTS);
    for mask in [Mask::OPEN, Mask::ACCESS, Mask::MODIFY] {
        happen(mask, &file);
    }
    let mut one = [0; 16];
    inotify.read(&mut one).unwrap();
    // Two are left, one of them the overflow record: still full.
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::ACCESS), overflow()]);
    for mask in [Mask::OPEN, Mask::ACCESS, Mask::MODIFY] {
        happen(mask, &file);
    }
    assert_eq!(drain(&inotify), [seen(wd, Mask::OPEN), seen(wd, Mask::ACCESS), overflow()]);
}

/// 3.4 queue full: "max 0 => first event overflows".
#[test]
fn a_limit_of_0_overflows_with_the_first_event() {
    let (inotify, file) = (inotify_of(limits(1, 1, 0)), objects::file());
    watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [overflow()]);
}

/// "an overflow tail cannot match (wd -1)".
#[test]
fn nothing_merges_with_the_overflow_record() {
    let (inotify, file) = (inotify_of(limits(1, 1, 1)), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    happen(Mask::MODIFY, &file);
    inotify.read(&mut [0; 16]).unwrap();
    assert_eq!(inotify.queued(), 1);
    happen(Mask::MODIFY, &file);
    assert_eq!(inotify.queued(), 1, "the overflow record alone fills it");
    assert_eq!(drain(&inotify), [overflow()]);
    happen(Mask::MODIFY, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY)]);
}

/// 3.4 limits: "sampled at inotify_init".
#[test]
fn the_limit_is_copied_when_the_instance_is_made() {
    let account = Account::new(limits(1, 1, 1));
    let inotify = Inotify::new(&account, InitFlags::NONBLOCK).unwrap();
    drop(account);
    let file = objects::file();
    watch(&inotify, &file, WatchMask::ALL_EVENTS);
    happen(Mask::OPEN, &file);
    happen(Mask::ACCESS, &file);
    assert_eq!(drain(&inotify).len(), 2);
}

/// [E C5].
#[test]
fn read_of_an_empty_queue_is_eagain_also_with_no_buffer() {
    let inotify = inotify();
    assert_eq!(inotify.read(&mut [0; 64]), Err(Error::WouldBlock));
    assert_eq!(inotify.read(&mut []), Err(Error::WouldBlock));
}

/// [E C5].
#[test]
fn buffers_of_0_and_15_bytes_are_einval_and_lose_nothing() {
    let (inotify, file) = (inotify(), objects::file());
    let wd = watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::MODIFY, &file);
    for given in [0, 15] {
        let refused = inotify.read(&mut vec![0; given]).unwrap_err();
        assert_eq!(refused, Error::BufferTooSmall { needed: 16, given });
        assert_eq!(refused.errno(), rustix::io::Errno::INVAL);
    }
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY)]);
}

/// A blocking read of a record too large for its buffer fails as well.
#[test]
fn a_blocking_read_with_a_small_buffer_is_einval_too() {
    let account = Account::new(Limits::default());
    let inotify = Inotify::new(&account, InitFlags::empty()).unwrap();
    let dir = objects::dir();
    watch(&inotify, &dir, WatchMask::CREATE);
    entry(Mask::CREATE, &dir, "name", 0);
    assert!(matches!(inotify.read(&mut [0; 16]), Err(Error::BufferTooSmall { needed: 32, .. })));
}

/// 3.4 read: "later event too large: returns what fitted".
#[test]
fn a_later_record_that_does_not_fit_stays() {
    let (inotify, dir) = (inotify(), objects::dir());
    let wd = watch(&inotify, &dir, WatchMask::ALL_EVENTS);
    happen(Mask::ATTRIB, &dir);
    entry(Mask::CREATE, &dir, "name", 0);
    let mut buffer = [0; 47];
    assert_eq!(inotify.read(&mut buffer), Ok(16));
    assert_eq!(inotify.readable_bytes(), 32);
    assert_eq!(drain(&inotify), [named(wd, Mask::CREATE, "name")]);
}

/// 3.4 read: "empty+blocking sleeps".
#[test]
fn a_blocking_read_sleeps_until_something_is_queued() {
    let account = Account::new(Limits::default());
    let inotify = Arc::new(Inotify::new(&account, InitFlags::empty()).unwrap());
    let file = objects::file();
    watch(&inotify, &file, WatchMask::MODIFY);
    let reader = thread::spawn({
        let inotify = Arc::clone(&inotify);
        move || inotify.read(&mut [0; 64])
    });
    happen(Mask::MODIFY, &file);
    assert_eq!(reader.join().unwrap(), Ok(16));
}

/// 3.4 FIONREAD, poll: here a hook in place of the wait queue.
#[test]
fn the_hook_runs_each_time_the_queue_stops_being_empty() {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    let (inotify, file) = (inotify(), objects::file());
    watch(&inotify, &file, WatchMask::ALL_EVENTS);
    happen(Mask::OPEN, &file);
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    inotify.on_ready(move || {
        count.fetch_add(1, SeqCst);
    });
    assert_eq!(calls.load(SeqCst), 1, "at once, because something is queued");
    happen(Mask::ACCESS, &file);
    assert_eq!(calls.load(SeqCst), 1);
    drain(&inotify);
    happen(Mask::ACCESS, &file);
    happen(Mask::MODIFY, &file);
    assert_eq!(calls.load(SeqCst), 2);
}

/// 3.4 FIONREAD, poll: "IN/RDNORM when non-empty".
#[cfg(feature = "fd")]
#[test]
fn the_descriptor_is_readable_while_records_are_queued() {
    use rustix::event::{PollFd, PollFlags, poll};
    let (inotify, file) = (inotify(), objects::file());
    watch(&inotify, &file, WatchMask::ALL_EVENTS);
    happen(Mask::OPEN, &file);
    let fd = inotify.readiness().unwrap();
    let ready = || {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&*fd, PollFlags::IN)], Some(&now)).unwrap() == 1
    };
    assert!(ready(), "made while something is queued");
    happen(Mask::ACCESS, &file);
    inotify.read(&mut [0; 16]).unwrap();
    assert!(ready(), "one record is left");
    inotify.read(&mut [0; 16]).unwrap();
    assert!(!ready());
    happen(Mask::MODIFY, &file);
    assert!(ready());
}

/// Trap 9.
#[test]
fn isdir_is_said_of_names_but_never_of_the_object_itself() {
    let (inotify, dir) = (inotify(), objects::dir());
    let wd = watch(&inotify, &dir, WatchMask::ALL_EVENTS);
    entry(Mask::CREATE | Mask::ISDIR, &dir, "sub", 0);
    happen(Mask::ATTRIB | Mask::ISDIR, &dir);
    happen(Mask::MOVE_SELF | Mask::ISDIR, &dir);
    happen(Mask::DELETE_SELF | Mask::ISDIR, &dir);
    let expected = [
        named(wd, Mask::CREATE | Mask::ISDIR, "sub"),
        seen(wd, Mask::ATTRIB | Mask::ISDIR),
        seen(wd, Mask::MOVE_SELF),
        seen(wd, Mask::DELETE_SELF),
    ];
    assert_eq!(drain(&inotify), expected);
}

/// 3.2: "the parent mark is served before the child mark of the same group;
/// parent gets the name, child gets none".
#[test]
fn the_directory_hears_first_and_by_name() {
    let (inotify, dir, file) = (inotify(), objects::dir(), objects::file());
    let own = watch(&inotify, &file, WatchMask::MODIFY);
    let parent = watch(&inotify, &dir, WatchMask::MODIFY);
    // Whether the mask says itself that it is a child's or not.
    for mask in [Mask::MODIFY, Mask::MODIFY | Mask::EVENT_ON_CHILD] {
        notify(&Event::on_child(mask, &*dir, b"f", &*file));
        assert_eq!(drain(&inotify), [named(parent, Mask::MODIFY, "f"), seen(own, Mask::MODIFY)]);
    }
}

/// 3.2: with two marks of a group, each gets only what it asked for.
#[test]
fn each_mark_gets_what_it_asked_for() {
    let (inotify, dir, file) = (inotify(), objects::dir(), objects::file());
    let own = watch(&inotify, &file, WatchMask::MODIFY);
    let parent = watch(&inotify, &dir, WatchMask::OPEN);
    notify(&Event::on_child(Mask::MODIFY, &*dir, b"f", &*file));
    notify(&Event::on_child(Mask::OPEN, &*dir, b"f", &*file));
    assert_eq!(drain(&inotify), [seen(own, Mask::MODIFY), named(parent, Mask::OPEN, "f")]);
}

/// 3.2: dirent events keep the name and go to the directory's own mark.
#[test]
fn dirent_events_carry_the_name_and_the_cookie() {
    let (inotify, dir) = (inotify(), objects::dir());
    let wd = watch(&inotify, &dir, WatchMask::ALL_EVENTS);
    entry(Mask::MOVED_FROM, &dir, "a", 5);
    entry(Mask::MOVED_TO, &dir, "b", 5);
    let from = (wd, Mask::MOVED_FROM, 5, "a".to_owned());
    assert_eq!(drain(&inotify), [from, (wd, Mask::MOVED_TO, 5, "b".to_owned())]);
}

/// 3.4 EXCL_UNLINK: "drops events whose data is a path with an unhashed
/// dentry".
#[test]
fn excl_unlink_drops_events_of_an_unlinked_path() {
    let (inotify, dir, file) = (inotify(), objects::dir(), objects::file());
    let strict = WatchMask::MODIFY | WatchMask::EXCL_UNLINK;
    watch(&inotify, &file, strict);
    watch(&inotify, &dir, strict);
    let event = Event::on_child(Mask::MODIFY, &*dir, b"f", &*file);
    notify(&Event { path: PathData::Unlinked, ..event });
    assert_eq!(drain(&inotify), []);
    notify(&Event { path: PathData::Linked, ..event });
    assert_eq!(drain(&inotify).len(), 2);
}

/// Trap 11: the test needs path data, which kernfs_notify and DELETE_SELF lack.
#[test]
fn excl_unlink_does_not_filter_events_without_a_path() {
    let (inotify, file) = (inotify(), objects::file());
    let mask = WatchMask::MODIFY | WatchMask::DELETE_SELF | WatchMask::EXCL_UNLINK;
    let wd = watch(&inotify, &file, mask);
    happen(Mask::MODIFY, &file);
    happen(Mask::DELETE_SELF, &file);
    assert_eq!(drain(&inotify), [seen(wd, Mask::MODIFY), seen(wd, Mask::DELETE_SELF)]);
}

/// A superblock mark is fanotify's; inotify looks at inodes alone, and an
/// event nobody asked for leaves no trace.
#[test]
fn events_nobody_asked_for_are_not_queued() {
    let (inotify, file, other) = (inotify(), objects::file(), objects::file());
    watch(&inotify, &file, WatchMask::MODIFY);
    happen(Mask::ACCESS, &file);
    happen(Mask::MODIFY, &other);
    assert_eq!(inotify.queued(), 0);
    assert_eq!(inotify.counts(), Default::default());
}

/// The queue's ring wraps around, and gives its memory back when emptied.
#[test]
fn a_long_life_of_mixed_sizes_keeps_the_bytes_right() {
    let (inotify, dir) = (inotify(), objects::dir());
    let wd = watch(&inotify, &dir, WatchMask::CREATE);
    let name = |i: usize| "x".repeat(1 + i * 7 % 90);
    let mut expected = std::collections::VecDeque::new();
    let mut buffer = [0; 300];
    for i in 0..2000 {
        entry(Mask::CREATE, &dir, &name(i), 0);
        expected.push_back(name(i));
        if i % 3 == 0 {
            let read = inotify.read(&mut buffer).unwrap();
            for record in fsnotify::inotify::records(&buffer[..read]) {
                assert_eq!(record.wd, wd);
                assert_eq!(record.name.unwrap(), expected.pop_front().unwrap().as_bytes());
            }
        }
    }
    let rest: Vec<_> = drain(&inotify).into_iter().map(|record| record.3).collect();
    assert_eq!(rest, Vec::from(expected));
}
