//! One script of cgroups before every program that watches them, and a score for each.
//!
//! The driver does things to real cgroups and keeps the [`Truth`] of what it did and when.
//! A [`Rival`] is a program that watches them and says what it notices by lines, each stamped with
//! the time at which it was read ([`Heard`]). [`Score`] is a pure function of the two, so that it
//! can be tested. What the program costs is read in `/proc` ([`Burden`]), or felt by others
//! ([`Host`]). [`native`] is the script without memory limits, for any machine; [`memory`] the one
//! with them, for a guest.

pub mod burden;
mod host;
pub mod memory;
pub mod native;
pub mod residents;
pub mod rival;
pub mod said;
mod scene;
pub mod score;
pub mod stage;
pub mod tree;
pub mod truth;

pub use burden::Burden;
pub use host::Host;
pub use rival::{Rival, Running};
pub use said::{Dialect, Heard, Said};
pub use score::{Latency, Score};
pub use stage::{Script, Stage};
pub use truth::{Deed, Truth, What};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // It does not go below zero.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// What is to be played in a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// One after the other, each before all rivals.
    pub stages: Vec<Stage>,
    /// Or the name of one that cannot be run, and why.
    pub rivals: Vec<Result<Rival, (String, String)>>,
}

impl Plan {
    /// Where the guest has it.
    pub const PATH: &str = "/field/plan.json";
}

/// What came of one rival before one number of cgroups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// What was played.
    pub script: Script,
    /// Its name.
    pub rival: String,
    /// How many cgroups were watched.
    pub cgroups: usize,
    /// What it did, or why it could not be run.
    pub result: Result<Run, String>,
}

impl Entry {
    /// Plays a script before a rival, unless that cannot be run.
    #[must_use]
    pub fn new(stage: &Stage, rival: Result<&Rival, &(String, String)>) -> Self {
        let (name, result) = match rival {
            Ok(rival) => (&rival.name, stage.play(rival).map_err(|error| format!("{error:#}"))),
            Err((name, reason)) => (name, Err(reason.clone())),
        };
        let Stage { script, cgroups, .. } = *stage;
        Self { script, rival: name.clone(), cgroups, result }
    }
}

/// What a rival that ran did and cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// What it said of what happened.
    pub score: Score,
    /// Processor time until it was ready, in seconds.
    pub start_cpu: f64,
    /// Processor time from then to the end of the script, in seconds.
    pub cpu: f64,
    /// How long the script took, in seconds.
    pub wall: f64,
    /// Processor time per second in which nothing happened.
    pub idle_cpu: f64,
    /// Held while all cgroups were there.
    pub during: Burden,
    /// Held beyond what it holds with nothing to watch, after all cgroups were gone.
    pub left: Burden,
    /// What others feel of it.
    pub host: Option<Host>,
    /// Its own last word on standard error, if it ended before it was told to.
    pub died: Option<String>,
}
