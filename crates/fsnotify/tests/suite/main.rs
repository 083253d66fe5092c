//! The tests of fsnotify: each names the fact of Linux it holds the crate to.
#![allow(clippy::unwrap_used, reason = "tests")]

mod inotify_queue;
mod inotify_watches;
mod objects;
