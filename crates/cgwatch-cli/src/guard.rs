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

use std::{
    fs,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread::JoinHandle,
};

use anyhow::{Context, anyhow};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::Signal,
};

use crate::serve::{self, NAME};

/// The running guard of a mount; dropping it is the orderly end.
#[derive(Debug)]
pub(crate) struct Guard {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Starts it for what will be mounted at a directory; to be done before
    /// that is.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let mut command =
            Command::new(std::env::current_exe().context("cannot find this program")?);
        command.arg("guard").arg(std::path::absolute(directory)?);
        // Of its own, so that a terminal's signals do not reach it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        if serve::is_in_background() {
            // Whoever started us reads our standard error to its end.
            command.stderr(Stdio::null());
        }
        let (end, ended) = mpsc::channel::<()>();
        let (started, starting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("guard".into());
        let thread = thread.spawn(move || match command.spawn().and_then(ready) {
            Ok(mut child) => {
                let _ = started.send(Ok(()));
                // Until the other end is dropped.
                let _ = ended.recv();
                // It has nothing to do any more.
                let _ = child.kill();
                let _ = child.wait();
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        })?;
        starting.recv().map_err(|_| anyhow!("no guard"))?.context("no guard process")?;
        Ok(Self { end: Some(end), thread: Some(thread) })
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
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// The life of the guard process.
pub(crate) fn run(directory: &Path) -> anyhow::Result<ExitCode> {
    let parent = rustix::process::getppid();
    // As often as it comes: the kernel hands an orphan from one dying thread of
    // its parent to the next, and tells it each time.
    let (signals, sender) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, sender)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // Dead before that was set.
    let orphan = rustix::process::getppid() != parent;
    rustix::io::write(rustix::stdio::stdout(), b"!")?;
    if !orphan {
        let mut ready = [PollFd::new(&signals, PollFlags::IN)];
        while let Err(error) = poll(&mut ready, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
    }
    // Looked at without a request, which nobody would answer.
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let is_ours = mounts.lines().any(|line| {
        let Some((mount, kind)) = line.split_once(" - ") else { return false };
        let mut kind = kind.split(' ').skip(1);
        mount.split(' ').nth(4).map(Path::new) == Some(directory)
            && kind.next().is_some_and(|source| source.starts_with(NAME))
    });
    if is_ours {
        kernfs_fuse::end_mount(directory)?;
    }
    Ok(ExitCode::SUCCESS)
}
