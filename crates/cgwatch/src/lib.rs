//! cgwatch: every change, then exactly one removal, of every Linux cgroup.

mod capability;
mod error;
mod event;
mod filter;
#[cfg(feature = "json")]
mod json;
mod mount;
mod options;
mod watcher;

pub use capability::{Answer, Capabilities, Capability, Probe};
pub use error::Error;
pub use event::{
    Cgroup, CgroupPath, Confidence, Event, EventKind, FileName, Files, GapReason, LearnedFrom,
    Time, Unseen, Values,
};
pub use filter::Filter;
pub use mount::{FileSystem, Mount};
pub use options::{Depth, Options, Strategy};
pub use watcher::{Root, Snapshot, Start, Usage, Watcher};
