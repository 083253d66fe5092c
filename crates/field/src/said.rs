//! What a rival said, in one of the languages that are spoken.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a rival speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// `ready`, `born PATH`, `changed PATH …`, `removed PATH`, `oom PATH NUMBER`. Births do not count.
    Lines,
    /// `cgwatch watch --json`.
    Cgwatch,
    /// `inotifywait -m -r --format '%e|%w|%f'`.
    Inotifywait,
}

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// From now on it tells everything.
    Ready,
    /// The event file of this cgroup has changed.
    Changed(String),
    /// This cgroup was removed.
    Removed(String),
    /// So many kills were counted in this cgroup, told by a change or with its removal.
    Killed(String, u64),
}

/// When it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Nanoseconds of the monotonic clock.
    pub at: u64,
    /// What was said.
    pub said: Said,
}

impl Dialect {
    /// What a line says: nothing of interest, one thing, or several.
    ///
    /// Paths are told from `root`, the watched directory; only changes of the event file `file`
    /// count.
    #[must_use]
    pub fn parse(self, line: &str, root: &str, file: &str) -> Vec<Said> {
        match self {
            Self::Lines => lines(line).into_iter().collect(),
            Self::Cgwatch => {
                serde_json::from_str(line).map_or_else(|_| Vec::new(), |value| json(&value, file))
            }
            Self::Inotifywait => inotifywait(line, root, file).into_iter().collect(),
        }
    }
}

fn lines(line: &str) -> Option<Said> {
    let mut words = line.split(' ');
    Some(match (words.next()?, words.next()) {
        ("ready", None) => Said::Ready,
        ("changed", Some(path)) => Said::Changed(path.to_owned()),
        ("removed", Some(path)) => Said::Removed(path.to_owned()),
        ("oom", Some(path)) => Said::Killed(path.to_owned(), words.next()?.parse().ok()?),
        _ => return None,
    })
}

fn json(line: &Value, file: &str) -> Vec<Said> {
    let path = || line["cgroup"].as_str().unwrap_or_default().to_owned();
    let kills = |counted: &Value| {
        let number = counted["oom_kill"].as_u64().filter(|number| *number > 0);
        number.map(|number| Said::Killed(path(), number))
    };
    match line["event"].as_str() {
        Some("ready") => vec![Said::Ready],
        Some("changed") if line["file"] == file => {
            let change = Said::Changed(path());
            std::iter::once(change).chain(kills(&line["delta"])).collect()
        }
        Some("removed") => {
            let last = kills(&line["unseen"]["memory.events"]);
            last.into_iter().chain([Said::Removed(path())]).collect()
        }
        _ => Vec::new(),
    }
}

/// Its `%w` ends with a slash.
fn inotifywait(line: &str, root: &str, file: &str) -> Option<Said> {
    if line == "Watches established." {
        return Some(Said::Ready);
    }
    let mut words = line.splitn(3, '|');
    let (events, directory, name) = (words.next()?, words.next()?, words.next()?);
    let directory = directory.strip_prefix(root)?.trim_end_matches('/');
    match events {
        "MODIFY" if name == file => Some(Said::Changed(directory.to_owned())),
        "DELETE,ISDIR" => Some(Said::Removed(format!("{directory}/{name}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "cgroup.events";

    fn parse(dialect: Dialect, line: &str) -> Vec<Said> {
        dialect.parse(line, "/sys/fs/cgroup/top", FILE)
    }

    #[test]
    fn plain_lines() {
        let parse = |line| parse(Dialect::Lines, line);
        assert_eq!(parse("ready"), [Said::Ready]);
        assert_eq!(parse("changed /a/b populated 0 frozen 0"), [Said::Changed("/a/b".into())]);
        assert_eq!(parse("removed /a/b"), [Said::Removed("/a/b".into())]);
        assert_eq!(parse("oom /a/b 2"), [Said::Killed("/a/b".into(), 2)]);
        for line in ["", "removed", "oom /a", "oom /a x", "ready /a", "something else"] {
            assert_eq!(parse(line), [], "{line}");
        }
    }

    #[test]
    fn json_of_cgwatch() {
        let parse = |line: &str| parse(Dialect::Cgwatch, line);
        assert_eq!(parse(r#"{"event":"ready","cgroups":1}"#), [Said::Ready]);
        let change =
            r#"{"event":"changed","cgroup":"/a","file":"cgroup.events","new":{"populated":0}}"#;
        assert_eq!(parse(change), [Said::Changed("/a".into())]);
        assert_eq!(parse(r#"{"event":"changed","cgroup":"/a","file":"pids.events"}"#), []);
        let removed =
            r#"{"event":"removed","cgroup":"/a","unseen":{"memory.events":{"oom_kill":1}}}"#;
        assert_eq!(parse(removed), [Said::Killed("/a".into(), 1), Said::Removed("/a".into())]);
        for unseen in ["null", "{}"] {
            let removed = format!(r#"{{"event":"removed","cgroup":"/a","unseen":{unseen}}}"#);
            assert_eq!(parse(&removed), [Said::Removed("/a".into())]);
        }
        for line in ["", "{", r#"{"event":"appeared","cgroup":"/a"}"#, "3"] {
            assert_eq!(parse(line), [], "{line}");
        }
    }

    #[test]
    fn kills_in_a_change_are_told() {
        let line =
            r#"{"event":"changed","cgroup":"/a","file":"memory.events","delta":{"oom_kill":2}}"#;
        let said = Dialect::Cgwatch.parse(line, "/top", "memory.events");
        assert_eq!(said, [Said::Changed("/a".into()), Said::Killed("/a".into(), 2)]);
        let none = line.replace(":2}", ":0}");
        let said = Dialect::Cgwatch.parse(&none, "/top", "memory.events");
        assert_eq!(said, [Said::Changed("/a".into())]);
    }

    #[test]
    fn inotifywait() {
        let parse = |line| parse(Dialect::Inotifywait, line);
        assert_eq!(parse("Watches established."), [Said::Ready]);
        assert_eq!(
            parse("MODIFY|/sys/fs/cgroup/top/a/|cgroup.events"),
            [Said::Changed("/a".into())]
        );
        assert_eq!(parse("DELETE,ISDIR|/sys/fs/cgroup/top/a/|b"), [Said::Removed("/a/b".into())]);
        assert_eq!(parse("DELETE,ISDIR|/sys/fs/cgroup/top/|b"), [Said::Removed("/b".into())]);
        for line in ["MODIFY|/sys/fs/cgroup/top/a/|cgroup.procs", "DELETE|/elsewhere/|b", "x"] {
            assert_eq!(parse(line), [], "{line}");
        }
    }
}
