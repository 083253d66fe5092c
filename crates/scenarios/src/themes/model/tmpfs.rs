//! Random programs on a tmpfs and on `fsnotify`: the same ones on every kernel, from one seed each.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tmpfs_twin::{Error, fanotify, inotify, words};

use crate::{Environment, Failure};

/// Steps of one program.
const STEPS: usize = 60;

fn place(environment: &Environment) -> PathBuf {
    // A guest has its tmpfs at the scratch directory; elsewhere that may be any file system.
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.into() } else { environment.scratch.clone() }
}

pub(super) fn inotify_agrees(environment: &Environment) -> Result<(), Failure> {
    for seed in 0..environment.scale(600, 60) as u64 {
        let steps: Vec<_> = words(seed).take(STEPS).map(inotify::Step::of).collect();
        inotify::agree(&place(environment), &steps).map_err(|error| failure(seed, &error))?;
    }
    Ok(())
}

pub(super) fn fanotify_agrees(environment: &Environment) -> Result<(), Failure> {
    for (seed, naming) in
        (0..environment.scale(600, 60) as u64).zip(fanotify::NAMINGS.into_iter().cycle())
    {
        let steps: Vec<_> = words(seed).take(STEPS).map(fanotify::Step::of).collect();
        let done = fanotify::agree(&place(environment), naming, &steps);
        done.map_err(|error| failure(seed, &error))?;
    }
    Ok(())
}

fn failure(seed: u64, error: &Error) -> Failure {
    match error {
        Error::System(Errno::PERM) => Failure::Skip("no such fanotify group is allowed".into()),
        error => Failure::broken(format!("seed {seed}: {error}")),
    }
}
