//! The kernel's queue runs full of real events: a gap, a reconcile, and the books balance again.

use std::fs;

use cgwatch::{Event, EventKind, GapReason, Options};
use contract::{balance, blame, hold_against};

use super::{last_word, memory};
use crate::{
    Environment, Failure, Recording,
    Requirement::{HugeTlb, Memory},
    Scenario, Tree, ensure, huge_pages,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("overflow-births", births),
    Scenario::new("overflow-books", books).needs(&[HugeTlb]),
    Scenario::new("overflow-lone-death", lone_death).needs(&[HugeTlb]),
    Scenario::new("overflow-among-thousands", among_thousands).needs(&[HugeTlb]),
    Scenario::new("overflow-kills", kills).needs(&[Memory]),
];

/// How many events the queue of a new inotify instance or fanotify group holds. In a guest, whose
/// settings are its own, so few that it is soon full; put back when this is dropped.
struct Queue {
    length: usize,
    put_back: Vec<(&'static str, String)>,
}

impl Queue {
    const PATHS: [&str; 2] =
        ["/proc/sys/fs/inotify/max_queued_events", "/proc/sys/fs/fanotify/max_queued_events"];

    fn new(environment: &Environment) -> Result<Self, Failure> {
        let mut queue = Self { length: 0, put_back: Vec::new() };
        for path in Self::PATHS {
            let text = fs::read_to_string(path).map_err(Failure::driver("read", path))?;
            let length = text.trim().parse();
            let length = length.map_err(|_| Failure::broken(format!("driver: {text} events?")))?;
            queue.length = queue.length.max(length);
            if environment.guest {
                queue.length = 400;
                fs::write(path, "400").map_err(Failure::driver("write", path))?;
                queue.put_back.push((path, text));
            }
        }
        Ok(queue)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        for (path, text) in &self.put_back {
            if let Err(error) = fs::write(path, text) {
                eprintln!("{path} stays short: {error}");
            }
        }
    }
}

fn is_overflow(event: &Event) -> bool {
    matches!(event.kind, EventKind::Gap { reason: GapReason::QueueOverflow, .. })
}

/// While nobody drains the queue: so many births and deaths that it overflows, some survivors, and
/// the deaths of some that were known. `count` may make the `n`th cgroup of `of` count something.
fn overflow(
    environment: &Environment,
    tree: &Tree,
    options: Options,
    deaths: usize,
    count: impl Fn(usize, usize, &crate::Cgroup) -> Result<(), Failure>,
) -> Result<Recording, Failure> {
    let queue = Queue::new(environment)?;
    let recording = Recording::of_tree(environment, tree, options)?;
    let known = (0..20).map(|n| tree.make(format!("known-{n}"))).collect::<Result<Vec<_>, _>>()?;
    for cgroup in &known {
        recording.until_appeared(cgroup)?;
    }
    recording.pause();
    // One event for each birth and each death, and as many again to be sure.
    let lives = queue.length;
    for n in 0..lives {
        let cgroup = tree.make(format!("unseen-{n}"))?;
        count(n, lives, &cgroup)?;
        tree.remove(&cgroup)?;
    }
    for (n, cgroup) in known.iter().enumerate() {
        if n < deaths {
            tree.remove(cgroup)?;
        } else {
            count(n, known.len(), cgroup)?;
        }
    }
    let survivors = tree.make_all("survivor/child")?;
    recording.resume();
    recording.until("a gap", is_overflow)?;
    for cgroup in &survivors {
        recording.until_appeared(cgroup)?;
    }
    recording.settle(tree)?;
    Ok(recording)
}

/// What lives is told, what died and was told is removed, and all goes on after it.
fn births(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = overflow(environment, &tree, Options::new(), 10, |_, _, _| Ok(()))?;
    let (events, _) = recording.stop()?;
    Ok(hold_against(&events, &tree.truth())?)
}

/// Nothing that was counted meanwhile is lost, though most of those who counted it were never told.
fn books(environment: &Environment) -> Result<(), Failure> {
    let tree = last_word::counting_tree(environment)?;
    let events = books_after(environment, &tree, 10, 0)?;
    Ok(blame(&events, &tree.truth(), huge_pages::FILE, huge_pages::KEY)?)
}

/// Only one that was known died, and it counted nothing: those who did were never told, and what
/// they counted is not called its own.
fn lone_death(environment: &Environment) -> Result<(), Failure> {
    let tree = last_word::counting_tree(environment)?;
    let events = books_after(environment, &tree, 1, 0)?;
    Ok(blame(&events, &tree.truth(), huge_pages::FILE, huge_pages::KEY)?)
}

/// In one directory with some thousand cgroups, some of which have children, and with a storm of
/// births and deaths after it.
fn among_thousands(environment: &Environment) -> Result<(), Failure> {
    let tree = last_word::counting_tree(environment)?;
    let many = environment.scale(2_000, 150);
    for n in 0..many {
        tree.make(format!("crowd-{n}"))?;
        if n % 16 == 0 {
            tree.make(format!("crowd-{n}/child"))?;
        }
    }
    books_after(environment, &tree, 10, many).map(drop)
}

/// So many of those that were known die meanwhile, and so many are born and die afterwards.
fn books_after(
    environment: &Environment,
    tree: &Tree,
    deaths: usize,
    storm: usize,
) -> Result<Vec<Event>, Failure> {
    let count = |n: usize, of: usize, cgroup: &crate::Cgroup| {
        if n % (of / 20).max(2) == 1 { huge_pages::refuse(tree, cgroup, 2) } else { Ok(()) }
    };
    let recording = overflow(environment, tree, last_word::options(), deaths, count)?;
    for n in 0..storm {
        let cgroup = tree.make(format!("storm-{n}"))?;
        count(n, storm, &cgroup)?;
        tree.remove(&cgroup)?;
    }
    let (file, key) = (huge_pages::FILE, huge_pages::KEY);
    let grown = tree.root().count(file, key)?;
    ensure!(grown > 0, "driver: nothing was counted");
    recording.until_counted(tree.root(), file, key, grown)?;
    recording.settle(tree)?;
    let (events, _) = recording.stop()?;
    hold_against(&events, &tree.truth())?;
    balance(&events, file, key, grown)?;
    Ok(events)
}

/// The same with OOM kills.
fn kills(environment: &Environment) -> Result<(), Failure> {
    let tree = memory::memory_tree(environment)?;
    let count = |n: usize, of: usize, cgroup: &crate::Cgroup| {
        if n % (of / 8).max(2) != 1 {
            return Ok(());
        }
        memory::killed(&tree, cgroup, memory::doomed(cgroup)?)
    };
    let recording = overflow(environment, &tree, Options::new(), 10, count)?;
    let grown = tree.root().count(memory::FILE, memory::KILL)?;
    ensure!(grown > 0, "driver: nothing was killed");
    recording.until_counted(tree.root(), memory::FILE, memory::KILL, grown)?;
    recording.settle(&tree)?;
    let (events, _) = recording.stop()?;
    hold_against(&events, &tree.truth())?;
    balance(&events, memory::FILE, memory::KILL, grown)?;
    Ok(blame(&events, &tree.truth(), memory::FILE, memory::KILL)?)
}
