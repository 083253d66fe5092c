//! Many seeds, on as many threads as asked for. Which seeds hold does not depend on that.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use kernfs::Profile;

use crate::{Failure, Tally, run};

/// Runs seeds until one breaks the contract, and gives the first that does with the sums of those
/// that hold. `done` is told of each run, on the thread that made it.
pub fn campaign(
    profile: Profile,
    seeds: Range<u64>,
    threads: usize,
    done: &(dyn Fn(&Tally) + Sync),
) -> (Tally, Option<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let sums = Mutex::new((Tally::default(), None::<Failure>));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = run(profile, seed);
                    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(tally) => {
                            done(&tally);
                            sums.0 += tally;
                        }
                        Err(failure) => {
                            // None after it counts any more, those before it do.
                            end.fetch_min(seed, Ordering::Relaxed);
                            if sums.1.as_ref().is_none_or(|first| failure.seed < first.seed) {
                                sums.1 = Some(failure);
                            }
                        }
                    }
                }
            });
        }
    });
    sums.into_inner().unwrap_or_else(PoisonError::into_inner)
}
