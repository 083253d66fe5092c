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

pub mod contract;
mod environment;
mod failure;
mod process;
mod scenario;

pub use environment::Environment;
pub use failure::Failure;
pub use process::{entry, run_in_child};
pub use scenario::{Outcome, Requirement, Scenario};

/// Every scenario, in the order in which they are best run.
#[must_use]
pub fn all() -> Vec<Scenario> {
    Vec::new()
}
