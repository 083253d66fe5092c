//! What one notification has read, and in which order what was read is emitted.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cgwatch::{
    Driver, Event, EventKind, Options, SimWorld, Verb, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

use self::sim::take;

fn hierarchy() -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory +pids")
}

fn watch(world: SimWorld, root: &str) -> Watcher<SimWorld> {
    let mut watcher = sim::watcher(world, Options::new(), root);
    take(&mut watcher);
    watcher
}

/// The changes among events: path, file, and what is new.
fn changes(events: &[Event]) -> Vec<String> {
    let changes = events.iter().filter_map(|event| match &event.kind {
        EventKind::Changed { cgroup, file, new, own, .. } => {
            let new: Vec<_> = new.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let own =
                own.iter().flat_map(|own| &own.0).map(|(key, own)| format!(" own {key}{own:+}"));
            Some(format!("{} {file} {}{}", cgroup.path, new.join(" "), own.collect::<String>()))
        }
        _ => None,
    });
    changes.collect()
}

/// The kernel announces a second event of a cgroup only 10 ms after the first. That it is empty is
/// announced at once, and emitted only after what it counted before.
#[test]
fn what_a_cgroup_counted_before_it_was_empty_is_emitted_first() {
    let hierarchy = hierarchy();
    let id = hierarchy.mkdir("/services/web").unwrap();
    let pid = hierarchy.spawn(id).unwrap();
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)), "/services");
    hierarchy.advance(Duration::from_millis(20));
    hierarchy.count(id, Counted::MemoryHigh, 1).unwrap();
    assert_eq!(changes(&take(&mut watcher))[1..], ["/web memory.events high=1 own high+1"]);
    hierarchy.count(id, Counted::MemoryHigh, 1).unwrap();
    hierarchy.exit(pid).unwrap();
    let events = take(&mut watcher);
    let web: Vec<_> =
        changes(&events).into_iter().filter(|change| change.starts_with("/web")).collect();
    assert_eq!(web, ["/web memory.events high=2 own high+1", "/web cgroup.events populated=0"]);
}

/// A notification costs one reading, of the file that it is of. Whether the cgroup is populated, and
/// whether it just was, makes no difference but where it becomes empty.
#[test]
fn a_notification_has_one_file_read() {
    let hierarchy = hierarchy();
    let id = hierarchy.mkdir("/services/web").unwrap();
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)), "/services/web");
    let calls_of = |watcher: &mut Watcher<SimWorld>| {
        let before = watcher.world().calls();
        let events = take(watcher);
        hierarchy.advance(Duration::from_millis(20));
        (changes(&events).len(), watcher.world().calls() - before)
    };
    let (none, idle) = calls_of(&mut watcher);
    hierarchy.count(id, Counted::MemoryHigh, 1).unwrap();
    let (empty, while_empty) = calls_of(&mut watcher);
    let pid = hierarchy.spawn(id).unwrap();
    let (filled, when_filled) = calls_of(&mut watcher);
    hierarchy.count(id, Counted::MemoryHigh, 1).unwrap();
    let (full, while_full) = calls_of(&mut watcher);
    hierarchy.exit(pid).unwrap();
    let (emptied, when_emptied) = calls_of(&mut watcher);
    assert_eq!([none, empty, filled, full, emptied], [0, 1, 1, 1, 1]);
    assert_eq!([while_empty, when_filled, while_full], [while_full; 3], "{idle} while idle");
    assert!(when_emptied > while_full);
}

/// What is its own is emitted with the change, also of a cgroup that has children.
#[test]
fn what_is_its_own_is_emitted_with_the_change() {
    let hierarchy = hierarchy();
    let services = hierarchy.find("/services").unwrap();
    let web = hierarchy.mkdir("/services/web").unwrap();
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)), "/services");
    hierarchy.count(services, Counted::MemoryHigh, 1).unwrap();
    assert_eq!(changes(&take(&mut watcher)), ["/ memory.events high=1 own high+1"]);
    hierarchy.advance(Duration::from_millis(20));
    take(&mut watcher);
    hierarchy.count(web, Counted::MemoryHigh, 1).unwrap();
    let told = changes(&take(&mut watcher));
    assert_eq!(told, ["/ memory.events high=2", "/web memory.events high=1 own high+1"]);
}

/// How often there was each of these calls in a directory.
struct Calls {
    directory: u64,
    made: Arc<Mutex<Vec<Verb>>>,
}

impl Driver for Calls {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        if directory == self.directory {
            self.made.lock().unwrap().push(verb);
        }
        None
    }
}

/// Of a cgroup that has children the file is read and its twin, each once; without, the file alone, which
/// is opened by its id without its directory.
#[test]
fn what_is_its_own_costs_one_reading_more() {
    for (children, calls) in
        [(0, &[Verb::Read][..]), (1, &[Verb::Read, Verb::Open, Verb::Open, Verb::Read])]
    {
        let hierarchy = hierarchy();
        let directory = hierarchy.mkdir("/services/web").unwrap();
        hierarchy.write("/services/web/cgroup.subtree_control", "+memory").unwrap();
        for child in 0..children {
            hierarchy.mkdir(format!("/services/web/{child}")).unwrap();
        }
        let made = Arc::new(Mutex::new(Vec::new()));
        let driver = Calls { directory, made: Arc::clone(&made) };
        let mut watcher =
            watch(SimWorld::new(Arc::clone(&hierarchy)).driven_by(driver), "/services");
        for _ in 0..3 {
            made.lock().unwrap().clear();
            hierarchy.count(directory, Counted::MemoryHigh, 1).unwrap();
            assert_eq!(changes(&take(&mut watcher)).len(), 2);
            assert_eq!(*made.lock().unwrap(), calls, "{children}");
            hierarchy.advance(Duration::from_millis(20));
            take(&mut watcher);
        }
    }
}

/// That a cgroup is removed its id says, and no name on the way to it is looked up.
#[test]
fn what_is_removed_is_found_so_without_walking() {
    let hierarchy = hierarchy();
    hierarchy.mkdir("/services/web").unwrap();
    let long = format!("/services/web/{}", "n".repeat(256));
    hierarchy.mkdir(&long).unwrap();
    let mut watcher = watch(SimWorld::new(Arc::clone(&hierarchy)), "/services");
    let walked = watcher.world().walked();
    hierarchy.rmdir(&long).unwrap();
    hierarchy.rmdir("/services/web").unwrap();
    let removed = take(&mut watcher);
    assert_eq!(removed.iter().filter(|event| event.kind.name() == "removed").count(), 2);
    assert_eq!(watcher.world().walked(), walked);
}
