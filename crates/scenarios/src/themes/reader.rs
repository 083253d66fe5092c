//! A reader that takes nothing for a long while: what waits for it is bounded by the living, and
//! what it then takes is right.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use cgwatch::{Depth, Event, EventKind, GapReason, Options};
use contract::{Breach, hold, numbered};

use crate::{
    Environment, Failure, Outside, Requirement::Command, Scenario, Tree, ensure, forget_heap_peak,
    heap, heap_peak, resident,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("reader-takes-nothing", takes_nothing).seconds(90),
    Scenario::new("reader-pipe-blocked", pipe_blocked).needs(&[Command]).seconds(150),
];

/// How many cgroups live all the while.
const LIVING: usize = 50;

/// Changes and lives without a ledger, whose own memory would hide what is measured.
struct Load<'t> {
    tree: &'t Tree,
    living: Vec<PathBuf>,
    ids: Vec<u64>,
    /// All so far.
    births: usize,
    changes: usize,
}

impl<'t> Load<'t> {
    fn new(tree: &'t Tree, births: usize) -> Result<Self, Failure> {
        let living = (0..LIVING).map(|n| Ok(tree.make(format!("living-{n}"))?.directory));
        let living = living.collect::<Result<_, Failure>>()?;
        Ok(Self { tree, living, ids: Vec::with_capacity(births), births: 0, changes: 0 })
    }

    /// So many births and deaths, with ten changes of the living to each; `meanwhile` now and then.
    fn drive(
        &mut self,
        births: usize,
        mut meanwhile: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for _ in 0..births {
            let path = self.tree.path().join(format!("short-{}", self.births));
            fs::create_dir(&path).map_err(Failure::driver("make", &path))?;
            self.ids.push(fs::metadata(&path).map_err(Failure::driver("stat", &path))?.ino());
            fs::remove_dir(&path).map_err(Failure::driver("remove", &path))?;
            self.births += 1;
            for _ in 0..10 {
                self.change()?;
            }
            if self.births.is_multiple_of(50) {
                meanwhile()?;
            }
        }
        meanwhile()
    }

    /// An empty cgroup that is frozen or thawed is so at once.
    fn change(&mut self) -> Result<(), Failure> {
        let (round, place) = (self.changes / LIVING, self.changes % LIVING);
        let path = self.living[place].join("cgroup.freeze");
        let value = if round.is_multiple_of(2) { "1" } else { "0" };
        self.changes += 1;
        fs::write(&path, value).map_err(Failure::driver("write", path))
    }

    /// What was told fits what was done: nothing invented, each life once, and every birth is told
    /// or counted among those withheld.
    fn judge(&self, events: &[Event]) -> Result<(), Failure> {
        hold(events)?;
        let (mut told, mut withheld, mut alive) = (0, 0, 0_i64);
        for event in events {
            match &event.kind {
                EventKind::Appeared { cgroup, existing, .. }
                    if is_short(cgroup.path.as_bytes()) =>
                {
                    ensure!(!existing, "{event:?} existed");
                    told += 1;
                    alive += 1;
                    let known = cgroup.id.is_none_or(|id| self.ids.contains(&id));
                    ensure!(known, "nobody had the id of {event:?}");
                }
                EventKind::Removed { cgroup, .. } if is_short(cgroup.path.as_bytes()) => alive -= 1,
                EventKind::Gap { cancelled_pairs, reason, .. } => {
                    ensure!(*reason == GapReason::Reader, "{event:?}");
                    withheld += cancelled_pairs;
                }
                _ => {}
            }
        }
        ensure!(alive == 0, "{alive} of the dead are not removed");
        ensure!(
            told + withheld == self.births as u64,
            "{} births, {told} told and {withheld} withheld",
            self.births
        );
        let all_wait = Options::new().untold_pairs as u64 > told;
        ensure!(withheld > 0 || all_wait, "nothing was withheld: the reader was not slow");
        Ok(())
    }

    /// The states of the living, as last told, are what they are.
    fn states(&self, events: &[Event]) -> Result<(), Failure> {
        for (place, path) in self.living.iter().enumerate() {
            let name = format!("/living-{place}");
            let last = events.iter().rev().find_map(|event| match &event.kind {
                EventKind::Changed { cgroup, new, .. }
                    if cgroup.path.as_bytes() == name.as_bytes() =>
                {
                    new.get("frozen")
                }
                EventKind::Appeared { cgroup, files, .. }
                    if cgroup.path.as_bytes() == name.as_bytes() =>
                {
                    files.get("cgroup.events").and_then(|values| values.get("frozen"))
                }
                _ => None,
            });
            let real = frozen(path)?;
            ensure!(last == Some(real), "{name}: frozen {last:?} was told last, it is {real}");
        }
        Ok(())
    }
}

fn is_short(path: &[u8]) -> bool {
    path.starts_with(b"/short-")
}

fn frozen(cgroup: &Path) -> Result<u64, Failure> {
    let path = cgroup.join("cgroup.events");
    let text = fs::read_to_string(&path).map_err(Failure::driver("read", path))?;
    Ok(u64::from(text.contains("frozen 1")))
}

/// Through the library: only [`Watcher::update`] is called until 100,000 changes and 10,000 births
/// and deaths have happened. Four fifths of them must not need more heap than the first did.
fn takes_nothing(environment: &Environment) -> Result<(), Failure> {
    let births = environment.scale(10_000, 400);
    let tree = Tree::plant(environment)?;
    let mut load = Load::new(&tree, births)?;
    let mut watcher = environment.watcher(Options::new().untold_pairs(64))?;
    watcher.add(tree.path(), Depth::All)?;
    let mut events = Vec::new();
    while let Some(event) = watcher.next()? {
        events.push(event);
    }
    load.drive(births / 5, || Ok(watcher.update()?))?;
    let before = heap();
    forget_heap_peak();
    load.drive(births - births / 5, || Ok(watcher.update()?))?;
    let (after, peak) = (heap(), heap_peak());
    // The reserve of a table or two, and the buffers of one update.
    const SLACK: usize = 512 << 10;
    ensure!(
        peak < before + SLACK,
        "heap: {before} bytes after the first fifth, {after} at the end, {peak} at the most"
    );
    while let Some(event) = watcher.next()? {
        events.push(event);
    }
    load.judge(&events)?;
    load.states(&events)
}

/// Through the command, its output a pipe that nobody empties. It must read on; but the driver
/// waits for it, since it is not the kernel's queue that is shown here.
fn pipe_blocked(environment: &Environment) -> Result<(), Failure> {
    let births = environment.scale(10_000, 400);
    let tree = Tree::plant(environment)?;
    let mut load = Load::new(&tree, births)?;
    let strategy = ["--strategy", environment.strategy.name()].map(OsStr::new);
    let arguments = strategy.into_iter().chain([tree.path().as_os_str()]);
    let outside = Outside::command(environment, arguments)?;
    let queues = outside.queues(environment)?;
    outside.recording.pause();
    // Until the pipe is full and a little beyond, as the measure.
    load.drive(births / 5, || queues.until_read())?;
    let before = resident(&outside.pid())?;
    load.drive(births - births / 5, || queues.until_read())?;
    let after = resident(&outside.pid())?;
    // Unbounded it would be a hundred thousand changes and the births beside.
    const SLACK: u64 = 8 << 20;
    ensure!(after < before + SLACK, "resident: {before} bytes early on, {after} at the end");
    outside.recording.resume();
    outside.recording.settle(&tree)?;
    let events = outside.stop()?;
    numbered(&events)?;
    if events
        .iter()
        .any(|event| matches!(&event.kind, EventKind::Gap { reason: GapReason::QueueOverflow, .. }))
    {
        return Err(
            Breach("the kernel's queue overflowed while the pipe was blocked".into()).into()
        );
    }
    load.judge(&events)?;
    load.states(&events)
}
