//! Who is to run: cgwatch itself, the small rivals of `rivals/`, and peers from packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Error, Result, anyhow};
use field::{Dialect, Entry, Rival, Stage};

use crate::debian::{self, Tool};
use crate::{process, workspace};

const GO: &str = "/usr/lib/go-1.19/bin/go";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// One who is to run.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// Or why it cannot be run.
    pub(super) rival: Result<Rival, Error>,
}

/// Where it is, its arguments, and how it speaks.
type Program = (PathBuf, Vec<String>, Dialect);

impl Contender {
    pub(super) fn play(&self, stage: &Stage) -> Entry {
        let reason = |error| (self.name.to_owned(), format!("{error:#}"));
        Entry::new(stage, self.rival.as_ref().map_err(reason).as_ref().copied())
    }
}

struct Kind {
    name: &'static str,
    what: &'static str,
    event_driven: bool,
    provide: fn() -> Result<Program>,
}

/// In the order of the tables.
const KINDS: [Kind; 12] = [
    Kind {
        name: "cgwatch",
        what: "`cgwatch watch --json`, by inotify",
        event_driven: true,
        provide: || cgwatch("inotify"),
    },
    Kind {
        name: "cgwatch, fanotify",
        what: "`cgwatch watch --json --strategy fanotify`",
        event_driven: true,
        provide: || cgwatch("fanotify"),
    },
    Kind {
        name: "parent IN_DELETE",
        what: "an inotify watch on each event file, a second on each directory",
        event_driven: true,
        provide: || own("parent-delete", &[]),
    },
    Kind {
        name: "pidfd",
        what: "an inotify watch on each event file, a pidfd of a process in each cgroup",
        event_driven: true,
        provide: || own("pidfd", &[]),
    },
    Kind {
        name: "poll",
        what: "`POLLPRI` on an open event file per cgroup",
        event_driven: true,
        provide: || own("poll-events", &[]),
    },
    Kind {
        name: "scan 100 ms",
        what: "an inotify watch on each event file, procfs scanned every 100 ms",
        event_driven: false,
        provide: || own("scan", &["100"]),
    },
    Kind {
        name: "scan 1 s",
        what: "the same every second",
        event_driven: false,
        provide: || own("scan", &["1000"]),
    },
    Kind {
        name: "inotifywait",
        what: "`inotifywait -m -r` of Debian's inotify-tools",
        event_driven: true,
        provide: inotifywait,
    },
    Kind {
        name: "inotify_simple",
        what: "Python, PyPI's inotify_simple 2.0.1",
        event_driven: true,
        provide: inotify_simple,
    },
    Kind {
        name: "notify",
        what: "the Rust crate notify 8.2.2, its recommended watcher",
        event_driven: true,
        provide: || own("notify-crate", &[]),
    },
    Kind {
        name: "EventChan",
        what: "Go, Debian's containerd/cgroups 1.0.4",
        event_driven: true,
        provide: event_chan,
    },
    Kind {
        name: "cgroups-rs",
        what: "the Rust crate cgroups-rs 0.5.1, `notify_on_oom_v2`",
        event_driven: true,
        provide: || own("cgroups-rs", &[]),
    },
];

/// All of them, or those whose name contains one of the words.
pub(super) fn all(words: &[String]) -> Vec<Contender> {
    let wanted =
        |kind: &&Kind| words.is_empty() || words.iter().any(|word| kind.name.contains(word));
    KINDS
        .iter()
        .filter(wanted)
        .map(|&Kind { name, provide, .. }| {
            let rival = provide().map(|(program, arguments, dialect)| Rival {
                name: name.to_owned(),
                program,
                arguments,
                dialect,
            });
            Contender { name, rival }
        })
        .collect()
}

/// Name, what it is in a few words, and whether it waits for the kernel instead of looking every so
/// often.
pub(super) fn described() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    KINDS.iter().map(|kind| (kind.name, kind.what, kind.event_driven))
}

fn cgwatch(strategy: &str) -> Result<Program> {
    let program = built(workspace::root(), &["--package", "cgwatch-cli"], "cgwatch")?;
    let words = ["watch", "--json", "--quiet", "--strategy", strategy, "{root}"];
    Ok((program, owned(&words), Dialect::Cgwatch))
}

/// One of the workspace `rivals`.
fn own(name: &str, first: &[&str]) -> Result<Program> {
    let program = built(&rivals(), &["--bins"], name)?;
    let words: Vec<_> = first.iter().copied().chain(["{root}", "{file}"]).collect();
    Ok((program, owned(&words), Dialect::Lines))
}

/// A program of ours. Static, so that it also runs in a guest.
fn built(folder: &Path, what: &[&str], name: &str) -> Result<PathBuf> {
    let target = workspace::target().join("rivals");
    process::run(
        process::cargo()
            .args(["build", "--release", "--locked", "--quiet", "--target", TARGET])
            .args(what)
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .current_dir(folder),
    )?;
    Ok(target.join(TARGET).join("release").join(name))
}

fn inotifywait() -> Result<Program> {
    debian::provide(&[debian::INOTIFYWAIT])?;
    let program = process::find("inotifywait").ok_or_else(|| anyhow!("no inotifywait"))?;
    let events = ["-e", "modify", "-e", "create", "-e", "delete"];
    let words = ["-m", "-r", "--format", "%e|%w|%f"].into_iter().chain(events).chain(["{root}"]);
    Ok((program, owned(&words.collect::<Vec<_>>()), Dialect::Inotifywait))
}

fn inotify_simple() -> Result<Program> {
    let folder = workspace::target().join("bench/inotify_simple");
    let python = folder.join("bin/python");
    if !folder.join("installed").exists() {
        debian::provide(&[Tool::new("python3", "python3-venv")])?;
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let install = ["-m", "pip", "install", "--quiet", "inotify_simple==2.0.1"];
        process::run(Command::new(&python).args(install))?;
        std::fs::write(folder.join("installed"), "")?;
    }
    let script = rivals().join("python/inotify-simple.py").display().to_string();
    Ok((python, owned(&[&script, "{root}", "{file}"]), Dialect::Lines))
}

fn event_chan() -> Result<Program> {
    const SOURCE: &str = "/usr/share/gocode/src/github.com/containerd/cgroups/v2/manager.go";
    debian::provide(&[
        Tool::new(GO, "golang-1.19-go"),
        Tool::new(SOURCE, "golang-github-containerd-cgroups-dev"),
    ])?;
    let program = workspace::target().join("bench/event-chan");
    process::run(
        Command::new(GO)
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(rivals().join("go/eventchan"))
            // Static, and with what Debian has installed.
            .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
            .env("GOCACHE", workspace::target().join("bench/go-cache")),
    )?;
    Ok((program, owned(&["{root}"]), Dialect::Lines))
}

fn rivals() -> PathBuf {
    Path::new(workspace::root()).join("rivals")
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
