//! Where the scenarios run: the hierarchy, what it offers, and how fast the machine is.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cgwatch::{Options, Strategy, Watcher};
use linux_notify::mountinfo::MountInfo;

use crate::{Failure, Requirement, swap::Swap};

/// A machine with a cgroup v2 hierarchy.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The mount of the cgroup v2 hierarchy.
    pub cgroup_mount: PathBuf,
    /// A directory on a file system that is not the hierarchy, writable.
    pub scratch: PathBuf,
    /// A guest that exists for the scenarios alone, emulated and therefore slow.
    pub guest: bool,
    /// The command `cgwatch`, where it has been built.
    pub command: Option<PathBuf>,
    /// How cgwatch is to watch.
    pub strategy: Strategy,
}

impl Environment {
    /// What is here. `None` without a cgroup v2 hierarchy.
    #[must_use]
    pub fn detect(guest: bool) -> Option<Self> {
        Some(Self {
            cgroup_mount: mounted()?,
            scratch: env::temp_dir(),
            guest,
            command: command(),
            strategy: Strategy::Auto,
        })
    }

    /// A watcher by the strategy that is to be shown.
    ///
    /// # Errors
    /// What cgwatch refuses.
    pub fn watcher(&self, options: Options) -> Result<Watcher, Failure> {
        Ok(Watcher::new(options.strategy(self.strategy))?)
    }

    /// `count`, or a fortieth of it in a guest, but at least `least`.
    #[must_use]
    pub fn scale(&self, count: usize, least: usize) -> usize {
        if self.guest { (count / 40).max(least) } else { count }
    }

    /// The time limit that a scenario gets here.
    #[must_use]
    pub fn limit(&self, limit: Duration) -> Duration {
        if self.guest { limit * 2 } else { limit }
    }

    /// How long anything awaited may take: far longer than it ever does, since only a failure
    /// waits so long.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(if self.guest { 60 } else { 20 })
    }

    /// Whether a requirement is met.
    #[must_use]
    pub fn meets(&self, requirement: Requirement) -> bool {
        match requirement {
            Requirement::Memory => self.has_controller("memory"),
            Requirement::Pids => self.has_controller("pids"),
            Requirement::HugeTlb => {
                self.has_controller("hugetlb")
                    && Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists()
            }
            Requirement::Swap => self.guest && Swap::is_there(),
            Requirement::Guest => self.guest,
            Requirement::Host => !self.guest,
            Requirement::Command => self.command.is_some(),
            Requirement::Fuse => {
                fs::File::options().read(true).write(true).open("/dev/fuse").is_ok()
            }
            Requirement::SuperblockMark => {
                Watcher::new(Options::new().strategy(Strategy::Fanotify)).is_ok()
            }
            Requirement::UserNamespace => Path::new("/proc/self/ns/user").exists(),
        }
    }

    fn has_controller(&self, controller: &str) -> bool {
        fs::read_to_string(self.cgroup_mount.join("cgroup.controllers"))
            .is_ok_and(|list| list.split_whitespace().any(|name| name == controller))
    }
}

/// The first cgroup2 mount of `/proc/self/mountinfo`.
fn mounted() -> Option<PathBuf> {
    let mut mounts = MountInfo::all().ok()?.into_iter();
    mounts.find(|mount| mount.file_system == "cgroup2").map(|mount| mount.point)
}

/// `$CGWATCH`, or beside this program or its folder, or `/bin/cgwatch` in a guest.
fn command() -> Option<PathBuf> {
    if let Some(path) = env::var_os("CGWATCH") {
        return Some(path.into());
    }
    let program = env::current_exe().ok()?;
    let beside = program.ancestors().skip(1).take(2).map(|folder| folder.join("cgwatch"));
    beside.chain([PathBuf::from("/bin/cgwatch")]).find(|path| path.is_file())
}
