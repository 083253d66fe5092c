//! `cargo xtask soak`: cgwatch on this machine's own hierarchy under random load and every fault, its
//! books balanced every minute (`scenarios::Soak`).

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{process, workspace};

/// How long, and by which choices.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many minutes.
    #[arg(long, default_value_t = 1)]
    pub(crate) minutes: u64,
    /// What decides every choice; without it, any.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    let build =
        ["--locked", "--profile=simulation", "--package=scenarios", "--package=cgwatch-cli"];
    run(options, &build, "simulation")?;
    Ok(ExitCode::SUCCESS)
}

/// Builds it, and runs what is then in this folder of the target directory; gives its lines.
pub(crate) fn run(options: &Options, build: &[&str], folder: &str) -> Result<Vec<String>> {
    let mut cargo = process::cargo();
    process::run(cargo.args(["build", "--bin=soak", "--bin=cgwatch"]).args(build))?;
    // Short enough to be typed again.
    let seed = options.seed.unwrap_or_else(|| fastrand::u32(..).into());
    let mut soak = Command::new(workspace::target().join(folder).join("soak"));
    process::run_and_read(soak.arg(options.minutes.to_string()).arg(seed.to_string()))
}
