//! Whatever happens between two calls, in the end each amount is told once: as its own of the one that
//! counted it, or where that one may be named, and as nobody's alone that did not count it.
//!
//! What happens is written as steps, by paths below `/services`: `mkdir`, `rmdir`, `parent` (its children
//! have controllers), `pids` (but for one), `childless` (they have none any more), `count` (so often, in both files), `storm` (more come and go in it than
//! can be queued).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cgwatch::{
    Confidence, Driver, Event, EventKind, Limits, Options, Strategy, Verb,
    cgroup_sim::{self, Event as Counted, Hierarchy, Profile},
};
use rustix::io::Errno;

use super::{Clock, listen, settled, sim, world};

const FILES: [(&str, &str); 2] = [("memory.events", "high"), ("pids.events", "max")];
const NOTIFIED: [Strategy; 2] = [Strategy::Inotify, Strategy::Fanotify];

/// What each has counted, by its path as it is told.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

impl Counts {
    fn play(&self, hierarchy: &Hierarchy, steps: &str) {
        for step in steps.split(',').map(str::trim).filter(|step| !step.is_empty()) {
            let words: Vec<_> = step.split(' ').collect();
            let path = format!("/services/{}", words[1]);
            let path = path.trim_end_matches("/.");
            let control = format!("{path}/cgroup.subtree_control");
            match words[0] {
                "mkdir" => drop(hierarchy.mkdir(path).unwrap()),
                "rmdir" => hierarchy.rmdir(path).unwrap(),
                "storm" => {
                    for name in 0..40 {
                        hierarchy.mkdir(format!("{path}/{name}")).unwrap();
                        hierarchy.rmdir(format!("{path}/{name}")).unwrap();
                    }
                }
                "parent" => hierarchy.write(control, "+memory +pids").unwrap(),
                "pids" => hierarchy.write(control, "-memory +pids").unwrap(),
                "childless" => hierarchy.write(control, "-memory -pids").unwrap(),
                "count" => {
                    let (id, often) = (hierarchy.find(path).unwrap(), words[2].parse().unwrap());
                    for counted in [Counted::MemoryHigh, Counted::PidsMax] {
                        hierarchy.count(id, counted, often).unwrap();
                    }
                    let told_as = path.strip_prefix("/services").unwrap();
                    let told_as = if told_as.is_empty() { "/" } else { told_as };
                    *self.0.lock().unwrap().entry(told_as.to_owned()).or_default() += often;
                }
                step => panic!("{step}"),
            }
        }
    }

    fn of(&self, path: &str) -> u64 {
        self.0.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// `named`: whoever may share an amount is named with it.
    fn check(&self, events: &[Event], named: bool, when: &str) {
        let cgroups = events.iter().filter_map(|event| event.kind.cgroup());
        let paths: BTreeMap<u64, String> = cgroups.map(|c| (c.n, c.path.to_string())).collect();
        let all: u64 = self.0.lock().unwrap().values().sum();
        let known: u64 = paths.values().map(|path| self.of(path)).sum();
        for (file, key) in FILES {
            let when = format!("{when}: {file}");
            let mut owns = BTreeMap::<&str, i128>::new();
            let mut otherwise = 0;
            for event in events {
                match &event.kind {
                    EventKind::Changed { cgroup, file: changed, own, late, .. }
                        if &**changed == file =>
                    {
                        let own = own.as_ref().and_then(|own| own.get(key)).unwrap_or(0);
                        *owns.entry(&paths[&cgroup.n]).or_default() += own;
                        otherwise += i128::from(late.get(key).unwrap_or(0));
                    }
                    EventKind::Removed { cgroup, unseen, .. }
                    | EventKind::FileRemoved { cgroup, unseen, .. } => {
                        let amount = unseen.get(file, key);
                        otherwise += i128::from(amount);
                        let its = self.of(&paths[&cgroup.n]);
                        let sharing = unseen.shared_with.iter();
                        let shared: u64 = sharing.map(|n| self.of(&paths[n])).sum();
                        let most = match unseen.confidence {
                            Some(Confidence::Shared) if !named => all,
                            Some(Confidence::Shared) => its + shared + all - known,
                            _ => its,
                        };
                        assert!(amount <= most, "{when}: {event:?}");
                    }
                    _ => {}
                }
            }
            for (path, own) in &owns {
                assert!(*own <= i128::from(self.of(path)), "{when}: {path} {own}");
            }
            assert_eq!(owns.values().sum::<i128>() + otherwise, i128::from(all), "{when}");
        }
    }
}

/// What there is at the start; what happens then; what happens before any one call of the watcher after
/// that (nothing: the call fails); what happens some calls later, if anything does; what happens when all
/// was told.
#[derive(Clone, Copy, Debug, Default)]
struct Story {
    prepare: &'static str,
    first: &'static str,
    between: &'static str,
    later: &'static str,
    last: &'static str,
    /// Cgroups and their files are opened by their names.
    by_name: bool,
    /// Whoever may share an amount is to be named with it.
    named: bool,
}

/// Plays its part of a story before one call of the watcher and before another, or lets one fail.
struct Between {
    clock: Clock,
    calls: [u64; 2],
    counts: Counts,
    story: Story,
    fails: bool,
}

impl Driver for Between {
    fn between_calls(&mut self, hierarchy: &Hierarchy) {
        let call = self.clock.tick();
        let steps = [self.story.between, self.story.later];
        for (at, steps) in self.calls.into_iter().zip(steps) {
            if call == Some(at) {
                self.counts.play(hierarchy, steps);
            }
        }
        self.fails = self.story.between.is_empty() && call == Some(self.calls[0]);
    }

    fn refuses(&mut self, _: Verb, _: u64) -> Option<Errno> {
        self.fails.then_some(Errno::IO)
    }
}

/// Tells a story in each way it can go.
fn tell(strategies: &[Strategy], story: Story) {
    let gaps = if story.later.is_empty() { 1..2 } else { 1..8 };
    for (&strategy, gap) in strategies.iter().flat_map(|s| gaps.clone().map(move |gap| (s, gap))) {
        for call in 0.. {
            if !tell_once(strategy, story, [call, call + gap]) {
                break; // it makes no more calls
            }
        }
    }
}

/// Whether the watcher made so many calls until all was told that happened at first.
fn tell_once(strategy: Strategy, story: Story, calls: [u64; 2]) -> bool {
    let options = cgroup_sim::Options { profile: Profile::Linux71, ..Default::default() };
    let hierarchy = sim::hierarchy(options, "/services", "+memory +pids");
    let (clock, counts) = (Clock::new(), Counts::default());
    counts.play(&hierarchy, story.prepare);
    let driver =
        Between { clock: clock.clone(), calls, counts: counts.clone(), story, fails: false };
    let limits = Limits { queued_events: 32, ..Limits::default() };
    let world = world(&hierarchy).by_id(!story.by_name).limits(limits).driven_by(driver);
    let mut watcher = settled(world, Options::new().strategy(strategy));
    clock.start();
    counts.play(&hierarchy, story.first);
    let patience = match strategy {
        Strategy::Sweep => Duration::from_secs(90),
        _ => Duration::from_secs(1),
    };
    let mut events = sim::listen(&mut watcher, patience);
    let made = clock.calls();
    events.extend(listen(&mut watcher));
    if made <= calls[1] {
        return false;
    }
    counts.play(&hierarchy, story.last);
    events.extend(listen(&mut watcher));
    counts.check(&events, story.named, &format!("{strategy:?} {story:?} before {calls:?}"));
    true
}

/// A child counts and goes, with its parent or without it, which counts too, or only one of them does.
#[test]
fn what_a_first_child_counts_that_goes_at_once() {
    for between in [
        "mkdir job/leaf, count job/leaf 2, rmdir job/leaf, mkdir job/innocent",
        "mkdir job/leaf, count job/leaf 2, rmdir job/leaf, rmdir job",
        "mkdir job/leaf, rmdir job/leaf, rmdir job",
    ] {
        let (prepare, first) = ("mkdir job, parent job", "count job 1");
        let named = true;
        tell(&NOTIFIED, Story { prepare, first, between, named, ..Story::default() });
    }
}

/// Of what a newborn shows a part is that of a child which nobody knows any more.
#[test]
fn what_a_child_counts_that_goes_while_its_parent_is_found() {
    let first = "mkdir job, parent job, mkdir job/guilty";
    let last = "mkdir job/innocent, rmdir job/innocent";
    for between in [
        "count job/guilty 2, rmdir job/guilty",
        "count job/guilty 2, rmdir job/guilty, mkdir job/next, rmdir job/next",
    ] {
        tell(&NOTIFIED, Story { first, between, last, ..Story::default() });
        let by_name = true;
        tell(&NOTIFIED[..1], Story { first, between, last, by_name, ..Story::default() });
    }
    let first = "mkdir job, parent job, mkdir job/guilty, count job/guilty 2, rmdir job/guilty";
    tell(&NOTIFIED, Story { first, between: "count job 1", last, ..Story::default() });
}

/// What could not be read once is told all the same.
#[test]
fn what_is_counted_while_a_call_fails() {
    const ALL: [Strategy; 3] = [Strategy::Inotify, Strategy::Fanotify, Strategy::Sweep];
    let first = "mkdir job, parent job, mkdir job/guilty, count job/guilty 2, \
                 rmdir job/guilty, count job 1";
    let last = "mkdir job/innocent, rmdir job/innocent";
    tell(&NOTIFIED, Story { first, last, ..Story::default() });
    let (prepare, first) =
        ("mkdir job, parent job", "count job 1, mkdir job/leaf, count job/leaf 2");
    tell(&ALL, Story { prepare, first, last: "rmdir job/leaf", ..Story::default() });
}

/// Where the files came later than the cgroup, of what they show some is that of children.
#[test]
fn what_children_count_whose_parents_files_come_late() {
    let prepare = "childless ., mkdir job, mkdir job/known";
    let last = "mkdir job/innocent, rmdir job/innocent";
    for (first, between) in [
        (
            "parent ., parent job",
            "count job/known 4, mkdir job/brief, count job/brief 2, rmdir job/brief",
        ),
        ("parent ., parent job", "mkdir job/new, count job/new 2"),
        ("parent ., count job 1, parent job", "count job/known 4"),
    ] {
        tell(&NOTIFIED, Story { prepare, first, between, last, ..Story::default() });
    }
}

/// One file came later than the other, when a child was there already that nobody knew.
#[test]
fn what_a_child_counts_that_is_found_with_its_parents_second_file() {
    tell(
        &NOTIFIED,
        Story {
            prepare: "pids ., mkdir job",
            first: "parent ., parent job",
            between: "mkdir job/leaf, count job/leaf 2",
            last: "count job/leaf 4",
            ..Story::default()
        },
    );
}

/// A parent goes, or loses its files, while what its dead child counted is looked for.
#[test]
fn what_a_dead_child_counted_whose_parent_goes_too() {
    let prepare = "mkdir job, parent job, mkdir job/leaf";
    for between in ["rmdir job", "childless job, childless ."] {
        let first = "count job 1, count job/leaf 2, rmdir job/leaf";
        tell(&NOTIFIED, Story { prepare, first, between, ..Story::default() });
    }
    // What the parent shows is announced only some time after it was for the first time.
    for later in ["rmdir job", "childless job, childless ."] {
        let (first, between) = ("count job 1", "count job 4, count job/leaf 2, rmdir job/leaf");
        tell(&NOTIFIED, Story { prepare, first, between, later, ..Story::default() });
    }
}

/// A child was read later than its parent, which went then.
#[test]
fn what_a_child_counted_that_was_read_later_than_its_parent() {
    tell(
        &NOTIFIED,
        Story {
            prepare: "mkdir job, parent job, mkdir job/leaf",
            first: "count job/leaf 2",
            between: "count job/leaf 4",
            later: "rmdir job/leaf, rmdir job",
            ..Story::default()
        },
    );
}

/// Without notifications it is the listing that finds who counted.
#[test]
fn what_a_newborn_counted_is_not_called_that_of_one_that_died() {
    tell(
        &[Strategy::Sweep],
        Story {
            prepare: "mkdir known, mkdir other",
            between: "rmdir known",
            later: "mkdir new, count new 2",
            last: "rmdir other",
            ..Story::default()
        },
    );
}

/// And after notifications were lost the comparison.
#[test]
fn what_one_counted_whose_records_were_lost_is_nobodys_alone() {
    let prepare = "mkdir job, parent job, mkdir job/innocent";
    let last = "rmdir job/innocent";
    for first in ["storm .", "storm job"] {
        let between = "mkdir job/guilty, count job/guilty 2, rmdir job/guilty";
        tell(&NOTIFIED, Story { prepare, first, between, last, ..Story::default() });
        let between = "mkdir job/living, count job/living 2";
        tell(&NOTIFIED, Story { prepare, first, between, last, ..Story::default() });
    }
}
