//! What cgwatch must show on a real kernel.
//!
//! A scenario drives real cgroups and holds the truth about them; cgwatch watches. What it told is
//! then held against the contract and against that truth, never against itself. The same scenarios
//! run on this machine's own cgroup v2 hierarchy (`tests/host.rs`) and as the first process of a
//! QEMU guest (`src/bin/guest-init.rs`), where every controller is at hand.
//!
//! Each scenario runs in a process of its own, this program executed anew, so that its descriptors,
//! heap, user namespace and signals are its own, and so that one that hangs can be killed. The
//! first line of every `main` is therefore [`entry`].

mod environment;
mod failure;
mod holding;
mod huge_pages;
mod json;
mod mounts;
mod process;
mod queues;
mod recording;
mod scenario;
mod serving;
mod soak;
mod swap;
mod themes;
mod tree;
mod watching;
mod worker;

pub use environment::Environment;
pub use failure::Failure;
pub use huge_pages::Offer;
pub use process::{entry, run_in_child};
pub use scenario::{Outcome, Requirement, Scenario};
pub use soak::Soak;

use failure::ensure;
use holding::{Descriptors, descriptors, forget_heap_peak, heap, heap_peak, resident};
use queues::Queues;
use recording::Recording;
use tree::{Cgroup, Tree};
use watching::{Circumstances, Outside};
use worker::{Task, Worker};

/// Every scenario, in the order in which they are best run.
#[must_use]
pub fn all() -> Vec<Scenario> {
    themes::all().into_iter().filter(|scenario| !scenario.is_left_out()).collect()
}
