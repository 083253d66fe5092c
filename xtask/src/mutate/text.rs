//! The mutations as texts: `crates/simulation/mutations.txt`, whose head says how they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// One way to break the monitor.
pub(super) struct Mutation {
    pub(super) name: String,
    /// The only profiles under which it makes a difference; none: under each.
    profiles: Vec<String>,
    replacements: Vec<Replacement>,
}

struct Replacement {
    file: PathBuf,
    from: String,
    to: String,
}

/// Every mutation of the file, in its order. Each applies to this checkout.
///
/// # Errors
/// One is out of date, or two have one name.
pub(super) fn read() -> Result<Vec<Mutation>> {
    let text = fs::read_to_string(workspace::root().join("crates/simulation/mutations.txt"))?;
    let mutations = parse(&text)?;
    let mut names = BTreeSet::new();
    for mutation in &mutations {
        ensure!(names.insert(&mutation.name), "{} is there twice", mutation.name);
        for replacement in &mutation.replacements {
            replacement.apply(workspace::root()).with_context(|| mutation.name.clone())?;
        }
    }
    Ok(mutations)
}

impl Mutation {
    /// Whether it makes a difference under this profile.
    pub(super) fn shows_under(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|only| only == profile)
    }

    /// Breaks the tree; gives the files as they were.
    pub(super) fn apply(&self, tree: &Path) -> Result<BTreeMap<PathBuf, String>> {
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
        assert!(read().unwrap().len() >= 33);
    }

    #[test]
    fn a_text_that_is_not_there_once_is_an_error() {
        let folder = std::env::temp_dir().join(format!("xtask-mutate-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut breaks = parse("== a under linux70\n@@ f\none\n->\ntwo\nthree\n").unwrap();
        let mutation = breaks.pop().unwrap();
        assert!(mutation.shows_under("linux70") && !mutation.shows_under("linux71"));
        let applied = |text: &str| {
            fs::write(folder.join("f"), text).unwrap();
            mutation.apply(&folder).map(|_| fs::read_to_string(folder.join("f")).unwrap())
        };
        assert_eq!(applied("zero\none\n").unwrap(), "zero\ntwo\nthree\n");
        assert!(applied("zero\n").unwrap_err().to_string().contains('a'));
        applied("one\none\n").unwrap_err();
        fs::remove_dir_all(folder).unwrap();
    }
}
