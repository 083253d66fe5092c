//! A tree that is mounted in the test's own process, and clients that reach it by system calls.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod files;
mod hierarchy;
mod listing;
mod raised;
mod watch;
mod weak;
