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
//! | a client's `rmdir` | the link count of each file in it *before* the reply; after it, the names that were in use are dropped | files, then the directory, then `DELETE` at the parent |
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
//!   neither a directory's lock nor a dentry; without the privilege for those,
//!   what the kernel has cached.
//! * The **changes** thread does all the rest. It looks names up, and may wait
//!   for a directory that an `rmdir` holds locked, thus for the removals
//!   thread; never the other way round.
//!
//! A process that is killed while it makes a call on its own mount can neither
//! end nor be noticed to have ended, since its waiting thread keeps the device
//! open. Whoever may be killed has another process unmount by force
//! (`umount2` with `MNT_FORCE`) then, as the command `cgwatch mount` does.
//!
//! Lock order: the tree's locks, then the queues of `announce`, then the table of
//! known nodes; the others are leaves. None is held over a system call on the
//! mount or a call into the tree.
//!
//! # Security
//! What the server may do, and for what:
//! * `CAP_SYS_ADMIN`: to mount, and for a private, writable mount of its own;
//!   without it `fusermount3` mounts ([`Weakness::NoPrivateMount`]).
//! * `CAP_DAC_READ_SEARCH`: `open_by_handle_at` on its own mount, with handles
//!   it makes itself; never with one that a client gave
//!   ([`Weakness::NoHandles`]).
//! * It opens no path but the mount point, `/proc/self` and `/dev/fuse`; the way to the mount point,
//!   which may belong to others, it follows once, and mounts and unmounts by descriptors from then
//!   on ([`MountPoint`]). Without `CAP_SYS_ADMIN` it runs `fusermount3` of its `PATH`, which follows
//!   that way again, but mounts and unmounts only what is this user's.
//!
//! What a client can reach: only its own user's clients are let in, unless
//! [`Options::allow_other`] says otherwise; the kernel then checks modes and
//! owners (`default_permissions`). No device files, programs or set-user-id
//! bits are honoured. The server's own requests are known by the thread that
//! made them, which no client can be. Names are at most 1024 bytes, writes at
//! most a page, reads what the attribute showed; offsets beyond that read
//! nothing. A client that never reads, or keeps files open for ever, costs
//! what it holds open: one entry a file, and its content if it was read. Who
//! may write a node can give it extended attributes of 128 KiB. What
//! waits to be told is at most one entry a node.
//!
//! What a hostile client can do once it is let in: it can hold a directory's
//! lock, by a read of that directory or a write whose memory it does not let
//! the kernel have (`userfaultfd`), and so hold up what is told of that
//! directory and everything queued behind it, for all watchers; the mount ends
//! all the same, but the server's process not before the client. It can keep
//! event loops busy with reads. It can learn names, contents and numbers that
//! the modes let it read, nothing of the host. It cannot make an event untrue,
//! or take one away from others for good, but by `rmdir` or writes that the
//! modes let it make.
//!
//! # What it does not do
//! `statfs` says FUSE, not cgroup2, whatever the tree is. Rename, links. Inode numbers beyond 2^64.

mod announce;
mod attach;
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
mod place;
mod requests;
mod server;
mod shared;
mod sleepers;
mod xattr;

pub use self::{
    caller::{Caller, caller},
    error::Error,
    mount::{Mount, Unmounter, Usage, Weakness},
    options::Options,
    own::OwnThread,
    place::{BadMountId, MountId, MountPoint, Mounted},
};
