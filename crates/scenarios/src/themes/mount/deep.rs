//! A file whose path is longer than a system call takes.

use std::os::fd::AsRawFd as _;

use linux_notify::inotify::Mask;
use rustix::fs::{Mode, OFlags, openat};

use super::{FILES, Hierarchy, Watch, got};
use crate::{Environment, Failure, ensure};

/// `PATH_MAX` is passed by these.
const DEPTH: usize = 20;
const NAME: usize = 250;

pub(super) fn deeper_than_a_path(environment: &Environment) -> Result<(), Failure> {
    let hierarchy = Hierarchy::mount(environment)?;
    let name = "n".repeat(NAME);
    let mut path = name.clone();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(hierarchy.path(), flags, Mode::empty())?;
    for _ in 0..DEPTH {
        hierarchy.make(&path)?;
        at = openat(&at, &*name, flags, Mode::empty())?;
        path = format!("{path}/{name}");
    }
    let path = &path[..path.len() - NAME - 1];
    ensure!(path.len() > 4096, "driver: {} bytes are no long path", path.len());
    let mut watch = Watch::new()?;
    let directory = format!("/proc/self/fd/{}", at.as_raw_fd());
    watch.add('D', directory.as_ref())?;
    watch.add('F', format!("{directory}/{}", FILES[0]).as_ref())?;
    // It would hold the removal back.
    drop(at);
    let node = hierarchy.node(path)?;
    node.child(FILES[0]).ok_or(Failure::broken("no file"))?.notify();
    let mut told = watch.until(&got('F', Mask::MODIFY, ""), environment.patience())?;
    node.remove();
    told.extend(watch.until(&got('D', Mask::IGNORED, ""), environment.patience())?);
    let expected = [
        got('D', Mask::MODIFY, FILES[0]),
        got('F', Mask::MODIFY, ""),
        got('F', Mask::DELETE_SELF, ""),
        got('F', Mask::IGNORED, ""),
        got('D', Mask::DELETE_SELF, ""),
        got('D', Mask::IGNORED, ""),
    ];
    ensure!(told == expected, "{told:?} instead of {expected:?}");
    Ok(())
}
