//! The crate `cgroups-rs`, which offers `notify_on_oom_v2`, for each cgroup there is.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result};
use cgroups_rs::fs::events::notify_on_oom_v2;
use rivals::place;

fn main() -> Result<()> {
    let (root, _) = place()?;
    let (sender, kills) = mpsc::channel();
    for directory in below(&root)? {
        let path = format!("/{}", directory.strip_prefix(&root)?.display());
        let receiver = notify_on_oom_v2(&path, &directory)
            .with_context(|| format!("notify_on_oom_v2 of {}", directory.display()))?;
        let sender = sender.clone();
        thread::spawn(move || receiver.iter().try_for_each(|path| sender.send(path)));
    }
    println!("ready");
    for path in kills {
        println!("oom {path} 1");
    }
    Ok(())
}

fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
            found.extend(below(&entry.path())?);
        }
    }
    Ok(found)
}
