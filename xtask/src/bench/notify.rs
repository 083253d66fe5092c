//! `cargo xtask bench notify`: what telling costs in a process, beside the kernel's inotify on a
//! tmpfs and beside a bounded channel, all in one run and in turns.
//!
//! An event of the kernel's needs a cause, a one-byte `pwrite`; "bare" rows have what the same
//! write costs unwatched taken off, which is the fairer comparison and the harder one.

mod counted;
mod linux;
mod memory;
mod own;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;

pub(crate) use counted::{Path, subject};

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each is measured; the least counts.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// How long each measurement takes, in milliseconds.
    #[arg(long, default_value_t = 60)]
    milliseconds: u64,
}

/// One row of the table: nanoseconds an event.
struct Row {
    what: &'static str,
    own: f64,
    against: Option<(&'static str, f64)>,
    budget: Option<f64>,
}

/// What is measured: a turn handles so many events.
struct Arm {
    name: &'static str,
    events: usize,
    turn: Box<dyn FnMut()>,
    best: f64,
}

impl Arm {
    fn new(name: &'static str, events: usize, turn: impl FnMut() + 'static) -> Self {
        Self { name, events, turn: Box::new(turn), best: f64::INFINITY }
    }

    fn measure(&mut self, at_least: Duration) {
        let start = Instant::now();
        let mut turns = 0_u32;
        while start.elapsed() < at_least {
            for _ in 0..16 {
                (self.turn)();
            }
            turns += 16;
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(turns) / self.events as f64;
        self.best = self.best.min(each);
    }
}

const BATCH: usize = 64;
const WATCHERS: usize = 100;

pub(crate) fn task(options: &Options) -> Result<()> {
    // First, while the heap is fresh.
    let memory = memory::measure()?;
    let mut arms = arms()?;
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for arm in &mut arms {
            arm.measure(Duration::from_millis(options.milliseconds));
        }
    }
    print(&rows(&arms));
    println!();
    memory.print();
    println!();
    counted::print()
}

fn arms() -> Result<Vec<Arm>> {
    let mut arms = Vec::new();
    let mut one = own::Watched::new(1, 1)?;
    arms.push(Arm::new("own one", 1, move || one.turn(1)));
    let mut batch = own::Watched::new(1, 2)?;
    arms.push(Arm::new("own batch", BATCH, move || batch.turn(BATCH)));
    let mut fd = own::Watched::new(1, 1)?.with_fd()?;
    arms.push(Arm::new("own fd", 1, move || fd.turn(1)));
    let mut many = own::Watched::new(WATCHERS, 1)?;
    arms.push(Arm::new("own watchers", WATCHERS, move || many.turn(1)));
    let mut thousand = own::Watched::new(1000, 1)?;
    arms.push(Arm::new("own thousand", 1000, move || thousand.turn(1)));
    let unwatched = own::Watched::new(0, 1)?;
    arms.push(Arm::new("own unwatched", 1, move || unwatched.notify(black_box(0))));
    let mut adding = own::Watched::new(1, 1)?;
    arms.push(Arm::new("own add", 1, move || adding.add_and_remove()));
    let mut tree = own::Forest::new(1000, 1)?;
    arms.push(Arm::new("tree one", 1, move || tree.turn()));
    let mut forest = own::Forest::new(1_000_000, 10_000)?;
    arms.push(Arm::new("tree million", 1, move || forest.turn()));
    let silent = own::Forest::new(1000, 0)?;
    arms.push(Arm::new("tree unwatched", 1, move || silent.notify()));

    let mut one = linux::Watched::new(1, 1)?;
    arms.push(Arm::new("linux one", 1, move || one.turn(1)));
    let mut batch = linux::Watched::new(1, 2)?;
    arms.push(Arm::new("linux batch", BATCH, move || batch.turn(BATCH)));
    let mut many = linux::Watched::new(WATCHERS, 1)?;
    arms.push(Arm::new("linux watchers", WATCHERS, move || many.turn(1)));
    let mut files = linux::Watched::new(1, 10_000)?;
    arms.push(Arm::new("linux files", 1, move || files.turn(1)));
    let unwatched = linux::Watched::new(0, 1)?;
    arms.push(Arm::new("linux write", 1, move || unwatched.cause(0)));
    let mut adding = linux::Watched::new(1, 1)?;
    arms.push(Arm::new("linux add", 1, move || adding.add_and_remove()));

    let (sender, receiver) = crossbeam_channel::bounded::<[u8; 16]>(16_384);
    for (name, batch) in [("channel one", 1), ("channel batch", BATCH)] {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        arms.push(Arm::new(name, batch, move || {
            for _ in 0..batch {
                let _ = sender.try_send(black_box([0; 16]));
            }
            for _ in 0..batch {
                let _ = black_box(receiver.try_recv());
            }
        }));
    }
    Ok(arms)
}

fn rows(arms: &[Arm]) -> Vec<Row> {
    let best = |name: &str| arms.iter().find(|arm| arm.name == name).map_or(f64::NAN, |a| a.best);
    let write = best("linux write");
    let linux = |name: &str| Some(("inotify", best(name)));
    let bare = |name: &str| Some(("inotify, bare", best(name) - write));
    let hundred = Some(("inotify, 100", best("linux watchers")));
    let channel = |name: &str| Some(("channel", best(name)));
    let row = |what, own: &str, against, budget| Row { what, own: best(own), against, budget };
    let tenth = Some(0.1);
    vec![
        row("notify, read: one by one", "own one", linux("linux one"), tenth),
        row("", "own one", bare("linux one"), tenth),
        row("", "own one", channel("channel one"), None),
        row("notify, read: 64 at once", "own batch", linux("linux batch"), tenth),
        row("", "own batch", bare("linux batch"), tenth),
        row("", "own batch", channel("channel batch"), None),
        row("… with a descriptor to poll", "own fd", linux("linux one"), None),
        row("… 100 watchers, each record", "own watchers", linux("linux watchers"), None),
        // A user may have 128 instances, so that the kernel is measured with 100.
        row("… 1,000 watchers, each record", "own thousand", hundred, None),
        row("… through a tree of 1,000", "tree one", linux("linux one"), None),
        row("… of 1,000,000, 1 % watched", "tree million", linux("linux files"), None),
        row("fsnotify() of an unwatched object", "own unwatched", None, None),
        row("notify() of an unwatched node", "tree unwatched", None, None),
        row("add_watch, rm_watch, read IGNORED", "own add", linux("linux add"), None),
    ]
}

fn print(rows: &[Row]) {
    println!(
        "{:<36}{:>10}  {:<16}{:>10}{:>9}{:>9}",
        "ns an event", "ours", "against", "its", "ratio", "budget"
    );
    for Row { what, own, against, budget } in rows {
        print!("{what:<36}{own:>10.1}");
        if let Some((name, other)) = against {
            print!("  {name:<16}{other:>10.1}{:>9.3}", own / other);
        }
        match budget {
            Some(budget) => println!("{budget:>9.3}"),
            None => println!(),
        }
    }
}
