//! `cargo xtask kernels`: every scenario on real Debian kernels, one guest at a time.
//!
//! [`archive`] finds and downloads the kernels, [`guest`] builds what runs inside, [`boot`] runs
//! it under QEMU, [`protocol`] understands what it says, [`crash`] how its kernel broke, [`table`]
//! shows it side by side.

mod archive;
mod boot;
mod crash;
mod guest;
mod protocol;
mod series;
mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Error, Result, bail, ensure};

use crate::debian::{self, Tool};
use crate::process;
use archive::{Archive, Offer};
use boot::Machine;
use protocol::{Report, Verdict};
use series::Series;

pub(crate) use guest::{Packed, compile, with_libraries};

/// What the matrix needs installed.
pub(crate) const TOOLS: [Tool; 7] = [
    debian::QEMU,
    debian::CPIO,
    debian::GZIP,
    debian::READELF,
    debian::SETPRIV,
    debian::MKSWAP,
    debian::SWAPON,
];

/// What scenarios get.
const MEMORY_MIB: u32 = 1024;

/// What to run, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kernel series.
    #[arg(long, value_delimiter = ',', default_values = series::DEFAULT)]
    series: Vec<Series>,
    /// QEMU's accelerator.
    #[arg(long, default_value = "tcg")]
    accel: String,
    /// Only the scenarios whose names match this glob.
    #[arg(long, default_value = "*")]
    scenario: String,
    /// Go on with the next kernel after one has failed.
    #[arg(long)]
    keep_going: bool,
    /// Show the guests' consoles while they run.
    #[arg(long)]
    console: bool,
    /// Minutes after which a guest counts as hung.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

impl Default for Options {
    /// The whole matrix, to its end, as `cargo xtask test` wants it.
    fn default() -> Self {
        let series = series::DEFAULT.iter().filter_map(|name| name.parse().ok()).collect();
        Self {
            series,
            accel: "tcg".into(),
            scenario: "*".into(),
            keep_going: true,
            console: false,
            minutes: 10,
        }
    }
}

/// What became of each series.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    runs: Vec<Run>,
    /// Series that Debian no longer ships.
    pub(crate) unshipped: Vec<Series>,
    /// Series whose kernel could not be had, and why.
    pub(crate) unavailable: Vec<(Series, Error)>,
}

/// One guest.
#[derive(Debug)]
struct Run {
    series: Series,
    report: Report,
}

impl Matrix {
    /// The series whose guests did not do all they had to.
    pub(crate) fn failed(&self) -> Vec<Series> {
        self.runs.iter().filter(|run| !run.report.is_good()).map(|run| run.series).collect()
    }

    /// Whether a guest ran on this side of 7.1, where removals began to be announced.
    pub(crate) fn has_run(&self, announcing: bool) -> bool {
        self.runs.iter().any(|run| run.series.announces_removal() == announcing)
    }

    /// Every scenario, and whether it passed on any kernel.
    pub(crate) fn passed_anywhere(&self) -> BTreeMap<&str, bool> {
        let mut scenarios = BTreeMap::new();
        for outcome in self.runs.iter().flat_map(|run| &run.report.outcomes) {
            *scenarios.entry(outcome.scenario.as_str()).or_default() |=
                outcome.verdict == Verdict::Pass;
        }
        scenarios
    }
}

/// The task on its own: fails when any guest did, or could not be run.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    debian::provide(&TOOLS)?;
    let matrix = run(options)?;
    let good = matrix.failed().is_empty() && matrix.unavailable.is_empty();
    Ok(if good && !matrix.runs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one program in a guest of this series, with these files and so much memory; the kernel's
/// release, and what the program wrote, line by line. [`TOOLS`] must be there.
///
/// # Errors
/// The kernel cannot be had, or the program failed.
pub(crate) fn run_program(
    series: &str,
    program: &str,
    files: &[Packed],
    memory_mib: u32,
    limit: Duration,
) -> Result<(String, Vec<String>)> {
    let programs = guest::build()?;
    let archive = Archive::open()?;
    let series = series.parse::<Series>().map_err(Error::msg)?;
    let Offer::Kernel(package) = archive.newest(series)? else {
        bail!("Debian no longer ships a kernel of {series}");
    };
    let kernel = archive.provide(series, &package)?;
    let machine = Machine {
        initramfs: guest::pack(&kernel, &programs, files)?,
        kernel,
        accelerator: "tcg",
        memory_mib,
        arguments: &format!("--run={program}"),
        limit,
        show_console: false,
    };
    let report = machine.run()?;
    ensure!(report.is_good(), "{program} in a guest with Linux {series}: {report:?}");
    Ok((report.release.unwrap_or_default(), report.said))
}

/// Runs the matrix and prints its table. [`TOOLS`] must be there.
///
/// # Errors
/// Whatever keeps every guest from being run; what kept one from it, or failed inside, is in the
/// matrix.
pub(crate) fn run(options: &Options) -> Result<Matrix> {
    let programs = guest::build()?;
    let archive = Archive::open()?;
    let mut matrix = Matrix::default();
    for &series in &options.series {
        process::go_on()?;
        let kernel = match archive.newest(series) {
            Ok(Offer::Kernel(package)) => archive.provide(series, &package),
            Ok(Offer::NoLongerShipped) => {
                println!("{series}: Debian no longer ships a kernel of this series");
                matrix.unshipped.push(series);
                continue;
            }
            Err(error) => Err(error),
        };
        let kernel = match kernel {
            Ok(kernel) => kernel,
            Err(error) => {
                println!("{series}: no kernel: {error:#}");
                matrix.unavailable.push((series, error));
                continue;
            }
        };
        let machine = Machine {
            initramfs: guest::pack(&kernel, &programs, &[])?,
            kernel,
            accelerator: &options.accel,
            memory_mib: MEMORY_MIB,
            arguments: &format!("--only={}", options.scenario),
            limit: Duration::from_secs(60 * options.minutes),
            show_console: options.console,
        };
        let report = machine.run()?;
        let good = report.is_good();
        matrix.runs.push(Run { series, report });
        if !good && !options.keep_going {
            break;
        }
    }
    print!("{}", table::render(&matrix.runs));
    Ok(matrix)
}
