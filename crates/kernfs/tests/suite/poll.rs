//! kernel-semantics 2.4 and trap 5: polling an open file.

use std::{sync::Arc, thread, time::Duration};

use kernfs::{Access, Profile, Ready};

use crate::hierarchy::{ALL, Hierarchy, errno};

const CALM: Ready = Ready::IN.union(Ready::OUT);
const URGENT: Ready = CALM.union(Ready::ERR).union(Ready::PRI);
const LONG: Duration = Duration::from_secs(60);

/// [E C3].
#[test]
fn a_file_never_read_is_ready_at_once_and_calm_after_a_read() {
    let world = Hierarchy::new(Profile::Linux71);
    let file = world.mount.open("/g/cgroup.events", Access::READ).unwrap();
    assert_eq!(file.poll(), URGENT);
    file.read().unwrap();
    assert_eq!(file.poll(), CALM);
    world.node("/g/cgroup.events").notify();
    assert_eq!(file.poll(), URGENT, "at once, without the worker");
    assert_eq!(file.poll(), URGENT, "until it is read");
    file.read().unwrap();
    assert_eq!(file.poll(), CALM);
}

/// 2.2: "WARN and return if not a file node". Here without the warning.
#[test]
fn a_directory_does_not_notify() {
    use fsnotify::inotify::WatchMask;
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("D", "/g", WatchMask::ALL_EVENTS);
        world.node("/g").notify();
        world.node("/g").notify_later();
        assert_eq!(world.tree.pending(), 0);
        assert!(world.told().is_empty(), "{profile:?}");
    }
}

/// 2.4: "the open file's remembered counter".
#[test]
fn each_open_file_has_its_own_count() {
    let world = Hierarchy::new(Profile::Linux71);
    let open = || world.mount.open("/g/cgroup.events", Access::READ).unwrap();
    let (one, two) = (open(), open());
    one.read().unwrap();
    assert_eq!((one.poll(), two.poll()), (CALM, URGENT));
}

/// 2.4: "The remembered value is taken when data is *read/shown*".
#[test]
fn reading_on_does_not_take_note() {
    let world = Hierarchy::new(Profile::Linux71);
    let access = Access::READ | Access::WRITE;
    let file = world.mount.open("/g/cgroup.events", access).unwrap();
    file.write(b"abcdef").unwrap();
    let mut part = [0; 3];
    file.read_at(0, &mut part).unwrap();
    world.node("/g/cgroup.events").notify();
    file.write(b"ABCDEF").unwrap();
    file.read_at(3, &mut part).unwrap();
    assert_eq!(&part, b"def", "what was begun is read to its end");
    assert_eq!(file.poll(), URGENT);
}

/// 2.5: reads and writes give ENODEV, a fresh poll ERR|PRI; fstat goes on.
#[test]
fn a_removed_file_is_dead_but_open() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        let access = Access::READ | Access::WRITE;
        let file = world.mount.open("/g/cgroup.events", access).unwrap();
        file.read().unwrap();
        assert!(!file.stat().is_unlinked);
        world.mount.rmdir("/g").unwrap();
        assert_eq!(file.poll(), URGENT);
        assert_eq!(errno(file.read()), rustix::io::Errno::NODEV);
        assert_eq!(errno(file.write(b"1")), rustix::io::Errno::NODEV);
        // nlink 0 from 7.1 on, 1 before.
        assert_eq!(file.stat().is_unlinked, profile != Profile::Linux70, "{profile:?}");
    }
}

/// 2.2: "increment the open-node `event` counter and wake `poll`".
#[test]
fn a_sleeper_is_woken_by_a_notification() {
    let world = Hierarchy::new(Profile::Linux71);
    let file = world.mount.open("/g/cgroup.events", Access::READ).unwrap();
    file.read().unwrap();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| file.wait(LONG));
        world.node("/g/cgroup.events").notify();
        assert_eq!(sleeper.join().unwrap(), URGENT);
    });
}

/// Trap 5 (A6): removal does not wake it on Linux, but a fresh poll sees it.
#[test]
fn trap_5_removal_does_not_wake_a_sleeper_on_linux() {
    let world = Hierarchy::new(Profile::Linux71);
    let file = world.mount.open("/g/cgroup.events", Access::READ).unwrap();
    file.read().unwrap();
    thread::scope(|scope| {
        let (done, ended) = std::sync::mpsc::channel();
        let file = &file;
        scope.spawn(move || {
            let _ = file.wait(Duration::from_millis(100));
            done.send(()).unwrap();
        });
        world.mount.rmdir("/g").unwrap();
        // It ends by its own limit, or found the file dead before it slept.
        ended.recv().unwrap();
    });
    assert_eq!(file.wait(LONG), URGENT, "a fresh poll");
}

/// Design 3.2: what trap 5 is on Linux, `Announced` is without.
#[test]
fn removal_wakes_a_sleeper_on_announced() {
    let world = Hierarchy::new(Profile::Announced);
    let file = world.mount.open("/g/cgroup.events", Access::READ).unwrap();
    file.read().unwrap();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| file.wait(LONG));
        world.mount.rmdir("/g").unwrap();
        assert_eq!(sleeper.join().unwrap(), URGENT);
    });
}

/// A notification in the middle of a read is news to that reader.
#[test]
fn a_change_while_the_content_is_made_is_not_missed() {
    use kernfs::{Attribute, Operation, Options, Tree};
    struct Restless;
    impl Attribute for Restless {
        fn show(
            &self,
            operation: &Operation<'_>,
            content: &mut Vec<u8>,
        ) -> Result<(), rustix::io::Errno> {
            content.push(b'1');
            operation.node().notify();
            Ok(())
        }
    }
    let tree = Tree::new(Options::default());
    tree.root().make_file("f", Arc::new(Restless)).unwrap();
    let file = tree.mount().open("/f", Access::READ).unwrap();
    file.read_at(0, &mut [0; 8]).unwrap();
    assert_eq!(file.poll(), URGENT);
}

/// Nothing happens: it ends when its time is over.
#[test]
fn a_poll_sleeps_no_longer_than_it_may() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        let file = world.mount.open("/g/cgroup.events", Access::READ).unwrap();
        file.read().unwrap();
        for limit in [Duration::ZERO, Duration::from_millis(2)] {
            assert_eq!(file.wait(limit), CALM, "{profile:?}");
        }
    }
}
