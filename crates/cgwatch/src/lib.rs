//! cgwatch: every change, then exactly one removal, of every Linux cgroup.
//!
//! A [`Watcher`] keeps the books of one or several cgroup v2 subtrees and tells each change of
//! their event files (`cgroup.events`, `memory.events`, `pids.events` and others) and each birth
//! and death, as [`Event`]s in one total order. On any kernel, with one inotify instance, losing
//! nothing, not even the OOM kill that emptied a cgroup which was removed before anyone could read
//! its last counts: that is recovered from its parent ([`Unseen`]).
//!
//! ```
//! use cgwatch::{Depth, EventKind, Mount, Options, Watcher};
//!
//! # fn main() -> Result<(), cgwatch::Error> {
//! # let Some(mount) = Mount::all()?.into_iter().next() else { return Ok(()) };
//! let mut watcher = Watcher::new(Options::new())?;
//! watcher.add(&mount.point, Depth::All)?;
//! for event in watcher.events() {
//!     match event?.kind {
//!         EventKind::Changed { cgroup, delta, .. } => {
//!             println!("{} breached memory.high {:?} times", cgroup.path, delta.get("high"));
//!         }
//!         EventKind::Removed { cgroup, .. } => println!("{} is gone: drop its state", cgroup.path),
//!         EventKind::Ready { .. } => break, // only for this example: everything there is was told
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it does for you: finds cgroups born in the same instant as their parent, survives a full
//! queue, too few watches and a slow reader with its sums right, tells a path's next bearer from the
//! last one, and stays out of the way of other programs' removal events.
//!
//! What uses it can be tested on a simulated hierarchy, without root and without waiting: `SimWorld`,
//! behind feature `sim`.
//!
//! What it does not: it writes nothing in the hierarchy (only a [`Probe`] does, if asked), starts
//! no thread, and does not say which process was killed.

// Tests of the crate share helpers with those that use it from outside.
#[cfg(test)]
extern crate self as cgwatch;

mod capability;
mod error;
mod event;
mod filter;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod host;
#[cfg(feature = "json")]
mod json;
mod monitor;
mod mount;
mod options;
mod parse;
mod printable;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "stream")]
mod stream;
#[cfg(test)]
mod testing;
mod used_names;
mod watcher;
pub mod world;

pub use capability::{Answer, Capabilities, Capability, Probe};
#[cfg(feature = "sim")]
pub use cgroup_sim;
pub use error::Error;
pub use event::{
    Cgroup, CgroupPath, Confidence, Event, EventKind, FileName, Files, GapReason, LearnedFrom,
    Time, Unseen, Values,
};
pub use filter::Filter;
#[cfg(feature = "sim")]
pub use fsnotify::Limits;
pub use host::{HostEntry, HostReader, HostWorld};
pub use mount::{FileSystem, Mount};
pub use options::{Depth, Options, Strategy};
pub use printable::Printable;
#[cfg(feature = "sim")]
pub use sim::{Driver, SimDir, SimWorld, Verb};
#[cfg(feature = "stream")]
pub use stream::EventStream;
pub use watcher::{Root, Snapshot, Start, Usage, Watcher};
