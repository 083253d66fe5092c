//! `cargo xtask bench field`: cgwatch and every rival before the same script, in one run.
//!
//! The scripts, their driver and the score are the crate `field`. [`contenders`] builds or installs
//! who is to run, [`mod@guest`] has the script with memory limits played in a guest, [`table`] and
//! [`plot`] show what came of it. Whoever cannot be run is told with the reason.

mod contenders;
mod guest;
mod plot;
mod table;

use std::path::PathBuf;
use std::{fs, io};

use anyhow::{Context as _, Result};
use field::{Entry, Script, Stage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::machine::{cgroups, compile, compile_file};
use crate::workspace;
use contenders::Contender;

/// How the files begin that keep what was found in guests.
const GUEST: &str = "guest-";

/// Before whom, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only one of the two, and show what the last run of the other found.
    #[arg(long)]
    part: Option<Part>,
    /// How many cgroups are watched, one run of everything for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000])]
    cgroups: Vec<usize>,
    /// How many of them change, are newborn, and are removed one by one, at most.
    #[arg(long, default_value_t = 500)]
    few: usize,
    /// How many cgroups are watched in the guest, where memory runs out.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 200])]
    guest: Vec<usize>,
    /// How many of them, and as many newborn ones, have a process killed for memory.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// The kernels of the guests: one from before removals were announced, and one after.
    #[arg(long, value_delimiter = ',', default_values = ["6.12", "7.3"])]
    series: Vec<String>,
    /// Only those whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write the results to `docs/` as well.
    #[arg(long)]
    keep: bool,
}

/// What can be run apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// On this machine.
    Native,
    /// Memory limits, in a guest.
    Guest,
    /// Nothing: show what was found before.
    None,
}

/// What was found out on this machine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Native {
    date: String,
    machine: String,
    /// What the host does alone, for each number of cgroups.
    alone: Vec<(usize, field::Host)>,
    entries: Vec<Entry>,
}

/// What was found out in a guest.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Guest {
    date: String,
    /// Of its kernel.
    release: String,
    entries: Vec<Entry>,
}

/// All that was found out.
#[derive(Debug)]
struct Results {
    native: Native,
    guests: Vec<Guest>,
}

pub(crate) fn task(options: &Options) -> Result<()> {
    let contenders = contenders::all(&options.only);
    let wanted = |part| options.part.is_none_or(|only| only == part);
    fs::create_dir_all(scratch())?;
    if wanted(Part::Native) {
        keep("native.json", &native(options, &contenders)?)?;
    }
    if wanted(Part::Guest) {
        for series in &options.series {
            eprintln!("in a guest with Linux {series}");
            let found = guest::run(series, &options.guest, options.kills, &contenders)?;
            for entry in &found.entries {
                eprintln!("  {}: {}", entry.cgroups, table::line(entry));
            }
            keep(&of_guest(series), &found)?;
        }
    }
    let results = Results { native: kept("native.json")?, guests: kept_of_guests()? };
    let picture = plot::draw(&results.native)?;
    let text = table::render(&results, picture.is_some())?;
    println!("{text}");
    let docs = options.keep.then(|| workspace::root().join("docs"));
    for folder in std::iter::once(scratch()).chain(docs) {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("field.md"), &text)?;
        if let Some(picture) = &picture {
            fs::write(folder.join("field.svg"), picture)?;
        }
        println!("written to {}", folder.display());
    }
    Ok(())
}

fn native(options: &Options, contenders: &[Contender]) -> Result<Native> {
    let mut found = Native { date: today(), machine: machine()?, ..Native::default() };
    for &number in &options.cgroups {
        let stage = Stage {
            script: Script::Native,
            mount: cgroups()?,
            residents: residents()?,
            fork: compile("fork")?,
            cgroups: number,
            few: options.few,
        };
        eprintln!("{number} cgroups");
        found.alone.push((number, stage.alone()?));
        for contender in contenders {
            let entry = contender.play(&stage);
            eprintln!("  {}", table::line(&entry));
            found.entries.push(entry);
        }
    }
    Ok(found)
}

fn of_guest(series: &str) -> String {
    format!("{GUEST}{series}.json")
}

/// What was found in guests, now or earlier.
fn kept_of_guests() -> Result<Vec<Guest>> {
    let entries = fs::read_dir(scratch())?.map(|entry| Ok(entry?.file_name().into_string()));
    let names = entries.collect::<io::Result<Vec<_>>>()?.into_iter().flatten();
    let mut names: Vec<String> = names.filter(|name| name.starts_with(GUEST)).collect();
    names.sort_unstable();
    names.iter().map(|name| kept(name)).collect()
}

fn keep(name: &str, found: &impl Serialize) -> Result<()> {
    Ok(fs::write(scratch().join(name), serde_json::to_string(found)?)?)
}

/// What an earlier run found; nothing if there was none.
fn kept<T: Default + DeserializeOwned>(name: &str) -> Result<T> {
    match fs::read_to_string(scratch().join(name)) {
        Ok(text) => serde_json::from_str(&text).with_context(|| name.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error.into()),
    }
}

/// `residents`, static: it runs in guests, too.
fn residents() -> Result<PathBuf> {
    let source = workspace::root().join("xtask/bench/residents.c");
    compile_file(&source, ["-static", "-Wall", "-Wextra", "-Werror"])
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}

/// Where results are kept for the next run.
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
