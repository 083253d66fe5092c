//! `cgwatch mount`: the simulated hierarchy as a directory tree.

mod front;
mod processes;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use cgroup_sim::{Hierarchy, Options};
use kernfs_fuse::Mount;

use crate::{arguments, guard::Guard, scenario, serve, signals};
use front::OnTheMount;
use processes::RealProcesses;

/// How late virtual time may be: as long as the rate limit of notifications.
const TICK: Duration = Duration::from_millis(10);
/// Simulated tasks have numbers that no real process has (`PID_MAX_LIMIT`).
const FIRST_SIMULATED: u32 = (1 << 22) + 1;

/// Mounts it and serves it.
pub(crate) fn run(arguments: &arguments::Mount) -> anyhow::Result<ExitCode> {
    let scenario = scenario::named(&arguments.sim)?;
    if let Some(code) = serve::in_background(&arguments.place)? {
        return Ok(code);
    }
    let signals = signals::caught()?;
    let processes = Arc::new(RealProcesses::default());
    let options = Options {
        worker: true,
        processes: Some(Arc::clone(&processes) as _),
        first_pid: FIRST_SIMULATED,
        ..Options::default()
    };
    let hierarchy = Hierarchy::new(match &scenario {
        Some(scenario) => scenario.options(options),
        None => options,
    });
    let told = |error| anyhow!("the scenario cannot go on: {error}");
    let mut player =
        scenario.map(|scenario| scenario.play(&hierarchy)).transpose().map_err(told)?;
    let options = kernfs_fuse::Options {
        name: format!("{}sim", serve::NAME),
        allow_other: arguments.place.allow_other,
        ..kernfs_fuse::Options::default()
    };
    let directory = serve::mount_point(&arguments.place)?;
    let _guard = Guard::start(&directory)?;
    let mount = Mount::new(hierarchy.tree(), &directory, &options)?;
    serve::warn(&arguments.place, &mount);
    if let (Some(player), Some(root)) = (&mut player, mount.root()) {
        player.set_front(Box::new(OnTheMount { root }));
    }
    let began = Instant::now();
    serve::until_the_end(&mount, &signals, || {
        let now = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match &mut player {
            Some(player) => player.run_until(&hierarchy, now).map_err(told)?,
            None => hierarchy.advance_to(now),
        }
        for pid in processes.ended()? {
            if hierarchy.exit(pid).is_ok() {
                processes.forget(pid);
            }
        }
        Ok(Some(TICK))
    })?;
    Ok(ExitCode::SUCCESS)
}
