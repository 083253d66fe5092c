//! The host's cgroup v2 hierarchy as a kernfs tree that announces every removal, so that programs
//! which know nothing of this project learn of it on any kernel: fed by the monitor
//! ([`cgwatch::Watcher`]), read-only, with reads that pass through to the host.
//!
//! A [`Mirror`] is the tree and what feeds it. Whoever mounts the tree (`kernfs-fuse`, or a
//! [`kernfs::SuperBlock`] in the process) gets, for one watch on `DIR/a/memory.events`:
//! * `MODIFY` after every change that the host's kernel announces, coalesced as it coalesces them,
//!   and after every change that only a later reading found;
//! * then, in this order, a `MODIFY` if the last change was never announced (the kernel drops it),
//!   `DELETE_SELF` and `IGNORED`: also where the kernel itself loses them, since what is cached or
//!   open on the host plays no part.
//!
//! Inode numbers are the host's, hence a directory's is the cgroup's id; but the mirror's root has
//! the number 1, as every root of such a tree.
//!
//! # What is shown, and how fresh it is
//! Every control file of every cgroup below the mirrored one. A read opens, reads and closes the
//! host's file, by the good citizen's protocol of `cgwatch`, and only if the directory still is the
//! same cgroup; else it fails with `ENODEV`. Files come and go with their controllers.
//!
//! # What it does not do
//! It writes nothing to the host, and takes no change of its own. Writes that host programs make to
//! control files raise no event here unless the file is an event file. The permissions shown are
//! those that a file had when it was first shown; if the host's have become other since, a client
//! that they bar reads `EACCES`. A cgroup that is gone before it could be opened is not shown: its parent's watchers
//! learn of neither its birth nor its death.

//!
//! # Security
//! The server reads any control file below the mirrored cgroup with its own rights. Who may read
//! what here is decided by the kernel from the modes and owners shown (`default_permissions`); if the
//! host's are others by now, the client's uid and gid are held against those. The directories above
//! a file are the mirror's: one that the host bars later bars nobody here, and what lies above the
//! mirrored cgroup is not asked for at all. Content is what the server sees: `cgroup.procs` lists
//! processes of its pid namespace.
//!
//! Names in the mirror are the host's, never a client's; a client's request leads to a node of the
//! tree, and from there to a file by its id, or by its name in a directory whose id was checked: no
//! link is followed, and nothing outside the mirrored cgroup can be named. The mount is read-only,
//! and the tree's system calls refuse whatever is not the feed's own next step, so a hostile client
//! can read much, hold files open (about 300 bytes and the file's content each) and no more.

mod content;
mod error;
mod feed;
mod front;
mod looks;
mod mirror;
mod mount;
mod trouble;

pub use self::{
    error::Error,
    front::Front,
    mirror::{Mirror, Usage},
    mount::{End, Options},
};
