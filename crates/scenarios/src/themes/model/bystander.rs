//! Whether another program of this machine opens the cgroups of a scenario.
//!
//! On Linux much depends on what is cached: a file that somebody looked up tells its directory and
//! the mount of its changes, and a file that somebody holds says nothing of its removal. A monitor
//! of the whole hierarchy looks into every cgroup as soon as it is made. The driver cannot keep it
//! out; it can hear of it: a mark on the mount tells who opens what.
//!
//! What is opened is recognised by inode number. Listing a directory gives those of its files and
//! looks none of them up.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::Path,
    time::{Duration, Instant},
};

use linux_notify::fanotify::{Fanotify, Info, InitFlags, MarkFlags, Mask, Scope};
use rustix::fs::CWD;

use crate::{Environment, Failure};

/// Who opens something only after the scenario has ended has looked it up before; so long a
/// disagreement waits for that.
const LATE: Duration = Duration::from_secs(2);

/// Hears who opens what. Nobody does in a guest, and where the mount cannot be marked (before 6.6,
/// or without privileges) nothing is known.
#[derive(Default)]
pub(super) struct Bystanders {
    group: Option<Fanotify>,
    ours: BTreeSet<u64>,
}

impl Bystanders {
    pub(super) fn new(environment: &Environment) -> Self {
        let group = if environment.guest { None } else { mark(&environment.cgroup_mount) };
        Self { group, ours: BTreeSet::new() }
    }

    /// A directory of the scenario's, and what is in it.
    pub(super) fn know(&mut self, directory: &Path) -> Result<(), Failure> {
        let failed = || Failure::driver("list", directory);
        self.ours.insert(fs::metadata(directory).map_err(failed())?.ino());
        for entry in fs::read_dir(directory).map_err(failed())? {
            self.ours.insert(entry.map_err(failed())?.ino());
        }
        Ok(())
    }

    /// The process that opened something of the scenario's, if another than this one did.
    pub(super) fn seen(&self) -> Result<Option<i32>, Failure> {
        let Some(group) = &self.group else { return Ok(None) };
        let deadline = Instant::now() + LATE;
        loop {
            let found = self.look(group)?;
            if found.is_some() || Instant::now() > deadline {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn look(&self, group: &Fanotify) -> Result<Option<i32>, Failure> {
        let own = std::process::id();
        let mut buffer = [0; 4096];
        loop {
            let mut none = true;
            for event in group.read(&mut buffer)? {
                none = false;
                let of_ours = event.infos().any(|info| match info {
                    Info::Handle { handle, .. } => {
                        handle.kernfs_id().is_some_and(|id| self.ours.contains(&id))
                    }
                    _ => false,
                });
                if of_ours && u32::try_from(event.pid) != Ok(own) {
                    return Ok(Some(event.pid));
                }
            }
            if none {
                return Ok(None);
            }
        }
    }
}

fn mark(mount: &Path) -> Option<Fanotify> {
    let path = CString::new(mount.as_os_str().as_bytes()).ok()?;
    let group = Fanotify::new(InitFlags::REPORT_DIR_FID | InitFlags::UNLIMITED_QUEUE).ok()?;
    let opened = Mask::OPEN | Mask::ONDIR;
    group.add_at(Scope::Filesystem, MarkFlags::empty(), opened, CWD, &path).ok()?;
    Some(group)
}
