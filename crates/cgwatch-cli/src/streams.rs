//! Writing to standard output and standard error. The only place that does, but for the stream of
//! events (`watch/output.rs`), so that nobody reading changes nothing else.
//!
//! * What cannot be written to **standard error** is dropped: its disk is full, its reader is gone
//!   or makes no room for [`PATIENCE`]. The command goes on, and its exit code is the same.
//! * **Standard output** is what the command is for. A reader that is gone is its usual end
//!   ([`ReaderGone`]: exit code 0, no message); any other failure is an error.
//! * A standard stream that is closed at the start is `/dev/null`, which Rust's runtime sees to
//!   before `main`.

use std::{
    fmt,
    io::IsTerminal as _,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cgwatch::Printable;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::PIPE_BUF,
};

/// How long the reader of standard error may take to make room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nobody reads standard output any more: the end of a filter, not an error.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl std::error::Error for ReaderGone {}

/// Says a sentence to people, on standard error, if it can be written.
pub(crate) fn say(sentence: impl fmt::Display) {
    note(&format!("cgwatch: {sentence}\n"));
}

/// Says what is weaker than it could be.
pub(crate) fn warn(sentence: impl fmt::Display) {
    say(format_args!("warning: {sentence}"));
}

/// Writes whole lines to standard error, if they can be written. Nothing in them steers a terminal.
pub(crate) fn note(lines: &str) {
    let text = Printable::message(lines).to_string();
    // There is nobody left to hear of it.
    let _ = write(rustix::stdio::stderr(), text.as_bytes(), Some(PATIENCE));
}

/// Prints to standard output, all of it.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    match write(rustix::stdio::stdout(), bytes, None) {
        Ok(()) => Ok(()),
        Err(errno) if is_reader_gone(errno) => Err(ReaderGone.into()),
        Err(errno) => Err(errno).context("cannot write to standard output"),
    }
}

/// Whether a failed write to standard output means that nobody can read it any more.
pub(crate) fn is_reader_gone(errno: Errno) -> bool {
    match errno {
        Errno::PIPE | Errno::CONNRESET => true,
        // A terminal that has hung up; of a disk it is a failure.
        Errno::IO => std::io::stdout().is_terminal(),
        _ => false,
    }
}

/// Writes all of it, waiting for room: for ever, or for so long at a time.
fn write(
    stream: BorrowedFd<'_>,
    mut bytes: &[u8],
    patience: Option<Duration>,
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        await_room(stream, patience)?;
        // So much a pipe with room takes without blocking.
        match rustix::io::write(stream, &bytes[..bytes.len().min(PIPE_BUF)]) {
            Ok(written) => bytes = &bytes[written..],
            // The stream is shared: another program may have taken the room.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn await_room(stream: BorrowedFd<'_>, patience: Option<Duration>) -> Result<(), Errno> {
    let end = patience.map(|patience| Instant::now() + patience);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], left.as_ref()) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            // An error is found by writing.
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
