//! `cargo xtask simulate`: the monitor in simulated worlds, each decided by a seed, held against its
//! contract (crate `simulation`).

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use simulation::{PROFILES, Tally, campaign, profile_name, profile_named, trace};

use crate::process;

/// What is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many seeds for each profile.
    #[arg(long, default_value_t = SEEDS)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Whose rules of notification the world follows; without it, all three after each other.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(PROFILES.map(|(name, _)| name)))]
    profile: Option<String>,
    /// Run this seed only, and write down all that happens and all that is told.
    #[arg(long, requires = "profile")]
    trace: Option<u64>,
    /// On how many threads; without it, on one for each processor.
    #[arg(long)]
    threads: Option<usize>,
}

/// How many seeds the test command runs for each profile.
pub(crate) const SEEDS: u64 = 2000;

/// Set for the build that is optimized and has its checks on (Cargo profile `simulation`).
const OPTIMIZED: &str = "XTASK_OPTIMIZED";

pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    if std::env::var_os(OPTIMIZED).is_none() {
        let mut command = process::cargo();
        command.args(["run", "--quiet", "--profile", "simulation", "--package", "xtask", "--"]);
        let status = command.args(std::env::args_os().skip(1)).env(OPTIMIZED, "1").status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let profiles = match &options.profile {
        Some(name) => vec![profile_named(name).context("no such profile")?],
        None => PROFILES.map(|(_, profile)| profile).to_vec(),
    };
    if let (Some(seed), [profile]) = (options.trace, profiles.as_slice()) {
        print!("{}", trace(*profile, seed));
        return Ok(ExitCode::SUCCESS);
    }
    let threads =
        options.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let threads = threads.unwrap_or(1);
    for profile in profiles {
        let began = Instant::now();
        let bar = ProgressBar::new(options.seeds).with_style(style()?);
        bar.set_message(profile_name(profile));
        bar.enable_steady_tick(Duration::from_millis(200));
        let seeds = options.from..options.from.saturating_add(options.seeds);
        let (tally, failure) = campaign(profile, seeds, threads, &|_| bar.inc(1));
        bar.finish_and_clear();
        if let Some(failure) = failure {
            let (name, seed) = (profile_name(profile), failure.seed);
            bail!("{failure}\nsee it again: cargo xtask simulate --profile {name} --trace {seed}");
        }
        println!("{}", line(profile_name(profile), &tally, began.elapsed(), threads));
    }
    Ok(ExitCode::SUCCESS)
}

fn style() -> Result<ProgressStyle> {
    Ok(ProgressStyle::with_template("{msg:9} {wide_bar} {pos}/{len} seeds, {eta} left")?)
}

fn line(profile: &str, tally: &Tally, took: Duration, threads: usize) -> String {
    let minutes = took.as_secs_f64() / 60.0;
    let rate = tally.steps as f64 / minutes / 1e6;
    format!(
        "{profile}: {tally}; {:.1} s on {threads} threads, {rate:.1} million steps a minute",
        took.as_secs_f64()
    )
}
