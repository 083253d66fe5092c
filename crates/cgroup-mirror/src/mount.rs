//! The mirror as a mount that other programs can watch.
//!
//! Three kinds of threads meet here: the event loops and the announcing threads of `kernfs-fuse`,
//! and the one that runs [`Mirror::feed`]. Only the last makes system calls that change the mount,
//! and it waits for the others, never they for it.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

use kernfs_fuse::{Mount, MountPoint};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{AtFlags, Mode},
    io::Errno,
};

use crate::{Error, Front, Mirror};

/// The source of its mounts in `/proc/self/mountinfo`.
const NAME: &str = "cgwatch-mirror";
/// How often the watcher is asked at the least: its sweeps are due without a notification.
const LOOK: Duration = Duration::from_secs(1);

/// How a mirror is mounted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Lets other users in. What each may read is decided by the modes and owners of the host's
    /// files; the way to them, which the host may have barred, is not asked for.
    pub allow_other: bool,
}

/// Why the feed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The mirrored cgroup is gone.
    Gone,
    /// It was asked to.
    Stopped,
}

impl Mirror {
    /// Mounts it at an empty directory, read-only. Until it is fed the mount stands still.
    ///
    /// # Errors
    /// [`Error::Mount`].
    pub fn mount(&self, directory: &Path, options: Options) -> Result<Mount, Error> {
        let place = MountPoint::open(directory, NAME)?;
        self.mount_at(place, options)
    }

    /// The same at a directory that was opened before.
    ///
    /// # Errors
    /// [`Error::Mount`].
    pub fn mount_at(&self, place: MountPoint, options: Options) -> Result<Mount, Error> {
        let options = kernfs_fuse::Options {
            name: NAME.into(),
            allow_other: options.allow_other,
            read_only: true,
            ..kernfs_fuse::Options::default()
        };
        Ok(Mount::at(self.tree(), place, &options)?)
    }

    /// Feeds its mount, in this thread, until the mirrored cgroup is gone or `stop` is readable or
    /// hung up.
    ///
    /// # Errors
    /// As [`Mirror::update`].
    pub fn feed(&mut self, mount: &Mount, stop: BorrowedFd<'_>) -> Result<End, Error> {
        let _own = mount.own_thread();
        let front = mount.root().map(|root| Box::new(OwnWay(root)) as Box<dyn Front>);
        self.set_front(front);
        let end = self.feed_until(stop);
        // Nothing keeps the mount in being.
        self.set_front(None);
        end
    }

    fn feed_until(&mut self, stop: BorrowedFd<'_>) -> Result<End, Error> {
        while self.update()? {
            let mut ready = [
                PollFd::from_borrowed_fd(stop, PollFlags::IN),
                PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN),
            ];
            let pause = LOOK.min(self.pause());
            let pause = Timespec {
                tv_sec: pause.as_secs().cast_signed(),
                tv_nsec: pause.subsec_nanos().into(),
            };
            match poll(&mut ready, Some(&pause)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(source) => return Err(Error::Wait { source }),
            }
            if !ready[0].revents().is_empty() {
                return Ok(End::Stopped);
            }
        }
        Ok(End::Gone)
    }
}

/// The server's own way into the mount, which is not read-only as the clients' is.
struct OwnWay(Arc<OwnedFd>);

impl Front for OwnWay {
    fn make_dir(&self, path: &[u8]) -> Result<(), Errno> {
        // The mode is the host's, whatever is asked for.
        rustix::fs::mkdirat(self.0.as_fd(), path, Mode::from_raw_mode(0o755))
    }

    fn remove_dir(&self, path: &[u8]) -> Result<(), Errno> {
        rustix::fs::unlinkat(self.0.as_fd(), path, AtFlags::REMOVEDIR)
    }
}
