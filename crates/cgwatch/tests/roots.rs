//! Several watched roots, and what becomes of one that is watched no more.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Depth, Driver, Event, EventKind, GapReason, LearnedFrom, Limits, Options, SimWorld, Strategy,
    Verb, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

/// `/a` and `/b`, and what the watcher of both has emitted so far is taken.
fn both() -> (Arc<Hierarchy>, Watcher<SimWorld>) {
    let hierarchy = Arc::new(Hierarchy::new(cgroup_sim::Options::default()));
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    let mut watcher =
        Watcher::simulated(SimWorld::new(Arc::clone(&hierarchy)), Options::new()).unwrap();
    for root in ["/a", "/b"] {
        hierarchy.mkdir(root).unwrap();
        hierarchy.write(format!("{root}/cgroup.subtree_control"), "+memory").unwrap();
        watcher.add(root.as_ref(), Depth::All).unwrap();
    }
    take(&mut watcher, usize::MAX);
    (hierarchy, watcher)
}

fn take(watcher: &mut Watcher<SimWorld>, most: usize) -> Vec<Event> {
    std::iter::from_fn(|| watcher.next().unwrap()).take(most).collect()
}

/// In each root a cgroup is born, counts in two files, and goes; another stays, populated.
fn stir(hierarchy: &Hierarchy) {
    for root in ["/a", "/b"] {
        let brief = hierarchy.mkdir(format!("{root}/brief")).unwrap();
        let stays = hierarchy.mkdir(format!("{root}/stays")).unwrap();
        hierarchy.count(stays, Counted::MemoryHigh, 1).unwrap();
        hierarchy.spawn(stays).unwrap();
        hierarchy.count(brief, Counted::MemoryMax, 2).unwrap();
        hierarchy.rmdir(format!("{root}/brief")).unwrap();
    }
    hierarchy.drain();
}

/// What events tell, without their numbers and times.
fn kinds(events: Vec<Event>, of: u64) -> Vec<EventKind> {
    let kinds = events.into_iter().map(|event| event.kind);
    kinds.filter(|kind| kind.cgroup().is_some_and(|cgroup| cgroup.root_id == of)).collect()
}

/// What had been made of one entry and waited to be taken was emitted all the same. Removed after any
/// number of events were taken, a root is silent, and the other one goes on as if nothing had happened.
#[test]
fn nothing_is_emitted_of_a_root_after_its_removal() {
    let (hierarchy, mut watcher) = both();
    stir(&hierarchy);
    let whole = take(&mut watcher, usize::MAX);
    for (removed, stays) in [("/a", "/b"), ("/b", "/a")] {
        for taken in 0..=whole.len() {
            let (hierarchy, mut watcher) = both();
            let [removed_id, stays_id] = [removed, stays].map(|p| hierarchy.find(p).unwrap());
            stir(&hierarchy);
            watcher.update().unwrap();
            let mut events = take(&mut watcher, taken);
            watcher.remove(removed.as_ref()).unwrap();
            let after = take(&mut watcher, usize::MAX);
            let told = kinds(after.clone(), removed_id);
            assert_eq!(told, [], "{removed} was removed after {taken} events");
            events.extend(after);
            assert_eq!(kinds(events, stays_id), kinds(whole.clone(), stays_id), "after {taken}");
        }
    }
}

/// The `ready` that ended a baseline in which the watch limit was met said that it ended a gap, so that
/// no baseline ever ended.
#[test]
fn a_baseline_ends_with_its_own_ready_whatever_happens_during_it() {
    for (first, limit) in (1..=10).flat_map(|limit| [(true, limit), (false, limit)]) {
        let hierarchy = Arc::new(Hierarchy::new(cgroup_sim::Options::default()));
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let world = world.limits(Limits { marks: limit, ..Limits::default() });
        let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
        let mut add = |root: &str, take_now: bool| {
            hierarchy.mkdir(root).unwrap();
            hierarchy.mkdir(format!("{root}/child")).unwrap();
            watcher.add(root.as_ref(), Depth::All).unwrap();
            match take_now {
                true => take(&mut watcher, usize::MAX),
                false => Vec::new(),
            }
        };
        // The second one's baseline, too, whether or not the first one's was taken before.
        let mut events = add("/a", first);
        events.extend(add("/b", true));
        let mut readies = Vec::new();
        let mut gaps = 0;
        for event in events {
            match event.kind {
                EventKind::Ready { after_gap, .. } => readies.push(after_gap),
                EventKind::Gap { reason: GapReason::WatchLimit { .. }, .. } => gaps += 1,
                _ => {}
            }
        }
        let expected: &[bool] = if first { &[false, false] } else { &[false] };
        assert_eq!(readies, expected, "{limit} watches");
        assert!(gaps <= 1, "{limit} watches: {gaps} gaps");
    }
}

/// A removed root of Linux 7.0 says nothing itself.
fn silent(roots: &[&str]) -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    let hierarchy = Hierarchy::new(options);
    for root in roots {
        hierarchy.mkdir(root).unwrap();
    }
    Arc::new(hierarchy)
}

/// That a root has gone is emitted at once, as the directory above it says so.
fn is_heard_of(watcher: &mut Watcher<SimWorld>) -> bool {
    let mut events = take(watcher, usize::MAX).into_iter();
    events.any(|event| {
        matches!(event.kind, EventKind::Removed { learned_from: LearnedFrom::Parent, .. })
    })
}

/// The watch above several roots lasts as long as one of them is watched, and no longer.
#[test]
fn the_watch_above_a_root_ends_with_the_last_root_below_it() {
    let hierarchy = silent(&["/one", "/two", "/dir", "/dir/three"]);
    let mut watcher =
        Watcher::simulated(SimWorld::new(Arc::clone(&hierarchy)), Options::new()).unwrap();
    watcher.add("/one".as_ref(), Depth::All).unwrap();
    let of_one = watcher.world().watches();
    watcher.add("/dir/three".as_ref(), Depth::All).unwrap();
    watcher.remove("/dir/three".as_ref()).unwrap();
    assert_eq!(watcher.world().watches(), of_one);
    watcher.add("/two".as_ref(), Depth::All).unwrap();
    watcher.remove("/one".as_ref()).unwrap();
    hierarchy.rmdir("/two").unwrap();
    assert!(is_heard_of(&mut watcher));
    assert_eq!(watcher.world().watches(), 0);
}

/// The directory with this id cannot be watched for some time.
struct Unwatchable {
    directory: u64,
    times: usize,
}

impl Driver for Unwatchable {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        let refuses = verb == Verb::Watch && directory == self.directory && self.times > 0;
        self.times -= usize::from(refuses);
        refuses.then_some(Errno::ACCESS)
    }
}

/// Where what is above a root could not be watched, that is tried again.
#[test]
fn what_is_above_a_root_is_watched_as_soon_as_it_can_be() {
    let hierarchy = silent(&["/dir", "/dir/one"]);
    let directory = hierarchy.find("/dir").unwrap();
    let world =
        SimWorld::new(Arc::clone(&hierarchy)).driven_by(Unwatchable { directory, times: 2 });
    let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
    watcher.add("/dir/one".as_ref(), Depth::All).unwrap();
    // Some sweeps.
    while watcher.wait(Some(Duration::from_secs(90))).unwrap().is_some() {}
    hierarchy.rmdir("/dir/one").unwrap();
    assert!(is_heard_of(&mut watcher));
}

/// It has ended once all is emitted, and not before.
#[test]
fn a_watcher_has_ended_with_its_last_event() {
    let hierarchy = silent(&["/one", "/one/below"]);
    let world = SimWorld::new(Arc::clone(&hierarchy));
    let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
    watcher.add("/one".as_ref(), Depth::All).unwrap();
    take(&mut watcher, usize::MAX);
    for path in ["/one/below", "/one"] {
        hierarchy.rmdir(path).unwrap();
    }
    watcher.update().unwrap();
    for left in (0..2).rev() {
        assert!(!watcher.has_ended());
        assert!(watcher.wait(None).unwrap().is_some(), "and {left} more");
    }
    assert!(watcher.has_ended());
    assert!(watcher.wait(None).unwrap().is_none());
}

/// By the mark on the superblock one reading of the queue has the deaths of a cgroup elsewhere, of the root,
/// and of what the root lies in. That is outside of what is watched, and the root's own death in it was
/// dropped with all others in it, if it was looked at first.
#[test]
fn a_root_that_dies_with_what_it_lies_in_is_removed() {
    // Where no file says that it goes.
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    let hierarchy = Arc::new(Hierarchy::new(options));
    for path in ["/other", "/other/brief", "/top", "/top/outside", "/top/outside/root"] {
        hierarchy.mkdir(path).unwrap();
    }
    let options = Options::new().strategy(Strategy::Fanotify);
    let world = SimWorld::new(Arc::clone(&hierarchy));
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add("/top/outside/root".as_ref(), Depth::All).unwrap();
    take(&mut watcher, usize::MAX);
    for path in ["/other/brief", "/top/outside/root", "/top/outside"] {
        hierarchy.rmdir(path).unwrap();
    }
    hierarchy.drain();
    let events = take(&mut watcher, usize::MAX);
    assert!(matches!(events[..], [Event { kind: EventKind::Removed { .. }, .. }]), "{events:?}");
    assert!(watcher.has_ended());
}
