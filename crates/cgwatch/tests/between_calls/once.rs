//! Each life is told once, in a name that others bore before and bear after it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use cgwatch::{
    Event, EventKind, Options, Strategy,
    cgroup_sim::{Hierarchy, Profile},
};

use super::{Clock, Timed, listen, services, settled, watcher, world};

/// Every way to hear of births and deaths: the strategy, and whether cgroups are opened by their ids.
const WAYS: [(Strategy, bool); 3] =
    [(Strategy::Inotify, true), (Strategy::Inotify, false), (Strategy::Fanotify, true)];

/// How often paths are told to appear and to be removed.
fn lives(events: &[Event]) -> BTreeMap<String, (u32, u32)> {
    let mut lives = BTreeMap::<String, (u32, u32)>::new();
    for event in events {
        let Some(cgroup) = event.kind.cgroup() else { continue };
        let (born, gone) = lives.entry(cgroup.path.to_string()).or_default();
        match event.kind {
            EventKind::Appeared { .. } => *born += 1,
            EventKind::Removed { .. } => *gone += 1,
            _ => {}
        }
    }
    lives
}

/// The first bearer is known and goes; two more come and go, or the last one stays. If the parent's
/// controllers were written, whoever bears the name is read meanwhile.
#[test]
fn each_bearer_of_a_name_is_told_once() {
    for (way, written) in WAYS.into_iter().flat_map(|way| [false, true].map(|w| (way, w))) {
        let most = if written { 12 } else { 8 };
        for stays in [false, true] {
            for second in 0..most {
                for first in second - second.min(8)..=second {
                    for third in [second, second + 3] {
                        each_is_told_once(way, written, stays, [first, second, third]);
                    }
                }
            }
        }
    }
}

fn each_is_told_once(
    (strategy, by_id): (Strategy, bool),
    written: bool,
    stays: bool,
    at: [u64; 3],
) {
    const NAME: &str = "/services/name";
    let hierarchy = services(Profile::Linux71);
    hierarchy.mkdir(NAME).unwrap();
    let clock = Clock::new();
    // How many were born and how many went since the first one was told.
    let bearers = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&bearers);
    let inherit = move |call, hierarchy: &Hierarchy| {
        let mut bearers = counted.lock().unwrap();
        let (comes, again) = (call == at[0], call == at[2]);
        for goes in [comes.then_some(false), (call == at[1]).then_some(true)]
            .into_iter()
            .chain([again.then_some(false), (again && !stays).then_some(true)])
            .flatten()
        {
            if goes {
                hierarchy.rmdir(NAME).unwrap();
                bearers.1 += 1;
            } else {
                hierarchy.mkdir(NAME).unwrap();
                bearers.0 += 1;
            }
        }
    };
    let driver = Timed { clock: clock.clone(), act: inherit };
    let world = world(&hierarchy).by_id(by_id).driven_by(driver);
    let mut watcher = settled(world, Options::new().strategy(strategy));
    clock.start();
    hierarchy.rmdir(NAME).unwrap();
    bearers.lock().unwrap().1 += 1;
    if written {
        hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
    }
    let lives = lives(&listen(&mut watcher));
    let expected = BTreeMap::from([("/name".to_owned(), *bearers.lock().unwrap())]);
    assert_eq!(lives, expected, "{strategy:?} {by_id} {written} {stays}, before calls {at:?}");
}

/// What was born and gone in a directory that went, too, before its own records were read.
#[test]
fn what_was_in_a_directory_that_went_is_told_once() {
    for (strategy, by_id) in WAYS {
        let hierarchy = services(Profile::Linux71);
        hierarchy.mkdir("/services/top").unwrap();
        let options = Options::new().strategy(strategy);
        let mut watcher = settled(world(&hierarchy).by_id(by_id), options);
        hierarchy.mkdir("/services/top/brief").unwrap();
        hierarchy.rmdir("/services/top/brief").unwrap();
        hierarchy.rmdir("/services/top").unwrap();
        let expected = [("/top".to_owned(), (0, 1)), ("/top/brief".to_owned(), (1, 1))];
        assert_eq!(lives(&listen(&mut watcher)), BTreeMap::from(expected), "{strategy:?} {by_id}");
    }
}

/// And nothing of what lay deeper than is watched.
#[test]
fn what_was_in_a_directory_that_went_is_not_told_where_nobody_watches() {
    for (strategy, by_id) in WAYS {
        let hierarchy = services(Profile::Linux71);
        let options = Options::new().strategy(strategy);
        let world = world(&hierarchy).by_id(by_id);
        let mut watcher = cgwatch::Watcher::simulated(world, options).unwrap();
        watcher.add("/services".as_ref(), cgwatch::Depth::AtMost(0)).unwrap();
        listen(&mut watcher);
        hierarchy.mkdir("/services/brief").unwrap();
        hierarchy.rmdir("/services/brief").unwrap();
        hierarchy.rmdir("/services").unwrap();
        let expected = BTreeMap::from([("/".to_owned(), (0, 1))]);
        assert_eq!(lives(&listen(&mut watcher)), expected, "{strategy:?} {by_id}");
    }
}

/// The record of a death is read while the directory it was in is known to nobody yet, and that is gone
/// when it is looked up: then its own death tells where both of them lay.
#[test]
fn what_is_born_and_gone_in_one_that_goes_unknown_is_told_by_the_mark() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let options = Options::new().strategy(Strategy::Fanotify);
        let clock = Clock::new();
        let goes = move |call, hierarchy: &Hierarchy| {
            if call == calls {
                hierarchy.rmdir("/services/new").unwrap();
            }
        };
        let driver = Timed { clock: clock.clone(), act: goes };
        let mut watcher = settled(world(&hierarchy).driven_by(driver), options);
        clock.start();
        for name in ["new", "new/brief"] {
            hierarchy.mkdir(format!("/services/{name}")).unwrap();
        }
        hierarchy.rmdir("/services/new/brief").unwrap();
        let mut events = listen(&mut watcher);
        if hierarchy.find("/services/new").is_some() {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher));
        let expected = ["/new", "/new/brief"].map(|path| (path.to_owned(), (1, 1)));
        assert_eq!(lives(&events), BTreeMap::from(expected), "before call {calls}");
    }
}

/// One takes the place of another while it is taken in at the start: the baseline has it.
#[test]
fn what_is_replaced_during_the_baseline_is_in_it() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep] {
        for calls in 0.. {
            let hierarchy = services(Profile::Linux71);
            for name in ["web", "web/worker"] {
                hierarchy.mkdir(format!("/services/{name}")).unwrap();
            }
            let options = Options::new().strategy(strategy);
            let mut watcher = watcher(world(&hierarchy), options, calls, |hierarchy| {
                hierarchy.rmdir("/services/web/worker").unwrap();
                hierarchy.mkdir("/services/web/worker").unwrap();
            });
            if watcher.world().calls() <= calls {
                break; // it makes no more calls
            }
            let mut alive = BTreeMap::<String, i32>::new();
            while let Some(event) = watcher.wait(None).unwrap() {
                let of = event.kind.cgroup().map(|cgroup| cgroup.path.to_string());
                match event.kind {
                    EventKind::Appeared { .. } => *alive.entry(of.unwrap()).or_default() += 1,
                    EventKind::Removed { .. } => *alive.entry(of.unwrap()).or_default() -= 1,
                    EventKind::Ready { .. } => break,
                    _ => {}
                }
            }
            let expected = ["/", "/web", "/web/worker"].map(|path| (path.to_owned(), 1));
            assert_eq!(alive, BTreeMap::from(expected), "{strategy:?}, before call {calls}");
        }
    }
}
