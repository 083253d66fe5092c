//! `cgwatch mount`: the simulated hierarchy as a directory tree.

mod processes;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cgroup_sim::{Hierarchy, Options};
use kernfs_fuse::Mount;

use crate::{arguments, serve, signals};
use processes::RealProcesses;

/// How late virtual time may be: a tenth of the shortest thing there is, the
/// rate limit of 10 ms, would be seen by nobody.
const TICK: Duration = Duration::from_millis(10);

/// Mounts it and serves it.
pub(crate) fn run(arguments: &arguments::Mount) -> anyhow::Result<ExitCode> {
    if let Some(code) = serve::in_background(&arguments.place)? {
        return Ok(code);
    }
    serve::refuse_own_mounts(&arguments.place.directory)?;
    let signals = signals::caught()?;
    let processes = Arc::new(RealProcesses::default());
    let hierarchy = Hierarchy::new(Options {
        worker: true,
        processes: Some(Arc::clone(&processes) as _),
        ..Options::default()
    });
    let options = kernfs_fuse::Options {
        name: format!("{}sim", serve::NAME),
        allow_other: arguments.place.allow_other,
        ..kernfs_fuse::Options::default()
    };
    let mount = Mount::new(hierarchy.tree(), &arguments.place.directory, &options)?;
    serve::warn(&arguments.place, &mount);
    let began = Instant::now();
    serve::until_the_end(&mount, &signals, || {
        let now = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        hierarchy.advance_to(now);
        for pid in processes.ended()? {
            if hierarchy.exit(pid).is_ok() {
                processes.forget(pid);
            }
        }
        Ok(Some(TICK))
    })?;
    Ok(ExitCode::SUCCESS)
}
