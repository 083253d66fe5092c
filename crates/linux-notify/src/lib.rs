//! Thin, safe system calls for Linux file notification: inotify, fanotify and file handles; and what
//! the kernel says of mounts.
//!
//! What this crate does for you: file descriptors are owned and closed once, flags are typed and
//! keep bits they do not know, every failure carries its errno and what it was about ([`Error`]),
//! and the byte streams of both interfaces are decoded by pure parsers that accept any bytes.
//!
//! What it does not do: it keeps no table of watches, starts no thread, interprets no event and
//! knows no cgroups. Nothing here blocks: both kinds of group are opened non-blocking.
//!
//! It is the only crate of the workspace that may hold `unsafe` code, and needs it only for the
//! calls that [`rustix`] lacks: `fanotify_init`, `fanotify_mark`, `name_to_handle_at` and
//! `open_by_handle_at`.

mod error;
pub mod fanotify;
mod fd_path;
mod handle;
pub mod inotify;
pub mod mountinfo;

pub use error::{Call, Error};
pub use handle::{FileHandle, MountId, name_to_handle_at, open_by_handle_at};
pub use rustix::io::Errno;
