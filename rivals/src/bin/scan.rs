//! A watch on each event file; removals by scanning procfs every so many milliseconds: a cgroup
//! that no process belongs to any more, and whose directory is gone, was removed.
//!
//! `/proc/PID/cgroup` is read each time, which is proof against reused numbers of processes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rivals::{Births, Tree, place};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() -> Result<()> {
    let (root, file) = place()?;
    let milliseconds = std::env::args().nth(1).context("no period given")?.parse()?;
    let period = Duration::from_millis(milliseconds);
    let mount = mount(&root)?;
    let mut tree = Tree::watch(root, file, Births::Alone, true)?;
    tree.voice.ready();
    let mut next = Instant::now() + period;
    loop {
        tree.voice.flush()?;
        let left = Timespec::try_from(next.saturating_duration_since(Instant::now()))?;
        poll(&mut [PollFd::new(&tree, PollFlags::IN)], Some(&left))?;
        // Changes are said, births taken in; lost notifications are caught up with.
        tree.take()?;
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + period;
        let populated = populated(&mount)?;
        for id in tree.ids() {
            let alive = tree.directory(id).is_some_and(|path| populated.contains(path));
            if !alive && !tree.exists(id) {
                // Whoever was born meanwhile is watched already.
                let _ = tree.bury(id);
            }
        }
    }
}

/// The directories of all cgroups that have processes.
fn populated(mount: &Path) -> Result<HashSet<PathBuf>> {
    let mut found = HashSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        // It may be gone already.
        let Ok(text) = fs::read_to_string(entry.path().join("cgroup")) else { continue };
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
        found.extend(path.map(|path| mount.join(path)));
    }
    Ok(found)
}

/// Where the hierarchy of this cgroup is mounted.
fn mount(root: &Path) -> Result<PathBuf> {
    let above = root.ancestors().skip(1).find(|path| !path.join("cgroup.events").exists());
    Ok(above.context("no mount point above")?.to_owned())
}
