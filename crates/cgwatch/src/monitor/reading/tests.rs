//! The room for what woke, and files whose keys become more.

use super::*;

/// The room that a storm took is given back; what a few take is kept for the next.
#[test]
fn the_room_of_a_storm_is_given_back() {
    let room = |count: u32| {
        let mut woken = Woken::default();
        woken.by_depth.extend((0..count).map(|depth| (depth, NodeKey::default(), 0)));
        let before = woken.by_depth.capacity();
        woken.clear();
        assert!(woken.by_depth.is_empty());
        (before, woken.by_depth.capacity())
    };
    let (few, kept) = room(8);
    assert_eq!(few, kept);
    let (many, kept) = room(3000);
    assert!(many >= 3000 && kept < 16, "{many} {kept}");
}

/// A file may show more keys than before (`misc.events`, `io.stat`): they have counted from zero, and
/// what they count is told and recovered as that of the others.
#[cfg(feature = "sim")]
#[test]
fn a_key_that_comes_counts_as_the_others() {
    use cgroup_sim::Event::MemoryHigh;

    use crate::{Depth, EventKind, Options, SimWorld, Strategy};

    let hierarchy = cgroup_sim::Hierarchy::new(cgroup_sim::Options::default());
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    let web = hierarchy.mkdir("/web").unwrap();
    hierarchy.write("/web/cgroup.subtree_control", "+memory").unwrap();
    let worker = hierarchy.mkdir("/web/worker").unwrap();
    let world = SimWorld::new(std::sync::Arc::new(hierarchy));
    let mut monitor = Monitor::new(world, Options::new(), Strategy::Sweep).unwrap();
    monitor.add_root("/web".as_ref(), 0, b"web", Depth::All).unwrap();
    while monitor.next().is_some() {}
    // As if only the first key had been there.
    let file = monitor.schemas.named("memory.events");
    let schema = monitor.schemas.take(b"low 0\n", 0, &mut Vec::new());
    let keys: Vec<NodeKey> = monitor.books.iter().map(|(key, _)| key).collect();
    for key in keys {
        let slot = monitor.books.get_mut(key).unwrap().present_mut(file).unwrap();
        (slot.schema, slot.total) = (schema, [0].into());
        if let Some(kin) = &mut slot.kin {
            kin.resize(1);
        }
    }
    let hierarchy = std::sync::Arc::clone(monitor.world.hierarchy());
    let mut told = Vec::new();
    let mut take = |monitor: &mut Monitor<SimWorld>| {
        for _ in 0..3 {
            hierarchy.advance(std::time::Duration::from_secs(30));
            monitor.update().unwrap();
        }
        while let Some(event) = monitor.next() {
            let (cgroup, amount) = match event.kind {
                EventKind::Changed { cgroup, own: Some(own), .. } => (cgroup, own.get("high")),
                EventKind::Removed { cgroup, unseen, .. } => {
                    (cgroup, Some(unseen.get("memory.events", "high").into()))
                }
                _ => continue,
            };
            told.push((cgroup.path.to_string(), amount.unwrap_or(0)));
        }
    };
    hierarchy.count(web, MemoryHigh, 2).unwrap();
    hierarchy.count(worker, MemoryHigh, 3).unwrap();
    take(&mut monitor);
    hierarchy.count(worker, MemoryHigh, 4).unwrap();
    hierarchy.rmdir("/web/worker").unwrap();
    take(&mut monitor);
    told.retain(|(_, amount)| *amount != 0);
    let of = |path: &str, amount: i128| (path.to_owned(), amount);
    assert_eq!(told, [of("/", 2), of("/worker", 3), of("/worker", 4)]);
}
