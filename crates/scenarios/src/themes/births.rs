//! Births and deaths: nested, short-lived, at the same path again and again.

use std::{
    thread,
    time::{Duration, Instant},
};

use cgwatch::{Depth, Event, Options};
use contract::{awaited, hold_against};

use super::judge;
use crate::{Environment, Failure, Recording, Scenario, Tree, failure::ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("births-existing", existing),
    Scenario::new("births-nested", nested),
    Scenario::new("births-short-lives", short_lives),
    Scenario::new("births-same-path", same_path),
    Scenario::new("births-strange-names", strange_names),
    Scenario::new("births-below-the-depth", below_the_depth),
];

/// What is there before the watch begins is told as existing, and its end like any other.
fn existing(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let old = tree.make_all("a/b/c/d/e")?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    awaited(&recording.so_far(), old.iter().map(|cgroup| cgroup.id))?;
    for cgroup in old.iter().rev() {
        tree.remove(cgroup)?;
    }
    judge(recording, &tree).map(drop)
}

/// `mkdir -p` of depth 5 at full speed: a child may be older than the watch on its parent.
fn nested(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..environment.scale(200, 10) {
        let made = tree.make_all(&format!("top-{round}/a/b/c/d"))?;
        // Half of them must be told, since they live until then; the others may be gone before.
        if round % 2 == 0 {
            for cgroup in &made {
                recording.until_appeared(cgroup)?;
            }
        }
        for cgroup in made.iter().rev() {
            tree.remove(cgroup)?;
        }
    }
    judge(recording, &tree).map(drop)
}

/// Thousands of lives of about a millisecond, from several threads at once, so that the machine is
/// busy and cgwatch late.
fn short_lives(environment: &Environment) -> Result<(), Failure> {
    const DRIVERS: usize = 4;
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    let lives = environment.scale(6_000, 240) / DRIVERS;
    let drive = |driver: usize| -> Result<(), Failure> {
        for life in 0..lives {
            let cgroup = tree.make(format!("driver-{driver}-{life}"))?;
            let until = Instant::now() + Duration::from_micros(500 * (life as u64 % 4));
            while Instant::now() < until {
                thread::yield_now();
            }
            tree.remove(&cgroup)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let drivers: Vec<_> = (0..DRIVERS).map(|n| scope.spawn(move || drive(n))).collect();
        drivers.into_iter().try_for_each(|driver| {
            driver.join().map_err(|_| Failure::broken("driver: a thread panicked"))?
        })
    })?;
    judge(recording, &tree).map(drop)
}

/// The same path a thousand times: each bearer is another cgroup.
fn same_path(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..environment.scale(1_000, 100) {
        let cgroup = tree.make("again")?;
        if round % 100 == 0 {
            recording.until_appeared(&cgroup)?;
        }
        tree.remove(&cgroup)?;
    }
    let last = tree.make("again")?;
    recording.until_appeared(&last)?;
    judge(recording, &tree).map(drop)
}

/// Names with spaces, tabs, backslashes, escapes of systemd and bytes that are no UTF-8. (The kernel
/// refuses a newline.)
fn strange_names(environment: &Environment) -> Result<(), Failure> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    const NAMES: [&[u8]; 8] = [
        b"with space",
        b"tab\tulator",
        b"back\\slash",
        b"dev-disk\\x2dby",
        b"\xff\xfe\x80",
        b"\x1b[31mred",
        "\u{540d}\u{524d}".as_bytes(),
        b" (deleted)",
    ];
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for name in NAMES {
        let cgroup = tree.make(OsStr::from_bytes(name))?;
        recording.until_appeared(&cgroup)?;
        tree.remove(&cgroup)?;
        recording.until_removed(&cgroup)?;
    }
    let longest = tree.make("n".repeat(255))?;
    recording.until_appeared(&longest)?;
    judge(recording, &tree).map(drop)
}

/// What is deeper than was asked for is never told, and never costs a watch.
fn below_the_depth(environment: &Environment) -> Result<(), Failure> {
    for depth in 0..3_usize {
        let tree = Tree::plant(environment)?;
        let mut watcher = environment.watcher(Options::new())?;
        watcher.add(tree.path(), Depth::AtMost(depth as u16))?;
        let recording = Recording::of(environment, watcher);
        for round in 0..5 {
            let made = tree.make_all(&format!("{round}/a/b/c"))?;
            for cgroup in &made[..depth] {
                recording.until_appeared(cgroup)?;
            }
            for cgroup in made.iter().rev() {
                tree.remove(cgroup)?;
            }
            for cgroup in &made[..depth] {
                recording.until_removed(cgroup)?;
            }
        }
        tree.remove(tree.root())?;
        recording.until_over()?;
        let (events, _) = recording.stop()?;
        hold_against(&events, &tree.truth())?;
        let levels = |event: &Event| {
            let path = event.kind.cgroup().map(|cgroup| cgroup.path.as_bytes().to_vec());
            path.unwrap_or_default().split(|byte| *byte == b'/').filter(|n| !n.is_empty()).count()
        };
        let deeper = events.iter().find(|event| levels(event) > depth);
        ensure!(deeper.is_none(), "deeper than {depth}: {deeper:?}");
    }
    Ok(())
}
