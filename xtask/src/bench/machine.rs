//! What benchmarks ask of the machine: its C compiler, its clocks, its cgroups, its memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::{process, workspace};

/// Where cgroup v2 is mounted.
pub(super) fn cgroups() -> Result<PathBuf> {
    let mounts = cgwatch::Mount::all()?;
    let mount = mounts.into_iter().next().context("no cgroup v2 hierarchy is mounted")?;
    Ok(mount.point)
}

/// `xtask/bench/NAME.c`, compiled.
pub(super) fn compile(name: &str) -> Result<PathBuf> {
    let source = workspace::root().join("xtask/bench").join(name).with_extension("c");
    compile_file(&source, ["-Wall", "-Wextra", "-Werror"])
}

/// A program of one source file, compiled with those flags; among them its libraries.
pub(super) fn compile_file<'f>(
    source: &Path,
    flags: impl IntoIterator<Item = &'f str>,
) -> Result<PathBuf> {
    let folder = workspace::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join(source.file_stem().context("a source without a name")?);
    process::run(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).args(flags))?;
    Ok(program)
}

/// Lets this process have more than so many open files.
pub(super) fn allow_open_files(more: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current > more) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < more) {
        bail!("at most {:?} open files are allowed, {more} are needed", limit.maximum);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum: limit.maximum })?;
    Ok(())
}

/// What a clock shows.
pub(super) fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // No clock that is asked goes below zero.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Removes a cgroup with all below it, as far as that goes.
pub(super) fn remove_cgroups(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    if let Err(error) = std::fs::remove_dir(cgroup) {
        eprintln!("left behind: {}: {error}", cgroup.display());
    }
}

/// How much of a processor's time a process has had, that of its first thread.
pub(super) fn processor_time(process: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanoseconds = text.split_whitespace().next().context("no such field")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The kernel's own small objects, in bytes: of the whole machine.
pub(super) fn slab() -> Result<f64> {
    field(Path::new("/proc/meminfo"), "Slab:")
}

/// Memory that is a process's own alone, in bytes.
pub(super) fn private_bytes(process: u32) -> Result<f64> {
    field(Path::new(&format!("/proc/{process}/status")), "RssAnon:")
}

/// A size in a file of `/proc` that gives it in kB; in bytes.
fn field(file: &Path, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no such field")?;
    Ok(number.parse::<f64>()? * 1024.0)
}
