//! Linux's fsnotify in a process: who is told what happened to which object.
//!
//! A file system calls [`notify`] with an [`Event`]; groups that put a mark on
//! one of the event's objects get a record in their queue, in the format and
//! by the rules of [`inotify`] or [`fanotify`]. The crate knows no file system,
//! makes no threads and does no I/O (but an eventfd behind feature `fd`).
//!
//! # Who holds what
//! A group's user handle owns its marks; a mark holds its object, as a mark on
//! Linux pins the inode (evictable ones do not). When an object ends, its file
//! system calls [`Connector::close`]; when a handle is dropped, its marks go.
//!
//! # Lock order
//! Three locks, taken in this order and never the other way:
//! 1. a group's table of marks (kernel: `group->mark_mutex`);
//! 2. an object's list of marks (kernel: `connector->lock`);
//! 3. a group's queue (kernel: `group->notification_lock`), a leaf.
//!
//! A dispatch holds none of them while it goes from group to group: it walks
//! an immutable copy of the list. Objects and groups are never dropped, and
//! the readiness hook is never called, under a lock.
//!
//! # What it does not do
//! Permission events, mount and mount-namespace marks, file system errors,
//! pidfds, and `FAN_RENAME` with both names: asking for them is an error,
//! [`Error::Unsupported`]. fanotify records carry no descriptors (`FAN_NOFD`):
//! there is none to give. There are no signals, so neither `SIGIO` nor `EINTR`.
//! Memory is charged to nobody; without any left, growing a queue is an overflow
//! as on Linux, all else ends the process as Rust does.

mod account;
mod channel;
mod decode;
mod dispatch;
mod error;
mod event;
pub mod fanotify;
mod group;
mod handle;
pub mod inotify;
mod mark;
mod mask;
mod object;
mod reader;
#[cfg(feature = "fd")]
mod readiness;
mod sync;

#[cfg(feature = "fd")]
pub use self::readiness::ReadinessFd;
pub use self::{
    account::{Account, Limits},
    channel::Counts,
    decode::Decoder,
    dispatch::notify,
    error::Error,
    event::{Event, Origin, PathData},
    handle::{FileHandle, Fsid},
    mask::Mask,
    object::{Connector, FileSystem, Object, ObjectKind},
    reader::Reader,
};
