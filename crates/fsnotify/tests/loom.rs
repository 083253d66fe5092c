//! Every schedule of small models: two or three threads, one question each.
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p fsnotify --test loom`.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fsnotify::{
    Account, Connector, Event, Limits, Mask, Object, ObjectKind,
    fanotify::{self, Fanotify},
    inotify::{InitFlags, Inotify, WatchMask, records},
    notify,
};
use loom::thread;

struct Thing(Connector);

impl Object for Thing {
    fn connector(&self) -> &Connector {
        &self.0
    }

    fn kind(&self) -> ObjectKind {
        ObjectKind::File
    }
}

fn model(run: impl Fn() + Send + Sync + 'static) {
    loom::model(run);
}

struct World {
    file: Arc<Thing>,
    inotify: Arc<Inotify>,
    account: Arc<Account>,
}

impl World {
    fn new(queued_events: usize, flags: InitFlags) -> Self {
        let account = Account::new(Limits { groups: 9, marks: 9, queued_events });
        let inotify = Arc::new(Inotify::new(&account, flags).unwrap());
        Self { file: Arc::new(Thing(Connector::new())), inotify, account }
    }

    fn watch(&self, mask: WatchMask) -> i32 {
        self.inotify.add_watch(self.file.clone(), mask).unwrap()
    }

    fn told(&self) -> Vec<Mask> {
        let mut buffer = [0; 256];
        let read = self.inotify.read(&mut buffer).unwrap_or(0);
        records(&buffer[..read]).map(|record| record.mask).collect()
    }
}

fn modify(file: &Thing) {
    notify(&Event::on(Mask::MODIFY, file));
}

#[test]
fn two_notifiers_and_the_queues_merge() {
    model(|| {
        let world = World::new(4, InitFlags::NONBLOCK);
        world.watch(WatchMask::MODIFY);
        let file = Arc::clone(&world.file);
        let other = thread::spawn(move || modify(&file));
        modify(&world.file);
        other.join().unwrap();
        assert_eq!(world.told(), [Mask::MODIFY]);
        assert_eq!((world.inotify.counts().queued, world.inotify.counts().merged), (1, 1));
    });
}

#[test]
fn two_notifiers_and_the_queues_overflow() {
    model(|| {
        let world = World::new(1, InitFlags::NONBLOCK);
        world.watch(WatchMask::MODIFY | WatchMask::ACCESS);
        let file = Arc::clone(&world.file);
        let other = thread::spawn(move || {
            notify(&Event::on(Mask::ACCESS, &*file));
            notify(&Event::on(Mask::ACCESS, &*file));
        });
        modify(&world.file);
        other.join().unwrap();
        let told = world.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], Mask::Q_OVERFLOW);
        assert_eq!(world.inotify.counts().dropped, 2);
    });
}

/// fanotify's queue: what two threads say of one object is one record, unless a
/// reader came in between; and beyond the limit it is one overflow record.
#[test]
fn two_notifiers_a_reader_and_the_queue_that_merges_by_hash() {
    for (queued_events, others) in [(2, false), (1, true)] {
        model(move || {
            let account = Account::new(Limits { groups: 9, marks: 9, queued_events });
            let flags = fanotify::InitFlags::REPORT_FID | fanotify::InitFlags::NONBLOCK;
            let group = Fanotify::new(&account, flags).unwrap();
            let file = Arc::new(Thing(Connector::new()));
            let object: Arc<dyn Object> = file.clone();
            group.mark(fanotify::MarkFlags::ADD, 0x2, &object).unwrap();
            let notifier = thread::spawn({
                let file = Arc::clone(&file);
                // By another process, it is another record.
                let pid = i32::from(others);
                move || notify(&Event { pid, ..Event::on(Mask::MODIFY, &*file) })
            });
            modify(&file);
            let mut masks = Vec::new();
            let mut read = || {
                let mut buffer = [0; 512];
                let read = group.read(&mut buffer).unwrap_or(0);
                masks.extend(fanotify::records(&buffer[..read]).map(|r| r.metadata.mask));
            };
            read();
            notifier.join().unwrap();
            read();
            let counts = group.counts();
            assert_eq!(counts.queued + counts.merged + counts.dropped, 2);
            let overflows = masks.iter().filter(|mask| **mask == Mask::Q_OVERFLOW).count() as u64;
            assert_eq!(
                (masks.len() as u64, overflows),
                (counts.queued + counts.dropped, counts.dropped)
            );
            assert!(others || counts.dropped == 0);
            assert!(!others || counts.merged == 0);
        });
    }
}

/// A record is not lost between a reader that looks and one that sleeps.
#[test]
fn a_sleeping_reader_is_woken() {
    model(|| {
        let world = World::new(4, InitFlags::empty());
        world.watch(WatchMask::MODIFY);
        let file = Arc::clone(&world.file);
        let notifier = thread::spawn(move || modify(&file));
        assert_eq!(world.told(), [Mask::MODIFY]);
        notifier.join().unwrap();
    });
}

#[test]
fn nothing_follows_ignored() {
    model(|| {
        let world = World::new(4, InitFlags::NONBLOCK);
        let wd = world.watch(WatchMask::MODIFY);
        let file = Arc::clone(&world.file);
        let notifier = thread::spawn(move || modify(&file));
        world.inotify.rm_watch(wd).unwrap();
        notifier.join().unwrap();
        let told = world.told();
        assert_eq!(told.last(), Some(&Mask::IN_IGNORED), "{told:?}");
        assert_eq!(told.iter().filter(|mask| **mask == Mask::IN_IGNORED).count(), 1);
    });
}

/// The object's end and rm_watch: one of them ends the watch.
#[test]
fn a_watch_ends_once() {
    model(|| {
        let world = World::new(4, InitFlags::NONBLOCK);
        let wd = world.watch(WatchMask::MODIFY);
        let file = Arc::clone(&world.file);
        let end = thread::spawn(move || file.connector().close());
        let _ = world.inotify.rm_watch(wd);
        end.join().unwrap();
        assert_eq!(world.told(), [Mask::IN_IGNORED]);
        assert_eq!((world.account.marks(), Arc::strong_count(&world.file)), (0, 1));
    });
}

/// Linux 7.2.13: a mark added while the object ends is refused, or it goes.
#[test]
fn no_mark_survives_its_object() {
    model(|| {
        let world = World::new(4, InitFlags::NONBLOCK);
        let file = Arc::clone(&world.file);
        let end = thread::spawn(move || file.connector().close());
        let added = world.inotify.add_watch(world.file.clone(), WatchMask::MODIFY);
        end.join().unwrap();
        let expected: &[Mask] = if added.is_ok() { &[Mask::IN_IGNORED] } else { &[] };
        assert_eq!(world.told(), expected);
        assert_eq!((world.inotify.watches(), world.account.marks()), (0, 0));
        assert_eq!(world.file.connector().interest(), Mask::empty());
    });
}

#[test]
fn a_oneshot_watch_queues_one_record_under_two_events() {
    model(|| {
        let world = World::new(4, InitFlags::NONBLOCK);
        world.watch(WatchMask::MODIFY | WatchMask::ACCESS | WatchMask::ONESHOT);
        let file = Arc::clone(&world.file);
        let other = thread::spawn(move || notify(&Event::on(Mask::ACCESS, &*file)));
        modify(&world.file);
        other.join().unwrap();
        let told = world.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], Mask::IN_IGNORED);
        assert_eq!(world.account.marks(), 0);
    });
}

/// Two groups, one of which is dropped while the object is told about.
#[test]
fn a_group_dropped_under_delivery_leaves_nothing() {
    model(|| {
        let world = World::new(4, InitFlags::NONBLOCK);
        world.watch(WatchMask::MODIFY);
        let dying = Inotify::new(&world.account, InitFlags::NONBLOCK).unwrap();
        dying.add_watch(world.file.clone(), WatchMask::MODIFY).unwrap();
        let file = Arc::clone(&world.file);
        let notifier = thread::spawn(move || modify(&file));
        drop(dying);
        notifier.join().unwrap();
        assert_eq!(world.told(), [Mask::MODIFY], "the other group is told in any case");
        assert_eq!((world.account.groups(), world.account.marks()), (1, 1));
        assert_eq!(world.file.connector().len(), 1);
    });
}

/// An evictable mark and the last reference to its object.
#[test]
fn an_evictable_mark_and_its_object_end_together() {
    struct Evictable(Connector);
    impl Object for Evictable {
        fn connector(&self) -> &Connector {
            &self.0
        }

        fn kind(&self) -> ObjectKind {
            ObjectKind::File
        }
    }
    impl Drop for Evictable {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    model(|| {
        let account = Account::new(Limits::default());
        let flags = fanotify::InitFlags::REPORT_FID | fanotify::InitFlags::NONBLOCK;
        let group = Arc::new(Fanotify::new(&account, flags).unwrap());
        let object: Arc<dyn Object> = Arc::new(Evictable(Connector::new()));
        let add = fanotify::MarkFlags::ADD | fanotify::MarkFlags::EVICTABLE;
        group.mark(add, 2, &object).unwrap();
        let flusher = thread::spawn({
            let group = Arc::clone(&group);
            let other: Arc<dyn Object> = Arc::new(Evictable(Connector::new()));
            move || group.mark(fanotify::MarkFlags::FLUSH, 0, &other).unwrap()
        });
        drop(object);
        flusher.join().unwrap();
        assert_eq!((group.marks(), account.marks()), (0, 0));
    });
}
