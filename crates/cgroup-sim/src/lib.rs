//! The rules of cgroup v2 on a [`kernfs`] tree in a process, on virtual time.
//!
//! A [`Hierarchy`] is driven by two hands. Programs use its files, through a mount or with
//! [`Hierarchy::write`] and its like, and get Linux's errnos and events. A driver makes happen what
//! on Linux processes and the kernel do: tasks start, fork, take memory and exit, time passes,
//! notifications are delivered. All of it is deterministic; nothing moves by itself.
//!
//! ```
//! use cgroup_sim::{Event, Hierarchy, Options};
//!
//! # fn main() -> Result<(), cgroup_sim::Error> {
//! let all = Hierarchy::new(Options::default());
//! all.write("cgroup.subtree_control", "+memory")?;
//! let service = all.mkdir("service")?;
//! all.write("service/memory.max", "1M")?;
//! let pid = all.spawn(service)?;
//! // More than it may: it is killed.
//! assert!(all.allocate(pid, 2 << 20).is_err());
//! assert!(all.read("service/memory.events")?.contains("oom_kill 1\n"));
//! assert!(all.read("service/cgroup.events")?.starts_with("populated 0\n"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//! Controllers that notify nobody (cpu, cpuset), `io`'s own work (it is here for what it does to
//! memory), pressure files, statistics, permissions and namespaces; scheduling: a task does
//! something when the driver says so.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod conservation;
mod control;
mod controller;
mod directory;
mod driving;
mod error;
mod event;
mod file;
mod freezer;
mod hierarchy;
mod limiter;
mod memory;
mod oom;
mod options;
mod pids;
mod reclaim;
mod removal;
pub mod scenario;
mod show;
mod state;
mod store;
mod task;
mod threaded;
mod truth;

pub use kernfs::Profile;

pub use self::{
    error::Error,
    event::{Controllers, Event},
    hierarchy::{Hierarchy, ROOT},
    memory::Use,
    options::{Clock, MountOptions, Options, Processes, Surface},
    truth::{Happening, Life, What},
};
