//! The verbs on this machine's hierarchy.

mod notifications;
mod verbs;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::io::Errno;

use super::HostWorld;
use crate::{Error, Strategy, testing::Cgroup, world::World};

fn world() -> HostWorld {
    HostWorld::new(Strategy::Inotify).unwrap()
}

fn id(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// rmdir(2) has the directory's lock, and a listing afterwards says that it is removed, not that it is
/// empty: what could be listed is not being removed.
#[test]
fn a_removed_directory_cannot_be_listed() {
    let Some(cgroup) = Cgroup::new("listed") else { return };
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
