//! `cgwatch mirror`: the host's hierarchy as a mount with complete removal events.
//!
//! One thread feeds the mount and makes system calls on it; this one waits for signals, so that the
//! end comes at once whatever the other is in the middle of.

use std::{
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    thread,
};

use anyhow::{Context, anyhow};
use cgroup_mirror::{Mirror, Options};

use crate::{arguments, guard::Guard, serve, signals, streams, target};

/// Mounts it and serves it.
pub(crate) fn run(arguments: &arguments::Mirror) -> anyhow::Result<ExitCode> {
    let place = &arguments.place;
    if let Some(code) = serve::in_background(place)? {
        return Ok(code);
    }
    let mount_point = serve::mount_point(place)?;
    let signals = signals::caught()?;
    let mut mirror = Mirror::new(&target::one(arguments.root.as_deref())?)?;
    let options = Options { allow_other: place.allow_other };
    let guard = Guard::start(&mount_point)?;
    let mount = mirror.mount_at(mount_point, options)?;
    guard.watch_over(mount.id());
    serve::warn(place, &mount);
    if let Some(warning) = mirror.incomplete() {
        streams::warn(warning);
    }
    mirror.set_warn(|warning| streams::warn(warning));
    let (stop, stopper) = UnixStream::pair().context("cannot make a pair of sockets")?;
    thread::scope(|scope| {
        let feed = scope.spawn(|| mirror.feed(&mount, stop.as_fd()));
        let served = serve::until_the_end(&mount, &signals, &[], || {
            Ok((!feed.is_finished()).then_some(serve::LOOK))
        });
        drop(stopper);
        // What the feed is in the middle of fails now. Someone else may have unmounted it.
        let _ = mount.unmounter().unmount();
        let fed = feed.join().map_err(|_| anyhow!("the mirror's feed broke"))?;
        served?;
        fed?;
        Ok(ExitCode::SUCCESS)
    })
}
