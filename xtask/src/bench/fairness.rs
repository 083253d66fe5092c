//! `cargo xtask bench fairness`: how late a victim's births and deaths are told while the owner of
//! another subtree does all he can, beside the same without him.
//!
//! The victim and the hostile owner are siblings below one cgroup of the benchmark's own. What is told is
//! read from the command as it is released. Figures of one run are to be compared with each other only:
//! the storm, the kernel's workers and the reader share the machine with the monitor.

mod storm;
mod victim;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use self::storm::Storm;
use self::victim::{Course, Told};
use super::machine;
use crate::{process, workspace};

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these storms; without it, all of them, and none first.
    #[arg(long, value_enum, value_delimiter = ',')]
    storm: Vec<Storm>,
    /// How many children the hostile owner has, where the storm is of them.
    #[arg(long, default_value_t = 20_000)]
    children: usize,
    /// How long each storm lasts, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measure this program in place of the one that is built here, such as one of another commit.
    #[arg(long)]
    command: Option<PathBuf>,
}

pub(super) fn task(options: &Options) -> Result<()> {
    let command = match &options.command {
        Some(command) => command.clone(),
        None => build()?,
    };
    let mount = machine::cgroups()?;
    let storms: Vec<Storm> = match options.storm.as_slice() {
        [] => Storm::value_variants().to_vec(),
        chosen => chosen.to_vec(),
    };
    println!(
        "| storm | strategy | victim's events | p50 | p99 | max | never told | gaps | lines | MB told | CPU |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for storm in storms {
        for strategy in ["inotify", "fanotify"] {
            let course = Course {
                command: &command,
                mount: &mount,
                strategy,
                storm,
                children: options.children,
                lasts: Duration::from_secs(options.seconds),
            };
            println!("{}", row(storm, strategy, &course.run()?));
        }
    }
    Ok(())
}

/// The command as it is released.
fn build() -> Result<PathBuf> {
    process::run(process::cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--bin=cgwatch",
    ]))?;
    let command = workspace::target().join("release/cgwatch");
    command.is_file().then_some(command).context("the build left no command")
}

fn row(storm: Storm, strategy: &str, told: &Told) -> String {
    let late = |share: f64| match told.late(share) {
        Some(late) => format!("{:.1} ms", late.as_secs_f64() * 1e3),
        None => "—".into(),
    };
    format!(
        "| {} | `{strategy}` | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} s |",
        storm.name(),
        told.events(),
        late(0.5),
        late(0.99),
        late(1.0),
        told.never,
        told.gaps,
        told.lines,
        told.bytes as f64 / 1e6,
        told.cpu.as_secs_f64(),
    )
}
