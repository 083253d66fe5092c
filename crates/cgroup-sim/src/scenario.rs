//! Scenarios: what happens on a machine, as a small text, played on virtual time.
//!
//! # The text
//! TOML. Times are `"250us"`, `"10ms"`, `"1.5s"`, `"2m"`; sizes are `"64K"`, `"1M"`, `"2G"` or a number
//! of bytes. Paths start at the hierarchy's root with `/`. A key that is not known is an error.
//!
//! ```toml
//! title = "A leaking service"         # one line, needed
//! lasts = "30s"                       # when it ends, needed
//! controllers = ["memory", "pids"]    # what the root gives its children; these are the default
//! swap = "1G"                         # of the machine; none by default
//! memory_localevents = false          # mount options
//! pids_localevents = false
//!
//! [[cgroup]]                          # what is there from the start, in this order
//! path = "/system"
//! controllers = ["memory"]            # what it gives its children
//! set = { "memory.high" = "64M" }     # what is written to its files
//!
//! [[step]]                            # one thing that happens once
//! at = "2s"                           # when; or:
//! after = "started"                   #   after the step that has this `id`,
//! delay = "10ms"                      #   this much later; at once by default
//! id = "made"                         # a name for others' `after`
//! make = "/system/web"                # what: see below
//! expect = "EBUSY"                    # it must fail with this errno; by default it must not fail
//!
//! [[repeat]]                          # a round of steps, again and again
//! from = "1s"                         # the first round; at the start by default
//! every = "500ms"                     # from one round's start to the next
//! times = 100
//! step = [
//!   { make = "/system/job{n}" },      # `{n}` is the number of the round, from 0
//!   { at = "50ms", remove = "/system/job{n}" },   # `at`: from the round's start
//! ]
//! ```
//!
//! A step does exactly one thing:
//!
//! | keys | what happens |
//! |---|---|
//! | `make = PATH` | a cgroup is made |
//! | `remove = PATH` | and removed |
//! | `write = TEXT`, `to = PATH` | a text is written to a file |
//! | `start = NAME`, `in = PATH` | a process starts, and may take memory at once (`takes = SIZE`), take more as time goes by (`leaks = SIZE`, `every = TIME`), exit by itself (`lives = TIME`), and start again when it is gone, however it went (`restart = TIME`) |
//! | `fork = NAME`, `from = NAME` | a process starts another one, beside it |
//! | `exit = NAME` | a process exits; it does not start again |
//! | `allocate = SIZE`, `by = NAME` | a process takes memory |
//! | `free = SIZE`, `by = NAME` | and gives it back |
//! | `cache = SIZE`, `in = PATH` | a cgroup uses memory for files |
//! | `kernel = SIZE`, `in = PATH` | and for sockets |
//! | `count = "FILE KEY"`, `in = PATH`, `times = N` | a cgroup counts something that is not played, such as `"memory.swap.events fail"`; once by default |
//! | `reclaim = true` | the cache of names that were looked up is emptied |
//!
//! A process that is frozen does not leak. What is asked of a process that was killed meanwhile does
//! not happen; that is no error.

mod grammar;
mod library;
mod play;
mod quantity;
mod read;

use std::{fmt, sync::Arc, time::Duration};

pub use self::{
    library::Library,
    play::{Front, Player},
};
use crate::{Controllers, Event, Hierarchy, MountOptions, Options};

/// What happens on a machine; see [the module](self) for its text.
#[derive(Clone, Debug)]
pub struct Scenario {
    title: String,
    lasts: u64,
    controllers: Controllers,
    swap: u64,
    mount: MountOptions,
    cgroups: Vec<Existing>,
    steps: Vec<Step>,
    rounds: Vec<Round>,
}

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScenarioError {
    /// The line of the text, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl ScenarioError {
    fn new(line: usize, what: impl fmt::Display) -> Self {
        Self { line, what: what.to_string() }
    }
}

/// A cgroup that is there from the start.
#[derive(Clone, Debug)]
struct Existing {
    line: usize,
    path: String,
    controllers: Controllers,
    set: Vec<(String, String)>,
}

/// Something that happens at a time: of the scenario, or from its round's start.
#[derive(Clone, Debug)]
struct Step {
    line: usize,
    at: u64,
    what: Arc<Action>,
    expect: Option<rustix::io::Errno>,
}

/// Steps that happen again and again.
#[derive(Clone, Debug)]
struct Round {
    from: u64,
    every: u64,
    times: u64,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Action {
    Make(String),
    Remove(String),
    Write { text: String, to: String },
    Start { name: String, cgroup: String, habits: Habits },
    Fork { name: String, from: String },
    Exit(String),
    Allocate { bytes: u64, by: String },
    Free { bytes: u64, by: String },
    Use { kind: crate::Use, bytes: u64, cgroup: String },
    Count { event: Event, times: u64, cgroup: String },
    Reclaim,
}

/// What a process does by itself. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Habits {
    takes: u64,
    leaks: Option<(u64, u64)>,
    lives: Option<u64>,
    restart: Option<u64>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// What is wrong with the text, and in which line. Texts above 1 MiB are refused unread.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        read::scenario(text)
    }

    /// What it is, in one line.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How long it lasts.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        Duration::from_nanos(self.lasts)
    }

    /// Makes options fit it: swap and mount options. All else stays.
    #[must_use]
    pub fn options(&self, options: Options) -> Options {
        Options { swap: self.swap, mount: self.mount, ..options }
    }

    /// Starts to play it, on a hierarchy of its own with [these options](Self::options): makes what
    /// is there from the start.
    ///
    /// # Errors
    /// What cannot be made, with its line.
    pub fn play(&self, all: &Hierarchy) -> Result<Player, ScenarioError> {
        Player::start(self, all)
    }
}
