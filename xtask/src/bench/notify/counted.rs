//! Instructions of the hot paths, counted by valgrind: the same on a busy machine.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::{BATCH, own};
use crate::process;

/// A hot path.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Path {
    /// One event, one read.
    One,
    /// 64 events, one read.
    Batch,
    /// An event that nobody wants.
    Unwatched,
    /// A node's own notification, told and read.
    Tree,
    /// A node's own notification, not told yet.
    Notify,
}

/// What valgrind runs.
pub(crate) fn subject(path: Path, turns: usize) -> Result<()> {
    let mut watched = own::Watched::new(usize::from(!matches!(path, Path::Unwatched)), 2)?;
    let mut forest = own::Forest::new(1000, 1)?;
    for _ in 0..turns {
        match path {
            Path::One => watched.turn(1),
            Path::Batch => watched.turn(BATCH),
            Path::Unwatched => watched.notify(0),
            Path::Tree => forest.turn(),
            Path::Notify => forest.notify(),
        }
    }
    Ok(())
}

pub(super) fn print() -> Result<()> {
    if process::find("valgrind").is_none() {
        println!("instructions: valgrind is not installed");
        return Ok(());
    }
    for (what, path, events) in [
        ("notify, read: one by one", Path::One, 1),
        ("notify, read: 64 at once", Path::Batch, BATCH),
        ("fsnotify() of an unwatched object", Path::Unwatched, 1),
        ("notify() of a node, told and read", Path::Tree, 1),
        ("notify() of a node, again", Path::Notify, 1),
    ] {
        // What start and end cost cancels out.
        let (few, many) = (count(path, 1000)?, count(path, 3000)?);
        let each = (many - few) as f64 / 2000.0 / events as f64;
        println!("{what:<36}{each:>10.1}  instructions an event");
    }
    Ok(())
}

fn count(path: Path, turns: usize) -> Result<u64> {
    let name = path.to_possible_value().context("every path has a name")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["bench", "notify-subject", name.get_name(), &turns.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let Some((_, count)) = text.split_once("Collected : ") else { bail!("valgrind: {text}") };
    let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}
