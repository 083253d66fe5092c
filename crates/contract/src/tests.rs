//! The checker itself, on streams made by hand: each rule lets the good pass and finds the bad.

use std::sync::Arc;

use cgwatch::{
    Cgroup, CgroupPath, Confidence, Event, EventKind, Files, GapReason, LearnedFrom, Time, Unseen,
    Values,
};

use super::*;

mod books;
mod truth;

/// A stream under construction.
#[derive(Default)]
struct Stream(Vec<Event>);

fn values<T: Copy>(all: &[(&str, T)]) -> Values<T> {
    Values(all.iter().map(|&(key, value)| (Arc::from(key), value)).collect())
}

fn files(all: &[(&str, &[(&str, u64)])]) -> Files<u64> {
    Files(all.iter().map(|&(file, v)| (Arc::from(file), values(v))).collect())
}

const NONE: [(&str, u64); 0] = [];
const BORN: &[(&str, &[(&str, u64)])] =
    &[("cgroup.events", &[("populated", 0)]), ("memory.events", &[("oom_kill", 0)])];

/// Instance `n` has the id `100 + n`.
fn cgroup(n: u64, path: &str) -> Cgroup {
    Cgroup { n, id: Some(100 + n), root_id: 100, path: CgroupPath::new(path.as_bytes()) }
}

fn unseen(amount: u64, shared_with: &[u64]) -> Unseen {
    if amount == 0 {
        return Unseen::default();
    }
    let shared = if shared_with.is_empty() { Confidence::Bounded } else { Confidence::Shared };
    Unseen {
        files: vec![("memory.events".into(), Some(values(&[("oom_kill", amount)])))],
        confidence: Some(shared),
        shared_with: shared_with.to_vec(),
        shared_count: shared_with.len() as u64,
        ..Unseen::default()
    }
}

impl Stream {
    /// A root that existed, and the end of the baseline.
    fn new() -> Self {
        Self::default().appeared(0, "/", true).ready(false)
    }

    fn tell(mut self, kind: EventKind) -> Self {
        self.0.push(Event { seq: self.0.len() as u64 + 1, time: Time::default(), kind });
        self
    }

    fn appeared(self, n: u64, path: &str, existing: bool) -> Self {
        self.tell(EventKind::Appeared { cgroup: cgroup(n, path), existing, files: files(BORN) })
    }

    fn ready(self, after_gap: bool) -> Self {
        self.tell(EventKind::Ready { cgroups: 1, after_gap })
    }

    fn gap(self, cancelled: u64) -> Self {
        let cancelled = files(&[("memory.events", &[("oom_kill", cancelled)])]);
        let reason = GapReason::QueueOverflow;
        self.tell(EventKind::Gap { reason, cancelled_pairs: 1, cancelled })
    }

    fn kill(self, n: u64, path: &str, (old, new): (u64, u64), own: i128, late: u64) -> Self {
        self.tell(EventKind::Changed {
            cgroup: cgroup(n, path),
            file: "memory.events".into(),
            old: values(&[("oom_kill", old)]),
            new: values(&[("oom_kill", new)]),
            delta: values(&[("oom_kill", i128::from(new) - i128::from(old))]),
            own: Some(values(&[("oom_kill", own)])),
            late: values(&[("oom_kill", late)][..usize::from(late > 0)]),
        })
    }

    fn populated(self, n: u64, path: &str, old: u64, new: u64) -> Self {
        self.tell(EventKind::Changed {
            cgroup: cgroup(n, path),
            file: "cgroup.events".into(),
            old: values(&[("populated", old)]),
            new: values(&[("populated", new)]),
            delta: Values::default(),
            own: None,
            late: values(&NONE),
        })
    }

    fn removed(self, n: u64, path: &str, unseen: Unseen) -> Self {
        let lived_ns = (n != 0).then_some(1);
        let (files, learned_from) = (Files::default(), LearnedFrom::Parent);
        self.tell(EventKind::Removed {
            cgroup: cgroup(n, path),
            lived_ns,
            files,
            unseen,
            learned_from,
        })
    }
}

/// The root and `/a`, which is gone; `/b`, which lives. `/a` counted `kills`.
fn truth(kills: u64) -> Truth {
    let life = |path: &str, ended| Life { path: path.into(), ended, ..Life::default() };
    let mut a = life("/a", true);
    a.counted.insert(("memory.events".into(), "oom_kill".into()), kills);
    Truth { lives: [(100, life("/", false)), (101, a), (102, life("/b", false))].into() }
}

fn a_and_b(unseen: Unseen) -> Vec<Event> {
    let stream = Stream::new().appeared(1, "/a", false).appeared(2, "/b", false);
    stream.removed(1, "/a", unseen).0
}

#[track_caller]
fn broken(rule: Rule, by: &str) {
    let breach = rule.expect_err("the rule let it pass");
    assert!(breach.0.contains(by), "{breach}");
}

#[test]
fn a_good_stream_passes() {
    let stream = Stream::new()
        .appeared(1, "/a", false)
        .populated(1, "/a", 0, 1)
        .kill(1, "/a", (0, 1), 1, 0)
        .populated(1, "/a", 1, 0)
        .kill(0, "/", (0, 1), 0, 0)
        .removed(1, "/a", unseen(0, &[]))
        .appeared(2, "/b", false);
    assert_eq!(hold_against(&stream.0, &truth(1)), Ok(()));
    assert_eq!(kill_before_empty(&stream.0, "memory.events", "oom_kill"), Ok(()));
    assert_eq!(balance(&stream.0, "memory.events", "oom_kill", 1), Ok(()));
    assert_eq!(blame(&stream.0, &truth(1), "memory.events", "oom_kill"), Ok(()));
}

#[test]
fn holes_in_seq_are_found() {
    let mut events = Stream::new().appeared(1, "/a", false).0;
    events.remove(1);
    broken(numbered(&events), "expected seq 2");
    let breach = numbered(&events).unwrap_err();
    assert_eq!(breach.to_string(), "seq 3 appeared n 1 /a: expected seq 2");
}

#[test]
fn lives_out_of_order_are_found() {
    let born = || Stream::new().appeared(1, "/a", false);
    let gone = || born().removed(1, "/a", unseen(0, &[]));
    broken(one_life(&born().appeared(1, "/a", false).0), "appeared twice");
    broken(one_life(&gone().removed(1, "/a", unseen(0, &[])).0), "after its removal");
    broken(one_life(&gone().populated(1, "/a", 0, 1).0), "after its removal");
    broken(one_life(&Stream::new().populated(1, "/a", 0, 1).0), "had not appeared");
    broken(one_life(&born().populated(1, "/b", 0, 1).0), "it appeared as");
    let twin = Cgroup { n: 2, ..cgroup(1, "/a") };
    let files = Files::default();
    let again = EventKind::Appeared { cgroup: twin, existing: false, files };
    broken(one_life(&gone().tell(again).0), "told before, as n 1");
}

#[test]
fn lives_of_what_was_there_before_have_no_length_and_others_do() {
    let removed = |n, path, lived_ns| EventKind::Removed {
        cgroup: cgroup(n, path),
        lived_ns,
        files: Files::default(),
        unseen: Unseen::default(),
        learned_from: LearnedFrom::Parent,
    };
    let born = || Stream::new().appeared(1, "/a", false);
    broken(one_life(&born().tell(removed(1, "/a", None)).0), "lived_ns");
    broken(one_life(&born().tell(removed(0, "/", Some(1))).0), "lived_ns");
    assert_eq!(one_life(&born().tell(removed(1, "/a", Some(1))).0), Ok(()));
}

#[test]
fn births_that_were_not_told_are_found() {
    let good = a_and_b(unseen(0, &[]));
    assert_eq!(every_birth(&good, &truth(0)), Ok(()));
    let mut again = truth(0);
    let life = |path: &str| Life { path: path.into(), ended: true, ..Life::default() };
    again.lives.insert(103, life("/a"));
    broken(every_birth(&good, &again), "1 births at /a");
    // One without an id is told, too.
    let nameless = Cgroup { id: None, ..cgroup(3, "/a") };
    let born = EventKind::Appeared { cgroup: nameless, existing: false, files: Files::default() };
    let told = Stream(good.clone()).tell(born);
    assert_eq!(every_birth(&told.0, &again), Ok(()));
    broken(every_birth(&told.0, &truth(0)), "-1 births at /a");
    // Further down nobody may have watched yet.
    let mut below = truth(0);
    below.lives.insert(103, life("/b/c"));
    assert_eq!(every_birth(&good, &below), Ok(()));
}

#[test]
fn a_change_of_nothing_and_a_wrong_delta_are_found() {
    let born = || Stream::new().appeared(1, "/a", false);
    let changed = |old: &[(&str, u64)], new: &[(&str, u64)], delta: &[(&str, i128)]| {
        born().tell(EventKind::Changed {
            cgroup: cgroup(1, "/a"),
            file: "memory.events".into(),
            old: values(old),
            new: values(new),
            delta: values(delta),
            own: None,
            late: values(&NONE),
        })
    };
    let kill = "oom_kill";
    assert_eq!(arithmetic(&changed(&[(kill, 0)], &[(kill, 2)], &[(kill, 2)]).0), Ok(()));
    broken(arithmetic(&changed(&[], &[], &[]).0), "nothing changed");
    broken(arithmetic(&changed(&[(kill, 0)], &[(kill, 2)], &[(kill, 1)]).0), "delta Some(1)");
    broken(arithmetic(&changed(&[(kill, 0)], &[(kill, 2)], &[]).0), "delta None");
    // A file whose values are states has none.
    let state = |delta: &[(&str, i128)]| {
        let mut events = born().populated(1, "/a", 0, 1).0;
        if let Some(EventKind::Changed { delta: its, .. }) =
            events.last_mut().map(|event| &mut event.kind)
        {
            *its = values(delta);
        }
        events
    };
    assert_eq!(arithmetic(&state(&[])), Ok(()));
    broken(arithmetic(&state(&[("populated", 1)])), "delta Some(1)");
}

#[test]
fn broken_families_are_found() {
    broken(families(&Stream::new().appeared(1, "/a/b", false).0), "before its parent");
    let both = || Stream::new().appeared(1, "/a", false).appeared(2, "/a/b", false);
    broken(families(&both().removed(1, "/a", unseen(0, &[])).0), "before its child n 2");
    broken(families(&both().appeared(3, "/a", false).0), "its path is n 1's");
    // "/ab" is no child of "/a".
    let namesake = Stream::new().appeared(1, "/a", false).appeared(2, "/ab", false);
    assert_eq!(families(&namesake.removed(1, "/a", unseen(0, &[])).0), Ok(()));
    // Who was gone before it could be opened takes the path from nobody.
    let nameless = || Cgroup { id: None, ..cgroup(3, "/a") };
    let (files, unseen) = (Files::default(), Unseen::default());
    let ghost = EventKind::Appeared { cgroup: nameless(), existing: false, files: files.clone() };
    let gone = EventKind::Removed {
        cgroup: nameless(),
        lived_ns: Some(1),
        files,
        unseen,
        learned_from: LearnedFrom::Parent,
    };
    let beside = both().tell(ghost).tell(gone);
    assert_eq!(families(&beside.appeared(4, "/a/c", false).0), Ok(()));
}

#[test]
fn gaps_end_with_ready() {
    assert_eq!(cycles(&Stream::new().gap(0).ready(true).0), Ok(()));
    broken(cycles(&Stream::new().gap(0).0), "no ready after it");
    broken(cycles(&Stream::new().ready(true).0), "does not fit");
    broken(cycles(&Stream::new().gap(0).ready(false).0), "does not fit");
    broken(cycles(&Stream::new().appeared(1, "/a", true).0), "existing after");
    // A baseline has a ready of its own, which ends a gap in it, too.
    let baseline = || Stream::default().appeared(0, "/", true);
    assert_eq!(cycles(&baseline().gap(0).ready(false).0), Ok(()));
    assert_eq!(cycles(&baseline().gap(0).ready(true).ready(false).0), Ok(()));
    broken(cycles(&baseline().gap(0).ready(true).0), "the baseline of root 100 did not end");
    broken(cycles(&baseline().0), "the baseline of root 100 did not end");
    broken(cycles(&baseline().ready(true).0), "does not fit");
}

#[test]
fn wrong_arithmetic_is_found() {
    let born = || Stream::new().appeared(1, "/a", false);
    broken(arithmetic(&born().kill(1, "/a", (1, 2), 1, 0).0), "but 0 was told");
    broken(arithmetic(&born().kill(1, "/a", (0, 0), 0, 0).0), "did not change");
    broken(arithmetic(&born().kill(1, "/a", (0, 1), 2, 0).0), "1 more claimed");
    let taken_back = born().kill(1, "/a", (0, 2), 2, 0).kill(1, "/a", (2, 3), -1, 0);
    arithmetic(&taken_back.0).unwrap();
    broken(arithmetic(&born().kill(1, "/a", (0, 1), -1, 0).0), "more taken back");
    broken(arithmetic(&born().kill(1, "/a", (0, 2), 2, 1).0), "1 more claimed");
    broken(arithmetic(&born().kill(1, "/a", (0, 1), 0, 2).0), "1 more claimed");
    // States go up and down, and are nobody's.
    let there_before = Stream::new().populated(0, "/", 0, 1).populated(0, "/", 1, 0);
    assert_eq!(arithmetic(&there_before.populated(0, "/", 0, 1).0), Ok(()));
    let mut born_populated = born().0;
    if let Some(EventKind::Appeared { files: its, .. }) =
        born_populated.last_mut().map(|e| &mut e.kind)
    {
        *its = files(&[("cgroup.events", &[("populated", 1)])]);
    }
    assert_eq!(arithmetic(&Stream(born_populated).populated(1, "/a", 1, 0).0), Ok(()));
    // It may be found out later that what was told before was late.
    let later = born().kill(1, "/a", (0, 2), 0, 0).kill(1, "/a", (2, 3), 1, 2);
    assert_eq!(arithmetic(&later.0), Ok(()));
    let twice_and_back = || born().kill(1, "/a", (0, 2), 2, 0).kill(1, "/a", (2, 1), 0, 0);
    broken(arithmetic(&twice_and_back().0), "fell by 1");
    // Only where what a counter shows may have been switched.
    let gap = |reason| {
        let cancelled = Files::default();
        twice_and_back().tell(EventKind::Gap { reason, cancelled_pairs: 0, cancelled })
    };
    broken(arithmetic(&gap(GapReason::Reader).0), "fell by 1");
    assert_eq!(arithmetic(&gap(GapReason::MountChanged).0), Ok(()));
    let three = files(&[("memory.events", &[("oom_kill", 3)])]);
    let born_with = EventKind::Appeared { cgroup: cgroup(1, "/a"), existing: false, files: three };
    broken(arithmetic(&Stream::new().tell(born_with).0), "born with");
    // What a file had counted when it came may have been a child's that was not known yet.
    let came_with = |own: i128, late: u64| {
        let gone = EventKind::FileRemoved {
            cgroup: cgroup(1, "/a"),
            file: "memory.events".into(),
            unseen: Unseen::default(),
        };
        let files = files(&[("memory.events", &[("oom_kill", 3)])]);
        let came = EventKind::FileAdded { cgroup: cgroup(1, "/a"), files };
        born().tell(gone).tell(came).kill(1, "/a", (3, 4), own, late)
    };
    assert_eq!(arithmetic(&came_with(-3, 0).0), Ok(()));
    assert_eq!(arithmetic(&came_with(1, 3).0), Ok(()));
    broken(arithmetic(&came_with(1, 4).0), "1 more claimed");
    broken(arithmetic(&came_with(-4, 0).0), "1 more taken back");
}

#[test]
fn a_change_of_nothing_is_found() {
    let changed = |own: i128| {
        Stream::new().kill(0, "/", (0, 2), 2, 0).tell(EventKind::Changed {
            cgroup: cgroup(0, "/"),
            file: "memory.events".into(),
            old: values(&NONE),
            new: values(&NONE),
            delta: Values::default(),
            own: Some(values(&[("oom_kill", own)])),
            late: values(&NONE),
        })
    };
    broken(arithmetic(&changed(0).0), "nothing changed");
    // What was told as its own is taken back.
    assert_eq!(arithmetic(&changed(-1).0), Ok(()));
}

#[test]
fn values_read_but_never_told_are_found() {
    let stream = Stream::new().appeared(1, "/a", false).removed(1, "/a", unseen(0, &[]));
    let mut events = stream.0;
    if let Some(EventKind::Removed { files: last, .. }) = events.last_mut().map(|e| &mut e.kind) {
        *last = files(&[("memory.events", &[("oom_kill", 1)])]);
    }
    broken(arithmetic(&events), "never told");
}

#[test]
fn files_come_and_go_in_turn() {
    let gone = || EventKind::FileRemoved {
        cgroup: cgroup(0, "/"),
        file: "memory.events".into(),
        unseen: Unseen::default(),
    };
    let back = |value| EventKind::FileAdded {
        cgroup: cgroup(0, "/"),
        files: files(&[("memory.events", &[("oom_kill", value)])]),
    };
    let again = Stream::new().tell(gone()).tell(back(5)).kill(0, "/", (5, 6), 1, 0);
    assert_eq!(arithmetic(&again.0), Ok(()));
    broken(arithmetic(&Stream::new().tell(back(5)).0), "was there already");
    broken(arithmetic(&Stream::new().tell(gone()).tell(gone()).0), "was not there");
    let silent = Stream::new().tell(gone()).kill(0, "/", (0, 1), 1, 0);
    broken(arithmetic(&silent.0), "the file was not told");
}

#[test]
fn files_that_nobody_took_are_found() {
    let gone = |n, path| EventKind::FileRemoved {
        cgroup: cgroup(n, path),
        file: "memory.events".into(),
        unseen: Unseen::default(),
    };
    let born = || Stream::new().appeared(1, "/a", false).appeared(2, "/b", false);
    let once = born().tell(gone(1, "/a"));
    let mut taken = truth(0);
    broken(files_taken(&once.0, &taken), "taken 0 times");
    // It was another's, or another file.
    taken.lives.entry(102).or_default().taken.insert("memory.events".into(), 1);
    taken.lives.entry(101).or_default().taken.insert("pids.events".into(), 1);
    broken(files_taken(&once.0, &taken), "taken 0 times");
    taken.lives.entry(101).or_default().taken.insert("memory.events".into(), 1);
    assert_eq!(files_taken(&once.0, &taken), Ok(()));
    let both = once.tell(gone(2, "/b"));
    assert_eq!(files_taken(&both.0, &taken), Ok(()));
    broken(files_taken(&both.tell(gone(1, "/a")).0, &taken), "taken 1 times");
}

#[test]
fn the_kill_comes_before_the_end_it_caused() {
    let rule = |events: &[Event]| kill_before_empty(events, "memory.events", "oom_kill");
    let born = || Stream::new().appeared(1, "/a", false).populated(1, "/a", 0, 1);
    let late = born().populated(1, "/a", 1, 0).kill(1, "/a", (0, 1), 1, 0);
    broken(rule(&late.0), "after populated 0");
    let untold = born().populated(1, "/a", 1, 0).removed(1, "/a", unseen(1, &[]));
    broken(rule(&untold.0), "after populated 0");
    assert_eq!(rule(&born().removed(1, "/a", unseen(1, &[])).0), Ok(()));
    // What others counted may be told later, and so may another file's key of this name.
    let empty = || born().populated(1, "/a", 1, 0);
    assert_eq!(rule(&empty().kill(1, "/a", (0, 1), 0, 0).0), Ok(()));
    let other = empty().tell(EventKind::Changed {
        cgroup: cgroup(1, "/a"),
        file: "misc.events".into(),
        old: values(&NONE),
        new: values(&[("oom_kill", 1)]),
        delta: values(&[("oom_kill", 1)]),
        own: None,
        late: values(&NONE),
    });
    assert_eq!(rule(&other.0), Ok(()));
}
