//! A second process that ends a mount if its server is killed.
//!
//! A server makes system calls on its own mount. If it is killed (`SIGKILL`)
//! while one is in flight, the thread that made it waits for an answer that
//! nobody will give, and holds the device open, so that the kernel does not
//! notice that the server is gone: neither the process nor its clients would
//! ever be free. So a process that holds nothing of the mount is told by the
//! kernel of the death of the thread that started it
//! (`PR_SET_PDEATHSIG`; that thread does nothing else, hence it always dies)
//! and unmounts by force, which answers every request with an error.
//!
//! It follows no path: its working directory is the one that the mount point
//! lies in, and the mount must be the one whose number the server wrote to its
//! standard input. A server that was killed before it could has mounted within
//! that moment, so what is on top there is its mount if it bears our name.

use std::{
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread::JoinHandle,
};

use anyhow::{Context, anyhow};
use kernfs_fuse::{MountId, MountPoint, Mounted};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::CWD,
    io::Errno,
    process::Signal,
};

use crate::serve::{self, NAME};

/// The running guard of a mount; dropping it is the orderly end.
#[derive(Debug)]
pub(crate) struct Guard {
    mount: Option<mpsc::Sender<MountId>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Starts it for what will be mounted at a directory; to be done before
    /// that is.
    pub(crate) fn start(place: &MountPoint) -> anyhow::Result<Self> {
        let mut command =
            Command::new(std::env::current_exe().context("cannot find this program")?);
        command.arg("guard").arg(place.path());
        command.current_dir(format!("/proc/self/fd/{}", place.above().as_raw_fd()));
        // Of its own, so that a terminal's signals do not reach it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        if serve::is_in_background() {
            // Whoever started us reads our standard error to its end.
            command.stderr(Stdio::null());
        }
        let (mount, mounts) = mpsc::channel::<MountId>();
        let (started, starting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("guard".into());
        let thread = thread.spawn(move || match command.spawn().and_then(ready) {
            Ok(mut child) => {
                let _ = started.send(Ok(()));
                // Until the other end is dropped.
                while let Ok(mount) = mounts.recv() {
                    if let Some(input) = &mut child.stdin {
                        // In one piece. If it is gone there is no guard any more.
                        let _ = input.write_all(mount.to_string().as_bytes());
                    }
                }
                // It has nothing to do any more.
                let _ = child.kill();
                let _ = child.wait();
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        })?;
        starting.recv().map_err(|_| anyhow!("no guard"))?.context("no guard process")?;
        Ok(Self { mount: Some(mount), thread: Some(thread) })
    }

    /// Says which mount it is.
    pub(crate) fn watch_over(&self, id: MountId) {
        if let Some(mount) = &self.mount {
            // It listens for as long as this lives.
            let _ = mount.send(id);
        }
    }
}

/// Waits until the guard listens.
fn ready(mut child: Child) -> std::io::Result<Child> {
    if let Some(output) = &mut child.stdout {
        std::io::Read::read_exact(output, &mut [0])?;
    }
    Ok(child)
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.mount.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// The life of the guard process. Of `directory` only the name counts.
pub(crate) fn run(directory: &Path) -> anyhow::Result<ExitCode> {
    let parent = rustix::process::getppid();
    // As often as it comes: the kernel hands an orphan from one dying thread of
    // its parent to the next, and tells it each time.
    let (signals, sender) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, sender)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // Dead before that was set.
    let orphan = rustix::process::getppid() != parent;
    // A server that is dead by now has mounted nothing.
    let _ = rustix::io::write(rustix::stdio::stdout(), b"!");
    if !orphan {
        // A server that was dead before this asked for its parent sends no signal, but it has let go of
        // the pipe, as it does only by its death.
        let input = rustix::stdio::stdin();
        let mut ready = [
            PollFd::new(&signals, PollFlags::IN),
            PollFd::from_borrowed_fd(input, PollFlags::empty()),
        ];
        while let Err(error) = poll(&mut ready, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
    }
    let name = directory.file_name().unwrap_or_default();
    let mounted = Mounted::at(CWD, name)?;
    let is_ours = match told()? {
        Some(id) => mounted.id()? == id,
        None => mounted.info()?.is_some_and(|mount| mount.is_fuse_from(NAME)),
    };
    if is_ours {
        mounted.end()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The mount that the server told of. What it did not write by now it will not: it is dying, and may
/// keep its end of the pipe open for ever.
fn told() -> anyhow::Result<Option<MountId>> {
    let input = rustix::stdio::stdin();
    let mut ready = [PollFd::new(&input, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut ready, Some(&now))? == 0 {
        return Ok(None);
    }
    let mut text = [0; 64];
    let length = rustix::io::read(input, &mut text)?;
    let text = std::str::from_utf8(&text[..length])?;
    Ok(if text.is_empty() { None } else { Some(text.parse()?) })
}
