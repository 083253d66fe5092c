//! The tests of cgroup-sim: each names the rule of Linux, or the promise of the design, that it
//! holds the crate to.
#![allow(clippy::unwrap_used, reason = "tests")]

mod conservation;
mod control;
mod counting;
mod files;
mod freezing;
mod life;
mod limiter;
mod memory;
mod playing;
mod reclaim;
mod scenarios;
mod tasks;
mod threaded;

use cgroup_sim::{Event, Hierarchy, Options};
use fsnotify::{Account, Limits, inotify};
use rustix::io::Errno;

/// A hierarchy that remembers.
fn hierarchy() -> Hierarchy {
    Hierarchy::new(Options { remember: true, ..Options::default() })
}

/// One with these controllers for the children of the root, and a cgroup `a` that gives them on.
fn nested(controllers: &str) -> Hierarchy {
    let all = hierarchy();
    all.write("cgroup.subtree_control", controllers).unwrap();
    all.mkdir("a").unwrap();
    all.write("a/cgroup.subtree_control", controllers).unwrap();
    all
}

/// The value of a key in a file of a cgroup.
#[track_caller]
fn value(all: &Hierarchy, path: &str, key: &str) -> u64 {
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    let text = all.show(all.find(dir).unwrap(), file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

#[track_caller]
fn errno<T: std::fmt::Debug>(result: Result<T, cgroup_sim::Error>) -> Errno {
    result.unwrap_err().errno()
}

#[track_caller]
fn count(all: &Hierarchy, path: &str, event: Event, times: u64) {
    all.count(all.find(path).unwrap(), event, times).unwrap();
}

/// A watcher of files for `IN_MODIFY`.
struct Watcher {
    inotify: inotify::Inotify,
}

impl Watcher {
    fn of(all: &Hierarchy, paths: &[&str]) -> Self {
        let account = Account::new(Limits::default());
        let inotify = inotify::Inotify::new(&account, inotify::InitFlags::NONBLOCK).unwrap();
        for path in paths {
            all.mount().watch(&inotify, path, inotify::WatchMask::MODIFY).unwrap();
        }
        Self { inotify }
    }

    /// The watches told since the last call, in order.
    fn told(&self, all: &Hierarchy) -> Vec<i32> {
        all.drain();
        let mut told = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read) = self.inotify.read(&mut buffer) {
            told.extend(inotify::records(&buffer[..read]).map(|record| record.wd));
        }
        told
    }
}
