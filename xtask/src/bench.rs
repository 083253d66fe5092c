//! `cargo xtask bench`: what things cost, each measured beside what it is held against. Nothing
//! here fails because something was slow.

mod fairness;
mod field;
mod machine;
mod monitor;
mod mount;
mod notify;
mod sim;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::process;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Benchmark {
    /// How late a victim's births and deaths are told while another owner rages.
    Fairness(fairness::Options),
    /// cgwatch and every rival before the same script, in one run.
    Field(field::Options),
    /// The monitor, beside a C loop that follows the same protocol on the same stream.
    Monitor(monitor::Options),
    /// What `monitor` measures: watches until its standard input ends.
    #[command(hide = true)]
    MonitorSubject {
        /// The cgroup to watch, in the file system.
        root: std::path::PathBuf,
        /// By the mark on the superblock.
        #[arg(long)]
        fanotify: bool,
    },
    /// A mount, beside libfuse's low-level example and the real cgroupfs.
    Mount(mount::Options),
    /// What `mount` measures: serves a tree until its standard input ends.
    #[command(hide = true)]
    MountTree(mount::TreeOptions),
    /// The same for a mirror.
    #[command(hide = true)]
    MountMirror {
        /// The cgroup to mirror, in the file system.
        root: std::path::PathBuf,
        /// Where.
        mount_point: std::path::PathBuf,
    },
    /// The notification system in a process, beside the kernel's inotify and a channel.
    Notify(notify::Options),
    /// What `notify` counts the instructions of.
    #[command(hide = true)]
    NotifySubject {
        /// The hot path.
        path: notify::Path,
        /// How often.
        turns: usize,
    },
    /// The embedded hierarchy: steps of simulated runs, very many simulated cgroups under the monitor.
    Sim(sim::Options),
}

pub(crate) fn task(benchmark: &Benchmark) -> Result<ExitCode> {
    // What these measure are other programs.
    let others = matches!(benchmark, Benchmark::Fairness(_) | Benchmark::Field(_));
    if cfg!(debug_assertions) && !others {
        return optimized();
    }
    match benchmark {
        Benchmark::Fairness(options) => fairness::task(options)?,
        Benchmark::Field(options) => field::task(options)?,
        Benchmark::Monitor(options) => monitor::task(options)?,
        Benchmark::MonitorSubject { root, fanotify } => monitor::subject(root, *fanotify)?,
        Benchmark::Mount(options) => mount::task(options)?,
        Benchmark::MountTree(options) => mount::tree(options)?,
        Benchmark::MountMirror { root, mount_point } => mount::mirror(root, mount_point)?,
        Benchmark::Notify(options) => notify::task(options)?,
        Benchmark::NotifySubject { path, turns } => notify::subject(*path, *turns)?,
        Benchmark::Sim(options) => sim::task(options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The same task, compiled as it is meant to run.
fn optimized() -> Result<ExitCode> {
    let mut command: Command = process::cargo();
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--"]);
    let status = command.args(std::env::args_os().skip(1)).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
