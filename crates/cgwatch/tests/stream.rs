//! The events as a stream, on this machine's own hierarchy.
#![cfg(feature = "stream")]

use std::{fs, path::PathBuf};

use cgwatch::{Depth, EventKind, EventStream, Mount, Options, Watcher};
use futures_lite::{StreamExt, future::block_on};

/// A cgroup of this test's own, removed with it.
struct Own(PathBuf);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("child"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_stream_tells_births_and_deaths_and_ends_with_the_root() {
    let Some(mount) = Mount::all().unwrap().into_iter().next() else {
        panic!("this test needs a cgroup v2 hierarchy");
    };
    let own = Own(mount.point.join(format!("cgwatch-stream-{}", std::process::id())));
    fs::create_dir(&own.0).unwrap();
    let mut watcher = Watcher::new(Options::new()).unwrap();
    watcher.add(&own.0, Depth::All).unwrap();
    let mut stream = EventStream::new(watcher).unwrap();
    block_on(async {
        let mut names = Vec::new();
        while let Some(event) = stream.next().await {
            let event = event.unwrap();
            match &event.kind {
                EventKind::Ready { .. } => fs::create_dir(own.0.join("child")).unwrap(),
                EventKind::Appeared { existing: false, .. } => {
                    fs::remove_dir(own.0.join("child")).unwrap();
                }
                EventKind::Removed { cgroup, .. } if cgroup.path.as_bytes() == b"/child" => {
                    fs::remove_dir(&own.0).unwrap();
                }
                _ => {}
            }
            names.push(event.kind.name());
        }
        assert_eq!(names, ["appeared", "ready", "appeared", "removed", "removed"]);
    });
}
