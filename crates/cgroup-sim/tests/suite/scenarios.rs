//! Scenarios: the library plays, and what is wrong with a text is said with its line.

use cgroup_sim::{
    Event, Hierarchy, Options, ROOT,
    scenario::{Library, Scenario},
};
use proptest::prelude::*;
use rustix::io::Errno;

/// Plays to the end, in steps, and returns the hierarchy.
#[track_caller]
fn play(text: &str) -> Hierarchy {
    let scenario = Scenario::parse(text).unwrap();
    let all = Hierarchy::new(scenario.options(Options { remember: true, ..Options::default() }));
    let mut player = scenario.play(&all).unwrap();
    let mut steps = 0_u32;
    while player.step(&all).unwrap() {
        steps += 1;
        if steps.is_power_of_two() {
            all.check_conservation().unwrap();
        }
        if steps.is_multiple_of(64) {
            all.drain();
        }
    }
    player.run_until(&all, player.end()).unwrap();
    assert_eq!(all.now(), u64::try_from(scenario.lasts().as_nanos()).unwrap());
    all
}

/// What all cgroups at a path counted.
fn counted(all: &Hierarchy, path: &str, event: Event) -> u64 {
    let lives = all.lives();
    let there = lives.iter().filter(|life| life.path.starts_with(path.as_bytes()));
    there.filter_map(|life| life.counted.get(&event)).sum()
}

#[test]
fn the_library_plays_to_its_end() {
    for scenario in Library::ALL {
        play(scenario.text);
    }
    assert!(Library::named("quiet-host").is_some() && Library::named("nothing").is_none());
}

#[test]
fn the_leaking_service_breaches_high_and_is_killed_and_comes_back() {
    let all = play(Library::named("leaking-service").unwrap().text);
    assert!(counted(&all, "/system/web", Event::MemoryHigh) > 30);
    assert!(counted(&all, "/system/web", Event::MemoryOomKill) >= 1);
    assert_eq!(counted(&all, "/system/db", Event::MemoryHigh), 0);
    assert_eq!(all.tasks(all.find("/system/web").unwrap()).len(), 1);
}

#[test]
fn every_job_of_oom_and_gone_is_killed_and_none_is_left() {
    let all = play(Library::named("oom-and-gone").unwrap().text);
    assert_eq!(counted(&all, "/batch/job", Event::MemoryOomKill), 28);
    assert_eq!(all.subtree(all.find("/batch").unwrap()).len(), 1);
}

#[test]
fn the_build_farm_has_had_10_000_cgroups() {
    let all = play(Library::named("build-farm").unwrap().text);
    assert_eq!(
        all.lives().iter().filter(|life| life.path.starts_with(b"/farm/job")).count(),
        10_000
    );
    assert_eq!(all.subtree(ROOT).len(), 2);
}

#[test]
fn a_step_after_another_comes_at_its_delay() {
    let all = play(
        r#"
        title = "t"
        lasts = "1s"
        [[step]]
        after = "first"
        delay = "10ms"
        make = "/b"
        [[step]]
        id = "first"
        at = "5ms"
        make = "/a"
        "#,
    );
    let born: Vec<_> = all.lives().iter().map(|life| life.born).collect();
    assert_eq!(born, [0, 5_000_000, 15_000_000]);
}

/// Each with the line and a part of what is said.
const WRONG: &[(&str, usize, &str)] = &[
    ("", 1, "title"),
    ("title = 7\nlasts = \"1s\"", 1, "string"),
    ("title = \"t\"\nlasts = \"1 h\"", 2, "no time"),
    ("title = \"t\"\nlasts = \"1s\"\nswap = \"1T\"", 3, "no size"),
    ("title = \"t\"\nlasts = \"1s\"\nswap = -1", 3, "size"),
    ("title = \"t\"\nlasts = \"1s\"\nswapp = 1", 3, "swapp"),
    ("title = \"t\"\nlasts = \"1s\"\ncontrollers = [\"cpu\"]", 3, "no controller"),
    ("title = \"t\"\nlasts = \"1s\"\ncontrollers = \"memory\"", 3, "sequence"),
    ("title = \"t\"\nlasts = \"1s\"\n[[cgroup]]\npath = \"a\"", 3, "no path"),
    ("title = \"t\"\nlasts = \"1s\"\n[[cgroup]]\npath = \"/a/../b\"", 3, "no path"),
    ("title = \"t\"\nlasts = \"1s\"\n[[cgroup]]\npath = \"/a\"\nname = \"b\"", 5, "name"),
    ("title = \"t\"\nlasts = \"1s\"\n\n[[step]]\nat = \"1ms\"", 4, "does nothing"),
    ("title = \"t\"\nlasts = \"1s\"\n[[step]]\nmake = \"/a\"", 3, "neither `at` nor `after`"),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"2s\"\nmake = \"/a\"",
        3,
        "after the scenario's end",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nmake = \"/a\"\nremove = \"/b\"",
        3,
        "both `make` and `remove`",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nwrite = \"1\"",
        3,
        "`write` without `to`",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nmake = \"/a\"\nby = \"p\"",
        3,
        "does not go with",
    ),
    ("title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nexit = \"p\"", 3, "no step starts"),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nstart = \"p\"\nin = \"/\"\nleaks = \"1M\"",
        3,
        "go together",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nstart = \"p\"\nin = \"/\"\nleaks = \"1M\"\nevery = \"0s\"",
        3,
        "no time at all",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\ncount = \"memory.events more\"\nin = \"/\"",
        3,
        "no counter",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nmake = \"/a\"\nexpect = \"EWHAT\"",
        3,
        "no errno",
    ),
    ("title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\nreclaim = false", 3, "`true`"),
    ("title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = true\nmake = \"/a\"", 4, "string"),
    ("title = \"t\"\nlasts = \"1s\"\n[[step]]\nafter = \"x\"\nmake = \"/a\"", 3, "no step \"x\""),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nid = \"x\"\nafter = \"x\"\nmake = \"/a\"",
        3,
        "comes after this",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nid = \"x\"\nafter = \"y\"\nmake = \"/a\"\n[[step]]\nid = \"y\"\nafter = \"x\"\nmake = \"/b\"",
        7,
        "comes after this",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nid = \"x\"\nat = \"0s\"\nmake = \"/a\"\n[[step]]\nid = \"x\"\nat = \"0s\"\nmake = \"/b\"",
        7,
        "second step",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[repeat]]\nevery = \"1s\"\ntimes = 0\nstep = []",
        3,
        "0 rounds",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[repeat]]\nevery = \"1s\"\ntimes = 3\nstep = [\n{ make = \"/a{n}\" },\n]",
        7,
        "after the scenario's end",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[repeat]]\nevery = \"1s\"\ntimes = 1\nstep = [{ make = \"/a\", after = \"b\" }]",
        6,
        "no `after`",
    ),
    ("title = \"t\"\nlasts", 2, ""),
    ("title = \nlasts = \"1s\"", 1, ""),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"1ms\"\ndelay = \"1ms\"\nmake = \"/a\"",
        3,
        "belongs to `after`",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[step]]\ndelay = \"1ms\"\nmake = \"/a\"",
        3,
        "belongs to `after`",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[repeat]]\nevery = \"0s\"\ntimes = 1000001\nstep = []",
        3,
        "1000001 rounds",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[repeat]]\nevery = \"1s\"\ntimes = 1\nstep = [{ make = \"/a\", id = \"b\" }]",
        6,
        "no `id`",
    ),
    (
        "title = \"t\"\nlasts = \"1s\"\n[[repeat]]\nevery = \"1s\"\ntimes = 1\nstep = [{ make = \"/a\", delay = \"1ms\" }]",
        6,
        "no `after`",
    ),
];

#[test]
fn what_just_fits_is_read() {
    let head = "title = \"t\"\nlasts = \"1s\"\n";
    for rest in [
        "[[step]]\nat = \"1s\"\nmake = \"/a\"",
        "[[repeat]]\nevery = \"1s\"\ntimes = 2\nstep = [{ make = \"/a{n}\" }]",
        "[[repeat]]\nevery = \"0s\"\ntimes = 1000000\nstep = []",
    ] {
        Scenario::parse(&format!("{head}{rest}")).unwrap();
    }
    let longest = format!("{head}{}", "#".repeat((1 << 20) - head.len()));
    Scenario::parse(&longest).unwrap();
    let error = Scenario::parse(&format!("{longest}#")).unwrap_err();
    assert!(error.what.contains("1048577 bytes"), "{error}");
}

#[test]
fn a_controller_named_twice_is_given_once() {
    let all = play("title = \"t\"\nlasts = \"1s\"\ncontrollers = [\"pids\", \"io\", \"pids\"]");
    assert_eq!(all.read("cgroup.subtree_control").unwrap(), "io pids\n");
}

#[test]
fn an_errno_goes_by_its_name() {
    for (name, errno) in [
        ("EAGAIN", Errno::AGAIN),
        ("EBUSY", Errno::BUSY),
        ("EEXIST", Errno::EXIST),
        ("EINTR", Errno::INTR),
        ("EINVAL", Errno::INVAL),
        ("EISDIR", Errno::ISDIR),
        ("ENAMETOOLONG", Errno::NAMETOOLONG),
        ("ENODEV", Errno::NODEV),
        ("ENOENT", Errno::NOENT),
        ("ENOMEM", Errno::NOMEM),
        ("ENOTDIR", Errno::NOTDIR),
        ("EOPNOTSUPP", Errno::OPNOTSUPP),
        ("EPERM", Errno::PERM),
        ("ERANGE", Errno::RANGE),
        ("ESRCH", Errno::SRCH),
    ] {
        let text = format!(
            "title = \"t\"\nlasts = \"1s\"\n[[step]]\nat = \"0s\"\nmake = \"/a\"\nexpect = \"{name}\""
        );
        let all = Hierarchy::new(Options::default());
        let error = Scenario::parse(&text).unwrap().play(&all).unwrap().step(&all).unwrap_err();
        assert_eq!(error.what, format!("it did not fail with {errno:?}"));
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, line, what) in WRONG {
        let error = Scenario::parse(text).unwrap_err();
        assert_eq!(error.line, *line, "{text}\n{error}");
        assert!(error.what.contains(what), "{text}\n{error}");
    }
}

#[test]
fn an_impossible_step_is_said_with_its_line_when_its_time_comes() {
    let impossible = [
        ("remove = \"/a\"", "no such node"),
        ("make = \"/a/b\"", "no such node"),
        ("write = \"x\"\nto = \"/cgroup.subtree_control\"", "refused"),
        ("start = \"p\"\nin = \"/a\"", "not there"),
        ("cache = \"1M\"\nin = \"/a\"", "not there"),
        ("make = \"/a\"\nexpect = \"EBUSY\"", "did not fail"),
        ("remove = \"/a\"\nexpect = \"EBUSY\"", "no such node"),
    ];
    for (step, what) in impossible {
        let text = format!("title = \"t\"\nlasts = \"1s\"\n\n[[step]]\nat = \"1ms\"\n{step}\n");
        let scenario = Scenario::parse(&text).unwrap();
        let all = Hierarchy::new(Options::default());
        let error = scenario.play(&all).unwrap().step(&all).unwrap_err();
        assert_eq!(error.line, 4, "{error}");
        assert!(error.what.contains(what), "{step}: {error}");
    }
    let text = "title = \"t\"\nlasts = \"1s\"\n[[cgroup]]\npath = \"/a/b\"";
    let all = Hierarchy::new(Options::default());
    let error = Scenario::parse(text).unwrap().play(&all).unwrap_err();
    assert_eq!(error.line, 3);
}

#[test]
fn ten_megabytes_of_anything_are_refused() {
    let head = "title = \"t\"\nlasts = \"1s\"\n";
    for piece in ["[", "[[step]]\n", "a.", "\0", "x = {", "\"", "🦀"] {
        for (size, head) in [(10 << 20, ""), (1 << 19, head), (1 << 19, "x = ")] {
            let text = format!("{head}{}", piece.repeat(size / piece.len()));
            assert!(Scenario::parse(&text).is_err(), "{piece:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Scenario::parse(&text);
    }

    /// A scenario with something cut out, doubled or replaced.
    #[test]
    fn no_damaged_scenario_makes_it_panic(
        which in 0..Library::ALL.len(),
        from in any::<prop::sample::Index>(),
        length in 0..40_usize,
        instead in "[a-z0-9\"\\[\\]{}=, \\n.-]{0,12}",
    ) {
        let text = Library::ALL[which].text;
        let from = from.index(text.len());
        let to = (from + length).min(text.len());
        let damaged = match (text.get(..from), text.get(to..)) {
            (Some(head), Some(tail)) => format!("{head}{instead}{tail}"),
            _ => return Ok(()),
        };
        if let Ok(scenario) = Scenario::parse(&damaged) {
            let all = Hierarchy::new(scenario.options(Options::default()));
            if let Ok(mut player) = scenario.play(&all) {
                for _ in 0..200 {
                    if !matches!(player.step(&all), Ok(true)) {
                        break;
                    }
                }
                all.check_conservation().unwrap();
            }
        }
    }
}
