//! Standard output that never blocks the monitor.
//!
//! It is written to only after poll(2) said that there is room, and then at most `PIPE_BUF` bytes,
//! which a pipe with room always takes at once (pipe(7)), in whole lines as far as they fit.
//! `O_NONBLOCK` is never set on standard output itself, since it is shared with other programs. A
//! terminal may have less room than it says, so it is opened once more, on a description of our own.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pipe::PIPE_BUF,
};

use crate::streams;

/// What waits to be written. Bounded: it is full from `PIPE_BUF` bytes on.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: io::Stdout,
    /// Our own description of the terminal.
    terminal: Option<OwnedFd>,
    waiting: Vec<u8>,
}

/// Nobody can read what is written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Output {
    /// Of this process's standard output.
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal().then(|| {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            // Not permitted after su(1), for one; then there is only standard output itself.
            rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok()
        });
        Self { stdout, terminal: terminal.flatten(), waiting: Vec::new() }
    }

    /// Adds a line, newline included.
    pub(crate) fn push(&mut self, line: &str) {
        self.waiting.extend_from_slice(line.as_bytes());
    }

    /// There is enough to write.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= PIPE_BUF
    }

    /// There is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what fits. Only after poll(2) said that there is room.
    pub(crate) fn write(&mut self) -> Result<Result<(), Closed>, Errno> {
        let chunk = chunk(&self.waiting);
        match rustix::io::write(self.as_fd(), chunk) {
            Ok(written) => {
                self.waiting.drain(..written);
                Ok(Ok(()))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Ok(())),
            Err(errno) if streams::is_reader_gone(errno) => Ok(Err(Closed)),
            Err(errno) => Err(errno),
        }
    }
}

/// What to poll for room.
impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_ref().map_or_else(|| self.stdout.as_fd(), AsFd::as_fd)
    }
}

/// At most `PIPE_BUF` bytes, whole lines if the first fits.
fn chunk(waiting: &[u8]) -> &[u8] {
    let most = &waiting[..waiting.len().min(PIPE_BUF)];
    match most.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => &most[..=end],
        None => most,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::net::UnixStream};

    use rustix::net::sockopt::set_socket_send_buffer_size;

    use super::*;

    /// A terminal may take less than it is given, as this socket does.
    #[test]
    fn what_was_not_taken_is_written_later() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        set_socket_send_buffer_size(&ours, 1).unwrap(); // the least there is
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        let mut output =
            Output { stdout: io::stdout(), terminal: Some(ours.into()), waiting: Vec::new() };
        let lines: String = (0..1000).map(|n| format!("line {n} {}\n", "x".repeat(90))).collect();
        output.push(&lines);
        let (mut taken, mut was_short) = (Vec::new(), false);
        while !output.is_empty() {
            let (waiting, given) = (output.waiting.len(), chunk(&output.waiting).len());
            output.write().unwrap().unwrap();
            let written = waiting - output.waiting.len();
            was_short |= (1..given).contains(&written);
            if written == 0 {
                // It takes more once a little was read, but not as much as it is given.
                let mut some = [0; 1000];
                let read = theirs.read(&mut some).unwrap();
                taken.extend_from_slice(&some[..read]);
            }
        }
        drop(output);
        theirs.read_to_end(&mut taken).unwrap();
        assert_eq!(String::from_utf8(taken).unwrap(), lines);
        assert!(was_short, "it took all it was given each time, so this shows nothing");
    }

    #[test]
    fn chunks_are_whole_lines_that_a_pipe_takes_at_once() {
        assert_eq!(chunk(b"one\ntwo\n"), b"one\ntwo\n");
        let lines = "x".repeat(3000) + "\n" + &"y".repeat(2000) + "\n";
        assert_eq!(chunk(lines.as_bytes()).len(), 3001);
        let exact = "x".repeat(PIPE_BUF - 1) + "\n";
        assert_eq!(chunk(exact.as_bytes()).len(), PIPE_BUF);
        let long = "x".repeat(PIPE_BUF * 2) + "\n";
        assert_eq!(chunk(long.as_bytes()).len(), PIPE_BUF);
    }
}
