//! Signals as something poll(2) can wait for.

use std::os::unix::net::UnixStream;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Becomes readable at the first signal. The second ends the process at once.
pub(crate) fn caught() -> anyhow::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let interrupted = std::sync::Arc::default();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
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
