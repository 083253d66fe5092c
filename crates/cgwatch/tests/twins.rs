//! What is a cgroup's own, by the `.local` twins of its files: where there are none, where they cannot be
//! read, and where they show less than before.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cgwatch::{
    Depth, Driver, Event, EventKind, Options, SimWorld, Strategy, Verb, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, MountOptions, Profile},
};
use rustix::io::Errno;

use self::sim::listen;

const FILES: [&str; 2] = ["memory.events", "pids.events"];
/// Some sweeps of the usual 30 s.
const SWEPT: Duration = Duration::from_secs(90);
/// None.
const BRIEF: Duration = Duration::from_secs(1);

fn services(pids_sums: bool) -> Arc<Hierarchy> {
    let profile = Profile::Linux71;
    let options = cgroup_sim::Options { profile, pids_sums, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory +pids")
}

fn parent(hierarchy: &Hierarchy, path: &str) -> u64 {
    let id = hierarchy.mkdir(path).unwrap();
    hierarchy.write(format!("{path}/cgroup.subtree_control"), "+memory +pids").unwrap();
    id
}

/// What is said to have been counted of this key by one cgroup itself.
fn own(events: &[Event], path: &str, key: &str) -> i128 {
    let own = events.iter().map(|event| match &event.kind {
        EventKind::Changed { cgroup, own: Some(own), .. } if cgroup.path.to_string() == path => {
            own.get(key).unwrap_or(0)
        }
        _ => 0,
    });
    own.sum()
}

/// Linux 6.1 has no `pids.events.local`: of what died no parent knows what it had counted there.
#[test]
fn a_kernel_without_a_twin_is_known_by_its_first_reading() {
    for pids_sums in [false, true] {
        let hierarchy = services(pids_sums);
        hierarchy.mkdir("/services/web").unwrap();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = sim::watcher(world, Options::new().files(FILES), "/services");
        listen(&mut watcher, SWEPT);
        hierarchy.rmdir("/services/web").unwrap();
        let events = listen(&mut watcher, SWEPT);
        let unseen = events.iter().find_map(|event| match &event.kind {
            EventKind::Removed { unseen, .. } => Some(unseen),
            _ => None,
        });
        let unknown: Vec<_> =
            unseen.unwrap().files.iter().map(|(name, amount)| (&**name, amount)).collect();
        let expected = if pids_sums { vec![] } else { vec![("pids.events", &None)] };
        assert_eq!(unknown, expected);
    }
}

/// The very first twin that is read is that of a cgroup that has just gone: that says nothing of the
/// kernel.
#[test]
fn a_twin_that_went_with_its_cgroup_is_one_that_the_kernel_has() {
    struct Goes {
        at: u64,
        calls: Arc<AtomicU64>,
    }
    impl Driver for Goes {
        fn between_calls(&mut self, hierarchy: &Hierarchy) {
            if hierarchy.find("/job/brief").is_some() && self.calls.fetch_add(1, SeqCst) == self.at
            {
                hierarchy.rmdir("/job/brief").unwrap();
                hierarchy.rmdir("/job").unwrap();
            }
        }
    }
    for at in 0.. {
        let hierarchy = services(true);
        for root in ["/job", "/other"] {
            parent(&hierarchy, root);
        }
        let calls = Arc::new(AtomicU64::new(0));
        let driver = Goes { at, calls: Arc::clone(&calls) };
        let world = SimWorld::new(Arc::clone(&hierarchy)).driven_by(driver);
        let mut watcher = Watcher::simulated(world, Options::new().files(FILES)).unwrap();
        for root in ["/job", "/other"] {
            watcher.add(root.as_ref(), Depth::All).unwrap();
        }
        listen(&mut watcher, SWEPT);
        let brief = hierarchy.mkdir("/job/brief").unwrap();
        hierarchy.count(brief, Counted::MemoryHigh, 1).unwrap();
        listen(&mut watcher, SWEPT);
        if calls.load(SeqCst) <= at {
            return; // it makes no more calls
        }
        let guilty = hierarchy.mkdir("/other/guilty").unwrap();
        listen(&mut watcher, SWEPT);
        hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir("/other/guilty").unwrap();
        let recovered: u64 = listen(&mut watcher, SWEPT)
            .iter()
            .map(|event| match &event.kind {
                EventKind::Removed { unseen, .. } => unseen.get("memory.events", "high"),
                _ => 0,
            })
            .sum();
        assert_eq!(recovered, 3, "before call {at}");
    }
}

/// What may not be done in one directory: to list it, and to read what is opened by its name.
struct Closed {
    directory: u64,
    /// Both, only the latter, or neither.
    locks: Arc<AtomicU64>,
    by_name: bool,
}

impl Driver for Closed {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        let locks = self.locks.load(SeqCst);
        if verb == Verb::Open {
            self.by_name = directory == self.directory;
        }
        let listed = verb == Verb::List && directory == self.directory && locks > 1;
        let read = verb == Verb::Read && self.by_name && locks > 0;
        (listed || read).then_some(Errno::IO)
    }
}

/// Nothing could be found out of a child, nor of whose the counts were: they were called the parent's own,
/// which is taken back.
#[test]
fn what_was_called_its_own_by_mistake_is_taken_back() {
    let hierarchy = services(true);
    let web = parent(&hierarchy, "/services/web");
    let locks = Arc::new(AtomicU64::new(0));
    let driver = Closed { directory: web, locks: Arc::clone(&locks), by_name: false };
    let world = SimWorld::new(Arc::clone(&hierarchy)).driven_by(driver);
    let mut watcher = sim::watcher(world, Options::new().strategy(Strategy::Sweep), "/services");
    let mut events = listen(&mut watcher, SWEPT);
    locks.store(2, SeqCst);
    let worker = hierarchy.mkdir("/services/web/worker").unwrap();
    hierarchy.count(worker, Counted::MemoryHigh, 3).unwrap();
    events.extend(listen(&mut watcher, SWEPT));
    assert_eq!(own(&events, "/web", "high"), 3, "nobody else is known");
    for lock in [1, 0] {
        locks.store(lock, SeqCst);
        events.extend(listen(&mut watcher, SWEPT));
    }
    hierarchy.count(web, Counted::MemoryHigh, 1).unwrap();
    events.extend(listen(&mut watcher, SWEPT));
    assert_eq!(own(&events, "/web", "high"), 1);
    assert_eq!(own(&events, "/web/worker", "high"), 3);
}

/// Where names alone are to go by, what a twin shows that took another's place is not believed.
#[test]
fn what_another_files_twin_shows_takes_nothing_back() {
    struct Replaces {
        at: u64,
        calls: Arc<AtomicU64>,
    }
    impl Driver for Replaces {
        fn between_calls(&mut self, hierarchy: &Hierarchy) {
            if self.calls.fetch_add(1, SeqCst) == self.at {
                let below = "/services/web/cgroup.subtree_control";
                let above = "/services/cgroup.subtree_control";
                for (file, sign) in [(below, '-'), (above, '-'), (above, '+'), (below, '+')] {
                    hierarchy.write(file, &format!("{sign}memory")).unwrap();
                }
            }
        }
    }
    for at in 0.. {
        let hierarchy = services(true);
        let web = parent(&hierarchy, "/services/web");
        hierarchy.mkdir("/services/web/worker").unwrap();
        hierarchy.count(web, Counted::MemoryHigh, 3).unwrap();
        let calls = Arc::new(AtomicU64::new(u64::MAX / 2));
        let driver = Replaces { at, calls: Arc::clone(&calls) };
        let world = SimWorld::new(Arc::clone(&hierarchy)).by_id(false).driven_by(driver);
        let mut watcher = sim::watcher(world, Options::new(), "/services");
        listen(&mut watcher, SWEPT);
        hierarchy.count(web, Counted::MemoryHigh, 1).unwrap();
        calls.store(0, SeqCst);
        let mut events = listen(&mut watcher, BRIEF);
        if calls.load(SeqCst) <= at {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher, SWEPT));
        for event in &events {
            let EventKind::Changed { own: Some(own), .. } = &event.kind else { continue };
            assert!(own.0.iter().all(|(_, by)| *by >= 0), "before call {at}: {event:?}");
        }
    }
}

/// A parent counts itself, and a mount option is switched, while what its dead child had counted is looked
/// for: its own is not taken for the child's because of that.
#[test]
fn what_is_its_own_when_a_mount_option_is_switched_is_told_once() {
    struct Switches {
        calls: Arc<AtomicU64>,
        counts: u64,
        switches: u64,
    }
    impl Driver for Switches {
        fn between_calls(&mut self, hierarchy: &Hierarchy) {
            let call = self.calls.fetch_add(1, SeqCst);
            if call == self.counts {
                let services = hierarchy.find("/services").unwrap();
                hierarchy.count(services, Counted::MemoryHigh, 1).unwrap();
            }
            if call == self.switches {
                let memory_localevents = true;
                hierarchy.remount(MountOptions { memory_localevents, ..hierarchy.mount_options() });
            }
        }
    }
    for (counts, later) in (0..).flat_map(|counts| (0..4).map(move |later| (counts, later))) {
        let hierarchy = services(true);
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        let calls = Arc::new(AtomicU64::new(u64::MAX / 2));
        let driver = Switches { calls: Arc::clone(&calls), counts, switches: counts + later };
        let world = SimWorld::new(Arc::clone(&hierarchy)).driven_by(driver);
        let mut watcher = sim::watcher(world, Options::new(), "/services");
        listen(&mut watcher, SWEPT);
        hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir("/services/guilty").unwrap();
        calls.store(0, SeqCst);
        let mut events = listen(&mut watcher, BRIEF);
        if calls.load(SeqCst) <= counts {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher, SWEPT));
        let mut told = own(&events, "/", "high") + own(&events, "/guilty", "high");
        for event in &events {
            told += i128::from(match &event.kind {
                EventKind::Removed { unseen, .. } => unseen.get("memory.events", "high"),
                EventKind::Changed { late, .. } => late.get("high").unwrap_or(0),
                _ => 0,
            });
        }
        assert!(told <= 4, "before calls {counts} and {later} later: {told}");
    }
}
