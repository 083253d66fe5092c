//! `cargo xtask bench monitor --growth`: what it costs with ten times and a hundred times as many
//! cgroups. What is given by the cgroup or by the event must not grow.
//!
//! One round a size and strategy, so the figures scatter more than those of the other tables.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Bench, machine,
    report::{Arm, Unit},
    subject::{Expectation, Subject},
    tree::Tree,
};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Births, and as many deaths, of a storm, in turns of so many.
const STORM: usize = 20_000;
const TURN: usize = 500;
/// The kernel's queues hold 16,384 by default (`fs.inotify.max_queued_events`,
/// `fs.fanotify.max_queued_events`): so many births and deaths fill them.
const FLOOD: usize = 10_000;

/// One line of the table.
struct Line(&'static str, Unit, fn(&Figures) -> Option<f64>);

const LINES: [Line; 12] = [
    Line("start: CPU a cgroup", Unit::Microseconds, |f| Some(f.start_cpu)),
    Line("start: time a cgroup", Unit::Microseconds, |f| Some(f.start_wall)),
    Line("memory a cgroup, in the process", Unit::Bytes, |f| Some(f.memory)),
    Line("memory a cgroup, in the kernel", Unit::Bytes, |f| Some(f.kernel)),
    Line("CPU a change, from a full queue", Unit::Microseconds, |f| f.change),
    Line("storm: births and deaths a second", Unit::PerSecond, |f| f.storm_rate),
    Line("storm: CPU a birth with its death", Unit::Microseconds, |f| f.storm),
    Line("storm: behind when it ends", Unit::Microseconds, |f| f.behind),
    Line("memory a cgroup after it", Unit::Bytes, |f| f.memory_after),
    Line("overflow: CPU a cgroup compared", Unit::Microseconds, |f| f.reconcile_cpu),
    Line("overflow: time a cgroup compared", Unit::Microseconds, |f| f.reconcile_wall),
    Line("stop: time a cgroup", Unit::Microseconds, |f| Some(f.stop)),
];

/// What was measured; `None` is what could not be.
#[derive(Default)]
struct Figures {
    start_cpu: f64,
    start_wall: f64,
    memory: f64,
    kernel: f64,
    change: Option<f64>,
    storm_rate: Option<f64>,
    storm: Option<f64>,
    behind: Option<f64>,
    memory_after: Option<f64>,
    reconcile_cpu: Option<f64>,
    reconcile_wall: Option<f64>,
    stop: f64,
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<()> {
    let arms = [Arm::Inotify, Arm::Fanotify];
    let mut all = Vec::new();
    for size in SIZES {
        let events = bench.options.events.min(size / 2);
        for arm in arms {
            // Of its own: the kernel keeps what it learned of one that was watched before.
            let mut tree = Tree::plant(&bench.mount, size, events)?;
            eprintln!("{size} cgroups, {}", arm.name());
            let figures = figures(bench, arm, &mut tree, events)?;
            for Line(label, unit, figure) in LINES {
                let shown = figure(&figures).map(|value| unit.show(value));
                eprintln!("    {label}: {}", shown.as_deref().unwrap_or("—"));
            }
            all.push((size, arm, figures));
        }
    }
    print!("| what |");
    all.iter().for_each(|(size, arm, _)| print!(" {}, {size} |", arm.name()));
    println!("\n|---|{}", "--:|".repeat(all.len()));
    for Line(label, unit, figure) in LINES {
        print!("| {label} |");
        for (.., figures) in &all {
            print!(" {} |", figure(figures).map_or("—".into(), |value| unit.show(value)));
        }
        println!();
    }
    Ok(())
}

fn figures(bench: &Bench<'_>, arm: Arm, tree: &mut Tree, events: usize) -> Result<Figures> {
    let cgroups = tree.cgroups() as f64;
    let slab_before = machine::slab()?;
    let mut subject = bench.start(arm, tree)?;
    let mut figures = Figures {
        start_cpu: subject.start[0] / cgroups,
        start_wall: subject.start[1] / cgroups,
        memory: subject.private_bytes()? / cgroups,
        kernel: (machine::slab()? - slab_before) / cgroups,
        ..Figures::default()
    };
    if arm == Arm::Inotify && cgroups * 2.0 > watches()? {
        eprintln!("more watches are needed than there are: what changes unwatched is swept");
    } else {
        figures.change = Some(change(&mut subject, tree, events)?);
        storm(&mut subject, tree, &mut figures)?;
        figures.memory_after = Some(subject.private_bytes()? / cgroups);
        overflow(&mut subject, tree, &mut figures)?;
    }
    let began = Instant::now();
    subject.end()?;
    figures.stop = began.elapsed().as_nanos() as f64 / cgroups;
    Ok(figures)
}

/// How many watches a user may have. Two for each cgroup: without controllers, one event file.
fn watches() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches")?;
    Ok(text.trim().parse()?)
}

/// Changes that wait in the queue.
fn change(subject: &mut Subject, tree: &mut Tree, events: usize) -> Result<f64> {
    let witness = tree.witness()?;
    let expected = Expectation { changed: events, ..Default::default() };
    subject.begin(expected)?;
    subject.pause()?;
    tree.toggle(None)?;
    witness.await_changes(events)?;
    subject.resume()?;
    Ok(subject.done(expected)?.cpu_ns / events as f64)
}

/// Cgroups are born and die as fast as the host makes and removes them.
fn storm(subject: &mut Subject, tree: &Tree, figures: &mut Figures) -> Result<()> {
    let expected = Expectation { appeared: STORM, removed: STORM, ..Default::default() };
    subject.begin(expected)?;
    let mut took = Duration::ZERO;
    for _ in 0..STORM / TURN {
        took += tree.bear(TURN)? + tree.bury(TURN)?;
    }
    let ended = machine::nanoseconds(rustix::time::ClockId::Monotonic);
    let cost = subject.done(expected)?;
    figures.storm_rate = Some(2.0 * STORM as f64 / took.as_secs_f64());
    figures.storm = Some(cost.cpu_ns / STORM as f64);
    figures.behind = Some(cost.at.saturating_sub(ended) as f64);
    Ok(())
}

/// More notifications than the kernel's queue holds, and the comparison that follows.
fn overflow(subject: &mut Subject, tree: &Tree, figures: &mut Figures) -> Result<()> {
    subject.begin_reconcile()?;
    subject.pause()?;
    tree.bear(FLOOD)?;
    tree.bury(FLOOD)?;
    let resumed = machine::nanoseconds(rustix::time::ClockId::Monotonic);
    subject.resume()?;
    let cost = subject.done(Expectation::default())?;
    let cgroups = tree.cgroups() as f64;
    figures.reconcile_cpu = Some(cost.cpu_ns / cgroups);
    figures.reconcile_wall = Some(cost.at.saturating_sub(resumed) as f64 / cgroups);
    Ok(())
}
