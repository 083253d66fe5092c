//! What a hostile owner of a delegated cgroup does, as fast as one thread can.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

/// The names of a deep tree have so many bytes.
const LONG: usize = 1400;
/// A deep tree has so many levels.
const DEEP: usize = 1000;
/// Between two changes of all children.
const PAUSE: Duration = Duration::from_millis(500);

/// A kind of storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Storm {
    /// Nothing: what it is to be compared with.
    None,
    /// Cgroups are made and removed.
    Births,
    /// `cgroup.subtree_control` is opened for writing and closed, above all children.
    Controls,
    /// So are the control files of all children in turn.
    Files,
    /// All children are frozen and thawed, twice a second.
    Freeze,
    /// A thousand nested cgroups with names of 1,400 bytes are made and removed.
    Deep,
}

impl Storm {
    pub(super) fn name(self) -> String {
        // None of them is hidden, so each has one.
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Makes what the storm needs, before anybody watches.
    pub(super) fn prepare(self, home: &Path, children: usize) -> Result<()> {
        if matches!(self, Self::Controls | Self::Files | Self::Freeze) {
            (0..children).try_for_each(|number| fs::create_dir(home.join(format!("k{number}"))))?;
        }
        Ok(())
    }

    /// Goes on until the end.
    pub(super) fn rage(self, home: &Path, children: usize, end: Instant) -> Result<()> {
        let mut turn = 0;
        while Instant::now() < end {
            match self {
                Self::None => std::thread::sleep(PAUSE),
                Self::Births => {
                    let born = home.join(format!("s{}", turn % 64));
                    fs::create_dir(&born)?;
                    fs::remove_dir(&born)?;
                }
                Self::Controls => touch(&home.join("cgroup.subtree_control"))?,
                Self::Files => {
                    const FILES: [&str; 3] =
                        ["cgroup.subtree_control", "cgroup.type", "cgroup.freeze"];
                    let child = home.join(format!("k{}", turn / FILES.len() % children.max(1)));
                    touch(&child.join(FILES[turn % FILES.len()]))?;
                }
                Self::Freeze => {
                    let state: &[u8] = if turn % 2 == 0 { b"1" } else { b"0" };
                    File::options()
                        .write(true)
                        .open(home.join("cgroup.freeze"))?
                        .write_all(state)?;
                    std::thread::sleep(PAUSE);
                }
                Self::Deep => nest(home)?,
            }
            turn += 1;
        }
        Ok(())
    }
}

/// Opens a file for writing and closes it again.
fn touch(file: &Path) -> Result<()> {
    File::options().write(true).open(file)?;
    Ok(())
}

/// A path of that length can be walked only name by name.
fn nest(home: &Path) -> Result<()> {
    use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};
    let name = "x".repeat(LONG);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut chain = vec![open(home, flags, Mode::empty())?];
    for _ in 0..DEEP {
        let Some(above) = chain.last() else { break };
        mkdirat(above, &name, Mode::RWXU)?;
        chain.push(openat(above, &name, flags, Mode::empty())?);
    }
    while let Some(below) = chain.pop() {
        drop(below);
        if let Some(above) = chain.last() {
            unlinkat(above, &name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}
