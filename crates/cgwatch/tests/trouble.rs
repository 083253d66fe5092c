//! Calls that fail though the cgroup is there: too many open files, no permission, an error of the
//! file system. Nothing is taken for gone because of it, it is said, and the sweeps make it good.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cgwatch::{
    Depth, Driver, Error, Event, EventKind, GapReason, Options, SimWorld, Strategy, Verb, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

const SECOND: u64 = 1_000_000_000;
/// Some sweeps of the usual 30 s.
const LONG: Option<Duration> = Some(Duration::from_secs(150));

fn hierarchy() -> Arc<Hierarchy> {
    let hierarchy =
        Hierarchy::new(cgroup_sim::Options { profile: Profile::Linux71, ..Default::default() });
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    for path in ["/top", "/top/a", "/top/a/b", "/top/c"] {
        hierarchy.mkdir(path).unwrap();
    }
    hierarchy.write("/top/cgroup.subtree_control", "+memory").unwrap();
    hierarchy.write("/top/a/cgroup.subtree_control", "+memory").unwrap();
    Arc::new(hierarchy)
}

fn id(hierarchy: &Hierarchy, path: &str) -> u64 {
    hierarchy.mount().pin(path).unwrap().stat().ino
}

/// Takes every event until nothing is told for so long.
fn all(watcher: &mut Watcher<SimWorld>, patience: Option<Duration>) -> Vec<Event> {
    // So many, and it would never end.
    std::iter::from_fn(|| watcher.wait(patience).unwrap()).take(10_000).collect()
}

fn gaps(events: &[Event]) -> Vec<&GapReason> {
    let kinds = events.iter().map(|event| &event.kind);
    kinds
        .filter_map(|kind| match kind {
            EventKind::Gap { reason, .. } => Some(reason),
            _ => None,
        })
        .collect()
}

fn known(watcher: &Watcher<SimWorld>) -> BTreeSet<String> {
    let snapshot = watcher.snapshot();
    let path = |cgroup: &cgwatch::Snapshot| {
        let files = cgroup.files.iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
        format!("{} {files}", cgroup.cgroup.path)
    };
    snapshot.iter().map(path).collect()
}

/// The call with this number fails once, while something happens to the hierarchy.
struct FailsOnce {
    at: u64,
    errno: Errno,
    calls: u64,
    failed: Arc<AtomicBool>,
    step: usize,
}

impl Driver for FailsOnce {
    fn refuses(&mut self, _: Verb, _: u64) -> Option<Errno> {
        let fails = self.calls == self.at;
        self.calls += 1;
        self.failed.fetch_or(fails, SeqCst);
        fails.then_some(self.errno)
    }

    fn act(&mut self, hierarchy: &Hierarchy) {
        match self.step {
            0 => drop(hierarchy.mkdir("/top/new").unwrap()),
            1 => hierarchy.count(id(hierarchy, "/top/a/b"), Counted::MemoryHigh, 2).unwrap(),
            2 => hierarchy.rmdir("/top/c").unwrap(),
            3 => drop(hierarchy.mkdir("/top/c").unwrap()),
            4 => hierarchy.rmdir("/top/a/b").unwrap(),
            _ => {
                hierarchy.write("/top/a/cgroup.subtree_control", "-memory").unwrap();
                hierarchy.write("/top/cgroup.subtree_control", "-memory").unwrap();
            }
        }
        self.step += 1;
    }

    fn next_ns(&mut self) -> Option<u64> {
        (self.step < 6).then(|| (self.step as u64 + 1) * SECOND)
    }
}

/// Whichever call fails, by whatever it fails, and however it watches: it is said (as an error where
/// nothing is watched yet), nothing that lives is told to be gone, and after some sweeps everything is
/// known again.
#[test]
fn each_call_may_fail_and_all_that_is_said() {
    let errnos = [Errno::MFILE, Errno::ACCESS, Errno::IO, Errno::XDEV];
    let mut tried = 0;
    for strategy in [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep] {
        for by_id in [true, false] {
            if strategy == Strategy::Fanotify && !by_id {
                continue;
            }
            let mut watches = Vec::new();
            for at in 0.. {
                let errno = errnos[usize::try_from(at).unwrap() % errnos.len()];
                let failed = Arc::new(AtomicBool::new(false));
                let driver =
                    FailsOnce { at, errno, calls: 0, failed: Arc::clone(&failed), step: 0 };
                let hierarchy = hierarchy();
                let gone = ["/top/a/b", "/top/c"].map(|path| id(&hierarchy, path));
                let world = SimWorld::new(Arc::clone(&hierarchy)).by_id(by_id).driven_by(driver);
                let options = Options::new().strategy(strategy);
                let mut watcher = Watcher::simulated(world, options).unwrap();
                let what = format!("{strategy:?}, by id: {by_id}, call {at} fails: {errno:?}");
                match watcher.add("/top".as_ref(), Depth::All) {
                    Ok(()) => {}
                    Err(Error::Path { source, .. }) => {
                        assert_eq!(source, errno, "{what}");
                        continue;
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                let events = all(&mut watcher, LONG);
                watches.push((watcher.world().watches(), what.clone()));
                check(&watcher, &events, gone, &what);
                if !failed.load(SeqCst) {
                    assert!(gaps(&events).is_empty(), "{what}: {:?}", gaps(&events));
                    break;
                }
                tried += 1;
                let gaps = gaps(&events);
                let [gap] = gaps[..] else { panic!("{what}: {gaps:?}") };
                match gap {
                    GapReason::DescriptorLimit { .. } => assert_eq!(errno, Errno::MFILE, "{what}"),
                    GapReason::Inaccessible { errno: said, .. } => {
                        assert_eq!(*said, errno, "{what}");
                    }
                    other => panic!("{what}: {other:?}"),
                }
            }
            // All is watched again that is watched where no call fails.
            let (usual, _) = watches.pop().unwrap();
            for (watches, what) in watches {
                assert_eq!(watches, usual, "{what}");
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

fn check(watcher: &Watcher<SimWorld>, events: &[Event], gone: [u64; 2], what: &str) {
    let (mut appeared, mut removed) = (BTreeSet::new(), BTreeSet::new());
    let mut open = false;
    for event in events {
        match &event.kind {
            EventKind::Appeared { cgroup, .. } => appeared.extend(cgroup.id),
            EventKind::Removed { cgroup, .. } => {
                assert!(removed.insert(cgroup.id.unwrap()), "{what}: twice: {event:?}");
            }
            EventKind::Gap { .. } => open = true,
            EventKind::Ready { .. } => open = false,
            _ => {}
        }
    }
    assert!(!open, "{what}: no ready after a gap");
    // Those of which nothing was known when they went are told in no event.
    let known_and_gone: BTreeSet<_> = gone.into_iter().filter(|id| appeared.contains(id)).collect();
    assert_eq!(removed, known_and_gone, "{what}");
    let all = ["/", "/a", "/c", "/new"];
    let files = ["cgroup.events memory.events", "cgroup.events"];
    let with = |path: &str| format!("{path} {}", files[usize::from(path != "/")]);
    assert_eq!(known(watcher), all.iter().map(|path| with(path)).collect(), "{what}");
}

/// One directory that may not be listed, read and watched for as long as the switch is on.
struct Closed {
    directory: u64,
    on: Arc<AtomicU64>,
    errno: Errno,
}

impl Driver for Closed {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        let is_closed = self.on.load(SeqCst) == 1 && directory == self.directory;
        (is_closed && verb != Verb::Open).then_some(self.errno)
    }
}

fn closed(strategy: Strategy, errno: Errno) -> (Watcher<SimWorld>, Arc<AtomicU64>, u64) {
    let hierarchy = hierarchy();
    let directory = id(&hierarchy, "/top/a");
    let on = Arc::new(AtomicU64::new(1));
    let driver = Closed { directory, on: Arc::clone(&on), errno };
    let world = SimWorld::new(hierarchy).by_id(false).driven_by(driver);
    let mut watcher = Watcher::simulated(world, Options::new().strategy(strategy)).unwrap();
    watcher.add("/top".as_ref(), Depth::All).unwrap();
    (watcher, on, directory)
}

/// Its owner closes a directory and opens it again, more than once: each time it is said once, however
/// many sweeps find it so, and what was in it is told when it is open, and never that it is gone.
#[test]
fn a_directory_that_may_not_be_listed_is_said_once_each_time() {
    for strategy in [Strategy::Inotify, Strategy::Sweep] {
        for errno in [Errno::ACCESS, Errno::PERM, Errno::IO] {
            let (mut watcher, on, a) = closed(strategy, errno);
            assert_eq!(watcher.start().unwatched > 0, strategy == Strategy::Inotify);
            let said = |events: &[Event]| {
                let gaps = gaps(events).into_iter();
                gaps.map(|reason| match reason {
                    GapReason::Inaccessible { cgroup, errno } => (cgroup.id.unwrap(), *errno),
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
            };
            let appeared = |events: &[Event]| {
                let appeared = events.iter().filter_map(|event| match &event.kind {
                    EventKind::Appeared { cgroup, .. } => Some(cgroup.path.to_string()),
                    EventKind::Removed { .. } => panic!("{event:?}"),
                    _ => None,
                });
                appeared.collect::<Vec<_>>()
            };
            let events = all(&mut watcher, LONG);
            assert_eq!(said(&events), [(a, errno)], "{strategy:?}");
            assert_eq!(appeared(&events), ["/", "/a", "/c"], "{strategy:?}");
            on.store(0, SeqCst);
            let events = all(&mut watcher, LONG);
            assert_eq!((said(&events), appeared(&events)), (vec![], vec!["/a/b".to_owned()]));
            assert_eq!(watcher.start().unwatched, 0);
            on.store(1, SeqCst);
            let events = all(&mut watcher, LONG);
            // By notifications all of it is known, and is read anew by each sweep.
            assert_eq!((said(&events), appeared(&events)), (vec![(a, errno)], vec![]));
            on.store(0, SeqCst);
            assert!(all(&mut watcher, LONG).is_empty());
            assert_eq!(known(&watcher).len(), 4);
        }
    }
}

/// The limit on open files is met in many calls, and said once; again when it is met again, after a
/// sweep without.
#[test]
fn the_limit_on_open_files_is_said_once_an_episode() {
    struct Few(Arc<AtomicBool>);
    impl Driver for Few {
        fn refuses(&mut self, verb: Verb, _: u64) -> Option<Errno> {
            (verb == Verb::Open && self.0.load(SeqCst)).then_some(Errno::NFILE)
        }
    }
    let few = Arc::new(AtomicBool::new(false));
    let world = SimWorld::new(hierarchy()).driven_by(Few(Arc::clone(&few)));
    let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
    watcher.add("/top".as_ref(), Depth::All).unwrap();
    assert!(gaps(&all(&mut watcher, LONG)).is_empty());
    for _ in 0..2 {
        few.store(true, SeqCst);
        let events = all(&mut watcher, LONG);
        let gaps = gaps(&events);
        let [GapReason::DescriptorLimit { limit, .. }] = gaps[..] else { panic!("{gaps:?}") };
        assert_eq!(limit, "fs.file-max");
        assert!(matches!(events.last().unwrap().kind, EventKind::Ready { after_gap: true, .. }));
        few.store(false, SeqCst);
        assert!(all(&mut watcher, LONG).is_empty());
        assert_eq!(watcher.usage().unwatched, 0);
    }
}
