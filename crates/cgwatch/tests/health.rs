//! What a watcher says of itself: what it was asked for, what it holds, what it lacks.
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
    Depth, Driver, Event, EventKind, GapReason, LearnedFrom, Options, SimWorld, Strategy, Verb,
    Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

const ALL: [Strategy; 3] = [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep];
/// Some sweeps.
const LONG: Duration = Duration::from_secs(90);

fn services() -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile: Profile::Linux71, ..Default::default() };
    let hierarchy = sim::hierarchy(options, "/services", "+memory");
    for path in ["/other", "/services/web", "/services/web/worker"] {
        hierarchy.mkdir(path).unwrap();
    }
    hierarchy
}

fn watcher(world: SimWorld, options: Options) -> Watcher<SimWorld> {
    sim::watcher(world, options, "/services")
}

fn listen(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    sim::listen(watcher, LONG)
}

#[test]
fn it_says_what_it_was_asked_for() {
    for strategy in ALL {
        let files = ["memory.events", "pids.events"];
        let interval = Duration::from_secs(7);
        let options = Options::new().strategy(strategy).files(files).sweep_interval(interval);
        let start = watcher(SimWorld::new(services()), options).start();
        assert_eq!((start.strategy, start.sweep_interval), (strategy, interval));
        // The state of a cgroup is always read.
        assert!(files.iter().all(|file| start.files.iter().any(|said| said == file)), "{start:?}");
    }
}

#[test]
fn it_counts_what_is_alive() {
    for strategy in ALL {
        let hierarchy = services();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = watcher(world, Options::new().strategy(strategy));
        let ready = listen(&mut watcher).into_iter().find_map(|event| match event.kind {
            EventKind::Ready { cgroups, .. } => Some(cgroups),
            _ => None,
        });
        assert_eq!((ready, watcher.usage().cgroups), (Some(3), 3), "{strategy:?}");
        hierarchy.rmdir("/services/web/worker").unwrap();
        listen(&mut watcher);
        assert_eq!(watcher.usage().cgroups, 2, "{strategy:?}");
        hierarchy.mkdir("/services/db").unwrap();
        listen(&mut watcher);
        assert_eq!((watcher.usage().cgroups, watcher.usage().pending), (3, 0), "{strategy:?}");
        let is_watched = strategy != Strategy::Sweep;
        for cgroup in watcher.snapshot() {
            assert_eq!(cgroup.watched, is_watched, "{strategy:?}: {}", cgroup.cgroup.path);
        }
        let unwatched = watcher.usage().unwatched;
        assert_eq!(unwatched, if is_watched { 0 } else { 3 }, "{strategy:?}");
    }
}

/// As long as this is its id, and 0 is none, nothing can be opened by it.
struct Refuses(Arc<AtomicU64>, Verb);

impl Driver for Refuses {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        let closed = self.0.load(SeqCst);
        (verb == self.1 && directory == closed && closed != 0).then_some(Errno::IO)
    }
}

fn refusing(hierarchy: &Arc<Hierarchy>, verb: Verb) -> (SimWorld, Arc<AtomicU64>) {
    let closed = Arc::new(AtomicU64::new(0));
    let driver = Refuses(Arc::clone(&closed), verb);
    (SimWorld::new(Arc::clone(hierarchy)).driven_by(driver), closed)
}

/// One that lacks a watch is counted, until it goes or has it.
#[test]
fn it_counts_what_lacks_a_watch() {
    let hierarchy = services();
    let (world, closed) = refusing(&hierarchy, Verb::Watch);
    closed.store(hierarchy.find("/services/web/worker").unwrap(), SeqCst);
    let mut watcher = watcher(world, Options::new().strategy(Strategy::Inotify));
    listen(&mut watcher);
    let lacks = |watcher: &Watcher<SimWorld>| {
        let snapshot = watcher.snapshot();
        let paths = snapshot.iter().filter(|cgroup| !cgroup.watched);
        paths.map(|cgroup| cgroup.cgroup.path.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((watcher.usage().unwatched, lacks(&watcher)), (1, vec!["/web/worker".to_owned()]));
    hierarchy.rmdir("/services/web/worker").unwrap();
    listen(&mut watcher);
    assert_eq!((watcher.usage().unwatched, lacks(&watcher)), (0, vec![]));
}

/// A reader that takes events slowly, one at a time, is told what is true by then.
#[test]
fn while_events_wait_the_world_is_looked_at() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let hierarchy = services();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = watcher(world, Options::new().strategy(strategy));
        assert!(watcher.next().unwrap().is_some());
        let web = hierarchy.find("/services/web").unwrap();
        hierarchy.spawn(web).unwrap();
        // The last of them is still to be taken.
        hierarchy.advance(Duration::from_millis(11));
        assert!(watcher.next().unwrap().is_some());
        assert!(watcher.usage().pending > 0, "{strategy:?}");
        let snapshot = watcher.snapshot();
        let web = snapshot.iter().find(|cgroup| cgroup.cgroup.id == Some(web)).unwrap();
        let populated = web.files.get("cgroup.events").and_then(|file| file.get("populated"));
        assert_eq!(populated, Some(1), "{strategy:?}");
    }
}

/// At the depth that is watched no more births are heard of, so that nothing is watched for them,
/// neither at first nor when it is looked at again.
#[test]
fn what_is_as_deep_as_is_watched_has_no_watch_for_births() {
    let hierarchy = services();
    let world = SimWorld::new(Arc::clone(&hierarchy));
    let options = Options::new().strategy(Strategy::Inotify);
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add("/services".as_ref(), Depth::AtMost(1)).unwrap();
    let watches = watcher.world().watches();
    listen(&mut watcher);
    hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
    listen(&mut watcher);
    assert_eq!(watcher.world().watches(), watches);
}

/// How a removal was learned of.
#[test]
fn it_says_how_it_learned_of_a_removal() {
    let how = [
        (Strategy::Inotify, LearnedFrom::Parent),
        (Strategy::Fanotify, LearnedFrom::Fanotify),
        (Strategy::Sweep, LearnedFrom::Sweep),
    ];
    for (strategy, expected) in how {
        let hierarchy = services();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = watcher(world, Options::new().strategy(strategy));
        listen(&mut watcher);
        hierarchy.rmdir("/services/web/worker").unwrap();
        let removed = listen(&mut watcher).into_iter().find_map(|event| match event.kind {
            EventKind::Removed { learned_from, .. } => Some(learned_from),
            _ => None,
        });
        assert_eq!(removed, Some(expected));
    }
}

/// By sweeps alone, a file that took another's place between two of them is another file, even if it
/// shows no less.
#[test]
fn a_file_that_shows_no_less_is_another_one_by_its_id() {
    let hierarchy = services();
    let web = hierarchy.find("/services/web").unwrap();
    let world = SimWorld::new(Arc::clone(&hierarchy));
    let mut watcher = watcher(world, Options::new().strategy(Strategy::Sweep));
    listen(&mut watcher);
    for sign in ["-", "+"] {
        hierarchy.write("/services/cgroup.subtree_control", &format!("{sign}memory")).unwrap();
    }
    hierarchy.count(web, Counted::MemoryHigh, 3).unwrap();
    let told = listen(&mut watcher).into_iter().filter_map(|event| match event.kind {
        EventKind::FileRemoved { file, .. } => Some(format!("-{file}")),
        EventKind::FileAdded { files, .. } => Some(format!("+{}", files.iter().next().unwrap().0)),
        EventKind::Changed { cgroup, file, .. } if cgroup.id == Some(web) => {
            Some(format!("{file} changed"))
        }
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["-memory.events", "+memory.events"]);
}

/// Files that are asked for by a pattern are found, whether or not they can be opened by their ids.
#[test]
fn files_of_a_pattern_are_found() {
    for (strategy, by_id) in
        ALL.into_iter().flat_map(|strategy| [true, false].map(|by_id| (strategy, by_id)))
    {
        if strategy == Strategy::Fanotify && !by_id {
            continue;
        }
        let world = SimWorld::new(services()).by_id(by_id);
        let options = Options::new().strategy(strategy).files(["memory.e*"]);
        let mut watcher = watcher(world, options);
        listen(&mut watcher);
        let snapshot = watcher.snapshot();
        let web = &snapshot[1];
        assert_eq!(web.cgroup.path.to_string(), "/web");
        assert!(web.files.get("memory.events").is_some(), "{strategy:?} {by_id}: {web:?}");
    }
}

fn gaps(events: &[Event]) -> Vec<(Option<u64>, Errno)> {
    let gaps = events.iter().filter_map(|event| match &event.kind {
        EventKind::Gap { reason, .. } => Some(reason),
        _ => None,
    });
    gaps.map(|reason| match reason {
        GapReason::Inaccessible { cgroup, errno } => (cgroup.id, *errno),
        other => panic!("{other:?}"),
    })
    .collect()
}

/// A record tells of a death in a directory that nobody knows, and cannot be asked where it lies: it
/// may be below the root.
#[test]
fn it_says_when_it_cannot_learn_where_one_died() {
    for fails in [false, true] {
        let hierarchy = services();
        let (world, closed) = refusing(&hierarchy, Verb::Open);
        let mut watcher = watcher(world, Options::new().strategy(Strategy::Fanotify));
        listen(&mut watcher);
        hierarchy.mkdir("/other/brief").unwrap();
        hierarchy.rmdir("/other/brief").unwrap();
        if fails {
            closed.store(hierarchy.find("/other").unwrap(), SeqCst);
        }
        let root = hierarchy.find("/services");
        let expected = fails.then_some((root, Errno::IO));
        assert_eq!(gaps(&listen(&mut watcher)), Vec::from_iter(expected));
    }
}

/// A cgroup could not be looked at, and its root is watched no more before that was taken: there is no
/// gap that a `ready` could end.
#[test]
fn no_ready_ends_a_gap_that_was_never_told() {
    let hierarchy = services();
    let (world, closed) = refusing(&hierarchy, Verb::List);
    let mut watcher = watcher(world, Options::new().strategy(Strategy::Sweep));
    watcher.add("/other".as_ref(), Depth::All).unwrap();
    listen(&mut watcher);
    closed.store(hierarchy.find("/other").unwrap(), SeqCst);
    for _ in 0..9 {
        hierarchy.advance(Duration::from_secs(10));
        watcher.update().unwrap();
    }
    assert!(watcher.usage().pending > 0);
    watcher.remove("/other".as_ref()).unwrap();
    let told = listen(&mut watcher);
    assert!(told.is_empty(), "{told:?}");
}
