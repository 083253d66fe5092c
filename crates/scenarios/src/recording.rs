//! What cgwatch tells while the driver drives: a thread takes every event and keeps it.
//!
//! The events come from a [`Watcher`] in this process or, as JSON lines, from another process. The
//! driver awaits events; it never waits for time to pass.
//!
//! Lock order: the one mutex is a leaf.

use std::{
    env, fmt, fs,
    io::{BufRead, BufReader},
    process::ChildStdout,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cgwatch::{Depth, Event, EventKind, Options, Watcher};

use crate::{Cgroup, Environment, Failure, Tree, json};

/// A running recording.
#[derive(Debug)]
pub(crate) struct Recording {
    shared: Arc<Shared>,
    taker: JoinHandle<Option<Watcher>>,
    patience: Duration,
    of_lines: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// The first line of a stream of JSON lines: how it watches.
    start: String,
    /// Why no more will come.
    over: Option<String>,
    wanted: Wanted,
    paused: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Take,
    Pause,
    Stop,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, event: Event) {
        self.state().events.push(event);
        self.news.notify_all();
    }

    fn over(&self, why: impl fmt::Display) {
        self.state().over = Some(why.to_string());
        self.news.notify_all();
    }

    /// Blocks while the driver wants a pause; false if it wants the end.
    fn may_go_on(&self) -> bool {
        let mut state = self.state();
        while state.wanted == Wanted::Pause {
            state.paused = true;
            self.news.notify_all();
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.paused = false;
        state.wanted != Wanted::Stop
    }
}

impl Recording {
    /// Watches the whole tree and waits until the baseline is told.
    ///
    /// # Errors
    /// What cgwatch refuses, or that no baseline came.
    pub(crate) fn of_tree(
        environment: &Environment,
        tree: &Tree,
        options: Options,
    ) -> Result<Self, Failure> {
        let mut watcher = environment.watcher(options)?;
        watcher.add(tree.path(), Depth::All)?;
        let recording = Self::of(environment, watcher);
        recording.until("ready", |event| matches!(event.kind, EventKind::Ready { .. }))?;
        Ok(recording)
    }

    /// Takes what a watcher tells.
    #[must_use]
    pub(crate) fn of(environment: &Environment, watcher: Watcher) -> Self {
        let shared = Arc::new(Shared::default());
        let taker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || Some(take(&shared, watcher)))
        };
        Self { shared, taker, patience: environment.patience(), of_lines: false }
    }

    /// Takes the JSON lines that a process writes.
    #[must_use]
    pub(crate) fn of_lines(environment: &Environment, output: BufReader<ChildStdout>) -> Self {
        let shared = Arc::new(Shared::default());
        let taker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                take_lines(&shared, output);
                None
            })
        };
        Self { shared, taker, patience: environment.patience(), of_lines: true }
    }

    /// Waits until an event is told, now or already, that the driver knows by `wanted`.
    ///
    /// # Errors
    /// It did not come, and what came instead.
    pub(crate) fn until(
        &self,
        what: impl fmt::Display,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        let mut seen = 0;
        let mut state = self.shared.state();
        loop {
            if state.events[seen..].iter().any(&mut wanted) {
                return Ok(());
            }
            seen = state.events.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.over.is_some() {
                let last = &state.events[seen.saturating_sub(8)..];
                let why = state.over.as_deref().unwrap_or("time is up");
                let told = format!("never told: {what} ({why}); {seen} events, the last {last:#?}");
                return Err(Failure::Broken(told));
            }
            let wait = self.shared.news.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the birth of a cgroup is told.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn until_appeared(&self, cgroup: &Cgroup) -> Result<(), Failure> {
        self.until(format_args!("appeared of {cgroup:?}"), |event| {
            matches!(&event.kind, EventKind::Appeared { cgroup: c, .. } if c.id == Some(cgroup.id))
        })
    }

    /// Waits until the removal of a cgroup is told.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn until_removed(&self, cgroup: &Cgroup) -> Result<(), Failure> {
        self.until(format_args!("removed of {cgroup:?}"), |event| {
            matches!(&event.kind, EventKind::Removed { cgroup: c, .. } if c.id == Some(cgroup.id))
        })
    }

    /// Waits until a cgroup's counter has been told to have this value, or a greater one.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn until_counted(
        &self,
        cgroup: &Cgroup,
        file: &str,
        key: &str,
        value: u64,
    ) -> Result<(), Failure> {
        self.until(format_args!("{file} {key} {value} of {cgroup:?}"), |event| {
            let (told, values) = match &event.kind {
                EventKind::Changed { cgroup, file: changed, new, .. } if &**changed == file => {
                    (cgroup, Some(new))
                }
                EventKind::Appeared { cgroup, files, .. }
                | EventKind::FileAdded { cgroup, files } => (cgroup, files.get(file)),
                _ => return false,
            };
            let now = values.and_then(|values| values.get(key)).unwrap_or(0);
            told.id == Some(cgroup.id) && now >= value
        })
    }

    /// Waits until all that the driver has done before is told: the birth and death of one more
    /// cgroup. Counters of the living may still follow, since the kernel delays those.
    ///
    /// # Errors
    /// It was not told, or the cgroup could not be made.
    pub(crate) fn settle(&self, tree: &Tree) -> Result<(), Failure> {
        let count = tree.truth().lives.len();
        let last = tree.make(format!("settled-{count}"))?;
        self.until_appeared(&last)?;
        tree.remove(&last)?;
        self.until_removed(&last)
    }

    /// Takes nothing more until [`Recording::resume`]; returns once that is so. From a process at
    /// most one more line is taken.
    pub(crate) fn pause(&self) {
        let mut state = self.shared.state();
        state.wanted = Wanted::Pause;
        if self.of_lines {
            return;
        }
        while !state.paused && state.over.is_none() {
            state = self.shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes again.
    pub(crate) fn resume(&self) {
        self.shared.state().wanted = Wanted::Take;
        self.shared.news.notify_all();
    }

    /// What was told up to now.
    #[must_use]
    pub(crate) fn so_far(&self) -> Vec<Event> {
        self.shared.state().events.clone()
    }

    /// Takes out what was told up to now, so that a recording can go on for ever.
    #[must_use]
    pub(crate) fn drain(&self) -> Vec<Event> {
        std::mem::take(&mut self.shared.state().events)
    }

    /// Waits until more is told than was taken out; false if nothing came until then.
    #[must_use]
    pub(crate) fn until_more(&self, deadline: Instant) -> bool {
        let mut state = self.shared.state();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !state.events.is_empty() || left.is_zero() || state.over.is_some() {
                return !state.events.is_empty();
            }
            let wait = self.shared.news.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The first line of a stream of JSON lines: how it watches. Empty without one.
    #[must_use]
    pub(crate) fn start(&self) -> String {
        self.shared.state().start.clone()
    }

    /// Waits until nothing more can come: the stream has ended by itself.
    ///
    /// # Errors
    /// It goes on.
    pub(crate) fn until_over(&self) -> Result<String, Failure> {
        let deadline = Instant::now() + self.patience;
        let mut state = self.shared.state();
        loop {
            if let Some(why) = &state.over {
                return Ok(why.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::broken("the stream does not end"));
            }
            let wait = self.shared.news.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the recording: all that was told, and the watcher if it was one of this process. A
    /// process that writes lines must have been ended before.
    ///
    /// # Errors
    /// What cgwatch failed with meanwhile.
    pub(crate) fn stop(self) -> Result<(Vec<Event>, Option<Watcher>), Failure> {
        self.shared.state().wanted = Wanted::Stop;
        self.shared.news.notify_all();
        let watcher = self.taker.join();
        let watcher = watcher.map_err(|_| Failure::broken("the reader panicked"))?;
        let mut state = self.shared.state();
        if let Some(path) = env::var_os("SCENARIO_STREAM") {
            // For people who look into a failure.
            let _ = fs::write(path, format!("{:#?}", state.events));
        }
        match state.over.take() {
            Some(why) if why != ENDED => Err(Failure::Broken(why)),
            _ => Ok((std::mem::take(&mut state.events), watcher)),
        }
    }
}

/// What [`Recording::until_over`] says of a stream that has ended as it should.
pub(crate) const ENDED: &str = "the stream has ended";

fn take(shared: &Shared, mut watcher: Watcher) -> Watcher {
    // So long a pause or an end may take to be noticed; events wake it at once.
    const PATROL: Duration = Duration::from_millis(20);
    while shared.may_go_on() {
        match watcher.wait(Some(PATROL)) {
            Ok(Some(event)) => shared.keep(event),
            Ok(None) if watcher.has_ended() => {
                shared.over(ENDED);
                break;
            }
            Ok(None) => {}
            Err(error) => {
                shared.over(format_args!("cgwatch failed: {error}: {error:?}"));
                break;
            }
        }
    }
    watcher
}

fn take_lines(shared: &Shared, output: BufReader<ChildStdout>) {
    for line in output.lines() {
        if !shared.may_go_on() {
            return;
        }
        let line = match line {
            Ok(line) => line,
            Err(error) => return shared.over(format_args!("cannot read the lines: {error}")),
        };
        match json::parse(&line) {
            Ok(None) => shared.state().start = line,
            Ok(Some(event)) => shared.keep(event),
            Err(why) => return shared.over(format_args!("no line of the stream ({why}): {line}")),
        }
    }
    shared.over(ENDED);
}
