//! The tests of kernfs: each names the fact of Linux, or the promise of the
//! design, that it holds the crate to.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod examples;
mod handles;
mod hierarchy;
mod life;
mod matrix;
mod open;
mod order;
mod permissions;
mod poll;
mod reference;
mod scale;
mod traps;
mod views;
mod xattrs;
