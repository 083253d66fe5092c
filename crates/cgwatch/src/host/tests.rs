//! The verbs on this machine's hierarchy.

use std::fs;

use rustix::io::Errno;

use super::HostWorld;
use crate::{Error, Mount, Strategy, world::World};

/// rmdir(2) has the directory's lock, and a listing afterwards says that it is removed, not that it is
/// empty: what could be listed is not being removed.
#[test]
fn a_removed_directory_cannot_be_listed() {
    let mounts = Mount::all().unwrap();
    let Some(mount) = mounts.first() else { return println!("skipped: no cgroup v2 hierarchy") };
    let path = mount.point.join(format!("cgwatch-test-listed-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&path) {
        return println!("skipped: cannot create {}: {error}", path.display());
    }
    let listed = || {
        let mut world = HostWorld::new(Strategy::Sweep)?;
        let place = world.locate(&path)?;
        let system = |source| Error::System { action: "open it", source };
        let (mut dir, _) = world.open(place.base, &place.path).map_err(system)?;
        let mut list = || world.list(&mut dir, &mut |_, _, _| {});
        let alive = list();
        fs::remove_dir(&path).map_err(|_| system(Errno::BUSY))?;
        Ok::<_, Error>((alive, list()))
    };
    let listed = listed();
    let _ = fs::remove_dir(&path);
    assert_eq!(listed.unwrap(), (Ok(()), Err(Errno::NOENT)));
}
