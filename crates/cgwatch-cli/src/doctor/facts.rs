//! What is found out, before it is shown.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cgwatch::{Capabilities, Depth, Error, FileSystem, Mount, Options, Watcher};
use rustix::io::Errno;

use crate::{failure, limits::Limits};

/// All that `doctor` shows.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) kernel: String,
    pub(super) cgroup: PathBuf,
    pub(super) mount: Option<Mount>,
    /// Controllers the root of the mount could give to its children; `None`: not readable.
    pub(super) root_controllers: Option<String>,
    /// Controllers this cgroup has, and those it gives to its children.
    pub(super) controllers: Option<String>,
    pub(super) subtree_control: Option<String>,
    /// How many cgroups there are, this one included, and how many could not be listed.
    pub(super) cgroups: u64,
    pub(super) unlistable: u64,
    pub(super) limits: Limits,
    pub(super) capabilities: Capabilities,
    pub(super) choice: Choice,
}

/// What `watch` would do.
#[derive(Debug)]
pub(super) enum Choice {
    Strategy {
        name: &'static str,
        because: String,
        /// The watches it would hold at most with the usual files.
        watches: u64,
    },
    /// It would fail, and why.
    Failure(String),
}

impl Facts {
    /// Looks at everything once. Changes nothing.
    ///
    /// # Errors
    /// If `cgroup` is no cgroup v2 directory.
    pub(super) fn gather(cgroup: &Path) -> anyhow::Result<Self> {
        let failed = |action| {
            move |error: io::Error| Error::Path {
                action,
                path: cgroup.to_owned(),
                source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
            }
        };
        let cgroup = cgroup.canonicalize().map_err(failed("open"))?;
        match FileSystem::of(&cgroup) {
            Ok(FileSystem::Cgroup2) => {}
            Ok(FileSystem::Cgroup1) => return Err(Error::CgroupV1 { path: cgroup }.into()),
            Ok(FileSystem::Other) => return Err(Error::NotACgroup { path: cgroup }.into()),
            Err(source) => {
                return Err(Error::Path { action: "examine", path: cgroup, source }.into());
            }
        }
        if !cgroup.is_dir() {
            return Err(Error::NotACgroup { path: cgroup }.into());
        }
        let mount = Mount::of(&Mount::all()?, &cgroup).cloned();
        let (cgroups, unlistable) = count(&cgroup);
        let uname = rustix::system::uname();
        let root = mount.as_ref().map(|mount| mount.point.as_path());
        Ok(Self {
            kernel: format!(
                "{} {} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy(),
                uname.machine().to_string_lossy()
            ),
            root_controllers: root.and_then(|root| line(root, "cgroup.controllers")),
            controllers: line(&cgroup, "cgroup.controllers"),
            subtree_control: line(&cgroup, "cgroup.subtree_control"),
            mount,
            cgroups,
            unlistable,
            limits: Limits::now(),
            capabilities: Capabilities::learn(&cgroup),
            choice: choice(&cgroup, cgroups),
            cgroup,
        })
    }
}

fn line(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok().map(|text| text.trim_end().to_owned())
}

/// How many cgroups there are at and below a path, and how many could not be listed.
fn count(cgroup: &Path) -> (u64, u64) {
    let (mut cgroups, mut unlistable) = (0, 0);
    let mut waiting = vec![cgroup.to_owned()];
    while let Some(directory) = waiting.pop() {
        cgroups += 1;
        match fs::read_dir(&directory) {
            Ok(entries) => waiting.extend(
                entries
                    .flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => cgroups -= 1,
            Err(_) => unlistable += 1,
        }
    }
    (cgroups, unlistable)
}

/// Asks the library itself, by watching this one cgroup for a moment.
fn choice(cgroup: &Path, cgroups: u64) -> Choice {
    let tried = Watcher::new(Options::new()).and_then(|mut watcher| {
        watcher.decide(cgroup, Depth::All)?;
        watcher.add(cgroup, Depth::AtMost(0))?;
        Ok(watcher.start())
    });
    match tried {
        Ok(start) => {
            let files = start.files.len() as u64;
            let each = match start.strategy {
                cgwatch::Strategy::Sweep => 0,
                cgwatch::Strategy::Fanotify => files,
                // The directory, too.
                _ => 1 + files,
            };
            let watches = cgroups.saturating_mul(each);
            Choice::Strategy { name: start.strategy.name(), because: start.because, watches }
        }
        Err(error) => Choice::Failure(failure::sentence(&error.into())),
    }
}
