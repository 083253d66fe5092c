//! What is said of counts that nobody read: how much, whose, and that it cannot be known.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Confidence, Depth, Event, EventKind, GapReason, Limits, Options, SimWorld, Unseen, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, MountOptions, Profile},
};

use self::sim::take;

fn services() -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile: Profile::Linux71, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory +pids")
}

fn watch(world: SimWorld) -> Watcher<SimWorld> {
    let files = ["memory.events", "memory.swap.events", "pids.events"];
    let mut watcher = sim::watcher(world, Options::new().files(files), "/services");
    take(&mut watcher);
    watcher
}

/// What the only removal among events says that was not seen.
fn unseen(events: Vec<Event>) -> Unseen {
    let unseen = events.into_iter().filter_map(|event| match event.kind {
        EventKind::Removed { unseen, .. } => Some(unseen),
        _ => None,
    });
    let mut unseen: Vec<_> = unseen.collect();
    assert_eq!(unseen.len(), 1);
    unseen.remove(0)
}

/// The kernel kills a task of a cgroup that takes more than it may.
fn kill(hierarchy: &Hierarchy, path: &str, id: u64) {
    hierarchy.write(format!("{path}/memory.max"), "1M").unwrap();
    let pid = hierarchy.spawn(id).unwrap();
    hierarchy.allocate(pid, 2 << 20).unwrap_err();
}

/// A file that sums nothing up says nothing of one that died unread: it has no such parent, or a mount
/// option says so. Of memory kills it is known how many there were on the host that nobody was told of.
#[test]
fn what_cannot_be_known_is_said() {
    for (memory_localevents, pids_localevents) in [(false, false), (true, false), (false, true)] {
        let hierarchy = services();
        hierarchy.remount(MountOptions { memory_localevents, pids_localevents });
        let apart = hierarchy.mkdir("/apart").unwrap();
        let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)));
        watcher.add("/apart".as_ref(), Depth::All).unwrap();
        // One that is emitted, of a watched root itself.
        kill(&hierarchy, "/apart", apart);
        take(&mut watcher);
        let brief = hierarchy.mkdir("/services/brief").unwrap();
        kill(&hierarchy, "/services/brief", brief);
        hierarchy.rmdir("/services/brief").unwrap();
        let unseen = unseen(take(&mut watcher));
        let mut unknown: Vec<_> =
            unseen.files.iter().filter(|(_, values)| values.is_none()).map(|(f, _)| &**f).collect();
        unknown.sort_unstable();
        let expected = [
            (memory_localevents, "memory.events"),
            (true, "memory.swap.events"),
            (pids_localevents, "pids.events"),
        ];
        let expected: Vec<_> = expected.iter().filter(|(is, _)| *is).map(|(_, f)| *f).collect();
        assert_eq!(unknown, expected);
        let known = u64::from(!memory_localevents);
        assert_eq!(unseen.get("memory.events", "oom_kill"), known);
        assert_eq!(unseen.host_oom_kill_at_most, memory_localevents.then_some(1));
    }
}

/// Where all balances nothing is in doubt: what one counted that was born and died unseen is its alone,
/// also right after others counted.
#[test]
fn what_only_one_can_have_counted_is_its_alone() {
    let hierarchy = services();
    let services = hierarchy.find("/services").unwrap();
    let stays = hierarchy.mkdir("/services/stays").unwrap();
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)));
    for counts in [stays, services] {
        hierarchy.count(counts, Counted::MemoryMax, 1).unwrap();
        assert!(!take(&mut watcher).is_empty());
        let brief = hierarchy.mkdir("/services/brief").unwrap();
        hierarchy.count(brief, Counted::MemoryHigh, 3).unwrap();
        hierarchy.rmdir("/services/brief").unwrap();
        let unseen = unseen(take(&mut watcher));
        let [(file, Some(values)), (swap, None)] = &unseen.files[..] else {
            panic!("{unseen:?}");
        };
        assert_eq!((&**file, &**swap), ("memory.events", "memory.swap.events"));
        assert_eq!(values.0, [("high".into(), 3)]);
        assert_eq!(unseen.confidence, Some(Confidence::Bounded));
        assert_eq!((unseen.shared_count, unseen.unseen_in), (0, None));
        hierarchy.advance(Duration::from_millis(50));
        take(&mut watcher);
    }
}

/// One that took another's place while notifications were lost is found by the comparison, and both are
/// emitted before it ends.
#[test]
fn who_took_anothers_place_in_a_gap_is_found_by_the_comparison() {
    let hierarchy = services();
    let old = hierarchy.mkdir("/services/name").unwrap();
    let other = hierarchy.mkdir("/services/other").unwrap();
    let limits = Limits { queued_events: 4, ..Limits::default() };
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)).limits(limits));
    for _ in 0..10 {
        hierarchy.advance(Duration::from_millis(20));
        hierarchy.count(other, Counted::MemoryHigh, 1).unwrap();
        hierarchy.count(old, Counted::MemoryHigh, 1).unwrap();
    }
    hierarchy.rmdir("/services/name").unwrap();
    let new = hierarchy.mkdir("/services/name").unwrap();
    let told: Vec<_> = take(&mut watcher)
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Gap { reason: GapReason::QueueOverflow, .. } => Some(("gap", None)),
            EventKind::Appeared { cgroup, .. } => Some(("appeared", cgroup.id)),
            EventKind::Removed { cgroup, .. } => Some(("removed", cgroup.id)),
            EventKind::Ready { after_gap: true, .. } => Some(("ready", None)),
            _ => None,
        })
        .collect();
    let expected =
        [("gap", None), ("removed", Some(old)), ("appeared", Some(new)), ("ready", None)];
    assert_eq!(told, expected);
    assert_eq!(watcher.usage().cgroups, 3);
}

/// A child's counts are announced later than its parent's: as soon as they are read nothing is in doubt.
#[test]
fn what_was_left_over_until_a_child_was_read_casts_no_doubt() {
    let hierarchy = services();
    let [first, second, guilty] = ["first", "second", "guilty"]
        .map(|name| hierarchy.mkdir(format!("/services/{name}")).unwrap());
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)));
    // Of each file the kernel announces one event in 10 ms.
    for (counts, later) in [(first, 5), (second, 4), (second, 2)] {
        hierarchy.count(counts, Counted::MemoryHigh, 1).unwrap();
        take(&mut watcher);
        hierarchy.advance(Duration::from_millis(later));
    }
    let changed = |events: Vec<Event>| -> Vec<String> {
        let changes = events.iter().filter(|event| matches!(event.kind, EventKind::Changed { .. }));
        changes.map(|event| event.kind.cgroup().unwrap().path.to_string()).collect()
    };
    assert_eq!(changed(take(&mut watcher)), ["/"], "the child is to be announced");
    hierarchy.advance(Duration::from_millis(5));
    assert_eq!(changed(take(&mut watcher)), ["/second"]);
    hierarchy.count(guilty, Counted::MemoryHigh, 3).unwrap();
    hierarchy.rmdir("/services/guilty").unwrap();
    let unseen = unseen(take(&mut watcher));
    assert_eq!(unseen.get("memory.events", "high"), 3);
    assert_eq!(unseen.confidence, Some(Confidence::Bounded));
}
