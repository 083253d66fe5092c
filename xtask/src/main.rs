//! The tasks of the project: `cargo xtask …`. One module a task.

mod bench;
mod debian;
mod kernels;
mod mutate;
mod process;
mod simulate;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that must hold before a change lands.
    Test(test::Options),
    /// Run the scenarios on real Debian kernels, each in a guest of its own.
    Kernels(kernels::Options),
    /// Run the monitor in simulated worlds and hold it against its contract.
    Simulate(simulate::Options),
    /// Break the monitor on purpose, one way after the other, and see the simulation find it.
    Mutate(mutate::Options),
    /// Run cgwatch on this machine's own hierarchy for a while, under random load and every fault.
    Soak(soak::Options),
    /// What things cost, each beside what it is held against.
    #[command(subcommand)]
    Bench(bench::Benchmark),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test(options) => test::task(&options),
        Task::Kernels(options) => kernels::task(&options),
        Task::Simulate(options) => simulate::task(&options),
        Task::Mutate(options) => mutate::task(&options),
        Task::Soak(options) => soak::task(&options),
        Task::Bench(benchmark) => bench::task(&benchmark),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
