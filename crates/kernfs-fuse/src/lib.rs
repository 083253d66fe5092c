//! A kernfs tree as a real mount. Programs that watch it with inotify or
//! fanotify and know nothing of this crate get genuine kernel events: each
//! modification, and then the removal, which Linux's own kernfs loses or
//! never sends.
//!
//! No FUSE message raises `MODIFY` or `CREATE`, so the server makes system
//! calls on its own mount, as any program could, and recognises them when they
//! come back to it as requests:
//!
//! | in the tree | what is done | what watchers see |
//! |---|---|---|
//! | a file notifies | `utimensat` of its mtime alone | `MODIFY` on the file, and with its name on the directory; no `OPEN`, no `CLOSE` |
//! | a node is removed | link count 0 at a forced `statx`; `FUSE_NOTIFY_DELETE` | `DELETE_SELF`, `IGNORED`; if it is open, at the last close |
//! | a client's `rmdir` | the same for each file in it *before* the reply | files, then the directory, then `DELETE` at the parent |
//! | a client's `mkdir` | only the reply | `CREATE` at the parent |
//! | a file notifies, or is removed, and someone polls it | `FUSE_NOTIFY_POLL` | `POLLPRI`, `POLLERR` |
//!
//! On a tree with marks of this process's own, those are told as ever: a
//! [`Mount`] is one more mount of the tree.
//!
//! # Threads, and why nothing deadlocks
//! * **Event loops** answer requests. They never make a system call on the
//!   mount and never wait for the two below.
//! * The **removals** thread finishes clients' `rmdir`s. The kernel holds the
//!   locks of both directories meanwhile, so it uses file handles, which need
//!   neither a directory's lock nor a dentry.
//! * The **changes** thread does all the rest. It looks names up, and may wait
//!   for a directory that an `rmdir` holds locked, thus for the removals
//!   thread; never the other way round.
//!
//! A process that is killed while it makes a call on its own mount can neither
//! end nor be noticed to have ended, since its waiting thread keeps the device
//! open. Whoever may be killed has another process unmount by force
//! (`umount2` with `MNT_FORCE`) then, as the command `cgwatch mount` does.
//!
//! Lock order: the tree's locks, then [`announce`]'s queues, then the table of
//! known nodes; the others are leaves. None is held over a system call on the
//! mount or a call into the tree.
//!
//! # What it does not do
//! `statfs` says FUSE, not cgroup2, whatever the tree is. Rename, links,
//! extended attributes. Inode numbers beyond 2^64.

mod announce;
mod caller;
mod error;
mod facts;
mod handles;
mod kick;
mod known;
mod lock;
mod mount;
mod options;
mod own;
mod server;
mod shared;
mod sleepers;

pub use self::{
    caller::{Caller, caller},
    error::Error,
    mount::{Mount, Usage, Weakness, check_mount_point},
    options::Options,
    own::OwnThread,
};
