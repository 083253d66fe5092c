//! How a mirror is mounted.

#![allow(clippy::unwrap_used, reason = "tests")]

mod top;

use cgroup_mirror::{Mirror, Options};
use rustix::fs::{StatVfsMountFlags, statvfs};

use self::top::Top;

/// The kernel itself refuses what clients would change.
#[test]
fn a_mirror_is_mounted_read_only() {
    let Some(top) = Top::new("mounted") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mirror = Mirror::new(&top.path).unwrap();
    let mount = mirror.mount(directory.path(), Options::default()).unwrap();
    let flags = statvfs(directory.path()).unwrap().f_flag;
    assert!(flags.contains(StatVfsMountFlags::RDONLY), "{flags:?}");
    drop(mount);
}
