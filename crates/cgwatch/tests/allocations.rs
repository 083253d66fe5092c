//! A wake-up asks for no memory, and a change only for what its event consists of. On this machine's
//! own hierarchy.

#![allow(clippy::unwrap_used, reason = "tests")]

mod own;

use std::{fs, os::fd::OwnedFd, path::Path, time::Duration};

use allocation_counter::measure;
use cgwatch::{Depth, Event, EventKind, Options, Watcher};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
};

use self::own::Own;

/// Buffers grow in the first of them.
const WARMING: usize = 20;
const ROUNDS: usize = 50;
/// Its path, its old values and its new ones; what was told before and where that is kept, which
/// stand beside the books until it is told.
const CHANGE: u64 = 5;
/// So that nothing is swept meanwhile.
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn freeze(cgroup: &Path, frozen: bool) {
    fs::write(cgroup.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
}

#[test]
fn a_wake_up_takes_no_memory() {
    let Some(own) = Own::new("allocations") else {
        assert!(std::env::var_os("CI").is_none(), "no hierarchy to write in");
        return;
    };
    // In one that nobody else knows: a birth beside it would wake the watcher, too.
    let cgroup = own.path().join("watched");
    fs::create_dir(&cgroup).unwrap();
    let mut watcher = Watcher::new(Options::new().sweep_interval(HOUR)).unwrap();
    watcher.add(&cgroup, Depth::All).unwrap();
    while !matches!(next(&mut watcher).kind, EventKind::Ready { .. }) {}

    let announced = Announced::of(&cgroup.join("cgroup.events"));
    for round in 0..WARMING + ROUNDS {
        let mut told = None;
        // There and back before it is read: a wake-up that has nothing to tell.
        freeze(&cgroup, true);
        freeze(&cgroup, false);
        // The kernel announces a file's changes once in 10 ms.
        announced.wait();
        let taken = measure(|| told = watcher.next().unwrap());
        assert_eq!(told, None);
        assert!(round < WARMING || taken.count_total == 0, "nothing is told, and {taken:?} taken");
    }
    for round in 0..WARMING + ROUNDS {
        let mut told = None;
        freeze(&cgroup, round % 2 == 0);
        let taken = measure(|| told = watcher.wait(PATIENCE).unwrap());
        let kind = told.unwrap().kind;
        assert!(matches!(kind, EventKind::Changed { .. }), "{kind:?}");
        assert!(round < WARMING || taken.count_total <= CHANGE, "{taken:?} taken for {kind:?}");
    }
}

/// Another watch of the same file: what it is told, the watcher has in its queue.
struct Announced(OwnedFd);

impl Announced {
    fn of(file: &Path) -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&queue, file, WatchFlags::MODIFY).unwrap();
        Self(queue)
    }

    fn wait(&self) {
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = PATIENCE.map(|patience| patience.try_into().unwrap());
        assert_eq!(poll(&mut ready, patience.as_ref()).unwrap(), 1, "the kernel announces it");
        let mut records = [0; 4096];
        while rustix::io::read(&self.0, &mut records).is_ok() {}
    }
}

fn next(watcher: &mut Watcher) -> Event {
    watcher.wait(PATIENCE).unwrap().expect("an event")
}
