//! `cargo xtask bench sim`: what the embedded hierarchy costs: the simulation of whole runs, and very
//! many simulated cgroups under the monitor, part by part.
//!
//! There is nothing to hold it against but the budget of design.md 7, so times are of the
//! processor, which other work on the machine distorts less; and memory is the growth of this
//! process's own, from which nothing is given back before the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cgwatch::cgroup_sim::{self, Event as Counted, Hierarchy, Surface};
use cgwatch::{Depth, EventKind, Limits, SimWorld, Watcher};
use fsnotify::Account;
use fsnotify::inotify::{InitFlags, Inotify, WatchMask};
use rustix::time::ClockId;
use simulation::{PROFILES, campaign};

use super::machine::{nanoseconds, private_bytes};

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many simulated cgroups are watched.
    #[arg(long, default_value_t = 100_000)]
    cgroups: u64,
    /// How many seeds of each profile are run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// How many births, changes and deaths are measured at a time.
    #[arg(long, default_value_t = 1000)]
    events: u64,
    /// How often; a quarter of the measurements was better than what is shown.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// What a monitor watches of a cgroup, by the file's name; of the directory itself, by none.
const WATCHED: [&str; 4] = ["", "cgroup.events", "memory.events", "pids.events"];
/// Steps a minute on one core.
const BUDGET: f64 = 5e6;
/// Longer than notifications are held back by their rate limit.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn task(options: &Options) -> Result<()> {
    // First, while the heap is fresh.
    let many = many(options)?;
    println!("| {} simulated cgroups | each |\n|---|--:|", options.cgroups);
    for (what, cost) in many {
        println!("| {what} | {cost} |");
    }
    println!("\n| simulated runs | steps | processor time | steps a minute | of the budget |");
    println!("|---|--:|--:|--:|--:|");
    for (name, profile) in PROFILES {
        eprintln!("{} runs under {name}", options.seeds);
        let began = nanoseconds(ClockId::ProcessCPUTime);
        let (tally, failure) = campaign(profile, 0..options.seeds, 1, &|_| {});
        let seconds = (nanoseconds(ClockId::ProcessCPUTime) - began) as f64 / 1e9;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        let rate = tally.steps as f64 / seconds * 60.0;
        println!(
            "| {} under {name} | {:.1} million | {seconds:.1} s | {:.0} million | {:.0} × |",
            tally.runs,
            tally.steps as f64 / 1e6,
            rate / 1e6,
            rate / BUDGET,
        );
    }
    Ok(())
}

/// A meter of this process.
struct Meter {
    bytes: f64,
    processor: u64,
    wall: u64,
}

impl Meter {
    fn start() -> Result<Self> {
        Ok(Self {
            bytes: private_bytes(std::process::id())?,
            processor: nanoseconds(ClockId::ProcessCPUTime),
            wall: nanoseconds(ClockId::Monotonic),
        })
    }

    /// What a cgroup took since the start: bytes, nanoseconds of the processor, nanoseconds.
    fn each(&self, cgroups: u64) -> Result<[f64; 3]> {
        let now = Self::start()?;
        let [processor, wall] = [now.processor - self.processor, now.wall - self.wall];
        let all = [now.bytes - self.bytes, processor as f64, wall as f64];
        Ok(all.map(|all| all / cgroups as f64))
    }
}

/// `/top` with so many cgroups in it.
fn hierarchy(cgroups: u64, surface: Surface) -> Result<Hierarchy> {
    let options = cgroup_sim::Options { surface, ..cgroup_sim::Options::default() };
    let hierarchy = Hierarchy::new(options);
    hierarchy.write("/cgroup.subtree_control", "+memory +pids")?;
    hierarchy.mkdir("/top")?;
    hierarchy.write("/top/cgroup.subtree_control", "+memory +pids")?;
    for n in 0..cgroups {
        hierarchy.mkdir(format!("/top/c{n}"))?;
    }
    Ok(hierarchy)
}

/// The watches of a monitor, and nothing else of it.
fn marks(account: &Arc<Account>, hierarchy: &Hierarchy, cgroups: u64) -> Result<Inotify> {
    let inotify = Inotify::new(account, InitFlags::NONBLOCK)?;
    for n in 0..cgroups {
        for file in WATCHED {
            let mask = match file {
                "" => WatchMask::CREATE | WatchMask::DELETE | WatchMask::CLOSE_WRITE,
                _ => WatchMask::MODIFY | WatchMask::DELETE_SELF,
            };
            hierarchy.mount().watch(&inotify, format!("/top/c{n}/{file}"), mask)?;
        }
    }
    Ok(inotify)
}

/// What each costs, part by part.
fn many(options: &Options) -> Result<Vec<(String, String)>> {
    let cgroups = options.cgroups;
    let bytes = |bytes: f64| format!("{bytes:.0} B");
    let micro = |ns: f64| format!("{:.2} µs", ns / 1e3);
    let mut rows = Vec::new();
    let mut row = |what: &str, cost: String| rows.push((what.to_owned(), cost));

    eprintln!("{cgroups} cgroups");
    let whole = cgroups.div_ceil(10);
    let meter = Meter::start()?;
    let all_files = hierarchy(whole, Surface::Whole)?;
    let [memory, ..] = meter.each(whole)?;
    row("the hierarchy, with all files that are simulated", bytes(memory));
    let meter = Meter::start()?;
    let hierarchy = Arc::new(hierarchy(cgroups, Surface::Notifying)?);
    let [memory, processor, _] = meter.each(cgroups)?;
    row("the hierarchy, with the files that notify only, as for all that follows", bytes(memory));
    row("made, processor time", micro(processor));

    // The first watcher fills the cache of names and inodes too, the second has only its marks.
    let limits = Limits { marks: u64::MAX, ..Limits::default() };
    let account = Account::new(limits);
    let meter = Meter::start()?;
    let first = marks(&account, &hierarchy, cgroups)?;
    let [filled, ..] = meter.each(cgroups)?;
    let meter = Meter::start()?;
    let second = marks(&account, &hierarchy, cgroups)?;
    let [marks, ..] = meter.each(cgroups)?;
    row("what 4 watches keep in the cache: names and inodes", bytes(filled - marks));
    row("4 watches", bytes(marks));

    eprintln!("the monitor");
    let meter = Meter::start()?;
    let world = SimWorld::new(Arc::clone(&hierarchy)).limits(limits);
    // A sweep reads all of them, which is no part of an event.
    let hour = Duration::from_secs(3600);
    let mut watcher = Watcher::simulated(world, cgwatch::Options::new().sweep_interval(hour))?;
    watcher.add("/top".as_ref(), Depth::All)?;
    await_ready(&mut watcher)?;
    let [memory, processor, wall] = meter.each(cgroups)?;
    row("the monitor, beside its watches", bytes(memory - marks));
    row("start until `ready`, processor time", micro(processor));
    row("start until `ready`, all of them", format!("{:.2} s", wall * cgroups as f64 / 1e9));

    drop((first, second, all_files));
    for (what, cost) in events(options, &hierarchy, &mut watcher)? {
        row(what, micro(cost));
    }
    Ok(rows)
}

fn await_ready(watcher: &mut Watcher<SimWorld>) -> Result<()> {
    while let Some(event) = watcher.next()? {
        if matches!(event.kind, EventKind::Ready { .. }) {
            return Ok(());
        }
    }
    anyhow::bail!("it is not ready")
}

/// From what happens to the event in the reader's hand: nanoseconds of the processor.
fn events(
    options: &Options,
    hierarchy: &Hierarchy,
    watcher: &mut Watcher<SimWorld>,
) -> Result<[(&'static str, f64); 3]> {
    let each = options.events.min(options.cgroups);
    let ids: Option<Vec<u64>> = (0..each).map(|n| hierarchy.find(format!("/top/c{n}"))).collect();
    let ids = ids.context("a cgroup is missing")?;
    let mut samples = [const { Vec::new() }; 3];
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        let mut measure = |at: usize, events: u64, act: &mut dyn FnMut(u64) -> Result<()>| {
            let began = nanoseconds(ClockId::ProcessCPUTime);
            let mut told = 0;
            for n in 0..each {
                act(n)?;
                hierarchy.advance(PAUSE);
                while watcher.next()?.is_some() {
                    told += 1;
                }
            }
            anyhow::ensure!(told == events * each, "{told} events of {}", events * each);
            let took = nanoseconds(ClockId::ProcessCPUTime) - began;
            samples[at].push(took as f64 / each as f64);
            Ok(())
        };
        // It is told of the cgroup and of `/top`, which counts it too.
        measure(0, 2, &mut |n| Ok(hierarchy.count(ids[n as usize], Counted::MemoryHigh, 1)?))?;
        measure(1, 1, &mut |n| Ok(hierarchy.mkdir(format!("/top/new{n}")).map(drop)?))?;
        measure(2, 1, &mut |n| Ok(hierarchy.rmdir(format!("/top/new{n}"))?))?;
    }
    let quartile = samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 4]
    });
    let [change, birth, death] = quartile;
    Ok([
        ("a change, from its cause to both `changed`, processor time", change),
        ("a birth, from mkdir to `appeared`, processor time", birth),
        ("a death, from rmdir to `removed`, processor time", death),
    ])
}
