//! What tests need of this machine: a cgroup of their own, a process of their own, fewer rights.

#[path = "../tests/own/mod.rs"]
mod own;

use std::{env, path::PathBuf, process::Command};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tempfile::TempDir;

pub(crate) use self::own::Own;

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
        let cgroup = Own::new(test)?;
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
