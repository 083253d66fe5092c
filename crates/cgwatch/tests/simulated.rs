//! How to test software that uses cgwatch: an example, and what else is promised of `SimWorld`.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Confidence, Depth, EventKind, GapReason, Limits, Options, SimWorld, Strategy, Unseen, Watcher,
    cgroup_sim::{self, Event, Hierarchy, MountOptions, Profile},
    world::World,
};

/// The software under test: pages somebody for each service that was killed for memory, also if the
/// service is gone already. It knows no world but what a watcher tells.
struct Pager {
    pages: Vec<String>,
}

impl Pager {
    fn work<W: World>(&mut self, watcher: &mut Watcher<W>, patience: Duration) {
        while let Some(event) = watcher.wait(Some(patience)).unwrap() {
            let (cgroup, kills) = match event.kind {
                EventKind::Changed { cgroup, own: Some(own), .. } => {
                    (cgroup, own.get("oom_kill").unwrap_or(0))
                }
                EventKind::Removed { cgroup, unseen, .. } => {
                    (cgroup, unseen.get("memory.events", "oom_kill").into())
                }
                _ => continue,
            };
            if kills > 0 {
                self.pages.push(format!("{} {kills}", cgroup.path));
            }
        }
    }
}

fn services(profile: Profile) -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile, remember: true, ..Default::default() };
    let hierarchy = Hierarchy::new(options);
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    hierarchy.mkdir("/services").unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
    Arc::new(hierarchy)
}

fn watcher(world: SimWorld, options: Options) -> Watcher<SimWorld> {
    let mut watcher = Watcher::simulated(world, options).unwrap();
    watcher.add("/services".as_ref(), Depth::All).unwrap();
    watcher
}

/// A service of which the kernel kills a task that takes more than it may.
fn doomed(hierarchy: &Hierarchy, name: &str) {
    let id = hierarchy.mkdir(format!("/services/{name}")).unwrap();
    kill(hierarchy, name, id);
}

fn kill(hierarchy: &Hierarchy, name: &str, id: u64) {
    hierarchy.write(format!("/services/{name}/memory.max"), "1M").unwrap();
    let pid = hierarchy.spawn(id).unwrap();
    hierarchy.allocate(pid, 2 << 20).unwrap_err();
}

#[test]
fn nobody_is_killed_without_a_page() {
    for profile in [Profile::Linux70, Profile::Linux71, Profile::Announced] {
        let hierarchy = services(profile);
        let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
        let mut pager = Pager { pages: Vec::new() };
        doomed(&hierarchy, "stays");
        pager.work(&mut watcher, Duration::from_secs(1));
        doomed(&hierarchy, "goes");
        hierarchy.rmdir("/services/goes").unwrap();
        pager.work(&mut watcher, Duration::from_secs(1));
        assert_eq!(pager.pages, ["/stays 1", "/goes 1"], "{profile:?}");
    }
}

#[test]
fn what_a_file_had_counted_when_it_came_is_nobody_elses() {
    let hierarchy = services(Profile::Linux71);
    let guilty = hierarchy.mkdir("/services/guilty").unwrap();
    hierarchy.mkdir("/services/innocent").unwrap();
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    // The parent is announced for this, and not again for what follows within 10 ms.
    doomed(&hierarchy, "before");
    watcher.update().unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
    watcher.update().unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
    kill(&hierarchy, "guilty", guilty);
    watcher.update().unwrap();
    hierarchy.rmdir("/services/innocent").unwrap();
    let removed = std::iter::from_fn(|| watcher.wait(Some(Duration::from_secs(1))).unwrap())
        .find_map(|event| match event.kind {
            EventKind::Removed { unseen, .. } => Some(unseen),
            _ => None,
        });
    let unseen = removed.unwrap();
    assert_eq!(unseen.get("memory.events", "oom_kill"), 1, "the books balance");
    assert_eq!(unseen.confidence, Some(Confidence::Shared), "it is nobody's for sure");
}

#[test]
fn a_file_that_went_twice_before_it_was_told_names_all_who_share() {
    let hierarchy = services(Profile::Linux71);
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    let ids = ["stays", "first", "second"]
        .map(|name| (name, hierarchy.mkdir(format!("/services/{name}")).unwrap()));
    let mut events = Vec::new();
    while let Some(event) = watcher.wait(Some(Duration::from_secs(1))).unwrap() {
        events.push(event);
    }
    // From here on nobody takes anything. Each time it may have been another beside `stays`.
    for (name, id) in &ids[1..] {
        kill(&hierarchy, name, *id);
        hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
        watcher.update().unwrap();
        hierarchy.rmdir(format!("/services/{name}")).unwrap();
        hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
        watcher.update().unwrap();
    }
    while let Some(event) = watcher.wait(Some(Duration::from_secs(1))).unwrap() {
        events.push(event);
    }
    let told = events.iter().filter_map(|event| match &event.kind {
        EventKind::FileRemoved { cgroup, unseen, .. }
        | EventKind::Removed { cgroup, unseen, .. } => Some((cgroup.n, unseen)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let sum: u64 = told.iter().map(|(_, unseen)| unseen.get("memory.events", "oom_kill")).sum();
    assert_eq!(sum, 2, "{told:#?}");
    for (n, unseen) in &told {
        let Some(other) = unseen.unseen_in else { continue };
        let names = |(of, its): &(u64, &Unseen)| *of == other && its.shared_with.contains(n);
        assert!(told.iter().any(names), "{other} does not name {n}: {told:#?}");
    }
    assert!(told.iter().filter(|(_, unseen)| unseen.unseen_in.is_some()).count() > 1, "{told:#?}");
}

#[test]
fn what_was_late_is_told_before_the_file_is_gone() {
    let hierarchy = services(Profile::Linux71);
    hierarchy.mkdir("/services/job").unwrap();
    hierarchy.write("/services/job/cgroup.subtree_control", "+memory").unwrap();
    let leaf = hierarchy.mkdir("/services/job/leaf").unwrap();
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    while watcher.wait(Some(Duration::from_secs(1))).unwrap().is_some() {}
    hierarchy.rmdir("/services/job/leaf").unwrap();
    while watcher.wait(Some(Duration::from_secs(1))).unwrap().is_some() {}
    // From here on nobody takes anything.
    hierarchy.count(leaf, Event::MemoryHigh, 2).unwrap();
    for _ in 0..3 {
        hierarchy.advance(Duration::from_secs(1));
        watcher.update().unwrap();
    }
    hierarchy.write("/services/job/cgroup.subtree_control", "-memory").unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
    watcher.update().unwrap();
    let (mut is_gone, mut total) = (false, 0);
    while let Some(event) = watcher.wait(Some(Duration::from_secs(1))).unwrap() {
        match event.kind {
            EventKind::FileRemoved { cgroup, .. } => is_gone |= cgroup.path.as_bytes() == b"/job",
            EventKind::Changed { cgroup, file, late, .. } if cgroup.path.as_bytes() == b"/job" => {
                assert!(!is_gone, "{file} changed, but the file is gone");
                total += late.get("high").unwrap_or(0);
            }
            _ => {}
        }
    }
    assert!(is_gone && total == 2, "{total} counted late");
}

/// What a newborn's file showed when it came back was counted again, beside what had been recovered
/// of the file before it.
#[test]
fn a_file_that_came_back_is_not_counted_twice_when_it_is_withheld() {
    let hierarchy = services(Profile::Linux71);
    let options = Options::new().untold_pairs(0);
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), options);
    while watcher.wait(Some(Duration::from_secs(1))).unwrap().is_some() {}
    let id = hierarchy.mkdir("/services/web").unwrap();
    watcher.update().unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
    hierarchy.count(id, Event::MemoryHigh, 3).unwrap();
    for name in ["web", "second", "third"] {
        hierarchy.advance(Duration::from_secs(1));
        watcher.update().unwrap();
        let _ = hierarchy.mkdir(format!("/services/{name}"));
        hierarchy.rmdir(format!("/services/{name}")).unwrap();
    }
    let (mut pairs, mut told) = (0, 0);
    while let Some(event) = watcher.wait(Some(Duration::from_secs(1))).unwrap() {
        told += match event.kind {
            EventKind::Gap { cancelled_pairs, cancelled, .. } => {
                pairs += cancelled_pairs;
                cancelled.get("memory.events").and_then(|sums| sums.get("high")).unwrap_or(0)
            }
            EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
                unseen.get("memory.events", "high")
            }
            _ => 0,
        };
    }
    assert_eq!((pairs, told), (2, 3));
}

/// A cgroup without children was not read anew when a mount option was switched: its file, which
/// showed less when it was read at last, was taken for another one.
#[test]
fn a_switched_mount_option_takes_no_file_away() {
    let hierarchy = services(Profile::Linux71);
    hierarchy.write("/cgroup.subtree_control", "+pids").unwrap();
    hierarchy.write("/services/cgroup.subtree_control", "+pids").unwrap();
    let id = hierarchy.mkdir("/services/web").unwrap();
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    hierarchy.count(id, Event::PidsMax, 3).unwrap();
    while watcher.wait(Some(Duration::from_secs(1))).unwrap().is_some() {}
    let pids_localevents = true;
    hierarchy.remount(MountOptions { pids_localevents, ..hierarchy.mount_options() });
    // At a death the options are looked at.
    hierarchy.mkdir("/services/brief").unwrap();
    hierarchy.rmdir("/services/brief").unwrap();
    let mut switched = false;
    while let Some(event) = watcher.wait(Some(Duration::from_secs(90))).unwrap() {
        switched |= matches!(event.kind, EventKind::Gap { reason: GapReason::MountChanged, .. });
        assert!(!matches!(event.kind, EventKind::FileRemoved { .. }), "{event:?}");
    }
    assert!(switched);
}

#[test]
fn time_passes_only_while_the_watcher_waits() {
    let hierarchy = services(Profile::Announced);
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    while watcher.next().unwrap().is_some() {}
    assert_eq!(hierarchy.now(), 0);
    assert!(watcher.wait(Some(Duration::from_secs(3600))).unwrap().is_none());
    assert_eq!(hierarchy.now(), 3_600_000_000_000);
}

#[test]
fn the_root_is_dated_too() {
    let hierarchy = services(Profile::Linux71);
    hierarchy.advance(Duration::from_secs(1));
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    let mut told = 0;
    while let Some(event) = watcher.next().unwrap() {
        assert!(event.time.boot_ns >= 1_000_000_000, "{event:?}");
        told += 1;
    }
    assert_eq!(told, 2, "the root, and that all is told");
}

#[test]
fn without_instances_or_watches_it_sweeps_and_says_so() {
    let hierarchy = services(Profile::Linux71);
    let none = Limits { groups: 0, ..Limits::default() };
    let world = || SimWorld::new(Arc::clone(&hierarchy)).limits(none);
    assert!(Watcher::simulated(world(), Options::new().strategy(Strategy::Inotify)).is_err());
    let sweeping = Watcher::simulated(world(), Options::new()).unwrap();
    assert_eq!(sweeping.start().strategy, Strategy::Sweep);

    let few = Limits { marks: 2, ..Limits::default() };
    let world = SimWorld::new(Arc::clone(&hierarchy)).limits(few);
    let mut watcher = watcher(world, Options::new());
    let gap = watcher.events().find_map(|event| match event.unwrap().kind {
        EventKind::Gap { reason, .. } => Some(reason.name().to_owned()),
        _ => None,
    });
    assert_eq!(gap.as_deref(), Some("watch-limit"));
    assert_eq!(watcher.world().watches(), 2);
}

/// A mark hears of the whole hierarchy: it is worth that only if all of it is watched.
#[test]
fn auto_marks_the_superblock_where_all_is_watched() {
    let hierarchy = services(Profile::Linux71);
    let chosen = |world: SimWorld, path: &str, depth| {
        let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
        watcher.add(path.as_ref(), depth).unwrap();
        let start = watcher.start();
        assert!(!start.because.is_empty());
        (start.strategy, watcher.world().watches())
    };
    let world = || SimWorld::new(Arc::clone(&hierarchy));
    let (all, watches) = chosen(world(), "/", Depth::All);
    assert_eq!(all, Strategy::Fanotify);
    let (part, _) = chosen(world(), "/services", Depth::All);
    assert_eq!(part, Strategy::Inotify);
    let (shallow, _) = chosen(world(), "/", Depth::AtMost(1));
    assert_eq!(shallow, Strategy::Inotify);
    let (barred, more) = chosen(world().by_id(false), "/", Depth::All);
    assert_eq!(barred, Strategy::Inotify);
    assert_eq!(more - watches, 2, "the directories need no watches of their own");
}

#[test]
fn a_path_is_from_the_root_of_the_simulated_hierarchy() {
    let hierarchy = services(Profile::Linux71);
    let mut watcher =
        Watcher::simulated(SimWorld::new(Arc::clone(&hierarchy)), Options::new()).unwrap();
    for (path, error) in [("/none", "does not exist"), ("/cgroup.procs", "is not a cgroup")] {
        let found = watcher.add(path.as_ref(), Depth::All).unwrap_err().to_string();
        assert!(found.contains(error), "{found}");
        assert_eq!((watcher.world().watches(), watcher.usage().watches), (0, 0), "{path}");
    }
    watcher.add("services/".as_ref(), Depth::All).unwrap();
    assert_eq!(watcher.start().roots[0].path.to_str(), Some("/services"));
    watcher.remove("/services".as_ref()).unwrap();
    assert_eq!(watcher.world().watches(), 0);
}

/// A file came to a cgroup, counted, and was replaced before anybody had read it: what it had counted
/// was called a dead sibling's alone.
#[test]
fn what_a_file_that_was_never_read_had_counted_is_nobodys_alone() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let hierarchy = services(Profile::Linux71);
        hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        hierarchy.mkdir("/services/innocent").unwrap();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = watcher(world, Options::new().strategy(strategy));
        while watcher.wait(Some(Duration::from_secs(1))).unwrap().is_some() {}
        hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
        hierarchy.count(guilty, Event::MemoryHigh, 3).unwrap();
        for sign in ["-", "+"] {
            let written = format!("{sign}memory");
            hierarchy.write("/services/cgroup.subtree_control", &written).unwrap();
        }
        hierarchy.rmdir("/services/innocent").unwrap();
        let mut told = 0;
        while let Some(event) = watcher.wait(Some(Duration::from_secs(1))).unwrap() {
            if let EventKind::Removed { unseen, .. } = &event.kind {
                assert_eq!(unseen.confidence, Some(Confidence::Shared), "{strategy:?}");
                told += unseen.get("memory.events", "high");
            }
        }
        assert_eq!(told, 3, "{strategy:?}");
    }
}

/// What those below the watched depth had counted was called its own of the deepest that is watched.
#[test]
fn what_is_counted_where_nobody_watches_is_not_called_the_parents_own() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep] {
        let hierarchy = services(Profile::Linux71);
        let options = Options::new().strategy(strategy);
        let mut watcher =
            Watcher::simulated(SimWorld::new(Arc::clone(&hierarchy)), options).unwrap();
        watcher.add("/services".as_ref(), Depth::AtMost(1)).unwrap();
        for name in ["old", "new"] {
            while watcher.wait(Some(Duration::from_secs(90))).unwrap().is_some() {}
            let path = format!("/services/{name}");
            let job = hierarchy.mkdir(&path).unwrap();
            hierarchy.write(format!("{path}/cgroup.subtree_control"), "+memory").unwrap();
            if name == "old" {
                while watcher.wait(Some(Duration::from_secs(90))).unwrap().is_some() {}
            }
            let below = hierarchy.mkdir(format!("{path}/below")).unwrap();
            hierarchy.count(below, Event::MemoryHigh, 3).unwrap();
            hierarchy.count(job, Event::MemoryHigh, 2).unwrap();
            let (mut all, mut its) = (0, 0);
            while let Some(event) = watcher.wait(Some(Duration::from_secs(90))).unwrap() {
                let EventKind::Changed { cgroup, delta, own: Some(own), .. } = event.kind else {
                    continue;
                };
                if cgroup.id == Some(job) {
                    all += delta.get("high").unwrap_or(0);
                    its += own.get("high").unwrap_or(0);
                }
            }
            assert_eq!((all, its), (5, 2), "{strategy:?} {name}");
        }
    }
}

#[test]
fn what_is_decided_stands_before_anything_is_watched() {
    let hierarchy = services(Profile::Linux71);
    for (path, strategy) in [("/", Strategy::Fanotify), ("/services", Strategy::Inotify)] {
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
        assert!(watcher.decide("/none".as_ref(), Depth::All).is_err());
        assert_eq!(watcher.start().strategy, Strategy::Auto);
        watcher.decide(path.as_ref(), Depth::All).unwrap();
        let start = watcher.start();
        assert_eq!((start.strategy, start.roots.len()), (strategy, 0), "{path}");
        assert!(start.simulated);
    }
}

/// Each event would cost a call otherwise; and the kernel's queue would fill, if none did.
#[test]
fn while_events_wait_the_world_is_looked_at_after_10_ms() {
    let hierarchy = services(Profile::Linux71);
    for name in ["one", "two", "three", "four"] {
        hierarchy.mkdir(format!("/services/{name}")).unwrap();
    }
    let mut watcher = watcher(SimWorld::new(Arc::clone(&hierarchy)), Options::new());
    for (later, looks) in [(0, false), (10_000_000, false), (1, true), (0, false)] {
        hierarchy.advance(Duration::from_nanos(later));
        let calls = watcher.world().calls();
        assert!(watcher.next().unwrap().is_some());
        assert_eq!(watcher.world().calls() > calls, looks, "{later} ns later");
    }
}
