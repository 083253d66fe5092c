//! The events as a stream, on this machine's own hierarchy.
#![cfg(feature = "stream")]
#![allow(clippy::unwrap_used, reason = "a test's helper")]

mod own;

use std::fs;

use cgwatch::{Depth, EventKind, EventStream, Options, Watcher};
use futures_lite::{StreamExt, future::block_on};

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
