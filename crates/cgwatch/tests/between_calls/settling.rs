//! What dies while others that died are settled.

use std::collections::BTreeMap;

use cgwatch::{
    EventKind, Limits, Options, Strategy,
    cgroup_sim::{Event as Counted, Hierarchy, Profile},
};

use super::{Clock, Timed, listen, services, settled, world};

/// Two parents are settled. Meanwhile one more child of the first dies, and then records are lost, so
/// that it is settled later than what its parent showed. That amount may be its: it says so.
#[test]
fn an_amount_names_all_whose_it_may_be() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        for (dies, later) in (0..12).flat_map(|dies| (36..60).map(move |later| (dies, later))) {
            let storms = dies + later;
            let hierarchy = services(Profile::Linux71);
            let mut counts = BTreeMap::new();
            for (at, path) in ["a", "b", "a/first", "a/second", "b/first"].into_iter().enumerate() {
                let path = format!("/services/{path}");
                let id = hierarchy.mkdir(&path).unwrap();
                if at < 2 {
                    hierarchy.write(format!("{path}/cgroup.subtree_control"), "+memory").unwrap();
                } else {
                    counts.insert(id, 1 << at);
                }
            }
            let clock = Clock::new();
            let all = counts.clone();
            let die = move |hierarchy: &Hierarchy, path: &str| {
                let id = hierarchy.find(path).unwrap();
                hierarchy.count(id, Counted::MemoryHigh, all[&id]).unwrap();
                hierarchy.rmdir(path).unwrap();
            };
            let at_first = die.clone();
            let act = move |call: u64, hierarchy: &Hierarchy| {
                if call == dies {
                    die(hierarchy, "/services/a/second");
                }
                if call == storms {
                    for name in 0..40 {
                        hierarchy.mkdir(format!("/services/{name}")).unwrap();
                        hierarchy.rmdir(format!("/services/{name}")).unwrap();
                    }
                }
            };
            let driver = Timed { clock: clock.clone(), act };
            let few = Limits { queued_events: 32, ..Limits::default() };
            let world = world(&hierarchy).limits(few).driven_by(driver);
            let mut watcher = settled(world, Options::new().strategy(strategy));
            let ids: BTreeMap<u64, u64> =
                watcher.snapshot().iter().map(|c| (c.cgroup.n, c.cgroup.id.unwrap())).collect();
            at_first(&hierarchy, "/services/a/first");
            at_first(&hierarchy, "/services/b/first");
            clock.start();
            let events = listen(&mut watcher);
            let of = |n: &u64| ids.get(n).and_then(|id| counts.get(id)).copied().unwrap_or(0);
            let when = format!("{strategy:?}, before calls {dies} and {storms}");
            for event in events {
                let EventKind::Removed { cgroup, unseen, .. } = event.kind else { continue };
                let amount = unseen.get("memory.events", "high");
                let its = of(&cgroup.n);
                let most = its + unseen.shared_with.iter().map(of).sum::<u64>();
                assert!(amount <= most, "{when}: {amount} of {cgroup:?} {unseen:?}");
            }
        }
    }
}

/// A parent has shown what its child counted, and both are gone before the child is read: the child is
/// said to have counted it, or to share it. By what the parent shows, only a child can have.
#[test]
fn what_a_dead_parent_had_shown_of_its_child_is_not_called_its_own() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let mut alone = 0;
        for calls in 0.. {
            let hierarchy = services(Profile::Linux71);
            hierarchy.mkdir("/services/job").unwrap();
            hierarchy.write("/services/job/cgroup.subtree_control", "+memory").unwrap();
            let leaf = hierarchy.mkdir("/services/job/leaf").unwrap();
            let clock = Clock::new();
            let act = move |call: u64, hierarchy: &Hierarchy| {
                if call == calls {
                    hierarchy.rmdir("/services/job/leaf").unwrap();
                    hierarchy.rmdir("/services/job").unwrap();
                }
            };
            let driver = Timed { clock: clock.clone(), act };
            let world = world(&hierarchy).driven_by(driver);
            let mut watcher = settled(world, Options::new().strategy(strategy));
            clock.start();
            hierarchy.count(leaf, Counted::MemoryHigh, 3).unwrap();
            let events = listen(&mut watcher);
            if hierarchy.find("/services/job").is_some() {
                break; // it makes no more calls
            }
            let n_of_leaf = events.iter().find_map(|event| {
                event.kind.cgroup().filter(|cgroup| cgroup.id == Some(leaf)).map(|leaf| leaf.n)
            });
            for event in &events {
                let EventKind::Removed { cgroup, unseen, .. } = &event.kind else { continue };
                if unseen.get("memory.events", "high") == 0 {
                    continue;
                }
                let is_its = cgroup.id == Some(leaf);
                let shares = n_of_leaf.is_some_and(|leaf| unseen.shared_with.contains(&leaf));
                assert!(is_its || shares, "{strategy:?}, before call {calls}: {event:?}");
                alone += u32::from(is_its && unseen.shared_with.is_empty());
            }
        }
        assert!(alone > 0, "{strategy:?}: the child alone was never said to have counted it");
    }
}
