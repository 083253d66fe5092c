//! `cgwatch mount`: the simulated hierarchy as a directory tree.

mod front;
mod processes;
mod time;

use std::{os::fd::AsFd as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::anyhow;
use cgroup_sim::{Clock as _, Hierarchy, Options, scenario::Player};
use kernfs::{Node, Permissions};
use kernfs_fuse::Mount;

use crate::{arguments, guard::Guard, scenario, serve, signals};
use front::OnTheMount;
use processes::RealProcesses;
use time::RealTime;

/// Simulated tasks have numbers that no real process has (`PID_MAX_LIMIT`).
const FIRST_SIMULATED: u32 = (1 << 22) + 1;

/// What an ordinary user mounts is his: the kernel asks for owners and modes.
fn give_to_this_user(root: &Arc<Node>) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() {
        return;
    }
    for node in root.all_children().iter().chain([root]) {
        let of_this_user =
            Permissions { uid: uid.as_raw(), gid: gid.as_raw(), ..node.permissions() };
        node.set_permissions(of_this_user);
    }
}

/// Mounts it and serves it.
pub(crate) fn run(arguments: &arguments::Mount) -> anyhow::Result<ExitCode> {
    let scenario = scenario::named(&arguments.sim)?;
    if let Some(code) = serve::in_background(&arguments.place)? {
        return Ok(code);
    }
    let signals = signals::caught()?;
    let processes = Arc::new(RealProcesses::new()?);
    let time = Arc::new(RealTime::new()?);
    let options = Options {
        worker: true,
        processes: Some(Arc::clone(&processes) as _),
        clock: Some(Arc::clone(&time) as _),
        first_pid: FIRST_SIMULATED,
        ..Options::default()
    };
    let hierarchy = Hierarchy::new(match &scenario {
        Some(scenario) => scenario.options(options),
        None => options,
    });
    give_to_this_user(hierarchy.tree().root());
    let told = |error| anyhow!("the scenario cannot go on: {error}");
    let mut player =
        scenario.map(|scenario| scenario.play(&hierarchy)).transpose().map_err(told)?;
    let options = kernfs_fuse::Options {
        name: format!("{}sim", serve::NAME),
        allow_other: arguments.place.allow_other,
        ..kernfs_fuse::Options::default()
    };
    let place = serve::mount_point(&arguments.place)?;
    let guard = Guard::start(&place)?;
    let mount = Mount::at(hierarchy.tree(), place, &options)?;
    guard.watch_over(mount.id());
    serve::warn(&arguments.place, &mount);
    if let (Some(player), Some(root)) = (&mut player, mount.root()) {
        player.set_front(Box::new(OnTheMount { root }));
    }
    let wakers = [time.as_fd(), processes.as_fd()];
    serve::until_the_end(&mount, &signals, &wakers, || {
        time.awake()?;
        let now = time.now();
        match &mut player {
            Some(player) => player.run_until(&hierarchy, now).map_err(told)?,
            None => hierarchy.advance_to(now),
        }
        for pid in processes.ended()? {
            // In this order: as long as it is a task, nobody brings another process of its number.
            processes.forget(pid);
            let _ = hierarchy.exit(pid);
        }
        let next = player.as_ref().and_then(Player::next_at);
        let due = [next, hierarchy.next_timer()].into_iter().flatten().min();
        let pause = due.map(|due| Duration::from_nanos(due.saturating_sub(time.now())));
        Ok(Some(pause.unwrap_or(serve::LOOK)))
    })?;
    Ok(ExitCode::SUCCESS)
}
