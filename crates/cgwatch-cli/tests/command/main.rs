//! The binary itself: arguments, exit codes, errors and output, on this machine's hierarchy.
//!
//! What cannot be tested here (no cgroup v2, no root, a program missing) is printed as `skipped: …`, and
//! fails where `CI=true`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod arguments;
mod clients;
mod doctor;
mod ending;
mod errors;
mod listing;
mod mirror;
mod mounting;
mod places;
mod rights;
mod running;
mod simulated;
mod stream;
mod streams;
mod terminal;
