//! What tests need of this machine: a cgroup of their own, a process of their own, fewer rights.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tempfile::TempDir;

use crate::Mount;

/// Removed at the end, with all below it.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// `None`, with the reason printed, if none can be made here.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let mounts = Mount::all().unwrap();
        let Some(mount) = mounts.first() else {
            println!("skipped: no cgroup v2 hierarchy is mounted");
            return None;
        };
        let path = mount.point.join(format!("cgwatch-test-{test}-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                println!("skipped: cannot create {}: {error}", path.display());
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes one below it.
    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fn remove(directory: &Path) {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                remove(&entry.path());
            }
            let _ = fs::remove_dir(directory);
        }
        remove(&self.0);
    }
}

/// What a test has in a process and a mount namespace of its own.
pub(crate) struct Apart {
    /// A cgroup with `a`, `b` and `b/sub` in it.
    pub(crate) cgroup: PathBuf,
    /// A directory elsewhere, empty before the script.
    pub(crate) directory: PathBuf,
}

/// The variables that a test is handed this by, and its script.
const CGROUP: &str = "CGWATCH_TEST_CGROUP";
const DIRECTORY: &str = "CGWATCH_TEST_DIRECTORY";

impl Apart {
    /// Runs this test (its `module_path!()` and name) once more, apart, after this shell script: `$T`
    /// and `$D` are the cgroup and the directory. `Some` there; `None` here, where nothing is left to do.
    pub(crate) fn new(module: &str, test: &str, script: &str) -> Option<Self> {
        if let (Some(cgroup), Some(directory)) = (env::var_os(CGROUP), env::var_os(DIRECTORY)) {
            return Some(Self { cgroup: cgroup.into(), directory: directory.into() });
        }
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private"]);
            command
        };
        if !unshare().arg("true").output().is_ok_and(|tried| tried.status.success()) {
            println!("skipped: no mount namespace is to be had");
            return None;
        }
        let cgroup = Cgroup::new(test)?;
        for name in ["a", "b", "b/sub"] {
            cgroup.make(name);
        }
        let directory = TempDir::new().unwrap();
        let module = module.split_once("::").unwrap().1;
        let script = format!("set -e; T=${CGROUP}; D=${DIRECTORY}\n{script}\nexec \"$@\"");
        let output = unshare()
            .args(["sh", "-c", &script, "sh"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", &format!("{module}::{test}")])
            .env(CGROUP, cgroup.path())
            .env(DIRECTORY, directory.path())
            .output()
            .unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains(" 1 passed"), "{said}{errors}");
        None
    }
}

/// Runs it on a thread that lacks these capabilities.
pub(crate) fn without<T: Send>(lacking: CapabilitySet, run: impl FnOnce() -> T + Send) -> T {
    let run = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(lacking);
        set_capabilities(None, sets).unwrap();
        run()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}
