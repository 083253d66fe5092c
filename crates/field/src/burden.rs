//! What a process holds and has used, from `/proc`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burden {
    /// Resident memory in KiB.
    pub resident: i64,
    /// Threads.
    pub threads: i64,
    /// Open descriptors.
    pub descriptors: i64,
    /// Inotify instances among them.
    pub instances: i64,
    /// Watches of all its instances.
    pub watches: i64,
}

impl Burden {
    /// Of this process.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let status = read(&process.join("status"))?;
        let mut burden = Self {
            resident: field(&status, "VmRSS:"),
            threads: field(&status, "Threads:"),
            ..Self::default()
        };
        for entry in fs::read_dir(process.join("fdinfo"))? {
            burden.descriptors += 1;
            // Closed meanwhile.
            let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
            let watches = info.lines().filter(|line| line.starts_with("inotify ")).count();
            burden.watches += i64::try_from(watches)?;
        }
        for entry in fs::read_dir(process.join("fd"))? {
            let target = fs::read_link(entry?.path()).unwrap_or_default();
            burden.instances += i64::from(target == Path::new("anon_inode:inotify"));
        }
        Ok(burden)
    }

    /// What it holds more than then.
    #[must_use]
    pub fn beyond(self, before: Self) -> Self {
        Self {
            resident: self.resident - before.resident,
            threads: self.threads - before.threads,
            descriptors: self.descriptors - before.descriptors,
            instances: self.instances - before.instances,
            watches: self.watches - before.watches,
        }
    }
}

/// Seconds that all its threads have run.
///
/// # Errors
/// It is gone.
pub fn processor_time(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0_u64;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).context("it is gone")? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path().join("schedstat")) else { continue };
        let ran = text.split(' ').next().context("no schedstat")?;
        nanoseconds += ran.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn field(status: &str, name: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
