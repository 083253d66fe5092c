//! What a guest says about its scenarios, line by line (the other end is `guest-init`).

use std::time::{Duration, Instant};

use super::crash::Crash;

/// How one scenario ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail(String),
    Skip(String),
}

/// The result of one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

/// All that a guest said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The kernel's release.
    pub(crate) release: Option<String>,
    pub(crate) outcomes: Vec<Outcome>,
    /// From power on to power off.
    pub(crate) took: Duration,
    /// What is wrong with the report itself.
    pub(crate) flaw: Option<String>,
    /// Lines of a program that was run in it.
    pub(crate) said: Vec<String>,
    /// How its kernel broke before this run, and in it.
    pub(crate) crashes: Vec<Crash>,
    begun: Option<(String, Instant)>,
    ended: bool,
}

impl Report {
    /// Takes in one line; gives the result it told, if it did.
    pub(crate) fn hear(&mut self, line: &str) -> Option<&Outcome> {
        let mut words = line.trim_end().splitn(4, ' ');
        match [words.next(), words.next(), words.next(), words.next()] {
            [Some("CGWATCH-KERNEL"), Some(release), ..] => self.release = Some(release.to_owned()),
            [Some("CGWATCH-BEGIN"), Some(scenario), ..] => {
                self.begun = Some((scenario.to_owned(), Instant::now()));
            }
            [Some("CGWATCH-SCENARIO"), Some(scenario), Some(word), reason] => {
                return self.conclude(scenario, word, reason.unwrap_or_default());
            }
            [Some("CGWATCH-END"), Some(count), ..] => {
                self.ended = true;
                if count.parse() != Ok(self.outcomes.len()) {
                    self.flaw = Some(format!(
                        "the guest ran {count} scenarios, {} results came",
                        self.outcomes.len()
                    ));
                }
            }
            [Some(word), ..] if word.starts_with("CGWATCH-") => {
                self.flaw = Some(format!("not understood: {line}"));
            }
            _ => self.said.push(line.trim_end().to_owned()),
        }
        None
    }

    fn conclude(&mut self, scenario: &str, word: &str, reason: &str) -> Option<&Outcome> {
        let verdict = match word {
            "pass" => Verdict::Pass,
            "fail" => Verdict::Fail(reason.to_owned()),
            "skip" => Verdict::Skip(reason.to_owned()),
            _ => Verdict::Fail(format!("not understood: {word} {reason}")),
        };
        let Some((_, start)) = self.begun.take_if(|(begun, _)| begun == scenario) else {
            self.flaw = Some(format!("a result of {scenario}, which had not begun"));
            return None;
        };
        let scenario = scenario.to_owned();
        self.outcomes.push(Outcome { scenario, verdict, took: start.elapsed() });
        self.outcomes.last()
    }

    /// To be called when nothing more comes, with the reason if that is known.
    ///
    /// The guest's own first result, `boot`, is no scenario: with nothing after it, nothing was
    /// shown.
    pub(crate) fn close(&mut self, reason: Option<String>) {
        if let Some((scenario, start)) = self.begun.take() {
            let verdict = Verdict::Fail("the guest ended before it did".to_owned());
            self.outcomes.push(Outcome { scenario, verdict, took: start.elapsed() });
        }
        if reason.is_some() {
            self.flaw = reason;
        } else if !self.ended && self.flaw.is_none() {
            self.flaw = Some("the guest stopped before its end".to_owned());
        } else if self.outcomes.len() <= 1 && self.flaw.is_none() {
            self.flaw = Some("no scenario ran".to_owned());
        }
    }

    /// A kernel panic on the console says more than a report that just stops.
    pub(crate) fn explain(&mut self, console: &str) {
        self.crashes.extend(Crash::on(console));
        if let Some(panic) = console.lines().find(|line| line.contains("Kernel panic")) {
            self.flaw = Some(panic.trim().to_owned());
        }
    }

    /// True when every scenario passed or was skipped, and all of them are told.
    pub(crate) fn is_good(&self) -> bool {
        self.flaw.is_none()
            && !self.outcomes.iter().any(|outcome| matches!(outcome.verdict, Verdict::Fail(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "CGWATCH-BEGIN boot\nCGWATCH-SCENARIO boot pass\n";

    fn report(lines: &str) -> Report {
        let mut report = Report::default();
        for line in lines.lines() {
            report.hear(line);
        }
        report.close(None);
        report
    }

    #[test]
    fn a_whole_report_is_good() {
        let report = report(
            "CGWATCH-KERNEL 7.1.13\r\nCGWATCH-BEGIN a\r\nCGWATCH-SCENARIO a pass \r\n\
             CGWATCH-BEGIN b\r\nCGWATCH-SCENARIO b skip no such thing\r\nCGWATCH-END 2\r\n",
        );
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.release.as_deref(), Some("7.1.13"));
        assert_eq!(report.outcomes[0].verdict, Verdict::Pass);
        assert_eq!(report.outcomes[1].verdict, Verdict::Skip("no such thing".into()));
    }

    #[test]
    fn a_failure_keeps_its_reason() {
        let report = report(&format!(
            "{BOOT}CGWATCH-BEGIN a\nCGWATCH-SCENARIO a fail 3 is not 4\nCGWATCH-END 2"
        ));
        assert!(!report.is_good());
        assert_eq!(report.flaw, None);
        assert_eq!(report.outcomes[1].verdict, Verdict::Fail("3 is not 4".into()));
    }

    #[test]
    fn a_guest_that_stops_has_failed_with_the_scenario_it_was_in() {
        let report = report(
            "CGWATCH-BEGIN a\nCGWATCH-SCENARIO a pass\nCGWATCH-BEGIN b\nKernel panic - not syncing",
        );
        assert!(!report.is_good());
        assert!(report.flaw.is_some());
        assert!(matches!(report.outcomes[1].verdict, Verdict::Fail(_)));
    }

    #[test]
    fn a_missing_result_or_a_strange_one_is_a_flaw() {
        let whole = "CGWATCH-BEGIN a\nCGWATCH-SCENARIO a pass\nCGWATCH-END 2";
        assert!(report(&format!("{BOOT}{whole}")).is_good());
        for lines in [
            "",
            "CGWATCH-END 1",
            "CGWATCH-BEGIN a\nCGWATCH-SCENARIO a pass\nCGWATCH-END 3",
            "CGWATCH-SCENARIO a pass\nCGWATCH-END 2",
            "CGWATCH-BEGIN a\nCGWATCH-SCENARIO a passed\nCGWATCH-END 2",
            "CGWATCH-BEGIN a\nCGWATCH-NEWS\nCGWATCH-SCENARIO a pass\nCGWATCH-END 2",
        ] {
            assert!(!report(&format!("{BOOT}{lines}")).is_good(), "{lines:?}");
        }
    }

    #[test]
    fn a_panic_explains_a_guest_that_stopped() {
        let mut report = report(BOOT);
        report.explain("[ 1.0] fine\r\n[ 2.0] Kernel panic - not syncing: x\r\n[ 2.1] more");
        assert_eq!(report.flaw.as_deref(), Some("[ 2.0] Kernel panic - not syncing: x"));
    }
}
