//! What each step of `cargo xtask test` does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use cgwatch::Mount;

use super::{Ending, Known};
use crate::mutate::{self, Part};
use crate::{
    debian::{self, Tool},
    kernels, process, soak, workspace,
};

/// Built once, and the same way in every step.
const WHOLE: [&str; 3] = ["--workspace", "--all-features", "--locked"];
/// The test program that runs the scenarios here.
const SCENARIOS_HERE: &str = "host";
const FUZZ_SECONDS: u32 = 10;

pub(super) fn format() -> Result<Ending> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    process::run(process::cargo().current_dir(fuzz_folder()).args(["fmt", "--check"]))?;
    Ok(Ending::Passed(None))
}

pub(super) fn clippy() -> Result<Ending> {
    process::run(process::cargo().arg("clippy").args(WHOLE).arg("--all-targets"))?;
    Ok(Ending::Passed(None))
}

/// All but the scenarios, which have a step of their own.
pub(super) fn tests() -> Result<Ending> {
    // Clients of a mount, and how ordinary users mount; a test that misses one says that it is
    // skipped.
    const TOOLS: [Tool; 5] = [
        debian::INOTIFYWAIT,
        debian::WATCHMEDO,
        debian::BUSYBOX,
        debian::FUSERMOUNT,
        debian::SETPRIV,
    ];
    if let Err(reason) = debian::provide(&TOOLS) {
        println!("{reason:#}");
    }
    let cargo = |words: &[&str]| process::run(process::cargo().args(words).args(WHOLE));
    if process::find("cargo-nextest").is_some() {
        let others = format!("not binary(={SCENARIOS_HERE})");
        cargo(&["nextest", "run", "--filterset", &others])?;
    } else {
        cargo(&["test", "--no-fail-fast", "--lib", "--bins"])?;
        cargo(&["test", "--no-fail-fast", "--exclude", "scenarios", "--test", "*"])?;
    }
    Ok(Ending::Passed(None))
}

/// Under loom every lock and atomic of these crates is another type, so that they are compiled
/// apart.
pub(super) fn models() -> Result<Ending> {
    let mut command = process::cargo();
    command.env("RUSTFLAGS", "--cfg loom").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env("CARGO_TARGET_DIR", workspace::root().join("target/loom"));
    command.args(["test", "--locked", "--package=fsnotify", "--package=kernfs", "--test=loom"]);
    process::run(&mut command)?;
    Ok(Ending::Passed(None))
}

/// Seeds by the thousand, under each profile.
pub(super) fn simulation(known: &mut Known) -> Result<Ending> {
    process::run(process::cargo().args(["xtask", "simulate"]))?;
    known.simulation_passed = true;
    Ok(Ending::Passed(None))
}

pub(super) fn doc_tests() -> Result<Ending> {
    process::run(process::cargo().arg("test").args(WHOLE).arg("--doc"))?;
    Ok(Ending::Passed(None))
}

pub(super) fn docs() -> Result<Ending> {
    let mut command = process::cargo();
    command.arg("doc").args(WHOLE).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command)?;
    Ok(Ending::Passed(None))
}

/// Every scenario that can run on this machine's own hierarchy.
pub(super) fn cgroups(known: &mut Known) -> Result<Ending> {
    if let Err(reason) = try_hierarchy() {
        return Ok(Ending::Skipped(format!("{reason:#}")));
    }
    let mut command = process::cargo();
    // The command is one of the things that scenarios drive.
    process::run(command.arg("build").args(WHOLE).arg("--bin=cgwatch"))?;
    let mut command = process::cargo();
    command.arg("test").args(WHOLE).args(["--no-fail-fast", "--test", SCENARIOS_HERE]);
    let lines = process::run_and_read(&mut command)?;
    let skipped: BTreeSet<_> =
        lines.iter().filter_map(|line| line.strip_prefix("skip ")?.split(' ').next()).collect();
    let passed = lines.iter().filter_map(|line| {
        line.strip_prefix("test ")?.strip_suffix(" ... ok").map(|name| name.trim_end().to_owned())
    });
    known.passed_here = Some(passed.filter(|name| !skipped.contains(name.as_str())).collect());
    Ok(Ending::Passed(None))
}

/// One minute, always with the same seed: what it does can be done again. Built as the cgroups step
/// built it.
pub(super) fn soak() -> Result<Ending> {
    const SEED: u64 = 6;
    if let Err(reason) = try_hierarchy() {
        return Ok(Ending::Skipped(format!("{reason:#}")));
    }
    let options = soak::Options { minutes: 1, seed: Some(SEED) };
    let lines = soak::run(&options, &WHOLE, "debug")?;
    // All of it, or one of its watchers.
    let left_out = lines.iter().filter_map(|line| match line.strip_prefix("skip ") {
        None => line.starts_with("without ").then_some(line.as_str()),
        reason => reason,
    });
    let left_out = names(left_out);
    Ok(match left_out.is_empty() {
        false => Ending::Skipped(left_out),
        true => Ending::Passed(lines.last().cloned()),
    })
}

/// Whether cgroups can be made and removed here.
fn try_hierarchy() -> Result<()> {
    let mounts = Mount::all()?;
    let mount = &mounts.first().context("no cgroup v2 hierarchy is mounted")?.point;
    let cgroup = mount.join(format!("cgwatch-trial-{}", std::process::id()));
    fs::create_dir(&cgroup)
        .and_then(|()| fs::remove_dir(&cgroup))
        .with_context(|| format!("no cgroups can be made in {}", mount.display()))
}

/// Today's part of the mutations, or all of them; that each still applies is seen in any case.
pub(super) fn mutations(all: bool, known: &Known) -> Result<Ending> {
    let part = if all { Part::ALL } else { Part::of_today() };
    Ok(Ending::Passed(Some(mutate::step(part, known.simulation_passed)?)))
}

fn fuzz_folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Every fuzz target; see `fuzz/README.md`.
pub(super) fn fuzz() -> Result<Ending> {
    if let Err(reason) = debian::provide(&[debian::CPLUSPLUS]) {
        return Ok(Ending::Skipped(format!("{reason:#}")));
    }
    let folder = fuzz_folder();
    // Its own configuration sets the flags, which the environment's would replace.
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(&folder).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    };
    process::run(cargo().args(["build", "--locked", "--release", "--bins"]))?;
    let mut targets: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        targets.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    targets.sort();
    for target in targets {
        println!("fuzzing {target}: {}", fuzz_target(&target, cargo())?);
    }
    Ok(Ending::Passed(None))
}

/// Fuzzes one target; tells how much it did.
fn fuzz_target(target: &str, mut cargo: Command) -> Result<String> {
    let [corpus, artifacts, seeds] =
        ["corpus", "artifacts", "seeds"].map(|kind| fuzz_folder().join(kind).join(target));
    for folder in [&corpus, &artifacts, &seeds] {
        fs::create_dir_all(folder)?;
    }
    let log = artifacts.with_extension("log");
    cargo
        .args(["run", "--quiet", "--locked", "--release", "--bin", target, "--"])
        .arg(format!("-max_total_time={FUZZ_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .args([corpus, seeds])
        .stderr(File::create(&log)?);
    if let Err(error) = process::run(&mut cargo) {
        process::print_end(&log)?;
        return Err(error);
    }
    let log = fs::read(&log)?;
    let statistics = String::from_utf8_lossy(&log);
    let inputs = statistics
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .context("no statistics")?;
    Ok(format!("{} inputs in {FUZZ_SECONDS} s", inputs.trim()))
}

/// Every scenario on every kernel of the matrix; and each of them must have passed somewhere.
pub(super) fn kernels(known: &Known) -> Result<Ending> {
    if let Err(reason) = debian::provide(&kernels::TOOLS) {
        return Ok(Ending::Skipped(format!("{reason:#}")));
    }
    let matrix = kernels::run(&kernels::Options::default())?;
    let failed = matrix.failed();
    if !failed.is_empty() {
        bail!("{}", names(failed));
    }
    if let Some(passed_here) = &known.passed_here {
        let nowhere: Vec<_> = matrix
            .passed_anywhere()
            .into_iter()
            .filter(|(scenario, passed)| !passed && !passed_here.contains(*scenario))
            .map(|(scenario, _)| scenario)
            .collect();
        if !nowhere.is_empty() {
            bail!("skipped on every kernel and here: {}", names(nowhere));
        }
    }
    if !matrix.unavailable.is_empty() {
        let reasons =
            matrix.unavailable.iter().map(|(series, error)| format!("{series}: {error:#}"));
        return Ok(Ending::Skipped(names(reasons)));
    }
    if !(matrix.has_run(false) && matrix.has_run(true)) {
        let gone = names(&matrix.unshipped);
        return Ok(Ending::Skipped(format!(
            "no kernel on one side of 7.1; Debian no longer ships {gone}"
        )));
    }
    let gone = (!matrix.unshipped.is_empty())
        .then(|| format!("Debian no longer ships {}", names(&matrix.unshipped)));
    Ok(Ending::Passed(gone))
}

fn names<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
