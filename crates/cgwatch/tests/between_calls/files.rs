//! Which files a cgroup is said to have.

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Depth, Event, EventKind, Options, SimWorld, Strategy, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};

use super::{Clock, Timed, world};

const SWEEP: Duration = Duration::from_secs(1);

/// Every way to watch: the strategy, and whether files are opened by their ids.
const WAYS: [(Strategy, bool); 5] = [
    (Strategy::Inotify, true),
    (Strategy::Inotify, false),
    (Strategy::Fanotify, true),
    (Strategy::Sweep, true),
    (Strategy::Sweep, false),
];

/// The cgroup at `path` counts and is emptied, which the watcher of the whole hierarchy reads; `act`
/// has its turn before each of its calls, by their numbers. What is told of that cgroup, and how many
/// calls there were.
fn emptied(
    profile: Profile,
    (strategy, by_id): (Strategy, bool),
    path: &str,
    act: impl FnMut(u64, &Hierarchy) + Send + 'static,
) -> (Vec<String>, u64) {
    let options = cgroup_sim::Options { profile, ..Default::default() };
    let hierarchy = Arc::new(Hierarchy::new(options));
    hierarchy.write("/cgroup.subtree_control", "+memory +pids").unwrap();
    hierarchy.mkdir("/services").unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "+memory +pids").unwrap();
    let id = hierarchy.mkdir(path).unwrap();
    let pid = hierarchy.spawn(id).unwrap();
    let clock = Clock::new();
    let world = world(&hierarchy).by_id(by_id).driven_by(Timed { clock: clock.clone(), act });
    let options = Options::new().strategy(strategy).sweep_interval(SWEEP);
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add("/".as_ref(), Depth::All).unwrap();
    hear(&mut watcher);
    clock.start();
    hierarchy.count(id, Counted::MemoryHigh, 1).unwrap();
    hierarchy.exit(pid).unwrap();
    let mut events = hear(&mut watcher);
    let calls = clock.calls();
    hierarchy.finish_rmdir();
    events.extend(hear(&mut watcher));
    (told_of(path, &events), calls)
}

/// What is told until nothing has been for longer than a sweep takes.
fn hear(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    let next = || watcher.wait(Some(SWEEP * 3 / 2)).unwrap();
    std::iter::from_fn(next).collect()
}

/// What `events` tell of one cgroup but its changes; of a removal, which files it says were read last.
fn told_of(path: &str, events: &[Event]) -> Vec<String> {
    let of_it = |event: &&Event| event.kind.cgroup().is_some_and(|c| c.path.to_string() == path);
    let told = events.iter().filter(of_it).map(|event| match &event.kind {
        EventKind::Removed { files, .. } => {
            let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
            format!("removed with {}", names.join(" "))
        }
        EventKind::FileRemoved { file, .. } => format!("file-removed {file}"),
        kind => kind.name().to_owned(),
    });
    told.filter(|told| told != "changed").collect()
}

const REMOVED: &str = "removed with cgroup.events memory.events pids.events";

/// How many files are gone when the removal pauses: the last of these are all, and the directory.
const STEPS: [usize; 6] = [1, 7, 8, 14, 25, 100];

/// rmdir(2) takes the files before the directory. What was read between its steps was taken for a
/// controller that had been switched off.
#[test]
fn a_removal_is_no_controller_change() {
    for profile in [Profile::Linux70, Profile::Linux71] {
        for (way, steps) in WAYS.into_iter().flat_map(|way| STEPS.map(|steps| (way, steps))) {
            for calls in 0.. {
                let (told, made) = emptied(profile, way, "/web", move |call, hierarchy| {
                    if call == calls {
                        hierarchy.begin_rmdir("/web").unwrap();
                        (0..steps).all(|_| hierarchy.step_rmdir());
                    }
                });
                if made <= calls {
                    break; // it makes no more calls
                }
                let when = format!("{profile:?} {way:?}, {steps} steps before call {calls}");
                assert_eq!(told, [REMOVED], "{when}");
            }
        }
    }
}

/// Where a file had gone by a controller, its cgroup's children were taken to have lost it, too, also
/// one that was dead by then.
#[test]
fn a_removal_before_a_controller_change_is_a_removal() {
    for way in WAYS {
        for calls in 0.. {
            let path = "/services/web";
            let (told, made) = emptied(Profile::Linux70, way, path, move |call, hierarchy| {
                if call == calls {
                    hierarchy.rmdir(path).unwrap();
                    hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
                    hierarchy.write("/cgroup.subtree_control", "-memory").unwrap();
                }
            });
            if made <= calls {
                break; // it makes no more calls
            }
            assert_eq!(told, [REMOVED], "{way:?}, before call {calls}");
        }
    }
}

/// A controller that is switched off takes its files all the same, whatever is being read; one that
/// is not for threads also takes them from a cgroup that becomes threaded.
#[test]
fn a_controller_change_is_told() {
    let off = [
        ("/services/web", "/services/cgroup.subtree_control", "-memory"),
        ("/web", "/web/cgroup.type", "threaded"),
    ];
    for (way, (path, file, text)) in WAYS.into_iter().flat_map(|way| off.map(|off| (way, off))) {
        for calls in 0.. {
            let (told, made) = emptied(Profile::Linux71, way, path, move |call, hierarchy| {
                if call == calls {
                    hierarchy.write(file, text).unwrap();
                }
            });
            if made <= calls {
                break; // it makes no more calls
            }
            assert_eq!(told, ["file-removed memory.events"], "{way:?}, {text} before call {calls}");
        }
    }
}
