//! Bytes a node and a mark, and how long a million nodes take to come and go.
//!
//! Bytes are the growth of the resident set: what the allocator keeps around each object counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fsnotify::inotify::{InitFlags, Inotify, WatchMask};
use fsnotify::{Account, Connector, Limits};

use super::own::{File, plant};

const NODES: usize = 1_000_000;
const MARKS: usize = 500_000;
/// A node's name, in an allocation of its own with two reference counts.
const NAME: f64 = 32.0;

pub(super) struct Memory {
    node: f64,
    mark: f64,
    build: Duration,
    remove: Duration,
    tell: Duration,
    drop: Duration,
}

/// Bytes of this process in memory.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

pub(super) fn measure() -> Result<Memory> {
    let before = resident()?;
    let start = Instant::now();
    let tree = plant(NODES)?;
    let build = start.elapsed();
    let node = (resident()? - before) / NODES as f64 - NAME;
    let start = Instant::now();
    for dir in tree.root().child_names() {
        tree.root().remove_child(dir)?;
    }
    let remove = start.elapsed();
    let start = Instant::now();
    tree.drain();
    let tell = start.elapsed();
    drop(tree);
    let again = plant(NODES)?;
    let start = Instant::now();
    drop(again);
    let drop_whole = start.elapsed();

    let files: Vec<_> = (0..MARKS).map(|_| Arc::new(File(Connector::new()))).collect();
    let account = Account::new(Limits { marks: u64::MAX, ..Limits::default() });
    let inotify = Inotify::new(&account, InitFlags::NONBLOCK)?;
    // The heap that the nodes left is used up first; count what comes on top in pages of its own.
    let filler: Vec<Vec<u8>> = (0..NODES * 4).map(|_| Vec::with_capacity(40)).collect();
    let before = resident()?;
    for file in &files {
        inotify.add_watch(file.clone(), WatchMask::MODIFY)?;
    }
    let mark = (resident()? - before) / MARKS as f64;
    drop((filler, inotify));
    Ok(Memory { node, mark, build, remove, tell, drop: drop_whole })
}

impl Memory {
    pub(super) fn print(&self) {
        let each = |time: Duration| time.as_nanos() as f64 / NODES as f64;
        println!("{:<36}{:>10.0}  bytes, budget 256", "a bare node, beside its name", self.node);
        println!("{:<36}{:>10.0}  bytes", "a mark and its place in two tables", self.mark);
        for (what, time) in [
            ("a million nodes: made", self.build),
            ("… removed", self.remove),
            ("… told by the worker", self.tell),
            ("… dropped with the tree", self.drop),
        ] {
            println!("{what:<36}{:>10.0}  ns a node, {:.2} s", each(time), time.as_secs_f64());
        }
    }
}
