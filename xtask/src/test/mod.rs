//! `cargo xtask test`: everything that must hold before a change lands, in order, to the end.
//!
//! Under `CI=true` what was skipped has failed; otherwise it is only told.

mod steps;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

/// Which steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these steps.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Step>,
    /// Not these steps.
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Step>,
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
    /// The examples in the documentation.
    DocTests,
    /// The documentation itself.
    Docs,
    /// The scenarios on this machine's own cgroup v2 hierarchy.
    Cgroups,
    /// Every fuzz target, briefly.
    Fuzz,
    /// The scenarios on Debian's kernels.
    Kernels,
}

/// How a step ended, if it did not fail.
enum Ending {
    /// With what is worth telling, if anything.
    Passed(Option<String>),
    /// Not run, or not all of it, for this reason.
    Skipped(String),
}

/// What later steps want to know of earlier ones.
#[derive(Default)]
struct Known {
    /// The scenarios that passed on this machine's own hierarchy, if they were run.
    passed_here: Option<BTreeSet<String>>,
}

/// A step that is over.
struct Done {
    step: Step,
    took: Duration,
    ending: Result<Ending>,
}

/// Runs the steps; fails when one of them did.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let start = Instant::now();
    let mut known = Known::default();
    let mut done = Vec::new();
    for &step in Step::value_variants() {
        if !options.only.is_empty() && !options.only.contains(&step) {
            continue;
        }
        let start = Instant::now();
        println!("== {}", step.name());
        let ending = if options.skip.contains(&step) {
            Ok(Ending::Skipped("as asked for".into()))
        } else {
            step.run(&mut known)
        };
        let one = Done { step, took: start.elapsed(), ending };
        println!("{}", one.line());
        done.push(one);
    }
    println!("\n== all steps, {:.0} s", start.elapsed().as_secs_f64());
    for one in &done {
        println!("{}", one.line());
    }
    let [passed, failed, skipped] = count(&done);
    let note = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    if strict && skipped > 0 {
        println!("what was skipped counts as failed, since CI=true");
    }
    println!("{passed} passed, {failed} failed{note}");
    let good = failed == 0 && !(strict && skipped > 0);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Step {
    fn name(self) -> String {
        // None of them is hidden, so each has one.
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self, known: &mut Known) -> Result<Ending> {
        match self {
            Self::Format => steps::format(),
            Self::Clippy => steps::clippy(),
            Self::Tests => steps::tests(),
            Self::DocTests => steps::doc_tests(),
            Self::Docs => steps::docs(),
            Self::Cgroups => steps::cgroups(known),
            Self::Fuzz => steps::fuzz(),
            Self::Kernels => steps::kernels(known),
        }
    }
}

impl Done {
    /// Name, time, how it ended and why.
    fn line(&self) -> String {
        let (word, reason) = match &self.ending {
            Ok(Ending::Passed(None)) => ("ok", String::new()),
            Ok(Ending::Passed(Some(note))) => ("ok", format!(": {note}")),
            Ok(Ending::Skipped(reason)) => ("skipped", format!(": {reason}")),
            Err(error) => ("FAILED", format!(": {error:#}")),
        };
        let took = self.took.as_secs_f64();
        format!("{:9} {took:6.1} s  {word}{reason}", self.step.name())
    }
}

/// How many passed, failed, were skipped.
fn count(done: &[Done]) -> [usize; 3] {
    let mut counts = [0; 3];
    for one in done {
        counts[match one.ending {
            Ok(Ending::Passed(_)) => 0,
            Err(_) => 1,
            Ok(Ending::Skipped(_)) => 2,
        }] += 1;
    }
    counts
}
