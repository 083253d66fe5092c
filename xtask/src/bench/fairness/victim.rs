//! The victim: cgroups that are born and removed at a steady pace, and when that was told.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::storm::Storm;
use crate::bench::machine;

/// Between a birth and its death, and to the next.
const PACE: Duration = Duration::from_millis(50);
/// What has not been told so long after the storm never is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the victim's cgroups, in their paths.
const NAME: &str = "/victim/v";

/// One course: a victim beside a storm.
pub(super) struct Course<'a> {
    pub(super) command: &'a Path,
    pub(super) mount: &'a Path,
    pub(super) strategy: &'static str,
    pub(super) storm: Storm,
    pub(super) children: usize,
    pub(super) lasts: Duration,
}

/// What was told of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How late the victim's events were told, in order.
    late: Vec<Duration>,
    pub(super) never: usize,
    pub(super) gaps: usize,
    pub(super) lines: usize,
    pub(super) bytes: usize,
    pub(super) cpu: Duration,
}

impl Told {
    pub(super) fn events(&self) -> usize {
        self.late.len() + self.never
    }

    /// How late this share of those that were told was, at most.
    pub(super) fn late(&self, share: f64) -> Option<Duration> {
        let at = (self.late.len() as f64 * share).ceil() as usize;
        self.late.get(at.clamp(1, self.late.len().max(1)) - 1).copied()
    }
}

/// A line of the stream, and when it came.
struct Line {
    text: String,
    at: Instant,
}

impl Course<'_> {
    pub(super) fn run(&self) -> Result<Told> {
        let place = Place::make(self.mount)?;
        self.storm.prepare(&place.hostile, self.children)?;
        let mut watch = self.watch(&place)?;
        let (sender, lines) = channel();
        let output = watch.stdout.take().context("no pipe")?;
        let reader = std::thread::spawn(move || read(output, &sender));
        let mut told = Told::default();
        let mut seen = HashMap::new();
        await_ready(&lines, &mut told)?;
        let before = machine::processor_time(watch.id())?;
        let end = Instant::now() + self.lasts;
        let (storm, hostile, children) = (self.storm, place.hostile.clone(), self.children);
        let hostile = std::thread::spawn(move || storm.rage(&hostile, children, end));
        let done = live(&place.victim, end)?;
        hostile.join().ok().context("the storm panicked")??;
        told.cpu = machine::processor_time(watch.id())?.saturating_sub(before);
        let patience = Instant::now() + PATIENCE;
        while done.keys().any(|what| !seen.contains_key(what)) {
            let left = patience.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else { break };
            told.note(&line, &mut seen);
        }
        kill_process(Pid::from_child(&watch), Signal::TERM)?;
        watch.wait()?;
        drop(lines);
        reader.join().ok().context("the reader panicked")?;
        for (what, when) in &done {
            match seen.get(what) {
                Some(at) => told.late.push(at.saturating_duration_since(*when)),
                None => told.never += 1,
            }
        }
        told.late.sort_unstable();
        Ok(told)
    }

    fn watch(&self, place: &Place) -> Result<Child> {
        // A mark on the superblock hears of the whole hierarchy; a watch of it all is its best case.
        let root = if self.strategy == "fanotify" { self.mount } else { &place.top };
        let mut command = Command::new(self.command);
        command.args(["watch", "--json", "--quiet", "--strategy", self.strategy]).arg(root);
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?)
    }
}

impl Told {
    fn note(&mut self, line: &Line, seen: &mut HashMap<(String, bool), Instant>) {
        self.lines += 1;
        self.bytes += line.text.len() + 1;
        self.gaps += usize::from(line.text.contains(r#""event":"gap""#));
        let birth = line.text.contains(r#""event":"appeared""#);
        if let Some((_, rest)) = line.text.split_once(NAME)
            && (birth || line.text.contains(r#""event":"removed""#))
        {
            let number = rest.split('"').next().unwrap_or_default();
            seen.entry((number.to_owned(), birth)).or_insert(line.at);
        }
    }
}

/// Sends every line, until nobody wants them.
fn read(output: ChildStdout, sender: &Sender<Line>) {
    for line in BufReader::new(output).lines() {
        let Ok(text) = line else { return };
        if sender.send(Line { text, at: Instant::now() }).is_err() {
            return;
        }
    }
}

fn await_ready(lines: &Receiver<Line>, told: &mut Told) -> Result<()> {
    loop {
        let line = lines.recv_timeout(PATIENCE).context("no baseline")?;
        if line.text.contains(r#""event":"ready""#) {
            *told = Told::default();
            return Ok(());
        }
    }
}

/// Makes and removes cgroups until the end; when each of that was done.
fn live(victim: &Path, end: Instant) -> Result<HashMap<(String, bool), Instant>> {
    let mut done = HashMap::new();
    let mut number = 0;
    while Instant::now() < end {
        let cgroup = victim.join(format!("v{number}"));
        fs::create_dir(&cgroup)?;
        done.insert((number.to_string(), true), Instant::now());
        std::thread::sleep(PACE);
        fs::remove_dir(&cgroup)?;
        done.insert((number.to_string(), false), Instant::now());
        std::thread::sleep(PACE);
        number += 1;
    }
    Ok(done)
}

/// The benchmark's own cgroups. They go when this is dropped.
struct Place {
    top: PathBuf,
    hostile: PathBuf,
    victim: PathBuf,
}

impl Place {
    fn make(mount: &Path) -> Result<Self> {
        let top = mount.join(format!("cgwatch-fairness-{}", std::process::id()));
        let place = Self { hostile: top.join("hostile"), victim: top.join("victim"), top };
        for cgroup in [&place.top, &place.hostile, &place.victim] {
            fs::create_dir(cgroup).with_context(|| format!("mkdir {}", cgroup.display()))?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        machine::remove_cgroups(&self.top);
    }
}
