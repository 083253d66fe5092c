//! A scenario from the command line.

use std::{fs, path::Path};

use anyhow::{Context, anyhow, bail};
use cgroup_sim::scenario::{Library, Scenario};

use crate::failure::{quoted, show};

/// The scenario of this name or in this file; none without a name.
pub(crate) fn named(name: &str) -> anyhow::Result<Option<Scenario>> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Some(known) = Library::named(name) {
        return known.scenario().map(Some).map_err(|error| anyhow!("{name}: {error}"));
    }
    if !Path::new(name).is_file() {
        let known: Vec<_> = Library::ALL.iter().map(|scenario| scenario.name).collect();
        bail!(
            "{} is neither a scenario nor a file; those that come with cgwatch are {}",
            quoted(name),
            known.join(", ")
        );
    }
    let text =
        fs::read_to_string(name).with_context(|| format!("cannot read {}", show(name.as_ref())))?;
    let failed = |error| anyhow!("{}: {error}", show(name.as_ref()));
    Scenario::parse(&text).map(Some).map_err(failed)
}
