//! Deterministic simulation testing of the monitor.
//!
//! One seed decides everything: how the monitor watches and under which limits ([`Plan`]), what
//! happens in the hierarchy before, between and after any two of its system calls, when the kernel's
//! worker runs, what memory pressure drops, which files others hold open, when the reader takes
//! events. Afterwards the world comes to rest, and what the reader was told is held against the
//! contract (design.md 4.1) and against what really happened, which the simulator knows.
//!
//! A seed that breaks the contract breaks it again whenever it is run, here and anywhere: nothing
//! depends on time, threads or addresses. Found seeds are kept in `regressions.txt`.
//!
//! [`run`] is one seed, [`Plan`] what it decides at the start, `mover` what happens, `hostile` what an owner adds
//! to that who wishes harm, `fairness` how long others wait beside him, `verdict` what must hold.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod campaign;
mod course;
mod fairness;
mod hostile;
mod mover;
mod neighbour;
mod plan;
mod regressions;
mod tally;
mod verdict;

pub use campaign::campaign;
pub use course::{Failure, run, trace};
pub use hostile::Hostility;
pub use plan::{PROFILES, Plan, profile_name, profile_named};
pub use regressions::{Regression, regressions};
pub use tally::Tally;
