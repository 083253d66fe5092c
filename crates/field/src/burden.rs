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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use rustix::fs::inotify;
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    /// A shell that has done this and waits.
    fn shell(script: &str) -> Child {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{script}; echo; read wait")]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        shell
    }

    #[test]
    fn a_process_of_known_size() {
        // Both have got the same from us.
        let mut shells = [shell("true"), shell("exec 8</dev/null 9</dev/null")];
        let [less, more] = shells.each_ref().map(|shell| Burden::of(shell.id()).unwrap());
        for shell in &mut shells {
            shell.kill().unwrap();
            shell.wait().unwrap();
        }
        assert!((100..100_000).contains(&less.resident), "{less:?}");
        assert_eq!((less.threads, less.instances, less.watches), (1, 0, 0));
        assert!(less.descriptors >= 3, "{less:?}");
        assert_eq!(more.beyond(less).descriptors, 2);
        Burden::of(shells[0].id()).unwrap_err();
    }

    #[test]
    fn instances_and_watches_are_counted_apart() {
        let me = std::process::id();
        let before = Burden::of(me).unwrap();
        let flags = inotify::CreateFlags::CLOEXEC;
        let two = [inotify::init(flags).unwrap(), inotify::init(flags).unwrap()];
        let watch = |instance: usize, path: &str| {
            let changes = inotify::WatchFlags::MODIFY;
            inotify::add_watch(&two[instance], path, changes).unwrap();
        };
        watch(0, "/");
        watch(0, "/proc");
        watch(1, "/");
        let more = Burden::of(me).unwrap().beyond(before);
        assert_eq!((more.instances, more.watches), (2, 3));
    }

    #[test]
    fn what_is_held_more_is_a_difference_in_each() {
        let burden = |[resident, threads, descriptors, instances, watches]: [i64; 5]| Burden {
            resident,
            threads,
            descriptors,
            instances,
            watches,
        };
        let more = burden([100, 9, 8, 7, 6]).beyond(burden([10, 2, 3, 4, 5]));
        assert_eq!(more, burden([90, 7, 5, 3, 1]));
    }

    #[test]
    fn processor_time_is_in_seconds() {
        let clock = || {
            let time = clock_gettime(ClockId::ProcessCPUTime);
            time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
        };
        let me = std::process::id();
        // The kernel adds up what a thread ran at each tick at the latest.
        let (start, before) = (clock(), processor_time(me).unwrap());
        while clock() < start + 0.2 {}
        let after = processor_time(me).unwrap();
        assert!(after > before + 0.1 && after <= clock(), "{before} {after}");
        assert!(processor_time(u32::MAX).is_err());
    }
}
