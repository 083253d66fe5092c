//! Against the truth: what is invented is found, and what is left out.

use super::*;

#[test]
fn inventions_and_omissions_are_found() {
    let good = a_and_b(unseen(0, &[]));
    assert_eq!(hold_against(&good, &truth(0)), Ok(()));
    assert_eq!(awaited(&good, [101, 102]), Ok(()));
    broken(awaited(&good, [103]), "did not appear");

    let mut unknown = truth(0);
    unknown.lives.remove(&101);
    broken(existence(&good, &unknown), "no cgroup had the id 101");
    let mut elsewhere = truth(0);
    elsewhere.lives.entry(101).or_default().path = b"/z".to_vec();
    broken(existence(&good, &elsewhere), "was at /z");
    let mut alive = truth(0);
    alive.lives.entry(101).or_default().ended = false;
    broken(existence(&good, &alive), "is alive");
    let nameless = Cgroup { id: None, ..cgroup(3, "/a") };
    let ghost = EventKind::Appeared { cgroup: nameless, existing: false, files: Files::default() };
    let more = Stream(good.clone()).tell(ghost);
    broken(existence(&more.0, &truth(0)), "more births");

    broken(complete(&good[..4], &truth(0)), "never removed");
    broken(complete(&good[..3], &truth(0)), "never removed");
    let without_b = Stream::new().appeared(1, "/a", false).removed(1, "/a", unseen(0, &[]));
    broken(complete(&without_b.0, &truth(0)), "was not told");
}

/// `/a/deep`, `/ab` and `/a`, which was removed and made again; each counted something.
fn family() -> Truth {
    let life = |path: &str, ended, kills| Life {
        path: path.into(),
        ended,
        counted: [(("memory.events".into(), "oom_kill".into()), kills)].into(),
        ..Life::default()
    };
    let root = Life { path: b"/".to_vec(), ..Life::default() };
    let lives = [
        (100, root),
        (101, life("/a", true, 3)),
        (102, life("/a", false, 4)),
        (103, life("/a/deep", false, 5)),
        (104, life("/ab", false, 6)),
    ];
    Truth { lives: lives.into() }
}

#[test]
fn every_birth_right_below_the_root_must_be_told() {
    let first = || Stream::new().appeared(1, "/a", false).removed(1, "/a", unseen(0, &[]));
    let both = || first().appeared(2, "/a", false);
    // One further down may have been missed.
    assert_eq!(every_birth(&both().appeared(4, "/ab", false).0, &family()), Ok(()));
    broken(every_birth(&both().0, &family()), "1 births at /ab");
    broken(every_birth(&first().appeared(4, "/ab", false).0, &family()), "1 births at /a ");
    broken(every_birth(&Stream::default().0, &family()), "1 births at / ");
    // And none too often.
    let thrice = both().appeared(3, "/a", false).appeared(4, "/ab", false);
    broken(every_birth(&thrice.0, &family()), "-1 births at /a ");
}

#[test]
fn what_a_path_counted_is_of_all_that_were_there() {
    let counted = family();
    let by_path = counted.counted_by_path("memory.events", "oom_kill");
    let at = |path: &str| by_path.get(path.as_bytes()).copied();
    assert_eq!((at("/a"), at("/a/deep"), at("/ab"), at("/")), (Some(7), Some(5), Some(6), None));
}

#[test]
fn below_a_path_is_neither_itself_nor_its_namesake() {
    let below = |path: &str| family().counted_below(path.as_bytes(), "memory.events", "oom_kill");
    assert_eq!((below("/a"), below("/"), below("/a/deep")), (5, 3 + 4 + 5 + 6, 0));
    let mut root_counted = family();
    root_counted.lives.entry(100).or_default().counted =
        [(("memory.events".into(), "oom_kill".into()), 9)].into();
    assert_eq!(root_counted.counted_below(b"/", "memory.events", "oom_kill"), 18);
}

#[test]
fn those_that_counted_unknown_are_left() {
    let mut truth = family();
    truth.lives.entry(104).or_default().counted.clear();
    let left = truth.counting_but(&[101].into(), "memory.events", "oom_kill");
    assert_eq!(left.lives.keys().copied().collect::<Vec<_>>(), [102, 103]);
}

#[test]
fn further_down_only_what_is_inside_is_seen() {
    let seen = |id| {
        let under = family().under(id);
        let path = |life: &Life| String::from_utf8(life.path.clone()).unwrap();
        under.lives.iter().map(|(id, life)| (*id, path(life))).collect::<Vec<_>>()
    };
    let at = |id, path: &str| (id, path.to_owned());
    assert_eq!(seen(102), [at(102, "/"), at(103, "/deep")]);
    assert_eq!(seen(103), [at(103, "/")]);
    assert_eq!(seen(999), []);
    assert_eq!(family().under(102).counted(103, "memory.events", "oom_kill"), 5);
}
