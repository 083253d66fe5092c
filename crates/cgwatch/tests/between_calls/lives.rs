//! Who is told to be there.

use std::{collections::BTreeMap, time::Duration};

use cgwatch::{
    EventKind, Options, Strategy,
    cgroup_sim::{Hierarchy, Profile},
};

use super::{Clock, Timed, listen, services, settled, watcher, world};

#[test]
fn a_cgroup_may_go() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        hierarchy.mkdir("/services/web").unwrap();
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, |hierarchy| {
            hierarchy.rmdir("/services/web").unwrap();
        });
        let mut events = listen(&mut watcher);
        if hierarchy.find("/services/web").is_some() {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher));
        let mut alive = 0;
        for event in events {
            match event.kind {
                EventKind::Appeared { .. } => alive += 1,
                EventKind::Removed { .. } => alive -= 1,
                _ => {}
            }
        }
        assert_eq!((alive, watcher.snapshot().len()), (1, 1), "before call {calls}");
    }
}

/// One that died in a directory whose own birth was read with it, but not looked up yet, was taken
/// for one that died elsewhere.
#[test]
fn what_is_born_and_gone_in_a_newborn_is_told_by_the_mark() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let options = Options::new().strategy(Strategy::Fanotify);
        let mut watcher = watcher(world(&hierarchy), options, calls, |hierarchy| {
            for name in ["new", "new/brief"] {
                hierarchy.mkdir(format!("/services/{name}")).unwrap();
            }
            hierarchy.rmdir("/services/new/brief").unwrap();
        });
        if watcher.world().calls() > calls {
            continue; // it is there from the start
        }
        hierarchy.mkdir("/services/first").unwrap();
        let mut events = listen(&mut watcher);
        if hierarchy.find("/services/new").is_none() {
            return; // it makes no more calls
        }
        events.extend(listen(&mut watcher));
        let mut told: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Appeared { cgroup, .. } => Some(cgroup.path.to_string()),
                _ => None,
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, ["/", "/first", "/new", "/new/brief"], "before call {calls}");
    }
}

/// One that was listed in a newborn had been replaced when its name was looked up, and was told beside
/// the one that bore its name (fanotify).
#[test]
fn of_one_path_one_is_told_at_a_time() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        let clock = Clock::new();
        let replace = move |call, hierarchy: &Hierarchy| {
            if call == calls {
                hierarchy.rmdir("/services/top/b").unwrap();
                hierarchy.mkdir("/services/top/b").unwrap();
            }
        };
        let world = world(&hierarchy).driven_by(Timed { clock: clock.clone(), act: replace });
        let mut watcher = settled(world, Options::new().strategy(Strategy::Fanotify));
        for path in ["/services/top", "/services/top/a", "/services/top/b"] {
            hierarchy.mkdir(path).unwrap();
        }
        clock.start();
        let mut alive = BTreeMap::new();
        for event in listen(&mut watcher) {
            match event.kind {
                EventKind::Appeared { cgroup, .. } => {
                    let path = cgroup.path.to_string();
                    let other = alive.insert(path.clone(), cgroup.n);
                    assert_eq!(other, None, "{path}, before call {calls}");
                }
                EventKind::Removed { cgroup, .. } => {
                    alive.remove(&cgroup.path.to_string());
                }
                _ => {}
            }
        }
        if clock.calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// The watch on a file that replaced another was forgotten if its cgroup went before it was added.
#[test]
fn a_replaced_file_of_a_cgroup_that_goes_leaves_no_watch() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        hierarchy.mkdir("/services/web").unwrap();
        let by_name = world(&hierarchy).by_id(false);
        let mut watcher = watcher(by_name, Options::new(), calls, |hierarchy| {
            hierarchy.rmdir("/services/web").unwrap();
        });
        listen(&mut watcher);
        for sign in ["-", "+"] {
            let written = format!("{sign}memory");
            hierarchy.write("/services/cgroup.subtree_control", &written).unwrap();
        }
        listen(&mut watcher);
        if hierarchy.find("/services/web").is_some() {
            return; // it makes no more calls
        }
        listen(&mut watcher);
        let (held, known) = (watcher.world().watches(), watcher.usage().watches);
        assert_eq!(held, known as u64, "before call {calls}");
    }
}

/// A process that was stopped in the midst of a slice of its sweep, or a machine that was suspended,
/// took that for work, and rested a hundred times as long.
#[test]
fn a_sweep_that_was_stopped_goes_on() {
    const SWEEP: Duration = Duration::from_millis(500);
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        hierarchy.mkdir("/services/web").unwrap();
        let options = Options::new().strategy(Strategy::Sweep).sweep_interval(SWEEP);
        let mut watcher = watcher(world(&hierarchy), options, calls, |hierarchy| {
            hierarchy.advance_to(hierarchy.now() + 3_600_000_000_000);
        });
        while watcher.wait(Some(2 * SWEEP)).unwrap().is_some() {}
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
        hierarchy.mkdir("/services/new").unwrap();
        let told = watcher.wait(Some(3 * SWEEP)).unwrap();
        assert!(told.is_some(), "stopped for an hour before call {calls}, it swept no more");
    }
}
