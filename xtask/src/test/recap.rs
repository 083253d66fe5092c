//! How steps ended, one line each and all together.
//!
//! What could not be run here is **skipped**, which counts as failed where all must run; what nobody
//! wanted run is **left out**, which never does.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::Step;

/// How a step ended, if it did not fail.
pub(super) enum Ending {
    /// With what is worth telling, if anything.
    Passed(Option<String>),
    /// Not run, or not all of it, for this reason.
    Skipped(String),
    /// Not run, because of this option.
    LeftOut(&'static str),
    /// By the user, while it ran.
    Interrupted,
    /// Not begun before the interrupt.
    NotBegun,
}

/// A step that is over.
pub(super) struct Done {
    pub(super) step: Step,
    pub(super) took: Duration,
    pub(super) ending: Result<Ending>,
}

impl fmt::Display for Done {
    /// Name, time, how it ended and why.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.ending {
            Ok(Ending::Passed(None)) => ("ok", String::new()),
            Ok(Ending::Passed(Some(note))) => ("ok", format!(": {note}")),
            Ok(Ending::Skipped(reason)) => ("skipped", format!(": {reason}")),
            Ok(Ending::LeftOut(option)) => ("left out", format!(": {option}")),
            Ok(Ending::Interrupted) => ("interrupted", String::new()),
            Ok(Ending::NotBegun) => ("not begun", String::new()),
            Err(error) => ("FAILED", format!(": {error:#}")),
        };
        let took = self.took.as_secs_f64();
        write!(formatter, "{:10} {took:6.1} s  {word}{reason}", self.step.name())
    }
}

/// How many steps ended how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    passed: usize,
    failed: usize,
    pub(super) skipped: usize,
    left_out: usize,
    /// In the middle or before they began.
    pub(super) interrupted: usize,
}

impl Counts {
    pub(super) fn of(done: &[Done]) -> Self {
        let mut counts = Self::default();
        for one in done {
            *match one.ending {
                Ok(Ending::Passed(_)) => &mut counts.passed,
                Ok(Ending::Skipped(_)) => &mut counts.skipped,
                Ok(Ending::LeftOut(_)) => &mut counts.left_out,
                Ok(Ending::Interrupted | Ending::NotBegun) => &mut counts.interrupted,
                Err(_) => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// Whether what was run is good; where all must run, what was skipped is not.
    pub(super) fn are_good(&self, strict: bool) -> bool {
        self.failed == 0 && self.interrupted == 0 && !(strict && self.skipped > 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        let others = [
            (self.skipped, "skipped"),
            (self.left_out, "left out"),
            (self.interrupted, "interrupted or not begun"),
        ];
        for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
            write!(formatter, ", {count} {word}")?;
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
    fn what_is_left_out_on_purpose_is_no_failure() {
        let counts = counts([passed(), Ok(Ending::LeftOut("--quick"))]);
        assert!(counts.are_good(false) && counts.are_good(true));
        assert_eq!(counts.to_string(), "1 passed, 0 failed, 1 left out");
    }

    #[test]
    fn what_is_interrupted_is_not_good() {
        let counts = counts([passed(), Ok(Ending::Interrupted), Ok(Ending::NotBegun)]);
        assert!(!counts.are_good(false) && !counts.are_good(true));
        assert_eq!(counts.to_string(), "1 passed, 0 failed, 2 interrupted or not begun");
    }

    #[test]
    fn all_passed_is_good() {
        assert!(counts([passed(), passed()]).are_good(true));
    }
}
