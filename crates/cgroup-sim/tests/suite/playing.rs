//! How a scenario is played: order, processes that come back, and mounts of others.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cgroup_sim::{
    Event, Hierarchy, MountOptions, Options, ROOT, What,
    scenario::{Front, Player, Scenario},
};
use rustix::io::Errno;

use crate::value;

const MS: u64 = 1_000_000;

fn start(text: &str, options: Options) -> (Hierarchy, Player) {
    let scenario = Scenario::parse(&format!("title = \"t\"\nlasts = \"1s\"\n{text}")).unwrap();
    let all = Hierarchy::new(scenario.options(options));
    let player = scenario.play(&all).unwrap();
    (all, player)
}

/// Steps at a time each, of `(milliseconds, what)`.
fn steps(steps: &[(u64, &str)]) -> String {
    steps.iter().map(|(ms, what)| format!("[[step]]\nat = \"{ms}ms\"\n{what}\n")).collect()
}

/// The tasks of a cgroup after so many milliseconds.
#[track_caller]
fn tasks_at(all: &Hierarchy, player: &mut Player, ms: u64, path: &str) -> Vec<u32> {
    player.run_until(all, ms * MS).unwrap();
    all.tasks(all.find(path).unwrap())
}

#[test]
fn a_scenario_has_its_title_and_brings_swap_and_mount_options() {
    let text = "title = \"A title\"\nlasts = \"1s\"\nswap = \"1M\"\npids_localevents = true";
    let scenario = Scenario::parse(text).unwrap();
    assert_eq!(scenario.title(), "A title");
    let options = scenario.options(Options { first_pid: 7, ..Options::default() });
    assert_eq!((options.swap, options.first_pid), (1 << 20, 7));
    let mount = MountOptions { memory_localevents: false, pids_localevents: true };
    assert_eq!(options.mount, mount);
}

#[test]
fn the_player_does_what_is_due_and_says_when_the_next_is() {
    let text = steps(&[(5, "make = \"/a\""), (7, "make = \"/b\""), (1000, "make = \"/c\"")]);
    let (all, mut player) = start(&text, Options::default());
    assert_eq!(player.next_at(), Some(5 * MS));
    player.run_until(&all, 5 * MS).unwrap();
    assert_eq!((all.find("a").is_some(), all.find("b")), (true, None));
    assert_eq!((all.now(), player.next_at()), (5 * MS, Some(7 * MS)));
    player.run_until(&all, 6 * MS).unwrap();
    assert_eq!((all.now(), all.find("b")), (6 * MS, None));
    player.run_until(&all, player.end()).unwrap();
    assert!(all.find("b").is_some() && all.find("c").is_some(), "the end is part of it");
    assert_eq!(player.next_at(), None);
    assert!(!player.step(&all).unwrap());
}

#[test]
fn of_things_at_the_same_time_the_first_entered_is_the_first() {
    let text = steps(&[
        (0, "start = \"b\"\nin = \"/b\"\nlives = \"9ms\""),
        (0, "start = \"a\"\nin = \"/a\"\nlives = \"9ms\""),
    ]);
    let text = format!("[[cgroup]]\npath = \"/a\"\n[[cgroup]]\npath = \"/b\"\n{text}");
    let (all, mut player) = start(&text, Options { journal: true, ..Options::default() });
    player.run_until(&all, player.end()).unwrap();
    let ends: Vec<_> = all
        .take_journal()
        .into_iter()
        .filter(|happening| happening.what == What::Populated(false))
        .map(|happening| happening.cgroup)
        .filter(|cgroup| *cgroup != ROOT)
        .collect();
    assert_eq!(ends, [all.find("b").unwrap(), all.find("a").unwrap()]);
}

/// What was asked of another mount.
#[derive(Debug)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn note(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

impl Front for Recorder {
    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        self.note(format!("mkdir {path}"));
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        self.note(format!("rmdir {path}"));
        Err(Errno::BUSY)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Errno> {
        self.note(format!("write {text} to {path}"));
        Ok(())
    }
}

#[test]
fn on_a_front_the_player_makes_removes_and_writes_there_alone() {
    let text = "[[repeat]]\nevery = \"1ms\"\ntimes = 2\nstep = [\n{ make = \"/a{n}\" },\n\
                { write = \"+pids\", to = \"/a{n}/cgroup.subtree_control\" },\n\
                { remove = \"/a{n}\", expect = \"EBUSY\" },\n]";
    let (all, mut player) = start(text, Options::default());
    let calls = Arc::default();
    player.set_front(Box::new(Recorder(Arc::clone(&calls))));
    player.run_until(&all, player.end()).unwrap();
    let expected: Vec<_> = (0..2)
        .flat_map(|n| {
            [
                format!("mkdir /a{n}"),
                format!("write +pids to /a{n}/cgroup.subtree_control"),
                format!("rmdir /a{n}"),
            ]
        })
        .collect();
    assert_eq!(*calls.lock().unwrap(), expected);
    assert_eq!(all.find("a0"), None);
}

#[test]
fn a_step_counts_what_it_names() {
    for (name, event) in [
        ("memory.events max", Event::MemoryMax),
        ("memory.swap.events max", Event::SwapMax),
        ("memory.swap.events fail", Event::SwapFail),
        ("memory.events oom_kill", Event::MemoryOomKill),
    ] {
        let step = format!("count = \"{name}\"\nin = \"/a\"\ntimes = 4");
        let text = format!("[[cgroup]]\npath = \"/a\"\n{}", steps(&[(1, &step)]));
        let (all, mut player) = start(&text, Options { remember: true, ..Options::default() });
        player.run_until(&all, player.end()).unwrap();
        let counted = all.life(all.find("a").unwrap()).unwrap().counted;
        assert_eq!(counted.into_iter().collect::<Vec<_>>(), [(event, 4)], "{name}");
    }
}

/// `/a`, in which all processes are.
const A: &str = "[[cgroup]]\npath = \"/a\"\n";
const KILL: &str = "write = \"1\"\nto = \"/a/cgroup.kill\"";

#[test]
fn a_process_that_starts_again_has_its_whole_life() {
    let text = steps(&[
        (0, "start = \"p\"\nin = \"/a\"\nlives = \"100ms\"\nrestart = \"10ms\""),
        (50, KILL),
    ]);
    let (all, mut player) = start(&format!("{A}{text}"), Options::default());
    let first = tasks_at(&all, &mut player, 10, "a");
    assert_eq!(tasks_at(&all, &mut player, 55, "a"), []);
    let second = tasks_at(&all, &mut player, 70, "a");
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    assert_eq!(tasks_at(&all, &mut player, 159, "a"), second, "not the end of the first");
    assert_eq!(tasks_at(&all, &mut player, 165, "a"), []);
    assert_eq!(tasks_at(&all, &mut player, 175, "a").len(), 1);
}

#[test]
fn an_exit_ends_one_for_good_and_no_other() {
    let text = steps(&[
        (0, "start = \"p\"\nin = \"/a\"\nrestart = \"50ms\""),
        (0, "start = \"q\"\nin = \"/a\"\nrestart = \"50ms\""),
        (10, KILL),
        // Killed, and about to start again.
        (20, "exit = \"p\""),
        (200, "exit = \"q\""),
    ]);
    let (all, mut player) = start(&format!("{A}{text}"), Options::default());
    assert_eq!(tasks_at(&all, &mut player, 15, "a"), []);
    assert_eq!(tasks_at(&all, &mut player, 100, "a").len(), 1, "q alone");
    assert_eq!(tasks_at(&all, &mut player, 900, "a"), []);
}

#[test]
fn another_process_starts_again_after_one_exited() {
    let text = steps(&[
        (0, "start = \"p\"\nin = \"/a\"\nrestart = \"50ms\""),
        (0, "start = \"q\"\nin = \"/a\"\nrestart = \"50ms\""),
        (10, "exit = \"p\""),
        (20, KILL),
    ]);
    let (all, mut player) = start(&format!("{A}{text}"), Options::default());
    assert_eq!(tasks_at(&all, &mut player, 15, "a").len(), 1);
    assert_eq!(tasks_at(&all, &mut player, 100, "a").len(), 1, "q");
}

#[test]
fn at_a_limit_a_start_is_tried_again_and_where_the_cgroup_is_gone_it_is_not() {
    let text = steps(&[
        (0, "start = \"p\"\nin = \"/a\"\nrestart = \"50ms\""),
        (10, KILL),
        (20, "start = \"q\"\nin = \"/a\""),
        (200, "exit = \"q\""),
        (300, KILL),
        (310, "remove = \"/a\""),
    ]);
    let text = format!("{A}set = {{ \"pids.max\" = \"1\" }}\n{text}");
    let (all, mut player) = start(&text, Options::default());
    let [q] = tasks_at(&all, &mut player, 199, "a")[..] else { panic!("not one") };
    assert!(value(&all, "a/pids.events", "max") >= 2, "it was tried");
    let p = tasks_at(&all, &mut player, 290, "a");
    assert!(p.len() == 1 && p[0] != q);
    player.run_until(&all, 400 * MS).unwrap();
    assert_eq!(player.next_at(), None, "it is over");
}

/// A name may be given again to a child of another process: nothing of the first is left.
#[test]
fn a_child_with_the_name_of_one_that_is_gone_lives_its_own_life() {
    let text = steps(&[
        (0, "start = \"q\"\nin = \"/a\""),
        (0, "start = \"p\"\nin = \"/a\"\nlives = \"100ms\""),
        (10, "exit = \"p\""),
        (20, "fork = \"p\"\nfrom = \"q\""),
    ]);
    let (all, mut player) = start(&format!("{A}{text}"), Options::default());
    let both = tasks_at(&all, &mut player, 50, "a");
    assert_eq!(both.len(), 2);
    assert_eq!(tasks_at(&all, &mut player, 900, "a"), both);
}

/// Neither of its parent's habits nor of those of one that had its name.
#[test]
fn a_child_does_nothing_by_itself() {
    let text = steps(&[
        (0, "start = \"p\"\nin = \"/a\"\nrestart = \"500ms\""),
        (10, KILL),
        (20, "start = \"q\"\nin = \"/b\"\nrestart = \"50ms\""),
        (30, "fork = \"p\"\nfrom = \"q\""),
        (40, "write = \"1\"\nto = \"/b/cgroup.kill\""),
    ]);
    let (all, mut player) =
        start(&format!("{A}[[cgroup]]\npath = \"/b\"\n{text}"), Options::default());
    assert_eq!(tasks_at(&all, &mut player, 35, "b").len(), 2);
    assert_eq!(tasks_at(&all, &mut player, 45, "b"), []);
    assert_eq!(tasks_at(&all, &mut player, 300, "b").len(), 1, "q");
    assert_eq!(tasks_at(&all, &mut player, 900, "b").len(), 1, "q");
    assert_eq!(tasks_at(&all, &mut player, 900, "a"), []);
    assert_eq!(all.now(), Duration::from_millis(900).as_nanos() as u64);
}
