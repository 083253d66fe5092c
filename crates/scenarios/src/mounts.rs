//! Mounts in directories of a driver's own, which are named after it: `PREFIX` and its process id.

use std::{fs, path::Path};

use rustix::mount::{UnmountFlags, unmount};

/// Takes away what is mounted at a directory, by a server that was killed, and that.
pub(crate) fn clear(directory: &Path) {
    let _ = unmount(directory, UnmountFlags::DETACH | UnmountFlags::FORCE);
    let _ = fs::remove_dir(directory);
}

/// Those of drivers that were killed, and their servers with them.
pub(crate) fn clear_orphans(scratch: &Path, prefix: &str) {
    for entry in fs::read_dir(scratch).into_iter().flatten().map_while(Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split('-').next());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            clear(&entry.path());
        }
    }
}
