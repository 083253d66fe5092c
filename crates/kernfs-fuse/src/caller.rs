//! Who made the request that is being answered; and that foreign code which
//! panics over it costs that client an `EIO`, not everybody the mount.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use fuser::Request;
use rustix::io::Errno;

/// A client, as the kernel names it to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its user, for file systems (`fsuid`).
    pub uid: u32,
    /// Its group, for file systems.
    pub gid: u32,
    /// Its thread's id where the server is; 0 if it has none there.
    pub pid: u32,
}

thread_local! {
    static CALLER: Cell<Option<Caller>> = const { Cell::new(None) };
}

/// Whose write, `mkdir` or `rmdir` the present thread is answering; for
/// attributes and system calls that let some do more than others. `None`
/// outside of those.
#[must_use]
pub fn caller() -> Option<Caller> {
    CALLER.get()
}

/// Runs code of the tree's owner for a client.
pub(crate) fn during<T, E>(
    request: &Request,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Errno>
where
    E: Into<Failed>,
{
    CALLER.set(Some(Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }));
    // What it broke is its own: here nothing is locked.
    let done = catch_unwind(AssertUnwindSafe(work));
    CALLER.set(None);
    match done {
        Ok(result) => result.map_err(|error| error.into().0),
        Err(_) => Err(Errno::IO),
    }
}

/// Either kind of error such code gives.
pub(crate) struct Failed(Errno);

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<kernfs::Error> for Failed {
    fn from(error: kernfs::Error) -> Self {
        Self(error.errno())
    }
}
