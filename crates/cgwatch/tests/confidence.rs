//! To whom an amount is given that nobody read in time, and how sure that is said to be: nothing is
//! called one's alone that another may have counted, and what only one can have counted is.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{sync::Arc, time::Duration};

use cgwatch::{
    Confidence, Depth, Event, EventKind, Options, SimWorld, Strategy, Unseen, Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, MountOptions, Profile},
};

use self::sim::listen as listen_for;

const FILE: &str = "memory.events";
const NOTIFIED: [Strategy; 2] = [Strategy::Inotify, Strategy::Fanotify];

fn services() -> Arc<Hierarchy> {
    let profile = Profile::Linux71;
    // Those that are gone count on.
    let options = cgroup_sim::Options { profile, remember: true, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory")
}

fn parent(hierarchy: &Hierarchy, path: &str) {
    hierarchy.mkdir(path).unwrap();
    hierarchy.write(format!("{path}/cgroup.subtree_control"), "+memory").unwrap();
}

fn watcher(hierarchy: &Arc<Hierarchy>, strategy: Strategy) -> Watcher<SimWorld> {
    let world = SimWorld::new(Arc::clone(hierarchy));
    sim::watcher(world, Options::new().strategy(strategy), "/services")
}

fn listen(watcher: &mut Watcher<SimWorld>) -> Vec<Event> {
    listen_for(watcher, Duration::from_secs(1))
}

/// Counts, and goes before anybody could look.
fn count_and_go(hierarchy: &Hierarchy, path: &str, amount: u64) {
    let id = hierarchy.find(path).unwrap();
    hierarchy.count(id, Counted::MemoryHigh, amount).unwrap();
    hierarchy.rmdir(path).unwrap();
}

/// What is told at removals: path, amount, and how sure it is.
fn recovered(events: &[Event]) -> Vec<(String, u64, Option<Confidence>)> {
    let removed = unseen(events).into_iter();
    removed
        .map(|(path, unseen)| (path, unseen.get(FILE, "high"), unseen.confidence))
        .filter(|(_, amount, _)| *amount > 0)
        .collect()
}

fn unseen(events: &[Event]) -> Vec<(String, &Unseen)> {
    let removed = events.iter().filter_map(|event| match &event.kind {
        EventKind::Removed { cgroup, unseen, .. }
        | EventKind::FileRemoved { cgroup, unseen, .. } => Some((cgroup, unseen)),
        _ => None,
    });
    removed.map(|(cgroup, unseen)| (cgroup.path.to_string(), unseen)).collect()
}

fn bounded(path: &str, amount: u64) -> (String, u64, Option<Confidence>) {
    (path.to_owned(), amount, Some(Confidence::Bounded))
}

fn shared(path: &str, amount: u64) -> (String, u64, Option<Confidence>) {
    (path.to_owned(), amount, Some(Confidence::Shared))
}

/// Siblings that live, a sweep that found all as it was, and a write that changed nothing cast no
/// doubt.
#[test]
fn what_only_one_can_have_counted_is_called_its_alone() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        for name in ["first", "second", "third", "stays"] {
            hierarchy.mkdir(format!("/services/{name}")).unwrap();
        }
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        count_and_go(&hierarchy, "/services/first", 3);
        assert_eq!(recovered(&listen(&mut watcher)), [bounded("/first", 3)], "{strategy:?}");
        // Two sweeps.
        listen_for(&mut watcher, Duration::from_secs(90));
        count_and_go(&hierarchy, "/services/second", 2);
        assert_eq!(recovered(&listen(&mut watcher)), [bounded("/second", 2)], "{strategy:?}");
        hierarchy.write("/services/cgroup.subtree_control", "+memory").unwrap();
        listen(&mut watcher);
        count_and_go(&hierarchy, "/services/third", 1);
        assert_eq!(recovered(&listen(&mut watcher)), [bounded("/third", 1)], "{strategy:?}");
    }
}

/// The directory was found in the same instant; but every death in it is that of one that is known.
#[test]
fn what_only_one_in_a_new_directory_can_have_counted_is_called_its_alone() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        parent(&hierarchy, "/services/new");
        watcher.update().unwrap();
        hierarchy.mkdir("/services/new/guilty").unwrap();
        watcher.update().unwrap();
        count_and_go(&hierarchy, "/services/new/guilty", 3);
        watcher.update().unwrap();
        assert_eq!(recovered(&listen(&mut watcher)), [bounded("/new/guilty", 3)], "{strategy:?}");
    }
}

/// By sweeps alone, another may have lived and died meanwhile of which nobody ever hears.
#[test]
fn by_sweeps_nothing_is_called_ones_alone() {
    let hierarchy = services();
    hierarchy.mkdir("/services/known").unwrap();
    let mut watcher = watcher(&hierarchy, Strategy::Sweep);
    listen_for(&mut watcher, Duration::from_secs(90));
    hierarchy.mkdir("/services/brief").unwrap();
    count_and_go(&hierarchy, "/services/brief", 3);
    hierarchy.rmdir("/services/known").unwrap();
    let events = listen_for(&mut watcher, Duration::from_secs(90));
    assert_eq!(recovered(&events), [shared("/known", 3)]);
}

/// What a child counted that was born and gone between two sweeps is not the newborn parent's own.
#[test]
fn by_sweeps_what_a_newborn_shows_is_its_own_only_as_far_as_it_says_so() {
    let hierarchy = services();
    let mut watcher = watcher(&hierarchy, Strategy::Sweep);
    listen_for(&mut watcher, Duration::from_secs(90));
    parent(&hierarchy, "/services/job");
    hierarchy.mkdir("/services/job/brief").unwrap();
    count_and_go(&hierarchy, "/services/job/brief", 3);
    let job = hierarchy.find("/services/job").unwrap();
    hierarchy.count(job, Counted::MemoryHigh, 2).unwrap();
    let events = listen_for(&mut watcher, Duration::from_secs(90));
    assert_eq!(changed(&events, "/job"), (5, 2));
}

/// What is told to have changed of `memory.events high` in one cgroup: all, and its own.
fn changed(events: &[Event], path: &str) -> (i128, i128) {
    let (mut all, mut its) = (0, 0);
    for event in events {
        let EventKind::Changed { cgroup, file, delta, own: Some(own), .. } = &event.kind else {
            continue;
        };
        if &**file == FILE && cgroup.path.to_string() == path {
            all += delta.get("high").unwrap_or(0);
            its += own.get("high").unwrap_or(0);
        }
    }
    (all, its)
}

/// One that lies deeper than is watched is there from the start: what it counts is not its parent's own.
#[test]
fn what_lies_deeper_than_is_watched_counts_for_itself_from_the_start() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep] {
        let hierarchy = services();
        parent(&hierarchy, "/services/job");
        let below = hierarchy.mkdir("/services/job/below").unwrap();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = Watcher::simulated(world, Options::new().strategy(strategy)).unwrap();
        watcher.add("/services".as_ref(), Depth::AtMost(1)).unwrap();
        listen_for(&mut watcher, Duration::from_secs(90));
        hierarchy.count(below, Counted::MemoryHigh, 3).unwrap();
        let events = listen_for(&mut watcher, Duration::from_secs(90));
        assert_eq!(changed(&events, "/job"), (3, 0), "{strategy:?}");
    }
}

/// One dies elsewhere in the same instant, where another parent is asked.
#[test]
fn what_is_left_over_is_given_to_one_that_died_there() {
    for strategy in NOTIFIED {
        for names in [["a", "b"], ["b", "a"]] {
            let hierarchy = services();
            let guilty = format!("/services/{}", names[0]);
            let job = format!("/services/{}", names[1]);
            let leaf = format!("{job}/leaf");
            hierarchy.mkdir(&guilty).unwrap();
            parent(&hierarchy, &job);
            hierarchy.mkdir(&leaf).unwrap();
            let mut watcher = watcher(&hierarchy, strategy);
            listen(&mut watcher);
            for first in [false, true] {
                let _ = hierarchy.mkdir(&leaf);
                let _ = hierarchy.mkdir(&guilty);
                listen(&mut watcher);
                if first {
                    hierarchy.rmdir(&leaf).unwrap();
                }
                count_and_go(&hierarchy, &guilty, 3);
                if !first {
                    hierarchy.rmdir(&leaf).unwrap();
                }
                let expected = [bounded(&format!("/{}", names[0]), 3)];
                assert_eq!(recovered(&listen(&mut watcher)), expected, "{strategy:?}");
            }
        }
    }
}

/// A dead one counted on, and its parent has shown that: it may stand in no removal as one's alone.
#[test]
fn what_was_left_over_before_is_not_called_alone_the_next_ones_that_dies() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        let dead = hierarchy.mkdir("/services/dead").unwrap();
        hierarchy.mkdir("/services/innocent").unwrap();
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        hierarchy.rmdir("/services/dead").unwrap();
        listen(&mut watcher);
        hierarchy.count(dead, Counted::MemoryHigh, 3).unwrap();
        watcher.update().unwrap();
        hierarchy.rmdir("/services/innocent").unwrap();
        assert_eq!(recovered(&listen(&mut watcher)), [shared("/innocent", 3)], "{strategy:?}");
    }
}

/// The parent's file goes with what nobody had claimed yet of what it showed.
#[test]
fn what_was_left_over_in_a_file_that_goes_is_told_with_it() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        parent(&hierarchy, "/services/job");
        let leaf = hierarchy.mkdir("/services/job/leaf").unwrap();
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        hierarchy.rmdir("/services/job/leaf").unwrap();
        listen(&mut watcher);
        hierarchy.count(leaf, Counted::MemoryHigh, 3).unwrap();
        watcher.update().unwrap();
        hierarchy.write("/services/job/cgroup.subtree_control", "-memory").unwrap();
        hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
        assert_eq!(recovered(&listen(&mut watcher)), [shared("/job", 3)], "{strategy:?}");
    }
}

/// What is late more than once before it is told is told in sum, each of its file, also where two files
/// have the same keys.
#[test]
fn what_is_late_more_than_once_is_told_in_sum() {
    const FILES: [&str; 3] = ["hugetlb.2MB.events", FILE, "pids.events"];
    for strategy in NOTIFIED {
        let hierarchy = services();
        hierarchy.mkdir("/services/job").unwrap();
        for parent in ["", "/services", "/services/job"] {
            let control = format!("{parent}/cgroup.subtree_control");
            hierarchy.write(control, "+memory +pids +hugetlb").unwrap();
        }
        let leaf = hierarchy.mkdir("/services/job/leaf").unwrap();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let options = Options::new().strategy(strategy).files(FILES);
        let mut watcher = Watcher::simulated(world, options).unwrap();
        watcher.add("/services".as_ref(), Depth::All).unwrap();
        listen(&mut watcher);
        hierarchy.rmdir("/services/job/leaf").unwrap();
        listen(&mut watcher);
        // From here on nobody takes anything.
        for amount in [1, 2, 4] {
            hierarchy.count(leaf, Counted::HugetlbMax, amount).unwrap();
            hierarchy.count(leaf, Counted::MemoryHigh, 10 * amount).unwrap();
            hierarchy.count(leaf, Counted::PidsMax, 100 * amount).unwrap();
            for _ in 0..3 {
                hierarchy.advance(Duration::from_secs(1));
                watcher.update().unwrap();
            }
        }
        let mut told = Vec::new();
        for event in listen(&mut watcher) {
            let EventKind::Changed { cgroup, file, late, .. } = event.kind else { continue };
            let amount = ["high", "max"].iter().filter_map(|key| late.get(key)).sum::<u64>();
            if cgroup.path.as_bytes() == b"/job" && amount != 0 {
                told.push((file.to_string(), amount));
            }
        }
        told.sort_unstable();
        let expected = FILES.into_iter().map(str::to_owned).zip([7, 70, 700]);
        assert_eq!(told, expected.collect::<Vec<_>>(), "{strategy:?}");
    }
}

/// Above the watched root nobody is asked. Which of its counters cannot be known is said: those it had,
/// of the files that count; how many were killed on the host says the most that memory's can be.
#[test]
fn of_a_watched_root_that_goes_it_is_said_what_cannot_be_known() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        // `pids.events` is there elsewhere, but not in the root that goes.
        hierarchy.write("/cgroup.subtree_control", "+pids").unwrap();
        parent(&hierarchy, "/services/job");
        let below = hierarchy.mkdir("/services/job/below").unwrap();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let files = ["memory.events", "pids.events", "memory.stat", "cgroup.stat"];
        let options = Options::new().strategy(strategy).files(files);
        let mut watcher = Watcher::simulated(world, options).unwrap();
        hierarchy.mkdir("/other").unwrap();
        watcher.add("/other".as_ref(), Depth::All).unwrap();
        watcher.add("/services/job".as_ref(), Depth::All).unwrap();
        listen(&mut watcher);
        hierarchy.count(below, Counted::MemoryOomKill, 2).unwrap();
        hierarchy.rmdir("/services/job/below").unwrap();
        hierarchy.rmdir("/services/job").unwrap();
        let events = listen(&mut watcher);
        let told: Vec<_> = unseen(&events);
        let [(_, below), (_, job)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(unknown(job), [FILE], "{strategy:?} {job:?}");
        assert!(job.host_oom_kill_at_most.is_some_and(|most| most >= 2), "{job:?}");
        assert_eq!(unknown(below), [FILE], "its parent was gone, too: {below:?}");
        // Two files of one.
        hierarchy.mkdir("/both").unwrap();
        watcher.add("/both".as_ref(), Depth::All).unwrap();
        hierarchy.rmdir("/both").unwrap();
        let events = listen(&mut watcher);
        let told = unseen(&events);
        let [(_, both)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(unknown(both), [FILE, "pids.events"], "{strategy:?} {both:?}");
        // One file alone goes, which a sweep finds.
        hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
        hierarchy.write("/cgroup.subtree_control", "-memory").unwrap();
        let events = listen_for(&mut watcher, Duration::from_secs(90));
        let told = unseen(&events);
        let [(path, other)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&**path, unknown(other)), ("/", vec![FILE]), "{strategy:?} {other:?}");
        // And one that never had it.
        hierarchy.mkdir("/late").unwrap();
        watcher.add("/late".as_ref(), Depth::All).unwrap();
        hierarchy.rmdir("/late").unwrap();
        let events = listen(&mut watcher);
        let told = unseen(&events);
        let [(_, late)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(unknown(late), ["pids.events"], "{strategy:?} {late:?}");
        assert_eq!(late.host_oom_kill_at_most, None, "it says nothing of processes refused");
    }
}

/// Of one whose parent could be asked nothing is unknown, neither when it goes nor its file alone.
#[test]
fn where_a_parent_can_be_asked_nothing_is_unknown() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        for path in ["/services/web", "/services/job"] {
            hierarchy.mkdir(path).unwrap();
        }
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        hierarchy.rmdir("/services/web").unwrap();
        hierarchy.write("/services/cgroup.subtree_control", "-memory").unwrap();
        let events = listen(&mut watcher);
        let told = unseen(&events);
        assert_eq!(told.len(), 2, "{strategy:?} {told:?}");
        for (path, unseen) in told {
            assert!(unseen.is_nothing(), "{strategy:?} {path}: {unseen:?}");
            assert_eq!(unseen.host_oom_kill_at_most, None);
        }
    }
}

/// Where the mount has each cgroup count for itself no parent knows what its dead child counted.
#[test]
fn where_each_counts_for_itself_it_is_said_that_it_cannot_be_known() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        let memory_localevents = true;
        hierarchy.remount(MountOptions { memory_localevents, ..hierarchy.mount_options() });
        hierarchy.mkdir("/services/web").unwrap();
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        count_and_go(&hierarchy, "/services/web", 3);
        let events = listen(&mut watcher);
        let told = unseen(&events);
        let [(_, web)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(unknown(web), [FILE], "{strategy:?} {web:?}");
    }
}

/// The files of which it cannot be known.
fn unknown(unseen: &Unseen) -> Vec<&str> {
    let files = unseen.files.iter().filter(|(_, amount)| amount.is_none());
    files.map(|(name, _)| &**name).collect()
}

/// The mount is made to have each count for itself after one died, and before its parent was asked.
#[test]
fn where_each_counts_for_itself_by_now_it_is_said_that_it_cannot_be_known() {
    for strategy in NOTIFIED {
        let hierarchy = services();
        hierarchy.mkdir("/services/web").unwrap();
        let mut watcher = watcher(&hierarchy, strategy);
        listen(&mut watcher);
        count_and_go(&hierarchy, "/services/web", 3);
        let memory_localevents = true;
        hierarchy.remount(MountOptions { memory_localevents, ..hierarchy.mount_options() });
        let events = listen(&mut watcher);
        let told = unseen(&events);
        let [(_, web)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(unknown(web), [FILE], "{strategy:?} {web:?}");
    }
}
