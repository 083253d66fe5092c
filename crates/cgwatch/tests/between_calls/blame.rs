//! Whose an amount is called.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cgwatch::{
    Confidence, Driver, Event, EventKind, Options, Strategy,
    cgroup_sim::{Event as Counted, Hierarchy, MountOptions, Profile},
};

use super::{Clock, Timed, listen, services, settled, sim, watcher, world};

/// What a parent counted itself between the readings of its file and of the file's twin stood for as
/// much that a dead child had counted, which was called the next dead child's alone then.
#[test]
fn what_a_parent_counts_meanwhile_is_not_called_a_dead_childs_alone() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let services = hierarchy.find("/services").unwrap();
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, move |hierarchy| {
            hierarchy.count(services, Counted::MemoryHigh, 3).unwrap();
        });
        let mut events = listen(&mut watcher);
        hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir("/services/guilty").unwrap();
        events.extend(listen(&mut watcher));
        hierarchy.mkdir("/services/innocent").unwrap();
        hierarchy.rmdir("/services/innocent").unwrap();
        events.extend(listen(&mut watcher));
        let told = recovered(&events);
        assert_eq!(told.len(), 1, "before call {calls}: {told:?}");
        assert_eq!((&*told[0].0, told[0].1), ("/guilty", 3), "before call {calls}");
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// What a cgroup counted itself between the readings of its file and, for the first time, of the
/// file's twin stood for as much that a child had counted which was never known. That was called the
/// first known child's alone then.
#[test]
fn what_a_newborn_counts_meanwhile_does_not_hide_a_child_that_was_never_known() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let new = "/services/new";
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, move |hierarchy| {
            if let Some(new) = hierarchy.find(new) {
                hierarchy.count(new, Counted::MemoryHigh, 3).unwrap();
            }
        });
        let mut events = listen(&mut watcher);
        hierarchy.mkdir(new).unwrap();
        hierarchy.write(format!("{new}/cgroup.subtree_control"), "+memory").unwrap();
        // Gone before its directory is watched, so that it is never told.
        let guilty = hierarchy.mkdir(format!("{new}/guilty")).unwrap();
        hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir(format!("{new}/guilty")).unwrap();
        events.extend(listen(&mut watcher));
        hierarchy.mkdir(format!("{new}/innocent")).unwrap();
        hierarchy.rmdir(format!("{new}/innocent")).unwrap();
        events.extend(listen(&mut watcher));
        for (path, amount, confidence) in recovered(&events) {
            let told = (&*path, amount, confidence);
            assert_eq!(told, ("/new/innocent", 3, Some(Confidence::Shared)), "before call {calls}");
        }
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// What a file had counted that was replaced unread was called alone a sibling's that had just died.
#[test]
fn what_a_replaced_file_had_counted_is_not_called_a_dead_siblings_alone() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        hierarchy.mkdir("/services/innocent").unwrap();
        let by_name = world(&hierarchy).by_id(false);
        let mut watcher = watcher(by_name, Options::new(), calls, move |hierarchy| {
            hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
            for written in ["-memory", "+memory"] {
                hierarchy.write("/services/cgroup.subtree_control", written).unwrap();
            }
        });
        let mut events = listen(&mut watcher);
        hierarchy.rmdir("/services/innocent").unwrap();
        events.extend(listen(&mut watcher));
        for (path, _, confidence) in recovered(&events) {
            assert_eq!(confidence, Some(Confidence::Shared), "{path}, before call {calls}");
        }
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// What a child had counted before its parent's file was read, which had just come, was told once as
/// the child's and once as what was left over above.
#[test]
fn what_a_child_counted_before_its_parents_file_was_known_is_told_once() {
    for (strategy, kin, dies) in [
        (Strategy::Inotify, false, false),
        (Strategy::Inotify, false, true),
        (Strategy::Inotify, true, false),
        (Strategy::Inotify, true, true),
        (Strategy::Fanotify, false, false),
        (Strategy::Fanotify, false, true),
        (Strategy::Fanotify, true, false),
        (Strategy::Fanotify, true, true),
    ] {
        for calls in 0.. {
            let hierarchy = services(Profile::Linux71);
            hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
            hierarchy.mkdir("/services/job").unwrap();
            if kin {
                hierarchy.mkdir("/services/job/other").unwrap();
            }
            let clock = Clock::new();
            let count = move |call, hierarchy: &Hierarchy| {
                if call == calls {
                    let id = hierarchy.mkdir("/services/job/brief").unwrap();
                    hierarchy.count(id, Counted::MemoryHigh, 3).unwrap();
                    if dies {
                        hierarchy.rmdir("/services/job/brief").unwrap();
                    }
                }
            };
            let world = world(&hierarchy).driven_by(Timed { clock: clock.clone(), act: count });
            let mut watcher = settled(world, Options::new().strategy(strategy));
            hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
            hierarchy.write("/services/job/cgroup.subtree_control", "+memory").unwrap();
            clock.start();
            let mut events = listen(&mut watcher);
            if clock.calls() <= calls {
                break; // it makes no more calls
            }
            events.extend(listen(&mut watcher));
            assert_eq!(sum_of_high(&events), 3, "{strategy:?} {kin} {dies} before call {calls}");
        }
    }
}

/// A CREATE was read, and the name looked up only when another bore it already: that was taken for the
/// one that the record spoke of. What that one had counted was called the first one's alone then.
#[test]
fn what_an_heir_counted_that_is_gone_too_is_not_called_the_first_ones_alone() {
    const MOST: u64 = 30;
    for (strategy, by_id) in
        [(Strategy::Inotify, true), (Strategy::Inotify, false), (Strategy::Fanotify, true)]
    {
        for first in 0..MOST {
            for second in first..MOST {
                let hierarchy = services(Profile::Linux71);
                let id = hierarchy.mkdir("/services/name").unwrap();
                let clock = Clock::new();
                let inherit = move |call, hierarchy: &Hierarchy| {
                    if call == first {
                        let heir = hierarchy.mkdir("/services/name").unwrap();
                        hierarchy.count(heir, Counted::MemoryHigh, 3).unwrap();
                    }
                    if call == second {
                        hierarchy.rmdir("/services/name").unwrap();
                        hierarchy.mkdir("/services/name").unwrap();
                    }
                };
                let heirs = Timed { clock: clock.clone(), act: inherit };
                let world = world(&hierarchy).by_id(by_id).driven_by(heirs);
                let mut watcher = settled(world, Options::new().strategy(strategy));
                clock.start();
                hierarchy.rmdir("/services/name").unwrap();
                for event in listen(&mut watcher) {
                    let EventKind::Removed { cgroup, unseen, .. } = event.kind else { continue };
                    let alone = unseen.confidence == Some(Confidence::Bounded);
                    assert!(
                        cgroup.id != Some(id) || !alone,
                        "{strategy:?}, before calls {first} and {second}: {unseen:?}"
                    );
                }
            }
        }
    }
}

/// A branch of three is born, its leaf counts and goes, and the rest goes after it. Of the leaf's death
/// the kernel tells only then.
struct Branch {
    clock: Clock,
    counts: u64,
    goes: u64,
    middle: u64,
    leaf: u64,
    withheld: Option<u64>,
}

impl Driver for Branch {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let Some(call) = self.clock.tick() else { return };
        if call == 0 {
            for path in ["/services/top", "/services/top/middle", "/services/top/middle/leaf"] {
                self.middle = std::mem::replace(&mut self.leaf, hierarchy.mkdir(path).unwrap());
                if !path.ends_with("leaf") {
                    let control = format!("{path}/cgroup.subtree_control");
                    hierarchy.write(control, "+memory").unwrap();
                }
            }
        }
        if call == self.counts {
            hierarchy.count(self.leaf, Counted::MemoryHigh, 3).unwrap();
            hierarchy.rmdir("/services/top/middle/leaf").unwrap();
            self.withheld = Some(self.leaf);
        }
        if call == self.goes {
            self.withheld = None;
            hierarchy.rmdir("/services/top/middle").unwrap();
            hierarchy.rmdir("/services/top").unwrap();
        }
    }

    fn withholds_death_of(&mut self) -> Option<u64> {
        self.withheld
    }

    fn lets_list(&mut self, directory: u64) {
        if directory == self.middle {
            self.withheld = None;
        }
    }
}

/// One was listed, and gone when it was looked up; the record of its death came late. What it had
/// counted was called its parent's own meanwhile, and for ever if that went, too.
#[test]
fn what_one_counted_whose_death_is_told_late_is_not_called_its_parents_own() {
    let pairs = (20..80).flat_map(|counts| (1..50).map(move |later| (counts, counts + later)));
    let mut known = 0;
    for (counts, goes) in pairs {
        let hierarchy = services(Profile::Linux70);
        let clock = Clock::new();
        let branch =
            Branch { clock: clock.clone(), counts, goes, middle: 0, leaf: 0, withheld: None };
        let world = world(&hierarchy).driven_by(branch);
        let mut watcher = settled(world, Options::new().strategy(Strategy::Fanotify));
        clock.start();
        hierarchy.mkdir("/services/other").unwrap();
        let mut events = listen(&mut watcher);
        events.extend(listen(&mut watcher));
        let told = |kind: &EventKind, path: &str| {
            kind.cgroup().is_some_and(|cgroup| cgroup.path.as_bytes() == path.as_bytes())
        };
        if !events.iter().any(|event| told(&event.kind, "/top/middle/leaf")) {
            continue; // then nobody else is known that could have counted
        }
        known += 1;
        let own = events.iter().map(|event| match &event.kind {
            EventKind::Changed { own: Some(own), .. } if told(&event.kind, "/top/middle") => {
                own.get("high").unwrap_or(0)
            }
            _ => 0,
        });
        assert_eq!(own.sum::<i128>(), 0, "before calls {counts} and {goes}");
    }
    assert!(known > 1000, "the leaf was told only {known} times");
}

/// The death of a child, if this is its id, is told only when its directory is listed.
struct Withheld {
    directory: u64,
    child: Arc<AtomicU64>,
}

impl Driver for Withheld {
    fn withholds_death_of(&mut self) -> Option<u64> {
        Some(self.child.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    fn lets_list(&mut self, directory: u64) {
        if directory == self.directory {
            self.child.store(0, Ordering::Relaxed);
        }
    }
}

/// A CREATE was read, and nobody bore the name any more: whatever that one counted is not its
/// directory's own, though its death is still to be told.
#[test]
fn what_one_counted_that_vanished_is_not_called_its_parents_own() {
    let hierarchy = services(Profile::Linux70);
    let job = hierarchy.mkdir("/services/job").unwrap();
    hierarchy.write("/services/job/cgroup.subtree_control", "+memory").unwrap();
    let child = Arc::new(AtomicU64::new(0));
    let driver = Withheld { directory: job, child: Arc::clone(&child) };
    let world = world(&hierarchy).driven_by(driver);
    let mut watcher = settled(world, Options::new().strategy(Strategy::Fanotify));
    let brief = hierarchy.mkdir("/services/job/brief").unwrap();
    child.store(brief, Ordering::Relaxed);
    hierarchy.count(brief, Counted::MemoryHigh, 3).unwrap();
    hierarchy.rmdir("/services/job/brief").unwrap();
    let events = listen(&mut watcher);
    for event in &events {
        let EventKind::Changed { cgroup, own: Some(own), .. } = &event.kind else { continue };
        let own = own.get("high").unwrap_or(0);
        assert!(cgroup.id != Some(job) || own == 0, "{event:?}");
    }
    assert_eq!(sum_of_high(&events), 3);
}

/// A directory that waits for a check and is found dead by it was closed twice when it was to be read:
/// what its children had counted beyond its own last reading was accounted for twice above it, and as
/// much of another's never emitted.
#[test]
fn what_a_dead_directory_counted_is_accounted_for_once() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux70);
        hierarchy.write("/cgroup.subtree_control", "+pids").unwrap();
        let top = hierarchy.mkdir("/services/top").unwrap();
        hierarchy.write("/services/top/cgroup.subtree_control", "+memory").unwrap();
        let leaf = hierarchy.mkdir("/services/top/leaf").unwrap();
        for other in 0..6 {
            hierarchy.mkdir(format!("/services/{other}")).unwrap();
        }
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        let clock = Clock::new();
        let goes = move |call, hierarchy: &Hierarchy| {
            if call == calls {
                hierarchy.rmdir("/services/top/leaf").unwrap();
                hierarchy.rmdir("/services/top").unwrap();
            }
        };
        let world = world(&hierarchy).by_id(false);
        let world = world.driven_by(Timed { clock: clock.clone(), act: goes });
        // Each check waits for a pass of its own.
        let mut watcher = settled(world, Options::new().strategy(Strategy::Inotify).batch(1));
        hierarchy.count(top, Counted::MemoryHigh, 1).unwrap();
        let mut events: Vec<_> = std::iter::from_fn(|| watcher.next().unwrap()).collect();
        // Of this the directory is announced later than its child.
        hierarchy.advance(Duration::from_millis(5));
        hierarchy.count(leaf, Counted::MemoryHigh, 3).unwrap();
        events.extend(std::iter::from_fn(|| watcher.next().unwrap()));
        hierarchy.write("/services/cgroup.subtree_control", "+pids").unwrap();
        hierarchy.count(guilty, Counted::MemoryHigh, 2).unwrap();
        hierarchy.rmdir("/services/guilty").unwrap();
        clock.start();
        let settled = || watcher.wait(Some(Duration::from_millis(200))).unwrap();
        events.extend(std::iter::from_fn(settled));
        let made = clock.calls();
        events.extend(listen(&mut watcher));
        if made <= calls {
            return; // until all was settled it makes no more calls
        }
        assert_eq!(sum_of_high(&events), 6, "before call {calls}");
    }
}

/// What a child counted while the account of its parent was opened hides nothing that is counted later.
#[test]
fn what_a_child_counts_during_the_baseline_hides_nothing() {
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let web = hierarchy.mkdir("/services/web").unwrap();
        let guilty = hierarchy.mkdir("/services/guilty").unwrap();
        let mut watcher = watcher(world(&hierarchy), Options::new(), calls, move |hierarchy| {
            hierarchy.count(web, Counted::MemoryHigh, 3).unwrap();
        });
        let mut events = listen(&mut watcher);
        hierarchy.count(guilty, Counted::MemoryHigh, 5).unwrap();
        hierarchy.rmdir("/services/guilty").unwrap();
        events.extend(listen(&mut watcher));
        let told = recovered(&events);
        assert_eq!(told.len(), 1, "before call {calls}: {told:?}");
        assert_eq!((&*told[0].0, told[0].1), ("/guilty", 5), "before call {calls}");
        if watcher.world().calls() <= calls {
            return; // it makes no more calls
        }
    }
}

/// Where each counts for itself a parent's counts are all its own, also if they are read only when a
/// child is found dead.
#[test]
fn what_a_parent_counts_for_itself_is_its_own() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        for calls in 0.. {
            let hierarchy = services(Profile::Linux71);
            let memory_localevents = true;
            hierarchy.remount(MountOptions { memory_localevents, ..hierarchy.mount_options() });
            let services = hierarchy.find("/services").unwrap();
            hierarchy.mkdir("/services/web").unwrap();
            let clock = Clock::new();
            let count = move |call, hierarchy: &Hierarchy| {
                if call == calls {
                    hierarchy.count(services, Counted::MemoryHigh, 2).unwrap();
                }
            };
            let world = world(&hierarchy).driven_by(Timed { clock: clock.clone(), act: count });
            let mut watcher = settled(world, Options::new().strategy(strategy));
            clock.start();
            hierarchy.rmdir("/services/web").unwrap();
            let mut events = sim::listen(&mut watcher, Duration::from_secs(1));
            if clock.calls() <= calls {
                break; // it makes no more calls
            }
            events.extend(listen(&mut watcher));
            assert_eq!(sum_of_high(&events), 2, "{strategy:?} before call {calls}");
        }
    }
}

/// One was born before its directory was watched, and counts and goes before that is listed, of which only
/// its DELETE is read: what it counted is not called alone its sibling's that goes next.
#[test]
fn what_one_counted_of_whom_only_the_death_was_heard_is_not_called_its_siblings_alone() {
    const NEW: &str = "/services/new";
    let mut told = 0;
    for calls in 0.. {
        let hierarchy = services(Profile::Linux71);
        let clock = Clock::new();
        let goes = move |call, hierarchy: &Hierarchy| {
            if call == calls {
                let brief = hierarchy.find(format!("{NEW}/brief")).unwrap();
                hierarchy.count(brief, Counted::MemoryHigh, 3).unwrap();
                hierarchy.rmdir(format!("{NEW}/brief")).unwrap();
            }
        };
        let driver = Timed { clock: clock.clone(), act: goes };
        let world = world(&hierarchy).by_id(false).driven_by(driver);
        let mut watcher = settled(world, Options::new().strategy(Strategy::Inotify));
        hierarchy.mkdir(NEW).unwrap();
        hierarchy.write(format!("{NEW}/cgroup.subtree_control"), "+memory").unwrap();
        for child in ["brief", "innocent"] {
            hierarchy.mkdir(format!("{NEW}/{child}")).unwrap();
        }
        clock.start();
        watcher.update().unwrap();
        if clock.calls() <= calls {
            break; // it makes no more calls
        }
        hierarchy.rmdir(format!("{NEW}/innocent")).unwrap();
        let events = listen(&mut watcher);
        for (path, amount, confidence) in recovered(&events) {
            told += u64::from(path == "/new/innocent");
            let its = path == "/new/brief" || confidence == Some(Confidence::Shared);
            assert!(its, "{path} {amount}, before call {calls}");
        }
    }
    assert!(told > 0);
}

/// What was recovered at removals of `memory.events high`: path, amount, whether it is certain.
fn recovered(events: &[Event]) -> Vec<(String, u64, Option<Confidence>)> {
    let removals = events.iter().filter_map(|event| match &event.kind {
        EventKind::Removed { cgroup, unseen, .. } => Some((cgroup, unseen)),
        _ => None,
    });
    let high = removals.map(|(cgroup, unseen)| {
        (cgroup.path.to_string(), unseen.get("memory.events", "high"), unseen.confidence)
    });
    high.filter(|(_, amount, _)| *amount > 0).collect()
}

/// All that is told that was counted as `memory.events high`.
fn sum_of_high(events: &[Event]) -> i128 {
    let told = |event: &Event| match &event.kind {
        EventKind::Changed { own, late, .. } => {
            let own = own.as_ref().and_then(|own| own.get("high")).unwrap_or(0);
            own + i128::from(late.get("high").unwrap_or(0))
        }
        EventKind::Removed { unseen, .. } | EventKind::FileRemoved { unseen, .. } => {
            i128::from(unseen.get("memory.events", "high"))
        }
        _ => 0,
    };
    events.iter().map(told).sum()
}
