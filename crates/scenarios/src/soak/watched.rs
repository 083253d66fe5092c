//! The watchers of a soak, and what each must have told and may hold when all is at rest.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use cgwatch::{Event, EventKind, GapReason, Options, Strategy};
use contract::{Truth, attributable, balance, blame, every_birth, hold_against};

use super::{interrupt::Interrupt, told::Told};
use crate::{
    Cgroup, Circumstances, Environment, Failure, Outside, Requirement, Tree, ensure,
    failure::Failure::Broken,
    holding::{anonymous, descriptors},
    huge_pages::{FILE, KEY},
};

/// Watches of the one that has too few.
const FEW: u64 = 40;
/// How often that one sweeps.
const SWEEP_MS: u64 = 500;
/// So much anonymous memory may come to the first minute's: what allocators keep of the largest
/// storm so far. A byte a life would be more.
const GROWTH: u64 = 16 << 20;

/// A watcher, in a process of its own.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    pub(crate) outside: Outside,
    strategy: Strategy,
    /// All its watches are granted.
    unlimited: bool,
    /// What the tree had counted when the minute began.
    counted: u64,
    /// What it had told then.
    told: Told,
    /// What it has told since.
    minute: Vec<Event>,
    /// Its descriptors when it was ready.
    descriptors: usize,
    /// Its anonymous memory after the first minute.
    memory: Option<u64>,
}

/// What a cgroup's event files really hold.
type Reality = BTreeMap<u64, BTreeMap<&'static str, Vec<(String, u64)>>>;

/// Every kind of watcher that this machine allows; tells which it does not.
pub(crate) fn start(environment: &Environment, tree: &Tree) -> Result<Vec<Watched>, Failure> {
    let mut all = Vec::new();
    for (strategy, needed) in
        [(Strategy::Inotify, None), (Strategy::Fanotify, Some(Requirement::SuperblockMark))]
    {
        match needed.filter(|needed| !environment.meets(*needed)) {
            None => {
                let path = tree.path().as_os_str();
                let options = ["--strategy", strategy.name(), "--files", FILE];
                let arguments = options.map(AsRef::as_ref).into_iter().chain([path]);
                let outside = Outside::command(environment, arguments)?;
                all.push(Watched::new(strategy.name(), outside, strategy, true)?);
            }
            Some(unmet) => println!("without {}: {unmet}", strategy.name()),
        }
    }
    if environment.meets(Requirement::UserNamespace) {
        let circumstances = Circumstances {
            limit: Some(("max_inotify_watches", FEW)),
            sweep_ms: SWEEP_MS,
            file: Some(FILE),
            ..Circumstances::default()
        };
        let outside = Outside::library(environment, tree.path(), circumstances)?;
        all.push(Watched::new("few watches", outside, Strategy::Inotify, false)?);
    } else {
        println!("without a limit on watches: {}", Requirement::UserNamespace);
    }
    Ok(all)
}

impl Watched {
    fn new(
        name: &'static str,
        outside: Outside,
        strategy: Strategy,
        unlimited: bool,
    ) -> Result<Self, Failure> {
        let descriptors = descriptors(&outside.pid())?.open;
        let (told, minute) = (Told::default(), Vec::new());
        Ok(Self {
            name,
            outside,
            strategy,
            unlimited,
            counted: 0,
            told,
            minute,
            descriptors,
            memory: None,
        })
    }

    /// What it told of those that live, and in this minute.
    #[must_use]
    pub(crate) fn stream(&self) -> Vec<Event> {
        let mut minute = self.minute.clone();
        minute.extend(self.outside.recording.so_far());
        self.told.before(&minute)
    }

    /// Waits until it has told that one was born.
    pub(crate) fn has_told_birth(&self, cgroup: &Cgroup) -> Result<(), Failure> {
        self.named(self.outside.recording.until_appeared(cgroup))
    }

    /// Waits until it has told that one is gone.
    pub(crate) fn has_told_death(&self, cgroup: &Cgroup) -> Result<(), Failure> {
        self.named(self.outside.recording.until_removed(cgroup))
    }

    fn named<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| Broken(format!("{}: {failure}", self.name)))
    }

    /// Nothing happens any more: all it told must be right, and be so in the end. What may still
    /// come are counters, which the kernel delays. `counted` is the tree's counter now. Gives what is to
    /// be told of the minute.
    pub(crate) fn judge(
        &mut self,
        tree: &Tree,
        counted: u64,
        interrupt: &Interrupt,
    ) -> Result<String, Failure> {
        let recording = &self.outside.recording;
        let grown = counted.wrapping_sub(self.counted);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            interrupt.heed()?;
            let looked = Instant::now();
            self.minute.extend(recording.drain());
            match self.is_at_rest(tree, grown) {
                Ok(()) => break,
                // Another look after whatever comes, and a last one when the time is up.
                Err(_) if looked < deadline => {
                    let soon = Instant::now() + Duration::from_millis(200);
                    let _ = recording.until_more(soon);
                }
                Err(failure) => return self.named(Err(failure)),
            }
        }
        self.named(self.is_right(tree))?;
        let memory = anonymous(&self.outside.pid())?;
        let first = *self.memory.get_or_insert(memory);
        ensure!(
            memory <= first + GROWTH,
            "{}: {memory} bytes of anonymous memory, {first} after the first minute",
            self.name
        );
        let line = self.line(memory)?;
        self.told.take(&self.minute);
        self.minute.clear();
        self.counted = counted;
        Ok(line)
    }

    /// What comes only in time: all that was counted is told, and nothing more is held than is needed.
    fn is_at_rest(&self, tree: &Tree, grown: u64) -> Result<(), Failure> {
        let reality = reality(tree, &tree.truth())?;
        self.knows(&reality)?;
        self.holds(&reality)?;
        Ok(balance(&self.minute, FILE, KEY, grown)?)
    }

    fn is_right(&self, tree: &Tree) -> Result<(), Failure> {
        let truth = tree.truth();
        let events = self.told.before(&self.minute);
        hold_against(&events, &truth)?;
        if self.unlimited && !self.minute.iter().any(|event| gap(event).is_some()) {
            every_birth(&events, &truth)?;
        }
        // While controllers are switched, cgroups may own part of what is shared that nobody can name.
        Ok(blame(&attributable(&events), &truth, FILE, KEY)?)
    }

    /// It has told every file's values as they are.
    fn knows(&self, reality: &Reality) -> Result<(), Failure> {
        let mut told = self.told.clone();
        told.take(&self.minute);
        ensure!(told.living() == reality.len(), "{} of {} live", told.living(), reality.len());
        for (id, files) in reality {
            for file in files_read() {
                let (real, known) = (files.get(file), told.values(*id, file));
                ensure!(
                    real.is_some() == known.is_some(),
                    "{file} of id {id}: {real:?}, but {known:?} was told"
                );
                for (key, value) in real.into_iter().flatten() {
                    let known = known.and_then(|known| known.get(key));
                    ensure!(
                        known == Some(*value),
                        "{file} {key} of id {id} is {value}, but {known:?} was told last"
                    );
                }
            }
        }
        Ok(())
    }

    /// It holds the watches it needs, and the descriptors it began with.
    fn holds(&self, reality: &Reality) -> Result<(), Failure> {
        let held = descriptors(&self.outside.pid())?;
        ensure!(
            held.open == self.descriptors,
            "{} descriptors, {} at the start",
            held.open,
            self.descriptors
        );
        let files: usize = reality.values().map(BTreeMap::len).sum();
        let needed = match self.strategy {
            Strategy::Fanotify => files,
            // One for each directory, and one above the root.
            _ => files + reality.len() + 1,
        };
        if self.unlimited {
            ensure!(held.watches == needed, "{} watches, {needed} are needed", held.watches);
        } else {
            let most = needed.min(usize::try_from(FEW).unwrap_or(usize::MAX));
            ensure!(held.watches <= most, "{} watches of {most}", held.watches);
        }
        Ok(())
    }

    fn line(&self, memory: u64) -> Result<String, Failure> {
        let gaps = self.minute.iter().filter_map(gap);
        let held = descriptors(&self.outside.pid())?;
        let overflows = gaps.clone().filter(|reason| **reason == GapReason::QueueOverflow);
        Ok(format!(
            "{}: {} events, {} gaps, {} of overflow, {} KiB, {} watches, {} descriptors",
            self.name,
            self.minute.len(),
            gaps.count(),
            overflows.count(),
            memory >> 10,
            held.watches,
            held.open,
        ))
    }
}

fn gap(event: &Event) -> Option<&GapReason> {
    match &event.kind {
        EventKind::Gap { reason, .. } => Some(reason),
        _ => None,
    }
}

fn files_read() -> impl Iterator<Item = &'static str> {
    Options::DEFAULT_FILES.into_iter().chain([FILE])
}

fn reality(tree: &Tree, truth: &Truth) -> Result<Reality, Failure> {
    let living = truth.lives.iter().filter(|(_, life)| !life.ended);
    let files = living.map(|(id, life)| {
        let name = String::from_utf8_lossy(&life.path).into_owned();
        let directory = tree.path().join(name.trim_start_matches('/'));
        let mut files = BTreeMap::new();
        for file in files_read() {
            let path = directory.join(file);
            match fs::read_to_string(&path) {
                Ok(text) => {
                    let pair = |line: &str| {
                        let (key, value) = line.split_once(' ')?;
                        Some((key.to_owned(), value.parse().ok()?))
                    };
                    files.insert(file, text.lines().filter_map(pair).collect());
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::driver("read", path)(error)),
            }
        }
        Ok((*id, files))
    });
    files.collect()
}
