//! `cargo xtask bench mount`: what a client of a mount pays, beside libfuse's low-level example and
//! beside the real cgroupfs, all in one run and in turns.
//!
//! Each server is a process of its own. `xtask/bench/libfuse.c` is the example with as many files as
//! kernfs-fuse has and with its options, so that the kernel does the same for both; the example as
//! it is shipped keeps content in the page cache, where a read of an open file asks nobody.
//!
//! [`place`] is where something is measured, [`server`] a process behind it, [`subject`] that
//! process for kernfs-fuse and the mirror, [`client`] what is asked of a mount, [`told`] what it
//! tells, [`report`] the table.

mod client;
mod place;
mod report;
mod server;
mod subject;
mod told;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::machine;
use crate::{debian, process, workspace};
use place::{CgroupTree, Layout, Place};
use report::{Arm, Quantity, Report};
use server::Server;

pub(crate) use subject::{TreeOptions, mirror, tree};

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many directories the large one holds.
    #[arg(long, default_value_t = 10_000)]
    directories: usize,
    /// How often every server is started and measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long each call is measured at a time, in milliseconds; three times a round.
    #[arg(long, default_value_t = 100)]
    milliseconds: u64,
    /// How many changes and removals are raised in a row.
    #[arg(long, default_value_t = 1_000)]
    events: usize,
    /// Threads that answer requests, of kernfs-fuse and of libfuse; what kernfs-fuse takes by
    /// itself, if it is not given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Events that come one by one, and the pause before each, long enough for all to fall asleep.
const SINGLE: usize = 200;
const PAUSE: Duration = Duration::from_millis(1);
/// Measurements of each call in a round.
const TURNS: usize = 3;

/// The example, as Debian's libfuse3-dev has it.
const HELLO_LL: &str = "/usr/share/doc/libfuse3-dev/examples/hello_ll.c";

pub(crate) fn task(options: &Options) -> Result<()> {
    debian::provide(&[debian::CC, debian::PKG_CONFIG, debian::LIBFUSE])?;
    machine::allow_open_files(options.events as u64 + 100)?;
    let threads =
        options.threads.unwrap_or_else(|| kernfs_fuse::Options::default().event_loops).to_string();
    let bench = Bench {
        options,
        hello: compile(Path::new(HELLO_LL))?,
        libfuse: compile(&workspace::root().join("xtask/bench/libfuse.c"))?,
        own: std::env::current_exe()?,
        threads,
    };
    let mut report = Report::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        bench.round(&mut report)?;
    }
    println!("{} threads answer requests, but for {}.\n", bench.threads, Arm::HelloLl.name());
    report.print(options.directories);
    Ok(())
}

struct Bench<'o> {
    options: &'o Options,
    hello: PathBuf,
    libfuse: PathBuf,
    own: PathBuf,
    threads: String,
}

impl Bench<'_> {
    fn round(&self, report: &mut Report) -> Result<()> {
        let Options { directories, events, .. } = *self.options;
        let layout = Layout { directories, changing: 2 * (events + SINGLE) };
        let cgroups = CgroupTree::plant(layout)?;
        let mut places = vec![Place::of_cgroups(&cgroups)];
        for arm in [Arm::HelloLl, Arm::Libfuse, Arm::KernfsFuse] {
            places.push(self.serve(arm, layout, &cgroups)?);
        }
        for place in &mut places {
            self.told(place, 0, &cgroups, report).with_context(|| place.arm.name())?;
        }
        for place in &places {
            client::lookups(place, report).with_context(|| place.arm.name())?;
        }
        // It takes part in whatever happens to the cgroups from now on.
        places.push(self.serve(Arm::Mirror, layout, &cgroups)?);
        self.memory(&places, &cgroups, report)?;
        client::lookups(places.last().context("no mirror")?, report).context("mirror")?;
        let time = Duration::from_millis(self.options.milliseconds);
        for _ in 0..TURNS {
            for place in &places {
                client::calls(place, time, report).with_context(|| place.arm.name())?;
            }
        }
        let mut mirror = places.pop().context("no mirror")?;
        self.told(&mut mirror, events + SINGLE, &cgroups, report).context("mirror")?;
        for place in places.into_iter().chain([mirror]) {
            place.end()?;
        }
        Ok(())
    }

    /// A place that a server shows.
    fn serve(&self, arm: Arm, layout: Layout, cgroups: &CgroupTree) -> Result<Place> {
        let Layout { directories, changing } = layout;
        let mut command;
        match arm {
            Arm::HelloLl => {
                command = Command::new(&self.hello);
                // As many as it takes by itself, without its warning that nobody said so.
                command.args(["-f", "-omax_idle_threads=10"]);
            }
            Arm::Libfuse => {
                command = Command::new(&self.libfuse);
                command.arg(directories.to_string()).arg(&self.threads);
            }
            Arm::KernfsFuse => {
                command = Command::new(&self.own);
                command.args(["bench", "mount-tree", &directories.to_string()]);
                command.args([&changing.to_string(), &self.threads]);
            }
            Arm::Cgroupfs | Arm::Mirror => {
                command = Command::new(&self.own);
                command.args(["bench", "mount-mirror"]).arg(cgroups.top());
            }
        }
        let start = match arm {
            Arm::HelloLl | Arm::Libfuse => Server::start_silent,
            _ => Server::start,
        };
        let server = start(&mut command).with_context(|| arm.name())?;
        Ok(Place::of_server(arm, server, layout))
    }

    /// What the mirror holds for each cgroup: beside what it holds for one.
    fn memory(&self, places: &[Place], cgroups: &CgroupTree, report: &mut Report) -> Result<()> {
        let mut command = Command::new(&self.own);
        command.args(["bench", "mount-mirror"]).arg(cgroups.top().join("many/0"));
        let of_one = Server::start(&mut command).context("a mirror of one cgroup")?;
        let least = of_one.private_bytes()?;
        of_one.end()?;
        let whole = places.iter().find(|place| place.arm == Arm::Mirror);
        let bytes = whole.and_then(Place::server).context("no mirror")?.private_bytes()?;
        report.add(Quantity::Memory, Arm::Mirror, (bytes - least) / cgroups.count() as f64);
        Ok(())
    }

    /// Changes and removals, of directories from a first one on.
    fn told(
        &self,
        place: &mut Place,
        first: usize,
        cgroups: &CgroupTree,
        report: &mut Report,
    ) -> Result<()> {
        if !place.arm.tells() {
            return Ok(());
        }
        let many = first..first + self.options.events;
        let single = many.end..many.end + SINGLE;
        for (range, pause) in [(many, Duration::ZERO), (single, PAUSE)] {
            told::changes(place, range.clone(), pause, cgroups, report)?;
            told::removals(place, range, pause, cgroups, report)?;
        }
        Ok(())
    }
}

/// A server in C, compiled with libfuse.
fn compile(source: &Path) -> Result<PathBuf> {
    let flags = process::read(Command::new("pkg-config").args(["--cflags", "--libs", "fuse3"]))?;
    machine::compile_file(source, flags.split_whitespace())
}
