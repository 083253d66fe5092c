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
//! * `CAP_DAC_OVERRIDE`, `CAP_FOWNER`: to raise events of what other users own
//!   ([`Weakness::NoOverride`]).
//! * It opens no path but the mount point, `/proc/self` and `/dev/fuse`; the way to the mount point,
//!   which may belong to others, it follows once, and mounts and unmounts by descriptors from then
//!   on ([`MountPoint`]). Without `CAP_SYS_ADMIN` it runs `fusermount3` of its `PATH`, which follows
//!   that way again, but mounts and unmounts only what is this user's.
//!
//! What a client can reach: only its own user's clients are let in, unless
//! [`Options::allow_other`] says otherwise; the kernel then checks modes and
//! owners (`default_permissions`). No device files, programs or set-user-id
//! bits are honoured. The server's own requests are known by the thread that
//! made them, which no client can be.
//!
//! A file is read and written with the rights of who opened it
//! ([`kernfs::Operation::credentials`]), whoever does so later: a descriptor
//! that was inherited or passed on, or is some program's output, gives no more.
//! `mkdir`, `rmdir`, modes, owners and extended attributes are judged by who
//! makes the call, as on Linux. Supplementary groups and capabilities, which no
//! FUSE request has, are read from procfs while the client waits to open the
//! file; where that is not possible, and for clients with more than 1,024
//! groups or that act for another user at that moment, they count as none.
//!
//! What it costs the server: names of more than 1,024 bytes are listed from Linux
//! 6.15 on only, as far as the kernel has room for them; writes are at most a page, reads what the attribute showed; offsets beyond that read nothing. A
//! client that never reads, or keeps files open for ever, costs what it holds
//! open: one entry a file with the credentials of its opener (at most 4 KiB of
//! groups), and its content if it was read. A directory held open costs one
//! entry; directories held between start and end of their list cost 30 bytes or
//! so for each child, once for all who list the same one. Who may write a node can
//! give it extended attributes of 128 KiB, and who may write a directory can
//! make as many in it as the tree allows. What waits to be told is at most one
//! entry a node.
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
//! # Reading without read(2)
//! From Linux 6.5 on, splice(2) and sendfile(2) take a FUSE file's content from the
//! page cache, where it is shared by all who have it open and ends where the
//! file's size says; of an empty file they say that there is nothing. Files
//! here seem to have 4,096 bytes therefore, as on sysfs, and the kernel's attempt to
//! fill a page fails (`EINVAL`, or `EIO` where the kernel does not hand it on):
//! nobody is shown less than there is, or what was there before, and programs
//! that copy so turn to read(2). cgroupfs shows size 0 and lets them.
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
mod names;
mod options;
mod own;
mod place;
mod requests;
mod server;
mod shared;
mod sleepers;
mod status;
mod xattr;

pub use self::{
    caller::caller,
    error::Error,
    mount::{Mount, Unmounter, Weakness},
    options::Options,
    own::OwnThread,
    place::{BadMountId, MountId, MountPoint, Mounted},
    status::Status,
};
