//! Signals as something poll(2) can wait for.
//!
//! A signal that was ignored at the start stays ignored: nohup(1), and a shell that starts something
//! in the background, ask for that.

use std::{fs, os::unix::net::UnixStream};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals that ask to end, but for those that are ignored.
pub(crate) fn ending() -> impl Iterator<Item = i32> {
    // Without `/proc` none is taken for ignored.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// The mask of ignored signals in a `/proc/PID/status`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Becomes readable at the first signal. The second ends the process at once.
pub(crate) fn caught() -> anyhow::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let interrupted = std::sync::Arc::default();
    for signal in ending() {
        let sender = sender.try_clone()?;
        signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            std::sync::Arc::clone(&interrupted),
        )
        .and_then(|_| signal_hook::flag::register(signal, std::sync::Arc::clone(&interrupted)))
        .and_then(|_| signal_hook::low_level::pipe::register(signal, sender))
        .context("cannot catch signals")?;
    }
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored() {
        assert_eq!(
            ignored("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n"),
            0x1001
        );
        assert_eq!(ignored(""), 0);
    }
}
