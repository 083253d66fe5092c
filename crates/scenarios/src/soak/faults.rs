//! What goes wrong while the load goes on.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use fastrand::Rng;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::{hostile, load::Load, watched::Watched};
use crate::{Environment, Failure, Task, Worker};

/// A fault; each lasts for a slice of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None.
    Calm,
    /// Nobody takes what some of the watchers tell.
    SlowReader,
    /// The watchers are stopped while more happens than the kernel's queues hold.
    Overflow,
    /// Others hold files open and stand in directories, whatever becomes of them.
    Held,
    /// Another lists, opens and reads all that is there, as fast as it can.
    Raced,
    /// The hierarchy is mounted a second time, cgroups come and go through that, and the first
    /// mount gets other flags.
    Mounts,
    /// Processes are started and exit, one after the other.
    Forks,
    /// The owner of a cgroup does in it whatever costs the watchers most.
    Hostile,
}

impl Fault {
    /// Those of a minute: mostly all of them, in any order. Now and then none that costs a watcher
    /// anything, so that a stream without a gap is judged, too.
    pub(crate) fn draw(rng: &mut Rng) -> Vec<Self> {
        let gentle = [Self::Calm, Self::Held, Self::Raced, Self::Mounts, Self::Forks];
        let harsh = [Self::SlowReader, Self::Overflow, Self::Hostile];
        let mut all = gentle.to_vec();
        if rng.u32(0..4) > 0 {
            all.extend(harsh);
        }
        rng.shuffle(&mut all);
        all
    }

    /// Lets `act` act while it lasts.
    pub(crate) fn meanwhile(
        self,
        environment: &Environment,
        watched: &[Watched],
        load: &mut Load<'_>,
        act: &mut dyn FnMut(&mut Load<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Calm => act(load),
            Self::SlowReader => {
                let slow: Vec<&Watched> = watched.iter().filter(|_| load.rng.bool()).collect();
                slow.iter().for_each(|watched| watched.outside.recording.pause());
                let acted = act(load);
                slow.iter().for_each(|watched| watched.outside.recording.resume());
                acted
            }
            Self::Overflow => {
                let length = queue_length()?;
                watched.iter().try_for_each(|watched| watched.outside.stall())?;
                // A birth and a death each, and some more to be sure.
                let acted = load.storm(length / 2 + 200);
                watched.iter().try_for_each(|watched| watched.outside.go_on())?;
                acted?;
                act(load)
            }
            Self::Held => {
                let held: Vec<Worker> =
                    (0..4).map(|_| hold(load)).collect::<Result<_, Failure>>()?;
                let acted = act(load);
                drop(held);
                acted
            }
            Self::Raced => {
                let over = AtomicBool::new(false);
                let root = load.root().to_owned();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        while !over.load(Ordering::Relaxed) {
                            read_all(&root);
                        }
                    });
                    let acted = act(load);
                    over.store(true, Ordering::Relaxed);
                    acted
                })
            }
            Self::Mounts => mounted_twice(environment, load, act),
            Self::Forks => {
                load.fork()?;
                act(load)
            }
            Self::Hostile => hostile::beside(load, act),
        }
    }
}

/// How many notifications the longer of the two queues holds.
fn queue_length() -> Result<usize, Failure> {
    let mut length = 0;
    for dialect in ["inotify", "fanotify"] {
        let path = format!("/proc/sys/fs/{dialect}/max_queued_events");
        let text = fs::read_to_string(&path).map_err(Failure::driver("read", &path))?;
        length = length.max(text.trim().parse().unwrap_or(16_384));
    }
    Ok(length)
}

/// Somebody who keeps what he has opened, or where he is.
fn hold(load: &mut Load<'_>) -> Result<Worker, Failure> {
    let directory = load.any();
    if load.rng.bool() {
        Worker::ready(Task::Inside(&directory))
    } else {
        let name = ["cgroup.events", "cgroup.procs"][load.rng.usize(0..2)];
        Worker::ready(Task::Hold(&directory.join(name)))
    }
}

/// Reads whatever is there; what is gone by then is passed over.
fn read_all(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.map_while(Result::ok) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            read_all(&path);
        } else if path.to_string_lossy().ends_with(".events") {
            let _ = fs::read(path);
        }
    }
}

/// All of it in the soak's own mount namespace.
fn mounted_twice(
    environment: &Environment,
    load: &mut Load<'_>,
    act: &mut dyn FnMut(&mut Load<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let first = &environment.cgroup_mount;
    let second = environment.scratch.join(format!("cgwatch-soak-{}", std::process::id()));
    fs::create_dir_all(&second).map_err(Failure::driver("make", &second))?;
    mount("none", &second, "cgroup2", MountFlags::empty(), None)?;
    mount_remount(first, MountFlags::BIND | MountFlags::NOEXEC, "")?;
    load.through(Some(&second.join(load.root().file_name().unwrap_or_default())));
    let acted = act(load);
    load.through(None);
    mount_remount(first, MountFlags::BIND, "")?;
    unmount(&second, UnmountFlags::DETACH)?;
    fs::remove_dir(&second).map_err(Failure::driver("remove", &second))?;
    acted
}
