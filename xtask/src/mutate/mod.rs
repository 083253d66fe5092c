//! `cargo xtask mutate`: the monitor is broken on purpose, one way after the other, and the
//! simulation must find each within the seeds that the test command runs.
//!
//! [`text`] reads the mutations and applies them, [`part`] says which have their turn, and [`copy`] is
//! what is broken: a copy of the checkout below `target/`, made once at the start, never the checkout
//! itself, which may be worked on meanwhile.

mod copy;
mod part;
mod text;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::{process, simulate};
use copy::Copy;
pub(crate) use part::Part;
use text::Mutation;

/// What is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many seeds of each profile may be needed.
    #[arg(long, default_value_t = simulate::SEEDS)]
    seeds: u64,
    /// Only these mutations, by name.
    #[arg(conflicts_with = "part")]
    names: Vec<String>,
    /// Only this part of them; the test command tries 1/8 to 8/8 in turn, one a day.
    #[arg(long, value_name = "K/N", default_value_t = Part::ALL)]
    part: Part,
    /// Only see whether all of them still apply.
    #[arg(long)]
    check: bool,
}

/// The task on its own: before anything is broken, the whole monitor must pass the same seeds.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    let mutations = text::read()?;
    if options.check {
        println!("{} mutations apply", mutations.len());
        return Ok(ExitCode::SUCCESS);
    }
    let unknown = options.names.iter().find(|name| mutations.iter().all(|m| m.name != **name));
    if let Some(name) = unknown {
        bail!("no mutation has the name {name}");
    }
    let is_chosen = |place: usize, mutation: &Mutation| match options.names.as_slice() {
        [] => options.part.has(place),
        names => names.contains(&mutation.name),
    };
    let chosen = choose(mutations, is_chosen);
    let copy = Copy::of_checkout()?;
    copy.must_be_whole(options.seeds)?;
    copy.try_all(&chosen, options.seeds)?;
    Ok(ExitCode::SUCCESS)
}

/// The step of the test command; says what was tried. `is_whole`: the monitor has passed the same
/// seeds before.
///
/// # Errors
/// A mutation no longer applies, be it of another part; or one of this part is not found.
pub(crate) fn step(part: Part, is_whole: bool) -> Result<String> {
    let mutations = text::read()?;
    let all = mutations.len();
    let chosen = choose(mutations, |place, _| part.has(place));
    println!("to be had again by: cargo xtask mutate --part {part}");
    let copy = Copy::of_checkout()?;
    if !is_whole {
        copy.must_be_whole(simulate::SEEDS)?;
    }
    copy.try_all(&chosen, simulate::SEEDS)?;
    Ok(format!("part {part}, each of {} found; all {all} apply", chosen.len()))
}

fn choose(mutations: Vec<Mutation>, is_chosen: impl Fn(usize, &Mutation) -> bool) -> Vec<Mutation> {
    let numbered = mutations.into_iter().enumerate();
    numbered.filter(|(place, m)| is_chosen(*place, m)).map(|(_, mutation)| mutation).collect()
}

impl Copy {
    /// What is not broken must not be found.
    fn must_be_whole(&self, seeds: u64) -> Result<()> {
        let found = self.first_breaches(seeds)?;
        ensure!(found.iter().all(Option::is_none), "what is not broken is found too: {found:?}");
        Ok(())
    }

    /// Breaks the copy by each of them, and prints how many seeds found it.
    ///
    /// # Errors
    /// Those that were not found under each profile where they show, or did not even build.
    fn try_all(&self, mutations: &[Mutation], seeds: u64) -> Result<()> {
        ensure!(!mutations.is_empty(), "no mutation to try");
        println!("| mutation | linux70 | linux71 | announced | s |\n|---|--:|--:|--:|--:|");
        let mut survivors = Vec::new();
        for mutation in mutations {
            process::go_on()?;
            let began = Instant::now();
            let whole = mutation.apply(&self.tree)?;
            let found = self.first_breaches(seeds);
            for (file, text) in whole {
                fs::write(file, text)?;
            }
            let name = mutation.name.as_str();
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    println!("| {name} | does not run: {error:#} |");
                    survivors.push(name);
                    continue;
                }
            };
            let cells: Vec<_> =
                found.iter().map(|n| n.map_or_else(|| "-".into(), |n| n.to_string())).collect();
            println!("| {name} | {} | {:.0} |", cells.join(" | "), began.elapsed().as_secs_f64());
            let mut profiles = simulation::PROFILES.iter().zip(&found);
            if profiles.any(|((at, _), found)| mutation.shows_under(at) && found.is_none()) {
                survivors.push(name);
            }
        }
        // What ended the last one may have been the same that ends us.
        process::go_on()?;
        let survivors = survivors.join(", ");
        ensure!(
            survivors.is_empty(),
            "not found under each profile within {seeds} seeds: {survivors}"
        );
        Ok(())
    }
}
