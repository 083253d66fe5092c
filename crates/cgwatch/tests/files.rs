//! The event files of a cgroup: how they are found and opened, and which are said to have gone.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod sim;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cgwatch::{
    Confidence, Depth, Driver, Event, EventKind, GapReason, Options, SimWorld, Strategy, Verb,
    Watcher,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

use self::sim::{listen, take};

const CONTROL: &str = "/services/cgroup.subtree_control";
/// Some sweeps of the usual 30 s.
const SWEPT: Duration = Duration::from_secs(90);
/// None.
const BRIEF: Duration = Duration::from_secs(1);

/// Before each call that could fail: what it is, and in which directory or of which file by its id. It
/// fails with the errno that is returned.
struct Before<F>(F);

impl<F: FnMut(Verb, u64) -> Option<Errno> + Send> Driver for Before<F> {
    fn refuses(&mut self, verb: Verb, directory: u64) -> Option<Errno> {
        (self.0)(verb, directory)
    }
}

fn services(profile: Profile) -> Arc<Hierarchy> {
    let options = cgroup_sim::Options { profile, ..Default::default() };
    sim::hierarchy(options, "/services", "+memory")
}

fn world(
    hierarchy: &Arc<Hierarchy>,
    before: impl FnMut(Verb, u64) -> Option<Errno> + Send + 'static,
) -> SimWorld {
    SimWorld::new(Arc::clone(hierarchy)).driven_by(Before(before))
}

/// A cgroup whose children have `memory.events`.
fn parent(hierarchy: &Hierarchy, path: &str) -> u64 {
    let id = hierarchy.mkdir(path).unwrap();
    hierarchy.write(format!("{path}/cgroup.subtree_control"), "+memory").unwrap();
    id
}

/// What is emitted of cgroups below the root, but changes.
fn lines(events: &[Event]) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events {
        let path = event.kind.cgroup().map(|cgroup| cgroup.path.to_string()).unwrap_or_default();
        match &event.kind {
            EventKind::Changed { .. } => {}
            EventKind::Gap { reason: GapReason::Inaccessible { cgroup, .. }, .. } => {
                lines.push(format!("{} inaccessible", cgroup.path));
            }
            EventKind::FileRemoved { file, .. } => lines.push(format!("{path} lost {file}")),
            kind => lines.push(format!("{path} {}", kind.name()).trim().to_owned()),
        }
    }
    lines
}

/// The files that are known of the cgroup at this path.
fn known(watcher: &Watcher<SimWorld>, path: &str) -> Vec<String> {
    let all = watcher.snapshot();
    let it = all.iter().find(|known| known.cgroup.path.to_string() == path).unwrap();
    it.files.iter().map(|(name, _)| name.to_string()).collect()
}

/// A pattern says which files there are only together with a listing, whatever opens them.
#[test]
fn a_pattern_finds_what_is_there() {
    for strategy in [Strategy::Inotify, Strategy::Sweep] {
        for by_id in [true, false] {
            let hierarchy = services(Profile::Linux71);
            hierarchy.mkdir("/services/web").unwrap();
            let world = SimWorld::new(Arc::clone(&hierarchy)).by_id(by_id);
            let options = Options::new().strategy(strategy).files(["memory.*events"]);
            let watcher = sim::watcher(world, options, "/services");
            let files = ["cgroup.events", "memory.events", "memory.swap.events"];
            assert_eq!(known(&watcher, "/web"), files, "{strategy:?}, by id: {by_id}");
        }
    }
}

/// From 7.1 on a look-up of a name in a cgroup that is being removed may cost others an event.
#[test]
fn one_that_went_before_it_was_listed_is_asked_for_no_name() {
    let hierarchy = services(Profile::Linux71);
    let web = hierarchy.mkdir("/services/web").unwrap();
    let (gone, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (goes, asks, tree) = (Arc::clone(&gone), Arc::clone(&asked), Arc::clone(&hierarchy));
    let world = world(&hierarchy, move |verb, directory| {
        if directory == web && verb == Verb::List && !goes.swap(true, SeqCst) {
            tree.rmdir("/services/web").unwrap();
        } else if directory == web && verb == Verb::Watch && goes.load(SeqCst) {
            asks.fetch_add(1, SeqCst);
        }
        None
    });
    let mut watcher = sim::watcher(world, Options::new(), "/services");
    let events = listen(&mut watcher, BRIEF);
    assert!(gone.load(SeqCst) && lines(&events).contains(&"/web removed".to_owned()));
    assert_eq!(asked.load(SeqCst), 0);
}

/// That a file cannot be read in this cgroup (EOPNOTSUPP) is no trouble: it has none, until it can be.
#[test]
fn what_a_cgroup_does_not_support_is_no_file_of_it() {
    for strategy in [Strategy::Inotify, Strategy::Sweep] {
        let hierarchy = services(Profile::Linux71);
        let web = hierarchy.mkdir("/services/web").unwrap();
        let on = Arc::new(AtomicBool::new(true));
        let is = Arc::clone(&on);
        let world = world(&hierarchy, move |verb, directory| {
            let refuses = is.load(SeqCst) && directory == web && verb == Verb::Read;
            refuses.then_some(Errno::OPNOTSUPP)
        });
        let mut watcher = sim::watcher(world, Options::new().strategy(strategy), "/services");
        assert_eq!(lines(&listen(&mut watcher, SWEPT)), ["/ appeared", "/web appeared", "ready"]);
        assert!(known(&watcher, "/web").is_empty());
        on.store(false, SeqCst);
        assert_eq!(lines(&listen(&mut watcher, SWEPT)), ["/web file-added"], "{strategy:?}");
        on.store(true, SeqCst);
        let lost = ["/web lost cgroup.events", "/web lost memory.events"];
        assert_eq!(lines(&listen(&mut watcher, SWEPT)), lost, "{strategy:?}");
    }
}

/// Of a `.local` twin that, too, is none, and any other error is said.
#[test]
fn what_a_twin_cannot_be_read_for_is_said() {
    for (errno, said) in [(Errno::OPNOTSUPP, &[][..]), (Errno::IO, &["/web inaccessible", "ready"])]
    {
        let hierarchy = services(Profile::Linux71);
        let web = parent(&hierarchy, "/services/web");
        hierarchy.mkdir("/services/web/worker").unwrap();
        let on = Arc::new(AtomicBool::new(false));
        let (is, mut by_name) = (Arc::clone(&on), false);
        // Files are opened by their ids, twins by their names.
        let world = world(&hierarchy, move |verb, opened| {
            if verb == Verb::Open {
                by_name = opened == web;
            }
            let refuses = by_name && verb == Verb::Read && is.load(SeqCst);
            refuses.then_some(errno)
        });
        let mut watcher = sim::watcher(world, Options::new(), "/services");
        listen(&mut watcher, SWEPT);
        on.store(true, SeqCst);
        hierarchy.count(web, Counted::MemoryHigh, 1).unwrap();
        assert_eq!(lines(&listen(&mut watcher, BRIEF)), said);
        on.store(false, SeqCst);
        assert_eq!(lines(&listen(&mut watcher, SWEPT)), [""; 0], "{errno:?}");
    }
}

/// Of a branch that loses a file at once it goes from the children first.
#[test]
fn a_file_goes_from_the_children_first() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let hierarchy = services(Profile::Linux71);
        parent(&hierarchy, "/services/job");
        hierarchy.mkdir("/services/job/leaf").unwrap();
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = sim::watcher(world, Options::new().strategy(strategy), "/services");
        listen(&mut watcher, BRIEF);
        // The upper one is the first that was written.
        hierarchy.write(CONTROL, "+memory").unwrap();
        hierarchy.write("/services/job/cgroup.subtree_control", "-memory").unwrap();
        hierarchy.write(CONTROL, "-memory").unwrap();
        let lost = ["/job/leaf lost memory.events", "/job lost memory.events"];
        assert_eq!(lines(&listen(&mut watcher, SWEPT)), lost, "{strategy:?}");
    }
}

/// A file was replaced, and one was born below it since: its own is the one that was found.
#[test]
fn a_file_that_came_after_anothers_loss_stays() {
    for strategy in [Strategy::Inotify, Strategy::Fanotify] {
        let hierarchy = services(Profile::Linux71);
        parent(&hierarchy, "/services/job");
        let world = SimWorld::new(Arc::clone(&hierarchy));
        let mut watcher = sim::watcher(world, Options::new().strategy(strategy), "/services");
        listen(&mut watcher, BRIEF);
        let control = "/services/job/cgroup.subtree_control";
        for (file, text) in
            [(control, "-memory"), (CONTROL, "-memory"), (CONTROL, "+memory"), (control, "+memory")]
        {
            hierarchy.write(file, text).unwrap();
        }
        hierarchy.mkdir("/services/job/new").unwrap();
        let mut told = lines(&listen(&mut watcher, SWEPT));
        told.sort_unstable();
        let expected = ["/job file-added", "/job lost memory.events", "/job/new appeared"];
        assert_eq!(told, expected, "{strategy:?}");
    }
}

/// Whether a child has lost a file cannot be seen. It is there all the same.
#[test]
fn one_that_cannot_be_listed_is_not_removed_when_files_go() {
    for closed in ["/services/job", "/services/job/leaf"] {
        let hierarchy = services(Profile::Linux71);
        parent(&hierarchy, "/services/job");
        hierarchy.mkdir("/services/job/leaf").unwrap();
        let closed = hierarchy.find(closed).unwrap();
        let on = Arc::new(AtomicBool::new(false));
        let is = Arc::clone(&on);
        let world = world(&hierarchy, move |verb, directory| {
            let refuses = is.load(SeqCst) && verb == Verb::List && directory == closed;
            refuses.then_some(Errno::IO)
        });
        let mut watcher = sim::watcher(world, Options::new(), "/services");
        listen(&mut watcher, BRIEF);
        on.store(true, SeqCst);
        hierarchy.write(CONTROL, "+memory").unwrap();
        hierarchy.write("/services/job/cgroup.subtree_control", "-memory").unwrap();
        hierarchy.write(CONTROL, "-memory").unwrap();
        let mut told = lines(&listen(&mut watcher, SWEPT));
        on.store(false, SeqCst);
        told.extend(lines(&listen(&mut watcher, SWEPT)));
        let of = |what: &str| told.iter().filter(|line| line.contains(what)).count();
        assert_eq!(
            (of("removed"), of("appeared"), of("lost"), of("inaccessible")),
            (0, 0, 2, 1),
            "{told:?}"
        );
    }
}

/// One that goes while a sweep reads it is found gone by that sweep.
#[test]
fn one_that_goes_while_it_is_swept_is_emitted_by_that_sweep() {
    const SWEEP: Duration = Duration::from_secs(1);
    let hierarchy = services(Profile::Linux71);
    hierarchy.advance(SWEEP);
    let web = hierarchy.mkdir("/services/web").unwrap();
    let on = Arc::new(AtomicBool::new(false));
    let (is, tree, mut opened) = (Arc::clone(&on), Arc::clone(&hierarchy), false);
    let world = world(&hierarchy, move |verb, of| {
        // After its directory the first of its files is opened.
        if is.load(SeqCst) && verb == Verb::Open && std::mem::replace(&mut opened, of == web) {
            is.store(false, SeqCst);
            tree.rmdir("/services/web").unwrap();
        }
        None
    });
    let options = Options::new().strategy(Strategy::Sweep).sweep_interval(SWEEP);
    let mut watcher = sim::watcher(world, options, "/services");
    take(&mut watcher);
    on.store(true, SeqCst);
    hierarchy.advance_to(watcher.world().alarm().unwrap());
    assert_eq!(lines(&take(&mut watcher)), ["/web removed"]);
    assert!(!on.load(SeqCst));
}

/// A file that came and has counted nothing casts no doubt on who counts later.
#[test]
fn a_file_that_came_empty_casts_no_doubt() {
    let options = cgroup_sim::Options { profile: Profile::Linux71, ..Default::default() };
    let hierarchy = Arc::new(Hierarchy::new(options));
    hierarchy.mkdir("/services").unwrap();
    let web = hierarchy.mkdir("/services/web").unwrap();
    let world = SimWorld::new(Arc::clone(&hierarchy));
    let mut watcher = sim::watcher(world, Options::new(), "/");
    listen(&mut watcher, BRIEF);
    for control in ["/cgroup.subtree_control", CONTROL] {
        hierarchy.write(control, "+memory").unwrap();
    }
    assert_eq!(lines(&listen(&mut watcher, BRIEF)).len(), 2);
    hierarchy.count(web, Counted::MemoryHigh, 3).unwrap();
    hierarchy.rmdir("/services/web").unwrap();
    let events = listen(&mut watcher, BRIEF);
    let unseen = events.iter().find_map(|event| match &event.kind {
        EventKind::Removed { unseen, .. } => Some(unseen),
        _ => None,
    });
    let unseen = unseen.unwrap();
    assert_eq!(unseen.get("memory.events", "high"), 3);
    assert_eq!(unseen.confidence, Some(Confidence::Bounded));
}

/// A sweep has the watches of files set again, by which one that was replaced is found, and none of a
/// directory that is there, nor one that was never wanted.
#[test]
fn a_sweep_sets_no_watch_that_is_not_missing() {
    let hierarchy = services(Profile::Linux71);
    let web = parent(&hierarchy, "/services/web");
    let deep = hierarchy.mkdir("/services/web/deep").unwrap();
    let set = Arc::new([const { AtomicU64::new(0) }; 2]);
    let sets = Arc::clone(&set);
    let world = world(&hierarchy, move |verb, directory| {
        for (set, of) in sets.iter().zip([web, deep]) {
            set.fetch_add(u64::from(verb == Verb::Watch && directory == of), SeqCst);
        }
        None
    });
    let mut watcher = Watcher::simulated(world, Options::new()).unwrap();
    watcher.add("/services".as_ref(), Depth::AtMost(2)).unwrap();
    let taken = || set.each_ref().map(|set| set.swap(0, SeqCst));
    listen(&mut watcher, BRIEF);
    let watches = watcher.world().watches();
    assert_eq!(
        taken(),
        [3, 2],
        "of two files, and of the directory unless nothing below is wanted"
    );
    hierarchy.advance_to(watcher.world().alarm().unwrap());
    assert!(take(&mut watcher).is_empty());
    assert_eq!((taken(), watcher.world().watches()), ([2, 2], watches));
}

/// Where names alone are to go by, a file that shows less than before is another one.
#[test]
fn a_file_that_shows_less_is_another() {
    let hierarchy = services(Profile::Linux71);
    let web = hierarchy.mkdir("/services/web").unwrap();
    hierarchy.count(web, Counted::MemoryHigh, 3).unwrap();
    let world = SimWorld::new(Arc::clone(&hierarchy)).by_id(false);
    let mut watcher = sim::watcher(world, Options::new().strategy(Strategy::Sweep), "/services");
    listen(&mut watcher, SWEPT);
    for text in ["-memory", "+memory"] {
        hierarchy.write(CONTROL, text).unwrap();
    }
    let lost = ["/web lost memory.events", "/web file-added"];
    assert_eq!(lines(&listen(&mut watcher, SWEPT)), lost);
}
