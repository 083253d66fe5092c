//! `cargo xtask test`: everything that must hold before a change lands, in order, to the end.
//!
//! Under `CI=true` what was skipped has failed; otherwise it is only told.

mod steps;

use std::collections::BTreeSet;
use std::fmt;
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
    let counts = Counts::of(&done);
    if strict && counts.skipped > 0 {
        println!("what was skipped counts as failed, since CI=true");
    }
    println!("{counts}");
    Ok(if counts.are_good(strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
            Self::Models => steps::models(),
            Self::Simulation => steps::simulation(),
            Self::DocTests => steps::doc_tests(),
            Self::Docs => steps::docs(),
            Self::Cgroups => steps::cgroups(known),
            Self::Soak => steps::soak(),
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

/// How many steps ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn of(done: &[Done]) -> Self {
        let mut counts = Self::default();
        for one in done {
            *match one.ending {
                Ok(Ending::Passed(_)) => &mut counts.passed,
                Ok(Ending::Skipped(_)) => &mut counts.skipped,
                Err(_) => &mut counts.failed,
            } += 1;
        }
        counts
    }

    fn are_good(&self, strict: bool) -> bool {
        self.failed == 0 && !(strict && self.skipped > 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn counts(endings: impl IntoIterator<Item = Result<Ending>>) -> Counts {
        let done = endings.into_iter().map(|ending| Done {
            step: Step::Format,
            took: Duration::ZERO,
            ending,
        });
        Counts::of(&done.collect::<Vec<_>>())
    }

    fn passed() -> Result<Ending> {
        Ok(Ending::Passed(None))
    }

    fn skipped() -> Result<Ending> {
        Ok(Ending::Skipped("no such program".into()))
    }

    #[test]
    fn a_failure_is_one_everywhere() {
        let counts = counts([passed(), Err(anyhow!("broken")), passed()]);
        assert!(!counts.are_good(false) && !counts.are_good(true));
        assert_eq!(counts.to_string(), "2 passed, 1 failed");
    }

    #[test]
    fn a_skip_is_a_failure_only_where_all_must_run() {
        let counts = counts([passed(), skipped()]);
        assert!(counts.are_good(false) && !counts.are_good(true));
        assert_eq!(counts.to_string(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn all_passed_is_good() {
        assert!(counts([passed(), passed()]).are_good(true));
    }
}
