//! Prints the first seed of each profile that breaks the contract: what `cargo xtask mutate` runs.
//!
//! `first-breach SEEDS` prints a line `PROFILE RUNS SEED WHAT`, with `-` for the seed if none does;
//! `first-breach all SEEDS` prints every seed that does; `first-breach PROFILE SEED` writes one run
//! down.

use std::process::ExitCode;

use kernfs::Profile;
use simulation::{Tally, profile_name, profile_named, run, trace};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [seeds] => {
            let Ok(seeds) = seeds.parse() else { return usage() };
            for profile in [Profile::Linux70, Profile::Linux71, Profile::Announced] {
                first(profile, seeds);
            }
            ExitCode::SUCCESS
        }
        ["all", seeds] => {
            let Ok(seeds) = seeds.parse() else { return usage() };
            for profile in [Profile::Linux70, Profile::Linux71, Profile::Announced] {
                for seed in 0..seeds {
                    if let Err(failure) = run(profile, seed) {
                        println!("{failure}");
                    }
                }
            }
            ExitCode::SUCCESS
        }
        [profile, seed] => {
            let (Some(profile), Ok(seed)) = (profile_named(profile), seed.parse()) else {
                return usage();
            };
            print!("{}", trace(profile, seed));
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn first(profile: Profile, seeds: u64) {
    let mut total = Tally::default();
    for seed in 0..seeds {
        match run(profile, seed) {
            Ok(tally) => total += tally,
            Err(failure) => {
                println!("{} {} {seed} {}", profile_name(profile), seed + 1, failure.what);
                return;
            }
        }
    }
    println!("{} {seeds} - {total}", profile_name(profile));
}

fn usage() -> ExitCode {
    eprintln!("first-breach SEEDS | first-breach all SEEDS | first-breach PROFILE SEED");
    ExitCode::FAILURE
}
