//! `cargo xtask bench field`: cgwatch and every rival before the same script, in one run.
//!
//! The script, its driver and its score are the crate `field`. [`contenders`] builds or installs
//! who is to run, [`table`] and [`plot`] show what came of it. Whoever cannot be run is told with
//! the reason.

mod contenders;
mod plot;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use field::{Entry, Script, Stage};

use super::machine::{cgroups, compile};
use crate::workspace;
use contenders::Contender;

/// Before whom, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many cgroups are watched, one run of everything for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000])]
    cgroups: Vec<usize>,
    /// How many of them change, are newborn, and are removed one by one, at most.
    #[arg(long, default_value_t = 1_000)]
    few: usize,
    /// Only those whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write the results to `docs/` instead of `target/field/`.
    #[arg(long)]
    keep: bool,
}

/// All that was found out.
#[derive(Debug, Default)]
struct Results {
    /// What the host does alone, for each number of cgroups.
    alone: Vec<(usize, field::Host)>,
    native: Vec<Entry>,
}

pub(crate) fn task(options: &Options) -> Result<()> {
    let contenders = contenders::all(&options.only)?;
    let mut results = Results::default();
    for &number in &options.cgroups {
        let stage = Stage {
            script: Script::Native,
            mount: cgroups()?,
            residents: compile("residents")?,
            fork: compile("fork")?,
            cgroups: number,
            few: options.few,
        };
        eprintln!("{number} cgroups");
        results.alone.push((number, stage.alone()?));
        for contender in &contenders {
            let entry = run(&stage, contender);
            eprintln!("  {}", table::line(&entry));
            results.native.push(entry);
        }
    }
    let folder = if options.keep { workspace::root().join("docs") } else { scratch() };
    fs::create_dir_all(&folder)?;
    let text = table::render(&results, &contenders)?;
    fs::write(folder.join("field.md"), &text)?;
    fs::write(folder.join("field.svg"), plot::draw(&results)?)?;
    println!("{text}");
    println!("written to {}", folder.display());
    Ok(())
}

fn run(stage: &Stage, contender: &Contender) -> Entry {
    let rival = contender.rival.as_ref().map_err(|reason| format!("{reason:#}"));
    let result = rival.and_then(|rival| stage.play(rival).map_err(|error| format!("{error:#}")));
    Entry { script: stage.script, rival: contender.name.to_owned(), cgroups: stage.cgroups, result }
}

/// Where results go that are not to be kept.
fn scratch() -> PathBuf {
    workspace::target().join("field")
}

/// The kernel's release, and how many processors there are.
fn machine() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let series = release.split('.').take(2).collect::<Vec<_>>().join(".");
    let processors = std::thread::available_parallelism().context("processors")?;
    Ok(format!("a virtual machine with {processors} CPUs and Linux {series}"))
}
