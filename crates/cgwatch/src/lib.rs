//! cgwatch: every change, then exactly one removal, of every Linux cgroup.

mod capability;
mod error;
mod event;
mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
#[cfg(feature = "json")]
mod json;
mod monitor;
mod mount;
mod options;
mod parse;
mod watcher;
pub mod world;

pub use capability::{Answer, Capabilities, Capability, Probe};
pub use error::Error;
pub use event::{
    Cgroup, CgroupPath, Confidence, Event, EventKind, FileName, Files, GapReason, LearnedFrom,
    Time, Unseen, Values,
};
pub use filter::Filter;
pub use host::HostWorld;
pub use mount::{FileSystem, Mount};
pub use options::{Depth, Options, Strategy};
pub use watcher::{Root, Snapshot, Start, Usage, Watcher};
