//! `cargo xtask mutate`: the monitor is broken on purpose, one way after the other, and the
//! simulation must find each within the seeds that the test command runs.
//!
//! The mutations are texts to be replaced (`crates/simulation/mutations.txt`). They are applied to a
//! copy of the checkout below `target/`, made once at the start, never to the checkout itself, which
//! may be worked on meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process, simulate, workspace};

/// What is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many seeds of each profile may be needed.
    #[arg(long, default_value_t = simulate::SEEDS)]
    seeds: u64,
    /// Only these mutations, by name.
    names: Vec<String>,
    /// Only see whether all of them still apply.
    #[arg(long)]
    check: bool,
}

/// One way to break the monitor.
struct Mutation {
    name: String,
    /// The only profiles under which it makes a difference; none: under each.
    profiles: Vec<String>,
    replacements: Vec<Replacement>,
}

struct Replacement {
    file: PathBuf,
    from: String,
    to: String,
}

pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    let text = fs::read_to_string(workspace::root().join("crates/simulation/mutations.txt"))?;
    let mutations = parse(&text)?;
    // All of them first: one that is out of date is told at once.
    for mutation in &mutations {
        for replacement in &mutation.replacements {
            replacement.apply(workspace::root()).with_context(|| mutation.name.clone())?;
        }
    }
    if options.check {
        println!("{} mutations apply", mutations.len());
        return Ok(ExitCode::SUCCESS);
    }
    let wanted =
        |mutation: &&Mutation| options.names.is_empty() || options.names.contains(&mutation.name);
    let copy = workspace::target().join("mutants/tree");
    copy_checkout(&copy)?;
    let whole = first_breaches(&copy, options.seeds)?;
    ensure!(whole.iter().all(Option::is_none), "what is not broken is found too: {whole:?}");
    println!("| mutation | linux70 | linux71 | announced |\n|---|--:|--:|--:|");
    let mut survivors = Vec::new();
    for mutation in mutations.iter().filter(wanted) {
        let whole = mutation.apply(&copy)?;
        let found = first_breaches(&copy, options.seeds);
        for (file, text) in whole {
            fs::write(file, text)?;
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                println!("| {} | does not run: {error:#} |", mutation.name);
                survivors.push(mutation.name.as_str());
                continue;
            }
        };
        let cells: Vec<_> =
            found.iter().map(|n| n.map_or_else(|| "-".into(), |n| n.to_string())).collect();
        println!("| {} | {} |", mutation.name, cells.join(" | "));
        let must = simulation::PROFILES.iter().zip(&found);
        if must
            .filter(|((name, _), _)| mutation.shows_under(name))
            .any(|(_, found)| found.is_none())
        {
            survivors.push(mutation.name.as_str());
        }
    }
    if !survivors.is_empty() {
        bail!(
            "not found under each profile within {} seeds: {}",
            options.seeds,
            survivors.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// How many seeds each profile needs in this tree.
fn first_breaches(copy: &Path, seeds: u64) -> Result<Vec<Option<u64>>> {
    let mut cargo = process::cargo();
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", workspace::target().join("mutants/target"));
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

/// `PROFILE RUNS SEED WHAT`, with `-` for the seed if none was needed.
fn first_breach(line: &str) -> Result<Option<u64>> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    match words.as_slice() {
        [_, _, "-", ..] => Ok(None),
        [_, runs, ..] => Ok(Some(runs.parse()?)),
        _ => bail!("{line}"),
    }
}

/// Brings every file that git knows to the copy; what is the same already is left alone, so that
/// little is compiled again.
fn copy_checkout(copy: &Path) -> Result<()> {
    let root = workspace::root();
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    for file in process::read(&mut git)?.lines() {
        let (from, to) = (root.join(file), copy.join(file));
        if !from.is_file() {
            continue;
        }
        let content = fs::read(&from)?;
        if fs::read(&to).is_ok_and(|same| same == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::write(to, content)?;
    }
    Ok(())
}

impl Mutation {
    fn shows_under(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|only| only == profile)
    }

    /// Breaks the tree; gives the files as they were.
    fn apply(&self, tree: &Path) -> Result<BTreeMap<PathBuf, String>> {
        let mut whole = BTreeMap::new();
        for replacement in &self.replacements {
            let text = replacement.apply(tree).with_context(|| self.name.clone())?;
            let file = tree.join(&replacement.file);
            let before = fs::read_to_string(&file)?;
            fs::write(&file, text)?;
            whole.entry(file).or_insert(before);
        }
        Ok(whole)
    }
}

impl Replacement {
    /// The file with the text replaced; it must be there exactly once.
    fn apply(&self, root: &Path) -> Result<String> {
        let file = self.file.display();
        let text = fs::read_to_string(root.join(&self.file)).with_context(|| file.to_string())?;
        let times = text.matches(&self.from).count();
        ensure!(times == 1, "{file} has the text to be replaced {times} times:\n{}", self.from);
        Ok(text.replacen(&self.from, &self.to, 1))
    }
}

/// `# comment`, `== NAME` or `== NAME under PROFILE...`, and for each replacement `@@ FILE`, the text, `->`, the other text.
fn parse(text: &str) -> Result<Vec<Mutation>> {
    let mut mutations: Vec<Mutation> = Vec::new();
    let mut after_arrow = false;
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        if let Some(line) = line.strip_prefix("== ") {
            let (name, profiles) = line.split_once(" under ").unwrap_or((line, ""));
            let profiles = profiles.split_whitespace().map(Into::into).collect();
            mutations.push(Mutation { name: name.into(), profiles, replacements: Vec::new() });
            continue;
        }
        let Some(mutation) = mutations.last_mut() else {
            ensure!(line.is_empty(), "a line before the first mutation: {line}");
            continue;
        };
        if let Some(file) = line.strip_prefix("@@ ") {
            let file = file.into();
            mutation.replacements.push(Replacement {
                file,
                from: String::new(),
                to: String::new(),
            });
            after_arrow = false;
            continue;
        }
        let Some(last) = mutation.replacements.last_mut() else {
            ensure!(line.is_empty(), "a line before the first file of {}: {line}", mutation.name);
            continue;
        };
        if line == "->" {
            after_arrow = true;
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let side = if after_arrow { &mut last.to } else { &mut last.from };
        side.push_str(line);
        side.push('\n');
    }
    Ok(mutations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_applies() {
        let text = fs::read_to_string(workspace::root().join("crates/simulation/mutations.txt"));
        let mutations = parse(&text.unwrap()).unwrap();
        assert!(mutations.len() >= 15);
        for mutation in mutations {
            for replacement in &mutation.replacements {
                let changed = replacement.apply(workspace::root());
                changed.unwrap_or_else(|error| panic!("{}: {error}", mutation.name));
            }
        }
    }
}
