//! The same generated programs on cgroup-sim and, by real system calls, on this kernel's hierarchy:
//! after every step the errno of the call, what the files say, who lives where and what each watch
//! was told must be the same.
//!
//! A program is drawn from a seed, step by step, from what the simulated hierarchy allows or just
//! refuses; the same seed gives the same program. What is not compared, or not exactly, stands with
//! its reason in the ledger (`sim/ledger.toml`).

mod forecast;
mod ledger;
mod program;
mod real;
mod simulated;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use self::{
    program::{Draw, Step},
    real::Real,
    simulated::Simulated,
};
use crate::{
    Environment, Failure,
    Requirement::{HugeTlb, Memory, Pids, SuperblockMark, Swap},
    Scenario, swap,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("sim-ledger", |_| ledger::check()),
    Scenario::new("sim-lives-and-tasks", |at| many(at, 0x5eed_0001, &[])).seconds(240),
    Scenario::new("sim-threads-and-limits", |at| many(at, 0x5eed_0002, &[])).seconds(240),
    Scenario::new("sim-huge-pages", |at| many(at, 0x5eed_0003, &["hugetlb"]))
        .needs(&[HugeTlb])
        .seconds(240),
    Scenario::new("sim-pids", |at| many(at, 0x5eed_0004, &["pids"])).needs(&[Pids]).seconds(240),
    Scenario::new("sim-memory", |at| many(at, MEMORY, &["memory"])).needs(&[Memory]).seconds(240),
    Scenario::new("sim-swap", swapping).needs(&[Memory, Swap]).seconds(240).unproven(
        "not yet seen to agree on every kernel without a memory.swap.max that is reached",
    ),
    Scenario::new("sim-all-controllers", |at| many(at, 0x5eed_0006, &["memory", "pids", "io"]))
        .needs(&[Memory, Pids])
        .seconds(240),
    // The others, too, listen by fanotify where it can be; this one says where it cannot.
    Scenario::new("sim-fanotify", |at| many(at, 0x5eed_0007, &["pids"]))
        .needs(&[SuperblockMark])
        .seconds(240),
];

/// The seeds of `sim-memory` and `sim-swap`.
const MEMORY: u64 = 0x5eed_0065;
const SWAP: u64 = 0x5eed_04f8;

/// How many programs a scenario draws, and how long each is.
const PROGRAMS: usize = 40;
const STEPS: usize = 40;
/// How many in a guest, where memory is all they are about: to take it takes long there.
const HUNGRY: usize = 5;

/// What is seen of a hierarchy: by cgroup and file, the text, or the errno.
type Seen = BTreeMap<String, Result<String, i32>>;

/// What each watch was told: event bits and name, equal neighbours once.
type Told = BTreeMap<String, Vec<(u32, String)>>;

fn swapping(environment: &Environment) -> Result<(), Failure> {
    let swap = swap::Swap::on()?;
    draw(environment, SWAP, &["memory"], swap.size)
}

fn many(environment: &Environment, seed: u64, controllers: &[&str]) -> Result<(), Failure> {
    draw(environment, seed, controllers, 0)
}

/// Draws programs from a seed until there were enough, or half the time is up.
fn draw(
    environment: &Environment,
    seed: u64,
    controllers: &[&str],
    swap: u64,
) -> Result<(), Failure> {
    let deadline = Instant::now() + environment.limit(Duration::from_secs(100));
    let profile = super::model::profile(environment)?;
    let programs = match (environment.guest, controllers) {
        (true, ["memory"]) => HUNGRY,
        _ => environment.scale(PROGRAMS * 10, 3).min(PROGRAMS),
    };
    for n in 0..programs as u64 {
        let seed = seed ^ (n << 32);
        one(environment, profile, seed, controllers, swap)
            .map_err(|failure| Failure::broken(format!("seed {seed:#x}: {failure}")))?;
        if Instant::now() > deadline {
            break;
        }
    }
    Ok(())
}

fn one(
    environment: &Environment,
    profile: kernfs::Profile,
    seed: u64,
    controllers: &[&str],
    swap: u64,
) -> Result<(), Failure> {
    let mut real = Real::new(environment, controllers)?;
    let kind = real.kind(profile, swap);
    let mut simulated = Simulated::new(&kind)?;
    let mut draw = Draw::new(seed, kind.controllers, swap > 0);
    let mut done: Vec<Step> = Vec::new();
    for _ in 0..STEPS {
        let step = draw.step(&simulated);
        done.push(step.clone());
        let told = |what: String| Failure::broken(format!("{what}, after {done:?}"));
        let expected = simulated.act(&step)?;
        let found = real.act(&step)?;
        if expected != found {
            return Err(told(format!("{step:?}: the model says {expected:?}, Linux {found:?}")));
        }
        let deadline = Instant::now() + environment.patience();
        while let Err(difference) = compare(&mut simulated, &mut real) {
            if Instant::now() > deadline {
                return Err(told(difference));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn agree(expected: &Result<String, i32>, found: &Result<String, i32>) -> bool {
    match (expected, found) {
        (Ok(expected), Ok(found)) => ledger::agree(expected, found),
        _ => expected == found,
    }
}

/// The first difference.
fn compare(simulated: &mut Simulated, real: &mut Real) -> Result<(), String> {
    let (expected, found) = (simulated.see(), real.see(simulated));
    for (place, expected) in &expected {
        match found.get(place) {
            Some(found) if agree(expected, found) => {}
            found => return Err(format!("{place}: the model says {expected:?}, Linux {found:?}")),
        }
    }
    let (expected, found) = (simulated.told(), real.told().map_err(|error| error.to_string())?);
    for label in expected.keys().chain(found.keys()) {
        let (expected, found) = (expected.get(label), found.get(label));
        if expected != found {
            return Err(format!("{label}: the model tells {expected:x?}, Linux {found:x?}"));
        }
    }
    Ok(())
}

/// Adds an event, equal neighbours once. A MODIFY with a name stands under that name, apart.
fn add(told: &mut Told, label: &str, mask: u32, name: &[u8]) {
    let event = (mask, String::from_utf8_lossy(name).into_owned());
    let all = told.entry(label.to_owned()).or_default();
    if all.last() != Some(&event) {
        all.push(event);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the event files say in the end, over so many programs from a seed.
    fn reached(seed: u64, programs: u64, swap: u64) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        for n in 0..programs {
            let kind = simulated::Kind {
                profile: kernfs::Profile::Linux71,
                controllers: vec!["memory".into()],
                pids_sums: true,
                fanotify: true,
                swap,
            };
            let mut simulated = Simulated::new(&kind).unwrap();
            let mut draw = Draw::new(seed ^ (n << 32), kind.controllers, swap > 0);
            for _ in 0..STEPS {
                let step = draw.step(&simulated);
                let done = simulated.act(&step).unwrap();
                if let Step::Write(path, text) = &step
                    && let Some(cgroup) = path.strip_suffix("/memory.high")
                    && (done, *text) == (Ok(()), "32505856")
                    && simulated.is_over_high(simulated.id(cgroup))
                {
                    reached.insert("memory.high below what is used".to_owned());
                }
                for (place, text) in simulated.see() {
                    let file = place.rsplit('/').next().unwrap_or_default();
                    let text = text.unwrap_or_default();
                    let some = text.split(", ").filter(|part| part.ends_with("some"));
                    reached.extend(some.map(|part| format!("{file} {part}")));
                }
            }
        }
        reached
    }

    /// A comparison that nothing happens in would agree on everything.
    #[test]
    fn the_programs_of_a_guest_reach_all_that_memory_counts() {
        let reached = reached(MEMORY, HUNGRY as u64, 0);
        assert!(reached.contains("memory.high below what is used"), "{reached:?}");
        for file in ["memory.events", "memory.events.local"] {
            for key in ["low", "high", "max", "oom"] {
                let what = format!("{file} {key} some");
                assert!(reached.contains(&what), "no {what} in {reached:?}");
            }
        }
    }

    #[test]
    fn the_programs_of_a_guest_breach_memory_swap_high() {
        let reached = reached(SWAP, HUNGRY as u64, 256 << 20);
        // "swap-max": the others are not reached.
        let what = "memory.swap.events high some";
        assert!(reached.contains(what), "no {what} in {reached:?}");
    }
}
