//! The scenarios by theme: every line of what cgwatch must show.

mod births;
mod citizen;
mod controllers;
mod hostile;
mod input;
mod last_word;
mod leaks;
mod limits;
mod local_events;
mod memory;
mod mirror;
mod model;
mod mount;
mod overflow;
mod reader;
mod reclaim;
mod removal;
mod sim;

use cgwatch::Strategy;
use contract::{Truth, every_birth, hold_against};

use crate::{Failure, Recording, Scenario, Tree};

/// All of them, in the order in which they are best run; what the contract promises by both
/// strategies that are notified.
pub(crate) fn all() -> Vec<Scenario> {
    let contract = [
        births::SCENARIOS,
        removal::SCENARIOS,
        last_word::SCENARIOS,
        memory::SCENARIOS,
        controllers::SCENARIOS,
        local_events::SCENARIOS,
        overflow::SCENARIOS,
        reader::SCENARIOS,
        leaks::SCENARIOS,
        citizen::SCENARIOS,
        hostile::SCENARIOS,
        reclaim::SCENARIOS,
    ];
    let others = [
        limits::SCENARIOS,
        input::SCENARIOS,
        model::SCENARIOS,
        sim::SCENARIOS,
        mount::SCENARIOS,
        mirror::SCENARIOS,
    ];
    let contract = contract.concat();
    let by_fanotify = contract.iter().map(|scenario| scenario.by(Strategy::Fanotify));
    contract.iter().copied().chain(by_fanotify).chain(others.concat()).collect()
}

/// Ends the recording of a whole tree, whose driver has stopped: everything is told, nothing is
/// invented, and no birth in the tree's root, watched all along, is left out.
fn judge(recording: Recording, tree: &Tree) -> Result<Vec<cgwatch::Event>, Failure> {
    recording.settle(tree)?;
    let (events, _) = recording.stop()?;
    let truth: Truth = tree.truth();
    hold_against(&events, &truth)?;
    every_birth(&events, &truth)?;
    Ok(events)
}
