//! The life of a mount: in the foreground or not, until a signal, or until
//! someone unmounts it. However it ends, the mount goes with it.

use std::{
    env,
    io::{BufRead as _, BufReader},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use kernfs_fuse::{Mount, MountPoint, Unmounter, Weakness};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
};

use crate::{arguments::Place, failure::show, streams};

/// Set for the process that a `--daemon` leaves behind.
const BACKGROUND: &str = "CGWATCH_IN_BACKGROUND";
/// What it says when it is ready.
const READY: &str = "ready\n";
/// How often it is looked whether the mount is still there.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// What the names of our mounts begin with.
pub(crate) const NAME: &str = "cgwatch-";

/// This is the process that a `--daemon` leaves behind.
pub(crate) fn is_in_background() -> bool {
    env::var_os(BACKGROUND).is_some()
}

/// With `--daemon`: starts the process that stays, waits until it has mounted,
/// and gives the exit code; `None` in that process, and without.
pub(crate) fn in_background(place: &Place) -> anyhow::Result<Option<ExitCode>> {
    if !place.daemon {
        return Ok(None);
    }
    if is_in_background() {
        // Fails only for a leader of a group, which a new process is not.
        let _ = rustix::process::setsid();
        return Ok(None);
    }
    let mut child = Command::new(env::current_exe().context("cannot find this program")?)
        .args(env::args_os().skip(1))
        .env(BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process for the background")?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut said)?;
    }
    if said == READY {
        return Ok(Some(ExitCode::SUCCESS));
    }
    // It has said why.
    child.wait()?;
    Ok(Some(ExitCode::FAILURE))
}

/// The directory to mount on, free of what a killed server left there.
pub(crate) fn mount_point(place: &Place) -> anyhow::Result<MountPoint> {
    Ok(MountPoint::open(&place.directory, NAME)?)
}

/// Says what is weaker than it could be.
pub(crate) fn warn(place: &Place, mount: &Mount) {
    if place.allow_other {
        streams::warn(
            "other users are let in: one who is hostile can hold up what watchers of this mount \
             are told",
        );
    }
    for weakness in mount.weaknesses() {
        let told = match weakness {
            Weakness::NoHandles => {
                "without CAP_DAC_READ_SEARCH a watched file that the kernel has dropped from its \
                 cache does not tell that an rmdir removed it, and a directory tells it after the \
                 one above"
            }
            Weakness::NoPrivateMount => {
                "without CAP_SYS_ADMIN a plain umount finds the mount busy: end it with SIGTERM"
            }
            Weakness::NoOverride => {
                "without CAP_DAC_OVERRIDE and CAP_FOWNER watchers miss changes of what other users \
                 own"
            }
            _ => continue,
        };
        streams::warn(told);
    }
}

/// Keeps a mount until a signal comes or it is unmounted. `work` is done when
/// one of `wakers` is readable and at least as often as it asks for, and ends
/// it with `None`.
pub(crate) fn until_the_end(
    mount: &Mount,
    signals: &UnixStream,
    wakers: &[BorrowedFd<'_>],
    mut work: impl FnMut() -> anyhow::Result<Option<Duration>>,
) -> anyhow::Result<()> {
    unmount_on_panic(mount.unmounter());
    if env::var_os(BACKGROUND).is_some() {
        leave_the_terminal()?;
    } else {
        streams::say(format_args!("mounted at {}", show(mount.path())));
    }
    let mut looked = Instant::now();
    loop {
        let Some(pause) = work()? else { return Ok(()) };
        let pause = pause.min(LOOK);
        let pause = Timespec {
            tv_sec: pause.as_secs().cast_signed(),
            tv_nsec: pause.subsec_nanos().into(),
        };
        let mut ready = vec![PollFd::new(signals, PollFlags::IN)];
        ready.extend(wakers.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        match poll(&mut ready, Some(&pause)) {
            Ok(_) if !ready[0].revents().is_empty() => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if !mount.is_mounted() {
                return Ok(());
            }
        }
    }
}

/// Says that it is ready, then has no terminal and holds no directory.
fn leave_the_terminal() -> anyhow::Result<()> {
    streams::print(READY.as_bytes())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// A panic in any thread ends the process, and the mount with it: a mount whose
/// server is broken makes its clients wait for ever.
fn unmount_on_panic(mount: Unmounter) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        let _ = mount.unmount();
        std::process::exit(101);
    }));
}

#[cfg(test)]
#[path = "serve/tests.rs"]
mod tests;
