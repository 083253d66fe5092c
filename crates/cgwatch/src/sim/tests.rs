//! The verbs of the simulated world, one by one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cgroup_sim::{Event as Counted, Hierarchy, Options, Profile};
use rustix::io::Errno;

use super::{Driver, SimWorld, Verb, driver::Nobody};
use crate::{
    Error,
    world::{Notification, World},
};

const SECOND: u64 = 1_000_000_000;

/// `/a/b/c`.
fn hierarchy(profile: Profile) -> Arc<Hierarchy> {
    let hierarchy = Hierarchy::new(Options { profile, ..Default::default() });
    for path in ["/a", "/a/b", "/a/b/c"] {
        hierarchy.mkdir(path).unwrap();
    }
    Arc::new(hierarchy)
}

/// A world with an inotify instance and with a mark, if so.
fn notified(hierarchy: &Arc<Hierarchy>, driver: impl Driver + 'static, marked: bool) -> SimWorld {
    let mut world = SimWorld::new(Arc::clone(hierarchy)).driven_by(driver);
    world.start_inotify().unwrap();
    if marked {
        world.mark_all().unwrap();
    }
    world
}

/// The notifications that are queued, as they are printed.
fn drained(world: &mut SimWorld) -> Vec<String> {
    let mut all = Vec::new();
    world.drain(&mut |notification| all.push(format!("{notification:?}"))).unwrap();
    all
}

/// Does something before the Nth call.
struct Before<F> {
    calls: u64,
    act: F,
}

impl<F: FnMut(&Hierarchy) + Send> Driver for Before<F> {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        self.calls = self.calls.wrapping_sub(1);
        if self.calls == 0 {
            (self.act)(hierarchy);
        }
    }
}

#[test]
fn by_default_a_driver_changes_nothing() {
    let driver = &mut Nobody;
    assert!(!driver.loses_a_change());
    assert_eq!(driver.withholds_death_of(), None);
    assert_eq!(driver.refuses(Verb::Open, 1), None);
    assert_eq!(driver.refuses_way(b"a"), None);
    assert!(driver.finds_by_id(1));
    assert_eq!(driver.next_ns(), None);
}

#[test]
fn calls_and_the_names_walked_by_are_counted() {
    let hierarchy = hierarchy(Profile::Linux70);
    let mut world = SimWorld::new(Arc::clone(&hierarchy));
    // It is opened and looked at.
    let (mut dir, _) = world.open(0, b"a/b").unwrap();
    assert_eq!((world.calls(), world.walked()), (2, 2));
    world.open_child(&mut dir, b"c").unwrap();
    assert_eq!((world.calls(), world.walked()), (4, 3));
    // By its id it is found without its names.
    world.open_id(0, dir.id).unwrap().unwrap();
    assert_eq!((world.calls(), world.walked()), (5, 3));
    assert_eq!(world.busy_ns(), 5_000);
}

/// A directory is reached without being opened where no removal event can be held back by that.
#[test]
fn ids_are_gone_by_where_they_may_be_and_there_is_one() {
    for profile in [Profile::Linux70, Profile::Linux71, Profile::Announced] {
        for by_id in [true, false] {
            let hierarchy = hierarchy(profile);
            let mut world = SimWorld::new(Arc::clone(&hierarchy)).by_id(by_id);
            assert_eq!(world.goes_by_id(), by_id);
            for id in [0, hierarchy.find("/a").unwrap()] {
                let goes = by_id && id != 0;
                let opened = world.open_id(0, id).map(|dir| dir.map(|dir| dir.id));
                assert_eq!(opened, goes.then_some(Ok(id)), "{profile:?} {by_id}");
                let reached = world.reach(0, id).map(|dir| dir.id);
                let reaches = goes && profile == Profile::Linux70;
                assert_eq!(reached, reaches.then_some(id), "{profile:?} {by_id}");
            }
        }
    }
}

/// The kernel finds nothing by its id.
struct Forgets;

impl Driver for Forgets {
    fn finds_by_id(&mut self, _: u64) -> bool {
        false
    }
}

#[test]
fn what_is_not_found_by_its_id_is_stale() {
    let hierarchy = hierarchy(Profile::Linux70);
    let mut world = SimWorld::new(Arc::clone(&hierarchy)).driven_by(Forgets);
    let opened = world.open_id(0, hierarchy.find("/a").unwrap()).unwrap();
    assert_eq!(opened.err(), Some(Errno::STALE));
}

/// No path can be opened.
struct Bars(Errno);

impl Driver for Bars {
    fn refuses_way(&mut self, _: &[u8]) -> Option<Errno> {
        Some(self.0)
    }
}

/// What may not be reached is not said to be missing.
#[test]
fn why_a_path_cannot_be_located_is_said() {
    let located = |errno| {
        let mut world = SimWorld::new(hierarchy(Profile::Linux70)).driven_by(Bars(errno));
        world.locate("/a".as_ref()).unwrap_err()
    };
    assert!(matches!(located(Errno::NOENT), Error::NotFound { .. }));
    assert!(matches!(located(Errno::NOTDIR), Error::NotACgroup { .. }));
    let error = located(Errno::ACCESS);
    assert!(matches!(error, Error::Path { source: Errno::ACCESS, .. }), "{error:?}");
}

#[test]
fn a_file_of_more_than_a_page_is_read_to_its_end() {
    let hierarchy = hierarchy(Profile::Linux70);
    let a = hierarchy.find("/a").unwrap();
    for _ in 0..2_000 {
        hierarchy.spawn(a).unwrap();
    }
    let mut world = SimWorld::new(hierarchy);
    let (mut dir, _) = world.open(0, b"a").unwrap();
    let mut text = Vec::new();
    world.read(&mut dir, "cgroup.procs", 0, &mut text).unwrap();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2_000);
}

/// A file that came after the attempt to watch it would be read without a watch, and nobody would know.
#[test]
fn a_file_that_is_gone_when_it_is_to_be_watched_is_not_read() {
    let hierarchy = hierarchy(Profile::Linux70);
    // Before the call after the attempt, which is the third.
    let act =
        |hierarchy: &Hierarchy| hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    let mut world = notified(&hierarchy, Before { calls: 4, act }, false);
    let (mut dir, _) = world.open(0, b"a").unwrap();
    let mut text = Vec::new();
    let done = world.watch_and_read(&mut dir, "memory.events", 0, &mut text);
    assert_eq!(done, (Err(Errno::NOENT), Err(Errno::NOENT)));
    assert_eq!(text, b"");
    assert_eq!(world.read(&mut dir, "memory.events", 0, &mut text), Ok(()), "it came");
}

/// However many there are, and without a call in vain for few.
#[test]
fn all_that_is_queued_is_handed_over() {
    for (births, calls) in [(0, 1), (1, 1), (1_000, 3)] {
        let hierarchy = hierarchy(Profile::Linux70);
        let mut world = notified(&hierarchy, Nobody, false);
        let (mut dir, _) = world.open(0, b"a").unwrap();
        world.watch(&mut dir).unwrap();
        for n in 0..births {
            hierarchy.mkdir(format!("/a/{n}")).unwrap();
        }
        let before = world.calls();
        assert_eq!(drained(&mut world).len(), births);
        assert_eq!(world.calls() - before, calls, "{births} births");
    }
}

/// A record of fanotify has no room for a longer name.
#[test]
fn the_mark_says_nothing_of_a_long_name() {
    let hierarchy = hierarchy(Profile::Linux70);
    let mut world = notified(&hierarchy, Nobody, true);
    let a = hierarchy.find("/a").unwrap();
    for length in [1, 255, 256] {
        hierarchy.mkdir(format!("/a/{}", "n".repeat(length))).unwrap();
    }
    let mut lengths = Vec::new();
    let mut each = |notification: Notification<'_>| match notification {
        Notification::CreatedIn(parent, name) if parent == a => lengths.push(name.len()),
        other => panic!("{other:?}"),
    };
    world.drain(&mut each).unwrap();
    assert_eq!(lengths, [1, 255]);
}

/// Waiting ends when something is queued, by a watch or by the mark, else when its time has come.
#[test]
fn only_what_comes_ends_the_waiting_before_its_time() {
    for marked in [false, true] {
        let hierarchy = hierarchy(Profile::Linux70);
        let mut world = notified(&hierarchy, Nobody, marked);
        if !marked {
            let (mut dir, _) = world.open(0, b"a").unwrap();
            world.watch(&mut dir).unwrap();
        }
        world.wait(Some(SECOND)).unwrap();
        assert_eq!(hierarchy.now(), SECOND, "nothing comes");
        world.wait(Some(SECOND)).unwrap();
        assert_eq!(hierarchy.now(), SECOND, "it is time");
        hierarchy.mkdir("/a/new").unwrap();
        world.wait(Some(2 * SECOND)).unwrap();
        assert_eq!(hierarchy.now(), SECOND, "marked: {marked}");
        assert_eq!(drained(&mut world).len(), 1);
        world.wait(Some(2 * SECOND)).unwrap();
        assert_eq!(hierarchy.now(), 2 * SECOND, "it was taken");
    }
}

#[test]
fn the_alarm_ends_the_waiting() {
    let hierarchy = hierarchy(Profile::Linux70);
    let mut world = notified(&hierarchy, Nobody, false);
    assert_eq!(world.alarm(), None);
    world.set_alarm(7 * SECOND).unwrap();
    assert_eq!(world.alarm(), Some(7 * SECOND));
    world.wait(None).unwrap();
    assert_eq!(hierarchy.now(), 7 * SECOND);
    world.set_alarm(u64::MAX).unwrap();
    assert_eq!(world.alarm(), None);
    assert_eq!(world.wait(None), Err(Errno::DEADLK), "nothing would ever happen");
}

/// Makes a directory, once it is this time.
struct Makes(Option<u64>);

impl Driver for Makes {
    fn next_ns(&mut self) -> Option<u64> {
        self.0.take()
    }

    fn act(&mut self, hierarchy: &Hierarchy) {
        hierarchy.mkdir("/a/new").unwrap();
    }
}

#[test]
fn a_driver_acts_at_the_time_that_it_asked_for() {
    let hierarchy = hierarchy(Profile::Linux70);
    let mut world = notified(&hierarchy, Makes(Some(SECOND)), true);
    world.wait(Some(2 * SECOND)).unwrap();
    assert_eq!(hierarchy.now(), SECOND);
    assert!(hierarchy.find("/a/new").is_some());
}

/// The kernel does not yet tell of the death of the cgroup with this id; 0: it tells of all.
struct Withholds(Arc<AtomicU64>);

impl Driver for Withholds {
    fn withholds_death_of(&mut self) -> Option<u64> {
        Some(self.0.load(SeqCst)).filter(|id| *id != 0)
    }
}

#[test]
fn a_death_that_is_withheld_comes_when_it_is_not_any_more() {
    let hierarchy = hierarchy(Profile::Linux70);
    let withheld = Arc::new(AtomicU64::new(0));
    let mut world = notified(&hierarchy, Withholds(Arc::clone(&withheld)), true);
    let [parent, id] = ["/a/b", "/a/b/c"].map(|path| hierarchy.find(path).unwrap());
    withheld.store(id, SeqCst);
    hierarchy.rmdir("/a/b/c").unwrap();
    assert_eq!(drained(&mut world), [""; 0]);
    world.wait(Some(SECOND)).unwrap();
    assert_eq!(hierarchy.now(), SECOND, "it ends no waiting");
    withheld.store(0, SeqCst);
    world.wait(Some(2 * SECOND)).unwrap();
    assert_eq!(hierarchy.now(), SECOND, "it ends the waiting");
    let death = Notification::DeletedIn { parent, name: b"c", id };
    assert_eq!(drained(&mut world), [format!("{death:?}")]);
    assert_eq!(drained(&mut world), [""; 0], "it is told once");
}

#[test]
fn how_many_were_killed_on_the_simulated_host_is_known() {
    let hierarchy = hierarchy(Profile::Linux70);
    hierarchy.write("/cgroup.subtree_control", "+memory").unwrap();
    let mut world = SimWorld::new(Arc::clone(&hierarchy));
    assert_eq!(world.host_oom_kills(), Some(0));
    hierarchy.count(hierarchy.find("/a").unwrap(), Counted::MemoryOomKill, 3).unwrap();
    hierarchy.advance(Duration::from_secs(1));
    assert_eq!(world.host_oom_kills(), Some(3));
    assert!(world.is_simulated());
}
