//! Running other programs: what failed is named with its arguments. Once a task has asked for
//! [`end_in_order`], nothing more is started after an interrupt from the terminal, which reaches the
//! program that runs as well.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, Result, bail, ensure};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::workspace;

/// Exit code of what was ended by an interrupt, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

static INTERRUPT: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on the first interrupt does not end us, so that what was done can be told; the second
/// does.
pub(crate) fn end_in_order() -> Result<()> {
    // In this order: the first sets what the second asks for.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&INTERRUPT))?;
    flag::register(SIGINT, Arc::clone(&INTERRUPT))?;
    Ok(())
}

/// Whether the first interrupt has come.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPT.load(Ordering::SeqCst)
}

/// Fails after an interrupt: nothing more is to be begun.
pub(crate) fn go_on() -> Result<()> {
    ensure!(!is_interrupted(), "interrupted");
    Ok(())
}

/// Where `PATH` has the program, if it does.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

/// Runs the command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    go_on()?;
    let status = command.stdin(Stdio::null()).status().with_context(|| line(command))?;
    if !status.success() {
        bail!("{}: {status}", line(command));
    }
    Ok(())
}

/// Runs the command to its end and gives what it wrote to its standard output, as text.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    go_on()?;
    let output = command.stdin(Stdio::null()).output().with_context(|| line(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}\n{}", line(command), output.status, said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| line(command))
}

/// Runs the command to its end; what it writes to its standard output is passed on, and given.
pub(crate) fn run_and_read(command: &mut Command) -> Result<Vec<String>> {
    go_on()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| line(command))?;
    let output = child.stdout.take().with_context(|| line(command))?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        lines.push(line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{}: {status}", line(command));
    }
    Ok(lines)
}

/// Prints the last lines of a log, and where all of it is.
pub(crate) fn print_end(log: &Path) -> Result<()> {
    const LINES: usize = 40;
    let text = fs::read(log).with_context(|| log.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    println!("the last lines of {}:", log.display());
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        println!("  | {}", line.trim_end());
    }
    Ok(())
}

/// The command as it could be typed.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
