//! `cargo xtask test`: everything that must hold before a change lands, in order, to the end.
//!
//! Under `CI=true` what could not be run has failed; otherwise it is only told.

mod recap;
mod steps;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::process;
use recap::{Counts, Done, Ending};

/// Which steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these steps.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Step>,
    /// Not these steps.
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Step>,
    /// Not the long steps: soak, mutations, fuzz, kernels.
    #[arg(long)]
    quick: bool,
    /// All of what takes turns otherwise: every mutation.
    #[arg(long, conflicts_with = "quick")]
    all: bool,
}

/// One step, in the order in which they run: the quickest to tell of a mistake first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting of the source.
    Format,
    /// Every lint, on every target.
    Clippy,
    /// Unit and integration tests.
    Tests,
    /// Every schedule of the models of what runs at once.
    Models,
    /// The monitor in simulated worlds.
    Simulation,
    /// The examples in the documentation.
    DocTests,
    /// The documentation itself.
    Docs,
    /// The scenarios on this machine's own cgroup v2 hierarchy.
    Cgroups,
    /// One minute of the soak on this machine's own hierarchy.
    Soak,
    /// The monitor broken on purpose, today's part of the ways.
    Mutations,
    /// Every fuzz target, briefly.
    Fuzz,
    /// The scenarios on Debian's kernels.
    Kernels,
}

/// What later steps want to know of earlier ones.
#[derive(Default)]
struct Known {
    /// The simulation found nothing.
    simulation_passed: bool,
    /// The scenarios that passed on this machine's own hierarchy, if they were run.
    passed_here: Option<BTreeSet<String>>,
}

/// Runs the steps; fails when one of them did.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    process::end_in_order()?;
    let start = Instant::now();
    let mut known = Known::default();
    let mut done = Vec::new();
    let wanted = |step: &Step| options.only.is_empty() || options.only.contains(step);
    for &step in Step::value_variants().iter().filter(|step| wanted(step)) {
        let one = step.done(options, &mut known);
        if !process::is_interrupted() {
            println!("{one}");
        }
        done.push(one);
    }
    println!("\n== all steps, {:.0} s", start.elapsed().as_secs_f64());
    for one in &done {
        println!("{one}");
    }
    let counts = Counts::of(&done);
    if strict && counts.skipped > 0 {
        println!("what was skipped counts as failed, since CI=true");
    }
    println!("{counts}");
    Ok(match counts.are_good(strict) {
        true => ExitCode::SUCCESS,
        false if counts.interrupted > 0 => process::INTERRUPTED.into(),
        false => ExitCode::FAILURE,
    })
}

impl Options {
    /// The option that leaves this step out.
    fn leaves_out(&self, step: Step) -> Option<&'static str> {
        match step {
            _ if self.skip.contains(&step) => Some("--skip"),
            Step::Soak | Step::Mutations | Step::Fuzz | Step::Kernels if self.quick => {
                Some("--quick")
            }
            _ => None,
        }
    }
}

impl Step {
    fn name(self) -> String {
        // None of them is hidden, so each has one.
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Runs it, if it is to be run.
    fn done(self, options: &Options, known: &mut Known) -> Done {
        let start = Instant::now();
        let over = |ending| Done { step: self, took: Duration::ZERO, ending };
        if process::is_interrupted() {
            return over(Ok(Ending::NotBegun));
        }
        println!("== {}", self.name());
        if let Some(option) = options.leaves_out(self) {
            return over(Ok(Ending::LeftOut(option)));
        }
        let ending = match self.run(options, known) {
            // Whatever the program that was interrupted made of it.
            _ if process::is_interrupted() => Ok(Ending::Interrupted),
            ending => ending,
        };
        Done { took: start.elapsed(), ..over(ending) }
    }

    fn run(self, options: &Options, known: &mut Known) -> Result<Ending> {
        match self {
            Self::Format => steps::format(),
            Self::Clippy => steps::clippy(),
            Self::Tests => steps::tests(),
            Self::Models => steps::models(),
            Self::Simulation => steps::simulation(known),
            Self::DocTests => steps::doc_tests(),
            Self::Docs => steps::docs(),
            Self::Cgroups => steps::cgroups(known),
            Self::Soak => steps::soak(),
            Self::Mutations => steps::mutations(options.all, known),
            Self::Fuzz => steps::fuzz(),
            Self::Kernels => steps::kernels(known),
        }
    }
}
