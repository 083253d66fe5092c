//! The first process of a guest: prepares the machine, runs every scenario, reports, powers off.
//!
//! It speaks on the second serial port, one line each, so that kernel messages on the first can
//! never cut through a result:
//!
//! ```text
//! CGWATCH-KERNEL release
//! CGWATCH-BEGIN name
//! CGWATCH-SCENARIO name pass|fail|skip reason
//! CGWATCH-END how-many
//! ```
//!
//! With `--run=PROGRAM` that is run instead of the scenarios, under its own name; its standard output
//! goes to the same port.
//!
//! The first result, [`BOOT`], says whether the guest offers what the scenarios count on. A guest
//! that ends without `CGWATCH-END` has failed, whatever it said before.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use globset::Glob;
use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount};
use rustix::process::WaitOptions;
use scenarios::{Environment, Outcome};

const CGROUP_MOUNT: &str = "/sys/fs/cgroup";
const RESULTS: &str = "/dev/ttyS1";
const MODULES: &str = "/modules";
/// The scenario that is about the guest itself.
const BOOT: &str = "boot";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(code) = scenarios::entry() {
        return code;
    }
    let done = if rustix::process::getpid().is_init() {
        run_guest()
    } else {
        Err("this is the first process of a guest, made by `cargo xtask kernels`".into())
    };
    if let Err(error) = done {
        eprintln!("guest-init: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The life of the first process: it ends with the machine, or, on an error, in a kernel panic,
/// which the host sees as a guest without an end.
fn run_guest() -> Result<()> {
    mount_all()?;
    // A serial port must not become this process's controlling terminal.
    let no_terminal = OFlags::NOCTTY.bits().cast_signed();
    let mut results = OpenOptions::new().write(true).custom_flags(no_terminal).open(RESULTS)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    writeln!(results, "CGWATCH-KERNEL {}", release.trim())?;
    writeln!(results, "CGWATCH-BEGIN {BOOT}")?;
    let prepared =
        prepare().map_or_else(|error| Outcome::Fail(error.to_string()), |()| Outcome::Pass);
    report(&mut results, BOOT, &prepared)?;

    let count = match argument("--run=") {
        Some(program) => run_program(&program, &mut results)?,
        None => run_scenarios(&mut results)?,
    };
    writeln!(results, "CGWATCH-END {count}")?;
    // Closing the port waits until every byte is out.
    drop(results);
    rustix::system::reboot(rustix::system::RebootCommand::PowerOff)?;
    Ok(())
}

fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|word| word.strip_prefix(name).map(str::to_owned))
}

/// Runs a program as if it were a scenario; how many results there are now.
fn run_program(program: &str, results: &mut File) -> Result<usize> {
    writeln!(results, "CGWATCH-BEGIN {program}")?;
    let status = Command::new(program).stdin(Stdio::null()).stdout(results.try_clone()?).status();
    let outcome = match status {
        Ok(status) if status.success() => Outcome::Pass,
        Ok(status) => Outcome::Fail(status.to_string()),
        Err(error) => Outcome::Fail(error.to_string()),
    };
    report(results, program, &outcome)?;
    Ok(2)
}

/// Runs those that are wanted; how many results there are now.
fn run_scenarios(results: &mut File) -> Result<usize> {
    let environment = Environment::detect(true).ok_or("no cgroup v2 hierarchy")?;
    let wanted = Glob::new(argument("--only=").as_deref().unwrap_or("*"))?.compile_matcher();
    let mut count = 1;
    for scenario in scenarios::all().iter().filter(|scenario| wanted.is_match(scenario.full_name()))
    {
        let name = scenario.full_name();
        writeln!(results, "CGWATCH-BEGIN {name}")?;
        let outcome = scenarios::run_in_child(scenario, &environment);
        reap_orphans();
        report(results, &name, &outcome)?;
        count += 1;
    }
    Ok(count)
}

/// Mounts what a machine has.
fn mount_all() -> Result<()> {
    for (kind, target) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("cgroup2", CGROUP_MOUNT),
    ] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .map_err(|error| format!("{target}: {error}"))?;
    }
    Ok(())
}

/// Enables every controller, loads the modules that were packed, and looks at what came of it.
fn prepare() -> Result<()> {
    let root = Path::new(CGROUP_MOUNT);
    let control = root.join("cgroup.subtree_control");
    for controller in fs::read_to_string(root.join("cgroup.controllers"))?.split_whitespace() {
        // One write each: a controller that cannot be enabled does not take the others along.
        if let Err(error) = fs::write(&control, format!("+{controller}")) {
            eprintln!("guest-init: {controller} stays off: {error}");
        }
    }
    for module in list(MODULES)? {
        rustix::system::finit_module(File::open(&module)?, c"", 0)
            .map_err(|error| format!("{}: {error}", module.display()))?;
    }

    let cgroup = root.join(BOOT);
    fs::create_dir(&cgroup)?;
    for file in ["cgroup.events", "memory.events", "pids.events"] {
        fs::read(cgroup.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    fs::remove_dir(&cgroup)?;
    let file_systems = fs::read_to_string("/proc/filesystems")?;
    if !file_systems.split_whitespace().any(|name| name == "fuse") {
        return Err("no FUSE".into());
    }
    Ok(())
}

/// The entries of a directory in the order of their names; none if there is no such directory.
fn list(directory: &str) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The first process inherits every orphan.
fn reap_orphans() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// One result as one line, control characters and backslashes escaped.
fn report(results: &mut File, scenario: &str, outcome: &Outcome) -> io::Result<()> {
    let text = outcome.to_string();
    let line = text.trim_end().chars().fold(String::new(), |mut line, character| {
        if character.is_control() || character == '\\' {
            // Writing into a String does not fail.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
        line
    });
    writeln!(results, "CGWATCH-SCENARIO {scenario} {line}")
}
