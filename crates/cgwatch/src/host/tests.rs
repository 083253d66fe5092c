//! The verbs on this machine's hierarchy.

mod notifications;
mod verbs;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::HostWorld;
use crate::{Error, Strategy, testing::Own, world::World};

fn world() -> HostWorld {
    HostWorld::new(Strategy::Inotify).unwrap()
}

/// Whether its descriptor is, or becomes so within these seconds.
fn is_readable(world: &HostWorld, patience: i64) -> bool {
    let patience = Timespec { tv_sec: patience, tv_nsec: 0 };
    let fd = PollFd::from_borrowed_fd(world.poll_fd(), PollFlags::IN);
    poll(&mut [fd], Some(&patience)).unwrap() == 1
}

fn id(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// rmdir(2) has the directory's lock, and a listing afterwards says that it is removed, not that it is
/// empty: what could be listed is not being removed.
#[test]
fn a_removed_directory_cannot_be_listed() {
    let Some(cgroup) = Own::new("listed") else { return };
    let path = cgroup.path();
    let listed = || {
        let mut world = HostWorld::new(Strategy::Sweep)?;
        let place = world.locate(path)?;
        let system = |source| Error::System { action: "open it", source };
        let (mut dir, _) = world.open(place.base, &place.path).map_err(system)?;
        let mut list = || world.list(&mut dir, &mut |_, _, _| {});
        let alive = list();
        fs::remove_dir(path).map_err(|_| system(Errno::BUSY))?;
        Ok::<_, Error>((alive, list()))
    };
    assert_eq!(listed().unwrap(), (Ok(()), Err(Errno::NOENT)));
}
