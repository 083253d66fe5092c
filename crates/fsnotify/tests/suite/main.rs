//! The tests of fsnotify: each names the fact of Linux it holds the crate to.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod arguments;
mod differential;
mod fanotify;
mod inotify_queue;
mod inotify_watches;
mod objects;
