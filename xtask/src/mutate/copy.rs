//! The copy of the checkout that is broken, and what the simulation finds in it. It is kept, and what
//! was built of it, so that a later run compiles only what differs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace};

/// The copy, below `target/`.
pub(super) struct Copy {
    pub(super) tree: PathBuf,
}

impl Copy {
    /// Makes the copy like the checkout: every file that git knows or would take in, and no other.
    /// What is the same already is left alone.
    pub(super) fn of_checkout() -> Result<Self> {
        let copy = Self { tree: workspace::target().join("mutants/tree") };
        let root = workspace::root();
        let mut git = Command::new("git");
        git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
        let listed = process::read(&mut git)?;
        let mut kept = HashSet::new();
        for file in listed.lines() {
            let (from, to) = (root.join(file), copy.tree.join(file));
            // Deleted, and git does not know it yet.
            if !from.is_file() {
                continue;
            }
            let content = fs::read(&from)?;
            if !fs::read(&to).is_ok_and(|same| same == content) {
                fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
                fs::write(&to, content)?;
            }
            kept.insert(to);
        }
        remove_others(&copy.tree, &kept)?;
        Ok(copy)
    }

    /// How many seeds each profile needs to find that it is broken.
    pub(super) fn first_breaches(&self, seeds: u64) -> Result<Vec<Option<u64>>> {
        let mut cargo = process::cargo();
        cargo.current_dir(&self.tree);
        cargo.env("CARGO_TARGET_DIR", workspace::target().join("mutants/target"));
        cargo.args(["run", "--quiet", "--locked", "--profile=simulation", "--package=simulation"]);
        // Most of the time goes into compiling what was changed, so that is not optimized as far.
        cargo.args(["--config", "profile.simulation.debug=0"]);
        for package in ["cgwatch", "contract", "simulation"] {
            cargo.arg("--config").arg(format!("profile.simulation.package.{package}.opt-level=1"));
        }
        // What is broken need not be tidy.
        cargo.env("RUSTFLAGS", "--cap-lints warn -Awarnings");
        let lines = process::read(cargo.args(["--bin=first-breach", "--", &seeds.to_string()]))?;
        lines.lines().map(first_breach).collect()
    }
}

/// Removes every file below the folder that is not to be kept, and the folders that are empty then: a
/// crate that moved would be found at both places.
fn remove_others(folder: &Path, kept: &HashSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    if fs::read_dir(folder)?.next().is_none() {
        fs::remove_dir(folder)?;
    }
    Ok(())
}

/// `PROFILE RUNS SEED WHAT`, with `-` for the seed if none was needed.
fn first_breach(line: &str) -> Result<Option<u64>> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    match words.as_slice() {
        [_, _, "-", ..] => Ok(None),
        [_, runs, ..] => Ok(Some(runs.parse()?)),
        _ => bail!("{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_goes_with_its_folders() {
        let root = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        let file = |name: &str| root.join(name);
        for name in ["kept/a", "kept/old", "moved/src/lib"] {
            fs::create_dir_all(file(name).parent().unwrap()).unwrap();
            fs::write(file(name), name).unwrap();
        }
        remove_others(&root, &[file("kept/a")].into()).unwrap();
        assert!(file("kept/a").exists() && !file("kept/old").exists() && !file("moved").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
