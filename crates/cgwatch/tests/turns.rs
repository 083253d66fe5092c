//! How much is read in one pass, and what a sweep looks at.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use cgwatch::{
    Depth, Driver, Event, EventKind, Limits, Options, SimWorld, Strategy, Verb, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

use self::sim::take;

/// Every call that could fail, with the directory it is made in.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(Verb, u64)>>>);

impl Driver for Calls {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        self.all().push((verb, directory));
        None
    }
}

impl Calls {
    fn all(&self) -> MutexGuard<'_, Vec<(Verb, u64)>> {
        self.0.lock().unwrap()
    }

    /// The directories in which such a call was made since this was last asked.
    fn take(&self, verb: Verb) -> Vec<u64> {
        let mut calls = self.all();
        let made = calls.extract_if(.., |(made, _)| *made == verb);
        made.map(|(_, directory)| directory).collect()
    }

    fn take_distinct(&self, verb: Verb) -> usize {
        self.take(verb).into_iter().collect::<BTreeSet<_>>().len()
    }
}

struct Watched {
    hierarchy: Arc<Hierarchy>,
    calls: Calls,
    watcher: Watcher<SimWorld>,
    children: Vec<u64>,
}

/// Watches `/dir`, which has so many children, until all is read.
fn watched(children: usize, options: Options, limits: Limits) -> Watched {
    let profile = Profile::Linux70;
    let sim_options = cgroup_sim::Options { profile, ..Default::default() };
    let hierarchy = sim::hierarchy(sim_options, "/dir", "+memory +pids");
    let children: Vec<_> =
        (0..children).map(|n| hierarchy.mkdir(format!("/dir/{n}")).unwrap()).collect();
    let (calls, watcher) = watch(&hierarchy, "/dir", options, limits);
    Watched { hierarchy, calls, watcher, children }
}

fn watch(
    hierarchy: &Arc<Hierarchy>,
    root: &str,
    options: Options,
    limits: Limits,
) -> (Calls, Watcher<SimWorld>) {
    let calls = Calls::default();
    let world = SimWorld::new(Arc::clone(hierarchy)).limits(limits).driven_by(calls.clone());
    let mut watcher = sim::watcher(world, options, root);
    take(&mut watcher);
    hierarchy.advance(Duration::from_secs(2));
    take(&mut watcher);
    calls.all().clear();
    (calls, watcher)
}

fn names(events: &[Event]) -> Vec<String> {
    let of = |event: &Event| {
        let path = event.kind.cgroup().map(|cgroup| cgroup.path.to_string()).unwrap_or_default();
        format!("{path} {}", event.kind.name())
    };
    events.iter().map(of).collect()
}

/// One pass takes four batches, however many files woke; each costs one.
#[test]
fn a_pass_reads_four_batches() {
    let mut all = watched(40, Options::new().batch(4), Limits::default());
    for child in &all.children {
        all.hierarchy.count(*child, Counted::PidsMax, 1).unwrap();
    }
    let mut passes = Vec::new();
    while passes.iter().sum::<usize>() < 40 {
        all.watcher.update().unwrap();
        let read: Vec<_> = all.calls.take(Verb::Read);
        passes.push(read.iter().filter(|read| all.children.contains(read)).count());
        assert!(passes.len() < 20, "{passes:?}");
    }
    // The directory has woken, too.
    assert_eq!(passes[..2], [15, 16]);
}

/// After an overflow each is checked and compared, which costs six readings: two or more batches of
/// four take one each, and a pass of 16 is over with the third.
#[test]
fn a_comparison_costs_six_readings() {
    let limits = Limits { queued_events: 8, ..Limits::default() };
    let mut all = watched(40, Options::new().batch(4), limits);
    for child in &all.children {
        all.hierarchy.count(*child, Counted::PidsMax, 1).unwrap();
    }
    let mut passes = Vec::new();
    while passes.iter().sum::<usize>() < 41 {
        all.watcher.update().unwrap();
        passes.push(all.calls.take_distinct(Verb::List));
        assert!(passes.len() < 60, "{passes:?}");
    }
    assert_eq!(passes[..5], [3; 5]);
}

/// A check costs four readings, whether it is made at once or waits: a pass makes no more than four
/// batches allow.
#[test]
fn a_pass_makes_no_more_checks_than_four_batches_allow() {
    let mut all = watched(20, Options::new().batch(8), Limits::default());
    let mut below = BTreeSet::new();
    for n in 0..20 {
        for child in ["a", "b"] {
            below.insert(all.hierarchy.mkdir(format!("/dir/{n}/{child}")).unwrap());
        }
    }
    for _ in 0..10 {
        all.hierarchy.advance(Duration::from_secs(1));
        take(&mut all.watcher);
    }
    all.calls.all().clear();
    for n in 0..20 {
        all.hierarchy.write(format!("/dir/{n}/cgroup.subtree_control"), "+pids").unwrap();
    }
    let mut passes = Vec::new();
    while passes.iter().sum::<usize>() < below.len() {
        all.watcher.update().unwrap();
        let read: BTreeSet<_> = all.calls.take(Verb::Read).into_iter().collect();
        passes.push(read.intersection(&below).count());
        assert!(passes.len() < 60, "{passes:?}");
    }
    assert_eq!(passes[..5], [8; 5]);
    let lists = all.calls.take(Verb::List).len();
    assert_eq!(lists, below.len(), "each for its files, none for its children");
}

/// A directory's children are checked again only after a rest, however often it is written; then it is
/// made good, for itself too.
#[test]
fn what_is_written_while_a_directory_rests_is_checked_then() {
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    let hierarchy = Arc::new(Hierarchy::new(options));
    hierarchy.write("/cgroup.subtree_control", "+memory +pids").unwrap();
    hierarchy.mkdir("/web").unwrap();
    let child = hierarchy.mkdir("/web/child").unwrap();
    let (calls, mut watcher) = watch(&hierarchy, "/", Options::new(), Limits::default());
    let control = "/web/cgroup.subtree_control";
    hierarchy.write(control, "+pids").unwrap();
    assert_eq!(names(&take(&mut watcher)), ["/web/child file-added"]);
    calls.all().clear();
    for text in ["-pids", "+pids"] {
        hierarchy.write(control, text).unwrap();
        watcher.update().unwrap();
    }
    hierarchy.write("/web/cgroup.type", "threaded").unwrap();
    watcher.update().unwrap();
    assert!(!calls.take(Verb::Read).contains(&child), "it rests");
    let rest = watcher.wait(Some(Duration::from_millis(10))).unwrap();
    let mut events: Vec<_> = rest.into_iter().collect();
    events.extend(take(&mut watcher));
    assert!(names(&events).contains(&"/web file-removed".into()), "{:?}", names(&events));
}

/// A sweep of a few is one slice, in which each is listed once, for its files: of its children it hears.
#[test]
fn a_sweep_of_a_few_is_over_at_once_and_lists_each_once() {
    let mut all = watched(40, Options::new(), Limits::default());
    let interval = 30_000_000_000;
    let due = all.watcher.world().alarm().unwrap();
    all.hierarchy.advance_to(due);
    all.watcher.update().unwrap();
    assert_eq!(all.watcher.usage().pending, 0, "nothing differs");
    let lists = all.calls.take(Verb::List).len();
    assert_eq!(lists, 41, "each for its files, none for its children");
    assert_eq!(all.watcher.world().alarm(), Some(due + interval));
}

/// Where nothing below is asked for nothing but the cgroup's files is looked at.
#[test]
fn a_sweep_opens_each_once_that_has_nothing_below_to_be_found() {
    let mut all = watched(0, Options::new(), Limits::default());
    all.watcher.remove("/dir".as_ref()).unwrap();
    all.watcher.add("/dir".as_ref(), Depth::AtMost(0)).unwrap();
    take(&mut all.watcher);
    let dir = all.hierarchy.find("/dir").unwrap();
    all.calls.all().clear();
    all.hierarchy.advance_to(all.watcher.world().alarm().unwrap());
    all.watcher.update().unwrap();
    let opened = all.calls.take(Verb::Open).into_iter().filter(|opened| *opened == dir);
    // For the root is looked at first.
    assert_eq!(opened.count(), 2);
}

/// Without notifications it is the listing that tells, also if there are as many as before.
#[test]
fn a_sweep_finds_who_took_anothers_place() {
    let sweep = Duration::from_secs(1);
    let options = Options::new().strategy(Strategy::Sweep).sweep_interval(sweep);
    let mut all = watched(1, options, Limits::default());
    all.hierarchy.rmdir("/dir/0").unwrap();
    all.hierarchy.mkdir("/dir/new").unwrap();
    all.hierarchy.advance(sweep);
    let events = take(&mut all.watcher);
    let appeared = |event: &Event| matches!(event.kind, EventKind::Appeared { .. });
    assert!(events.iter().any(appeared), "{:?}", names(&events));
    assert!(names(&events).contains(&"/0 removed".into()), "{:?}", names(&events));
}

/// How often the files of one are read: at the start; when its first child is born, in which case it is
/// asked for what is its own; and when a child dies that has counted nothing, whether or not it has
/// counted itself.
#[test]
fn what_is_its_own_is_read_no_more_often_than_is_needed() {
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    let hierarchy = sim::hierarchy(options, "/dir", "+memory +pids");
    let job = hierarchy.mkdir("/dir/job").unwrap();
    hierarchy.write("/dir/job/cgroup.subtree_control", "+memory +pids").unwrap();
    let calls = Calls::default();
    let world = SimWorld::new(Arc::clone(&hierarchy)).driven_by(calls.clone());
    let mut watcher = sim::watcher(world, Options::new(), "/dir");
    let mut readings = || {
        take(&mut watcher);
        hierarchy.advance(Duration::from_secs(2));
        take(&mut watcher);
        calls.take(Verb::Read).into_iter().filter(|read| *read == job).count()
    };
    let at_start = readings();
    hierarchy.mkdir("/dir/job/leaf").unwrap();
    let first_child = readings();
    hierarchy.rmdir("/dir/job/leaf").unwrap();
    let death = readings();
    hierarchy.mkdir("/dir/job/leaf").unwrap();
    let second_child = readings();
    hierarchy.count(job, Counted::MemoryHigh, 1).unwrap();
    hierarchy.rmdir("/dir/job/leaf").unwrap();
    let death_and_count = readings();
    hierarchy.write("/dir/job/cgroup.subtree_control", "-memory").unwrap();
    hierarchy.write("/dir/cgroup.subtree_control", "-memory").unwrap();
    readings();
    hierarchy.write("/dir/cgroup.subtree_control", "+memory").unwrap();
    hierarchy.count(job, Counted::MemoryHigh, 1).unwrap();
    let file_came = readings();
    let all = [at_start, first_child, death, second_child, death_and_count, file_came];
    assert_eq!(all, [3, 2, 2, 0, 4, 6]);
}

/// What is looked for in the children of a directory is looked for in those first that woke.
#[test]
fn those_that_woke_are_read_before_others_when_one_died() {
    let mut all = watched(40, Options::new().batch(4), Limits::default());
    let dead = all.children.remove(20);
    let (woke, idle) = (all.children.split_off(34), all.children.split_off(5));
    let woke = [woke, all.children].concat();
    for child in &woke {
        all.hierarchy.count(*child, Counted::MemoryHigh, 1).unwrap();
    }
    all.hierarchy.rmdir("/dir/20").unwrap();
    all.watcher.update().unwrap();
    let read: BTreeSet<_> = all.calls.take(Verb::Read).into_iter().collect();
    assert!(!read.contains(&dead) && woke.iter().all(|child| read.contains(child)), "{read:?}");
    assert!(!idle.iter().any(|child| read.contains(child)), "{read:?} of {idle:?}");
}

/// A directory of which only its own files may have gone while it rests is checked then, too.
#[test]
fn a_directory_whose_own_files_go_while_it_rests_is_checked_then() {
    let options = cgroup_sim::Options { profile: Profile::Linux70, ..Default::default() };
    let hierarchy = Arc::new(Hierarchy::new(options));
    hierarchy.write("/cgroup.subtree_control", "+memory +pids").unwrap();
    hierarchy.mkdir("/web").unwrap();
    hierarchy.mkdir("/web/child").unwrap();
    let (_, mut watcher) = watch(&hierarchy, "/", Options::new(), Limits::default());
    hierarchy.write("/web/cgroup.subtree_control", "+pids").unwrap();
    take(&mut watcher);
    hierarchy.write("/web/cgroup.type", "threaded").unwrap();
    watcher.update().unwrap();
    let rest = watcher.wait(Some(Duration::from_millis(10))).unwrap();
    let mut events: Vec<_> = rest.into_iter().collect();
    events.extend(take(&mut watcher));
    assert!(names(&events).contains(&"/web file-removed".into()), "{:?}", names(&events));
}
