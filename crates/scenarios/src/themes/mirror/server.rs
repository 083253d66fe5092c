//! `cgwatch mirror` in a process of its own, on a directory of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use linux_notify::mountinfo::{self, MountInfo};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Cgroup, Descriptors, Environment, Failure, Tree, descriptors, mounts, resident};

const NAME: &str = "cgwatch-mirror-";

/// The server. Dropping it ends it, and takes its mount away.
pub(super) struct Server {
    child: Child,
    directory: PathBuf,
    patience: Duration,
}

impl Server {
    /// Mirrors a tree at a new directory.
    pub(super) fn start(environment: &Environment, tree: &Tree) -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        mounts::clear_orphans(&environment.scratch, NAME);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME}{}-{number}", std::process::id());
        let directory = environment.scratch.join(name);
        fs::create_dir(&directory).map_err(Failure::driver("make", &directory))?;
        Self::start_at(environment, tree.root(), directory)
    }

    /// Mirrors a cgroup at a directory.
    pub(super) fn start_at(
        environment: &Environment,
        root: &Cgroup,
        directory: PathBuf,
    ) -> Result<Self, Failure> {
        let missing = || Failure::broken("driver: no command");
        let mut command = Command::new(environment.command.as_ref().ok_or_else(missing)?);
        command.arg("mirror").arg(&directory).arg("--root").arg(&root.directory);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.map_err(Failure::driver("start", "the mirror"))?;
        let mut server = Self { child, directory, patience: environment.patience() };
        let mounted = server.path("cgroup.events");
        // Not only there: the kernel keeps what it knows of a server that was killed.
        server.until("it is mounted", || fs::read(&mounted).is_ok())?;
        Ok(server)
    }

    /// A path in the mirror.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A cgroup of the tree's has come.
    pub(super) fn until_shown(&mut self, path: &str, cgroup: &Cgroup) -> Result<(), Failure> {
        use std::os::unix::fs::MetadataExt as _;
        let (shown, id) = (self.path(path), cgroup.id);
        let is_it = || fs::metadata(&shown).is_ok_and(|metadata| metadata.ino() == id);
        self.until(&format!("{path} is shown"), is_it)
    }

    /// Waits for something that comes while it lives.
    pub(super) fn until(&mut self, what: &str, so: impl Fn() -> bool) -> Result<(), Failure> {
        let end = Instant::now() + self.patience;
        while !so() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::broken(format!("until {what}: the mirror ended: {status}")));
            }
            if Instant::now() > end {
                return Err(Failure::broken(format!("{what}: never")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What the process holds.
    pub(super) fn descriptors(&self) -> Result<Descriptors, Failure> {
        descriptors(&self.child.id().to_string())
    }

    /// Its resident bytes.
    pub(super) fn resident(&self) -> Result<u64, Failure> {
        resident(&self.child.id().to_string())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits until it has ended, and gives its exit code; `None` if a signal killed it.
    pub(super) fn until_ended(&mut self) -> Result<Option<i32>, Failure> {
        let end = Instant::now() + self.patience;
        loop {
            match self.child.try_wait().map_err(Failure::driver("wait for", "the mirror"))? {
                Some(status) => return Ok(status.code()),
                None if Instant::now() > end => return Err(Failure::broken("it does not end")),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Whether something is mounted at its directory, alive or not.
    pub(super) fn is_mounted(&self) -> Result<bool, Failure> {
        let mounts = MountInfo::all().map_err(Failure::driver("read", mountinfo::PATH))?;
        Ok(mounts.iter().any(|mount| mount.point == self.directory))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.signal(Signal::TERM);
        if self.until_ended().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        mounts::clear(&self.directory);
    }
}
