//! The books: what does not add up is found, and what is said of the wrong one.

use super::*;

#[test]
fn books_that_do_not_balance_are_found() {
    let books = |events: &[Event], grown| balance(events, "memory.events", "oom_kill", grown);
    let stream = Stream::new()
        .appeared(1, "/a", false)
        .kill(1, "/a", (0, 2), 2, 0)
        .kill(0, "/", (0, 4), 1, 1)
        .removed(1, "/a", unseen(3, &[]))
        .gap(5)
        .ready(true);
    assert_eq!(books(&stream.0, 2 + 1 + 1 + 3 + 5), Ok(()));
    broken(books(&stream.0, 11), "counted 11");
    broken(books(&stream.0, 13), "counted 13");
}

#[test]
fn wrong_blame_is_found() {
    let rule = |events: &[Event], kills| blame(events, &truth(kills), "memory.events", "oom_kill");
    assert_eq!(rule(&a_and_b(unseen(1, &[])), 1), Ok(()));
    broken(rule(&a_and_b(unseen(1, &[])), 0), "1 told of what counted 0");
    broken(rule(&a_and_b(unseen(2, &[])), 1), "2 told of what counted 1");
    // Told once as a change, and once more at the end.
    let twice = Stream::new().appeared(1, "/a", false).kill(1, "/a", (0, 1), 1, 0);
    broken(rule(&twice.removed(1, "/a", unseen(1, &[])).0, 1), "2 told of what counted 1");
    // The one that may share it counted it.
    let shared = |first: &str, second: &str| {
        let born = Stream::new().appeared(1, first, false).appeared(2, second, false);
        born.removed(1, first, Unseen { unseen_in: Some(2), ..Unseen::default() }).removed(
            2,
            second,
            unseen(1, &[1]),
        )
    };
    assert_eq!(rule(&shared("/a", "/b").0, 1), Ok(()));
    broken(rule(&shared("/a", "/b").0, 0), "1 told of what counted 0");
    // Also one whose birth is told later.
    let shared_ahead = |kills| {
        let born = Stream::new().appeared(2, "/b", false).removed(2, "/b", unseen(1, &[1]));
        let ahead = born.appeared(1, "/a", false);
        let twin = Unseen { unseen_in: Some(2), ..Unseen::default() };
        rule(&ahead.removed(1, "/a", twin).0, kills)
    };
    assert_eq!(shared_ahead(1), Ok(()));
    broken(shared_ahead(0), "1 told of what counted 0");
    // Another that was there and was never told may have counted it, but not if it is no one's else.
    let mut untold = truth(0);
    untold.lives.insert(103, Life { path: b"/c".into(), ended: true, ..Life::default() });
    untold
        .lives
        .entry(103)
        .or_default()
        .counted
        .insert(("memory.events".into(), "oom_kill".into()), 1);
    let counted = |events: &[Event]| blame(events, &untold, "memory.events", "oom_kill");
    assert_eq!(counted(&shared("/a", "/b").0), Ok(()));
    broken(counted(&a_and_b(unseen(1, &[]))), "1 told of what counted 0");
    // So may one that lives, and whose file had counted it when it came.
    let came = EventKind::FileAdded {
        cgroup: cgroup(2, "/b"),
        files: files(&[("memory.events", &[("oom_kill", 1)])]),
    };
    let alone = |confidence| Unseen { confidence: Some(confidence), ..unseen(1, &[]) };
    let beside = |confidence| {
        let born = Stream::new().appeared(1, "/a", false).appeared(2, "/b", false);
        let others = born.appeared(3, "/c", false).tell(came.clone());
        let shared = Unseen { shared_with: vec![3], shared_count: 1, ..alone(confidence) };
        rule(&others.removed(1, "/a", shared).0, 0)
    };
    assert_eq!(beside(Confidence::Shared), Ok(()));
    broken(beside(Confidence::Bounded), "1 told of what counted 0");
    // What it may share with another is not held against it alone when it is spoken of again.
    let file_gone = EventKind::FileRemoved {
        cgroup: cgroup(2, "/b"),
        file: "memory.events".into(),
        unseen: unseen(1, &[1]),
    };
    let goes_on = Stream::new().appeared(1, "/a", false).appeared(2, "/b", false).tell(file_gone);
    assert_eq!(rule(&goes_on.populated(2, "/b", 0, 1).0, 1), Ok(()));
    // After lost records it may be shared with some that were never told, but is no one's alone.
    let after_gap = |first, second| {
        let mut events = Stream::new().gap(0).ready(true).0;
        let born = Stream::default().appeared(1, "/a", false).appeared(2, "/b", false);
        events.extend(born.removed(1, "/a", first).removed(2, "/b", second).0);
        events
    };
    assert_eq!(rule(&after_gap(unseen(0, &[]), unseen(1, &[1])), 0), Ok(()));
    broken(rule(&after_gap(unseen(1, &[]), unseen(0, &[])), 0), "1 told of what counted 0");
}

#[test]
fn references_lead_somewhere() {
    let born = || Stream::new().appeared(1, "/a", false).appeared(2, "/b", false);
    let points = |n| Unseen { unseen_in: Some(n), ..Unseen::default() };
    let good = born().removed(1, "/a", points(2)).removed(2, "/b", unseen(1, &[1]));
    assert_eq!(references(&good.0), Ok(()));
    let one_sided = born().removed(1, "/a", points(2)).removed(2, "/b", unseen(1, &[]));
    broken(references(&one_sided.0), "does not share");
    broken(references(&born().removed(2, "/b", unseen(1, &[9])).0), "never told");
    broken(references(&born().removed(2, "/b", unseen(1, &[2])).0), "shared with itself");
    let mut amount = unseen(1, &[1]);
    amount.confidence = Some(Confidence::Bounded);
    broken(references(&born().removed(2, "/b", amount).0), "Bounded");
    let mut amounts = unseen(1, &[]);
    amounts.files.extend(unseen(2, &[]).files);
    broken(references(&born().removed(2, "/b", amounts).0), "twice");
}

fn file_gone(n: u64, path: &str, unseen: Unseen) -> EventKind {
    EventKind::FileRemoved { cgroup: cgroup(n, path), file: "memory.events".into(), unseen }
}

#[test]
fn each_file_has_books_of_its_own() {
    let other = EventKind::Changed {
        cgroup: cgroup(1, "/a"),
        file: "misc.events".into(),
        old: values(&NONE),
        new: values(&[("oom_kill", 7)]),
        delta: values(&[("oom_kill", 7)]),
        own: None,
        late: values(&NONE),
    };
    let stream = Stream::new().appeared(1, "/a", false).kill(1, "/a", (0, 1), 1, 0).tell(other);
    let told = |file| sums(&stream.0, file, "oom_kill").total();
    assert_eq!((told("memory.events"), told("misc.events")), (1, 7));
}

#[test]
fn blame_needs_no_removal_to_be_wrong() {
    let rule = |events: &[Event]| blame(events, &truth(1), "memory.events", "oom_kill");
    let born = || Stream::new().appeared(1, "/a", false);
    assert_eq!(rule(&born().kill(1, "/a", (0, 1), 1, 0).0), Ok(()));
    broken(rule(&born().kill(1, "/a", (0, 2), 2, 0).0), "2 told of what counted 1");
    // Once when the file goes, and once more when it goes again.
    let once = || born().tell(file_gone(1, "/a", unseen(1, &[])));
    assert_eq!(rule(&once().removed(1, "/a", unseen(0, &[])).0), Ok(()));
    broken(rule(&once().removed(1, "/a", unseen(1, &[])).0), "2 told of what counted 1");
}

#[test]
fn more_than_could_be_named_may_share_it() {
    let shared = |count| Unseen { shared_count: count, ..unseen(1, &[2]) };
    let died = |count| {
        let both = Stream::new().appeared(2, "/b", false).appeared(1, "/a", false);
        both.removed(1, "/a", shared(count)).0
    };
    let rule = |count| blame(&died(count), &truth(0), "memory.events", "oom_kill");
    broken(rule(1), "1 told of what counted 0");
    assert_eq!(rule(2), Ok(()));
    // Then one that was not named may point there.
    let points = Unseen { unseen_in: Some(1), ..Unseen::default() };
    let third = |count| {
        let all = Stream(died(count)).appeared(3, "/c", false);
        references(&all.removed(3, "/c", points.clone()).0)
    };
    broken(third(1), "n 1 does not share with it");
    assert_eq!(third(2), Ok(()));
}

#[test]
fn one_without_an_id_may_be_any_that_was_there() {
    let nameless = || Cgroup { id: None, ..cgroup(1, "/a") };
    let gone = |amount| {
        let born =
            EventKind::Appeared { cgroup: nameless(), existing: false, files: Files::default() };
        let died = EventKind::Removed {
            cgroup: nameless(),
            lived_ns: Some(1),
            files: Files::default(),
            unseen: unseen(amount, &[]),
            learned_from: LearnedFrom::Parent,
        };
        let events = Stream::new().tell(born).tell(died).0;
        blame(&events, &truth(2), "memory.events", "oom_kill")
    };
    assert_eq!(gone(2), Ok(()));
    broken(gone(3), "3 told of what counted 2");
}

#[test]
fn what_is_shared_is_not_attributable() {
    let born = Stream::new().appeared(1, "/a", false).appeared(2, "/b", false);
    let died = born.removed(1, "/a", unseen(1, &[])).removed(2, "/b", unseen(1, &[1]));
    let left = attributable(&died.0);
    assert_eq!(left.as_slice(), &died.0[..5]);
}
