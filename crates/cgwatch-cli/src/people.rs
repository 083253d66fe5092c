//! The people's format: one aligned line an event, in colour if wanted.
//!
//! What came from outside (names of cgroups, files and keys) goes through [`printable`], so that no
//! name can steer the terminal.

use std::{collections::HashMap, fmt::Write as _};

use anstyle::{AnsiColor, Color, Effects, Style};
use cgwatch::{Event, EventKind, Files, GapReason, Printable, Root, Time, Unseen, Values};
use jiff::{Timestamp, tz::TimeZone};

use crate::arguments;

/// Bytes as they are safe to show.
pub(crate) fn printable(bytes: &[u8]) -> String {
    Printable::new(bytes).to_string()
}

/// Whether to colour what goes to `stream` (<https://no-color.org>).
pub(crate) fn coloured(choice: arguments::Color, stream: &impl std::io::IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        arguments::Color::Always => true,
        arguments::Color::Never => false,
        arguments::Color::Auto => {
            let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
            stream.is_terminal() && !set("NO_COLOR") && !dumb
        }
    }
}

pub(crate) const DIM: Style = Style::new().effects(Effects::DIMMED);
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);
pub(crate) const GREEN: Style = in_colour(AnsiColor::Green);
pub(crate) const YELLOW: Style = in_colour(AnsiColor::Yellow);
pub(crate) const RED: Style = in_colour(AnsiColor::Red);
const MAGENTA: Style = in_colour(AnsiColor::Magenta);
const CYAN: Style = in_colour(AnsiColor::Cyan);

const fn in_colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// Makes lines of events.
#[derive(Debug)]
pub(crate) struct Lines {
    coloured: bool,
    zone: TimeZone,
    /// What stands before a cgroup's path, by the id of its root; empty if there is one root only.
    roots: HashMap<u64, String>,
}

impl Lines {
    /// Times are shown in `zone`. With several roots each path is shown in full.
    pub(crate) fn new(coloured: bool, zone: TimeZone, roots: &[Root]) -> Self {
        let roots = match roots {
            [_] => HashMap::new(),
            several => several
                .iter()
                .map(|root| (root.id, printable(root.path.as_os_str().as_encoded_bytes())))
                .collect(),
        };
        Self { coloured, zone, roots }
    }

    /// The line of an event, with its newline.
    pub(crate) fn line(&self, event: &Event) -> String {
        let mut line = String::with_capacity(128);
        self.styled(&mut line, DIM, &self.clock(event.time));
        line.push_str("  ");
        let name = event.kind.name();
        self.styled(&mut line, style(&event.kind), name);
        pad(&mut line, name, 12);
        let details = details(&event.kind);
        if let Some(cgroup) = event.kind.cgroup() {
            let path = self.path(cgroup);
            self.styled(&mut line, BOLD, &path);
            if !details.is_empty() {
                pad(&mut line, &path, 32);
            }
        }
        line.push_str(&details);
        line.push('\n');
        line
    }

    fn path(&self, cgroup: &cgwatch::Cgroup) -> String {
        match self.roots.get(&cgroup.root_id) {
            None => cgroup.path.to_string(),
            Some(root) if cgroup.path.as_bytes() == b"/" => root.clone(),
            Some(root) => format!("{root}{}", cgroup.path),
        }
    }

    fn clock(&self, time: Time) -> String {
        Timestamp::from_nanosecond(i128::from(time.unix_ns)).map_or_else(
            |_| "??:??:??.???".to_owned(),
            |timestamp| timestamp.to_zoned(self.zone.clone()).strftime("%H:%M:%S.%3f").to_string(),
        )
    }

    fn styled(&self, line: &mut String, style: Style, text: &str) {
        if self.coloured {
            // Writing to a string cannot fail.
            let _ = write!(line, "{style}{text}{style:#}");
        } else {
            line.push_str(text);
        }
    }
}

/// Fills up what was written to `width` columns, and two more as a gap.
fn pad(line: &mut String, written: &str, width: usize) {
    let missing = width.saturating_sub(written.chars().count());
    line.extend(std::iter::repeat_n(' ', missing + 2));
}

fn style(kind: &EventKind) -> Style {
    match kind {
        EventKind::Appeared { .. } => GREEN,
        EventKind::Ready { .. } => CYAN,
        EventKind::Changed { delta, .. } if delta.iter().any(|(key, _)| key.contains("oom")) => {
            RED.effects(Effects::BOLD)
        }
        EventKind::Changed { .. } => YELLOW,
        EventKind::FileRemoved { .. } | EventKind::FileAdded { .. } => CYAN,
        EventKind::Removed { .. } => MAGENTA,
        _ => RED.effects(Effects::BOLD),
    }
}

fn details(kind: &EventKind) -> String {
    match kind {
        EventKind::Appeared { cgroup, existing, files } => {
            let id = cgroup.id.map_or_else(|| "gone already".into(), |id| format!("id {id}"));
            let was = if *existing { " (existed)" } else { "" };
            let parts = std::iter::once(format!("{id}{was}")).chain(standing(files));
            parts.collect::<Vec<_>>().join("  ")
        }
        EventKind::Ready { cgroups, after_gap } => {
            let plural = if *cgroups == 1 { "" } else { "s" };
            let again = if *after_gap { ", complete again after the gap" } else { "" };
            format!("{cgroups} cgroup{plural}{again}")
        }
        EventKind::Changed { file, old, new, delta, own, late, .. } => {
            let mut text = printable(file.as_bytes());
            for (key, now) in new.iter() {
                let _ = write!(text, "  {} ", printable(key.as_bytes()));
                if let Some(before) = old.get(key) {
                    let _ = write!(text, "{before} -> ");
                }
                let _ = write!(text, "{now}");
                if let Some(delta) = delta.get(key) {
                    let _ = write!(text, " ({delta:+}");
                    if let Some(own) = own.as_ref().map(|own| own.get(key).unwrap_or(0)) {
                        let _ = write!(text, ", own {own:+}");
                    }
                    text.push(')');
                }
            }
            if !late.is_empty() {
                let _ = write!(text, "  late from the dead: {}", amounts(late));
            }
            text
        }
        EventKind::FileRemoved { file, unseen, .. } => {
            let parts = std::iter::once(printable(file.as_bytes())).chain(last_word(unseen));
            parts.collect::<Vec<_>>().join("  ")
        }
        EventKind::FileAdded { files, .. } => {
            let file = |(name, values): (&str, &Values<u64>)| {
                let pairs = values.iter().map(|(k, v)| format!(" {} {v}", printable(k.as_bytes())));
                printable(name.as_bytes()) + &pairs.collect::<String>()
            };
            files.iter().map(file).collect::<Vec<_>>().join("  ")
        }
        EventKind::Removed { lived_ns, unseen, .. } => {
            let lived = lived_ns.map(|ns| format!("lived {}", span(ns)));
            lived.into_iter().chain(last_word(unseen)).collect::<Vec<_>>().join("  ")
        }
        EventKind::Gap { reason, cancelled_pairs, cancelled } => {
            let mut text = gap(reason);
            if *cancelled_pairs > 0 {
                let _ = write!(text, "; {cancelled_pairs} were born and died untold");
                for (name, values) in cancelled.iter().filter(|(_, values)| !values.is_empty()) {
                    let _ = write!(text, ", {} {}", printable(name.as_bytes()), amounts(values));
                }
            }
            text
        }
        other => other.name().to_owned(),
    }
}

/// What stands in the files of a cgroup that appears: its states, and counters that are not zero.
fn standing(files: &Files<u64>) -> impl Iterator<Item = String> {
    files.iter().filter_map(|(name, values)| {
        let worth = values.iter().filter(|(_, value)| *value != 0);
        let pairs: String =
            worth.map(|(k, v)| format!(" {} {v}", printable(k.as_bytes()))).collect();
        (!pairs.is_empty()).then(|| printable(name.as_bytes()) + &pairs)
    })
}

/// What was recovered after a death, if anything, or that it cannot be known.
fn last_word(unseen: &Unseen) -> Option<String> {
    let mut parts = Vec::new();
    for (name, values) in &unseen.files {
        if let Some(values) = values {
            parts.push(format!("{} {}", printable(name.as_bytes()), amounts(values)));
        }
    }
    let mut text = String::new();
    if !parts.is_empty() {
        let _ = write!(text, "unseen until now: {}", parts.join(", "));
        if !unseen.shared_with.is_empty() {
            let _ = write!(text, " (shared with {} others)", unseen.shared_with.len());
        }
    }
    if let Some(n) = unseen.unseen_in {
        let _ = write!(text, "what was unseen is told with the removal of n {n}");
    }
    if let Some(count) = unseen.host_oom_kill_at_most.filter(|count| *count > 0) {
        let _ = write!(text, "at most {count} OOM kills of the host are untold");
    }
    (!text.is_empty()).then_some(text)
}

fn amounts(values: &Values<u64>) -> String {
    let each = values.iter().map(|(key, value)| format!("{} +{value}", printable(key.as_bytes())));
    each.collect::<Vec<_>>().join(" ")
}

fn gap(reason: &GapReason) -> String {
    match reason {
        GapReason::QueueOverflow => {
            "the kernel's queue overflowed (fs.inotify.max_queued_events); everything is compared \
             anew"
                .to_owned()
        }
        GapReason::Reader => "the output was blocked for too long".to_owned(),
        GapReason::WatchLimit { limit, value } => {
            let value = value.map_or_else(String::new, |value| format!(" = {value}"));
            format!("no more watches ({limit}{value}); the rest is swept: raise the limit")
        }
        GapReason::MountChanged => "a mount option changed what the counters mean".to_owned(),
        GapReason::DescriptorLimit { limit, value } => {
            let value = value.map_or_else(String::new, |value| format!(" = {value}"));
            let remedy = match limit.as_str() {
                "RLIMIT_NOFILE" => "raise it with `ulimit -n`",
                _ => "raise it with sysctl(8)",
            };
            format!(
                "no more files can be opened ({limit}{value}), so some cgroups could not be \
                 looked at and are swept: {remedy}"
            )
        }
        GapReason::Inaccessible { errno, .. } => {
            let why = match reason.name() {
                "permission" => ": run as root, or as a user who may read it",
                "covered" => ": something is mounted over it, or over a child of it",
                _ => "",
            };
            format!("it cannot be looked at in full, and is swept: {errno}{why}")
        }
        other => other.name().to_owned(),
    }
}

/// A length of time in a fitting unit.
fn span(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match nanoseconds {
        0..1_000_000 => format!("{:.0} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        1_000_000_000..60_000_000_000 => format!("{seconds:.3} s"),
        _ => {
            let whole = nanoseconds / 1_000_000_000;
            let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 {
                format!("{hours} h {minutes} min")
            } else {
                format!("{minutes} min {rest} s")
            }
        }
    }
}

#[cfg(test)]
#[path = "people/tests.rs"]
mod tests;
