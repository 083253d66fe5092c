//! The results of the matrix, side by side.

use std::fmt::Write as _;

use super::Run;
use super::protocol::Verdict;

/// The table scenario × kernel, and under it what needs words.
pub(super) fn render(runs: &[Run]) -> String {
    let mut scenarios: Vec<&str> = Vec::new();
    for outcome in runs.iter().flat_map(|run| &run.report.outcomes) {
        if !scenarios.contains(&outcome.scenario.as_str()) {
            scenarios.push(&outcome.scenario);
        }
    }
    let width = scenarios.iter().map(|name| name.len()).max().unwrap_or(0).max("scenario".len());
    let mut text = String::new();
    let mut notes = String::new();
    // Writing into a String does not fail.
    let _ = write!(text, "{:width$}", "scenario");
    for run in runs {
        let _ = write!(text, "  {:>7}", run.series.to_string());
    }
    text.push('\n');
    for scenario in scenarios {
        let _ = write!(text, "{scenario:width$}");
        for run in runs {
            let found = run.report.outcomes.iter().find(|outcome| outcome.scenario == scenario);
            let (word, reason) = match found.map(|outcome| &outcome.verdict) {
                Some(Verdict::Pass) => ("pass", None),
                Some(Verdict::Fail(reason)) => ("FAIL", Some(reason)),
                Some(Verdict::Skip(reason)) => ("skip", Some(reason)),
                None => ("MISSING", None),
            };
            let _ = write!(text, "  {word:>7}");
            if let Some(reason) = reason {
                let _ = writeln!(notes, "{} {scenario}: {word}: {reason}", run.series);
            }
        }
        text.push('\n');
    }
    for run in runs {
        let release = run.report.release.as_deref().unwrap_or("no kernel");
        let took = run.report.took.as_secs();
        let _ = write!(notes, "{}: {release}, {took} s", run.series);
        if let Some(flaw) = &run.report.flaw {
            let _ = write!(notes, ": FAILED: {flaw}");
        }
        notes.push('\n');
        for crash in &run.report.crashes {
            let _ = writeln!(notes, "{}: the kernel crashed: {crash}", run.series);
        }
    }
    text + &notes
}
