//! The events as a stream, on this machine's own hierarchy.
#![cfg(feature = "stream")]
#![allow(clippy::unwrap_used, reason = "a test's helper")]

mod own;

use std::fs;

use cgwatch::{Depth, EventKind, EventStream, Options, Watcher};
use futures_lite::{
    StreamExt,
    future::{block_on, poll_once},
};

use self::own::Own;

#[test]
fn a_stream_tells_births_and_deaths_and_ends_with_the_root() {
    let own = Own::new("stream").expect("this test needs a cgroup v2 hierarchy");
    let mut watcher = Watcher::new(Options::new()).unwrap();
    watcher.add(own.path(), Depth::All).unwrap();
    let mut stream = EventStream::new(watcher).unwrap();
    block_on(async {
        let mut names = Vec::new();
        while let Some(event) = stream.next().await {
            let event = event.unwrap();
            match &event.kind {
                EventKind::Ready { .. } => fs::create_dir(own.path().join("child")).unwrap(),
                EventKind::Appeared { existing: false, .. } => {
                    fs::remove_dir(own.path().join("child")).unwrap();
                }
                EventKind::Removed { cgroup, .. } if cgroup.path.as_bytes() == b"/child" => {
                    fs::remove_dir(own.path()).unwrap();
                }
                _ => {}
            }
            names.push(event.kind.name());
        }
        assert_eq!(names, ["appeared", "ready", "appeared", "removed", "removed"]);
    });
}

/// While nothing happens it is pending, which is no end; and it is woken by what happens then.
#[test]
fn a_stream_waits_for_what_comes() {
    let own = Own::new("stream-waits").expect("this test needs a cgroup v2 hierarchy");
    let mut watcher = Watcher::new(Options::new()).unwrap();
    watcher.add(own.path(), Depth::All).unwrap();
    let mut stream = EventStream::new(watcher).unwrap();
    while let Some(event) = block_on(poll_once(stream.next())) {
        event.expect("it has not ended").unwrap();
    }
    fs::create_dir(own.path().join("child")).unwrap();
    let event = block_on(stream.next()).expect("it has not ended").unwrap();
    assert_eq!(event.kind.name(), "appeared");
}
