//! Who made the request that is being answered, with which rights; and that foreign code which
//! panics over it costs that client an `EIO`, not everybody the mount.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use fuser::Request;
use kernfs::{Access, Credentials, Permissions};
use rustix::io::Errno;

use crate::Status;

thread_local! {
    static CALLER: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The thread whose read, write, `mkdir` or `rmdir` the present thread is answering, by its number
/// where the server is, 0 if it has none there. `None` outside of those. It waits for the answer.
///
/// What it may do is another matter: a file is read and written with the rights of who opened it,
/// [`Operation::credentials`](kernfs::Operation::credentials).
#[must_use]
pub fn caller() -> Option<u32> {
    CALLER.get()
}

/// The rights of who opens a file now. Its groups and capabilities, which the request does not say,
/// are looked for only where they may matter: to write, and to read what not everybody may.
pub(crate) fn credentials(request: &Request, access: Access, file: Permissions) -> Credentials {
    let (uid, gid) = (request.uid(), request.gid());
    let bare = Credentials { uid, gid, groups: Box::default(), privileged: false };
    if access == Access::READ && file.mode & 0o004 != 0 {
        return Credentials { privileged: uid == 0, ..bare };
    }
    // One that acts for another user right now is not what procfs says of it.
    match Status::of(request.pid()).filter(|status| status.file_user == uid) {
        Some(status) => {
            Credentials { privileged: status.is_privileged(), groups: status.groups, ..bare }
        }
        None => bare,
    }
}

/// Runs code of the tree's owner for a client.
pub(crate) fn during<T, E>(
    request: &Request,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Errno>
where
    E: Into<Failed>,
{
    CALLER.set(Some(request.pid()));
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
