//! What the owner of a cgroup hides for a while has its counts told once, as its own, and never as what
//! a neighbour had counted that died meanwhile.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use cgwatch::{
    Confidence, Driver, Event, EventKind, Options, SimWorld, Strategy, Verb,
    cgroup_sim::{self, Event as Counted, Hierarchy},
};
use rustix::io::Errno;

use self::sim::listen;

/// Some sweeps of the usual 30 s.
const LONG: Duration = Duration::from_secs(150);
/// None.
const BRIEF: Duration = Duration::from_secs(1);

fn hierarchy() -> Arc<Hierarchy> {
    sim::hierarchy(cgroup_sim::Options::default(), "/top", "+memory")
}

/// What was counted of `high` by these events: as the own of the cgroup at `path`, and otherwise.
fn told(events: &[Event], path: &str) -> (i128, i128) {
    let (mut own, mut otherwise) = (0, 0);
    for event in events {
        match &event.kind {
            EventKind::Changed { cgroup, own: Some(its), late, .. } => {
                let its = its.get("high").unwrap_or(0);
                let is = cgroup.path.to_string() == path;
                *if is { &mut own } else { &mut otherwise } += its;
                otherwise += i128::from(late.get("high").unwrap_or(0));
            }
            EventKind::Removed { unseen, .. } => {
                otherwise += i128::from(unseen.get("memory.events", "high"));
            }
            _ => {}
        }
    }
    (own, otherwise)
}

struct Closed {
    directory: u64,
    on: Arc<AtomicBool>,
    errno: Errno,
}

impl Driver for Closed {
    fn refuses(&mut self, _: Verb, directory: u64) -> Option<Errno> {
        (self.on.load(SeqCst) && directory == self.directory).then_some(self.errno)
    }
}

/// An owner takes the rights to his cgroup away, and counts; or the limit on open files is met.
#[test]
fn what_cannot_be_read_is_not_given_to_a_neighbour_that_dies() {
    for errno in [Errno::ACCESS, Errno::IO, Errno::MFILE] {
        for strategy in [Strategy::Inotify, Strategy::Sweep] {
            let hierarchy = hierarchy();
            let a = hierarchy.mkdir("/top/a").unwrap();
            hierarchy.mkdir("/top/b").unwrap();
            let on = Arc::new(AtomicBool::new(false));
            let driver = Closed { directory: a, on: Arc::clone(&on), errno };
            let world = SimWorld::new(Arc::clone(&hierarchy)).by_id(false).driven_by(driver);
            let mut watcher = sim::watcher(world, Options::new().strategy(strategy), "/top");
            listen(&mut watcher, BRIEF);
            on.store(true, SeqCst);
            hierarchy.count(a, Counted::MemoryHigh, 5).unwrap();
            hierarchy.rmdir("/top/b").unwrap();
            let mut events = listen(&mut watcher, LONG);
            let removal = events.iter().find_map(|event| match &event.kind {
                EventKind::Removed { unseen, .. } => Some(unseen),
                _ => None,
            });
            let unseen = removal.unwrap();
            let its = unseen.files.iter().find(|(name, _)| &**name == "memory.events");
            assert_eq!(its.map(|(_, counted)| counted), Some(&None), "it cannot be known");
            assert_eq!(told(&events, "/a"), (0, 0), "{strategy:?} {errno}");
            on.store(false, SeqCst);
            events.extend(listen(&mut watcher, LONG));
            assert_eq!(told(&events, "/a"), (5, 0), "{strategy:?} {errno}");
        }
    }
}

/// What the dead had counted beside it is told late, once it can be read again.
#[test]
fn what_is_left_over_then_is_told_late() {
    let hierarchy = hierarchy();
    let a = hierarchy.mkdir("/top/a").unwrap();
    let b = hierarchy.mkdir("/top/b").unwrap();
    let on = Arc::new(AtomicBool::new(false));
    let driver = Closed { directory: a, on: Arc::clone(&on), errno: Errno::ACCESS };
    let world = SimWorld::new(Arc::clone(&hierarchy)).by_id(false).driven_by(driver);
    let mut watcher = sim::watcher(world, Options::new(), "/top");
    listen(&mut watcher, BRIEF);
    on.store(true, SeqCst);
    hierarchy.count(a, Counted::MemoryHigh, 5).unwrap();
    hierarchy.count(b, Counted::MemoryHigh, 3).unwrap();
    hierarchy.rmdir("/top/b").unwrap();
    let mut events = listen(&mut watcher, LONG);
    assert_eq!(told(&events, "/a"), (0, 0));
    on.store(false, SeqCst);
    events.extend(listen(&mut watcher, LONG));
    assert_eq!(told(&events, "/a"), (5, 3));
}

/// By fanotify the kernel tells nothing of a name of more than 255 bytes.
#[test]
fn what_the_mark_says_nothing_of_is_found_before_others_are_said_to_have_counted() {
    let hierarchy = hierarchy();
    let world = SimWorld::new(Arc::clone(&hierarchy));
    let options = Options::new().strategy(Strategy::Fanotify);
    let mut watcher = sim::watcher(world, options, "/top");
    listen(&mut watcher, BRIEF);
    let name = "x".repeat(256);
    let hidden = hierarchy.mkdir(format!("/top/{name}")).unwrap();
    hierarchy.mkdir("/top/b").unwrap();
    let mut events = listen(&mut watcher, BRIEF);
    let appeared =
        |event: &&Event| matches!(event.kind, EventKind::Appeared { existing: false, .. });
    assert_eq!(events.iter().filter(appeared).count(), 1, "it is not hidden: {events:?}");
    hierarchy.count(hidden, Counted::MemoryHigh, 5).unwrap();
    hierarchy.rmdir("/top/b").unwrap();
    events.extend(listen(&mut watcher, LONG));
    assert_eq!(told(&events, &format!("/{name}")), (5, 0));
    let bounded = events.iter().any(|event| match &event.kind {
        EventKind::Removed { unseen, .. } => unseen.confidence == Some(Confidence::Bounded),
        _ => false,
    });
    assert!(!bounded);
}
