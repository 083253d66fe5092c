//! The crate `notify`, its recommended watcher on the whole tree: what its events name is said.

use std::path::Path;
use std::sync::mpsc;

use anyhow::Result;
use notify::event::{CreateKind, EventKind, RemoveKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use rivals::{Voice, place};

fn main() -> Result<()> {
    let (root, file) = place()?;
    let (sender, events) = mpsc::channel();
    let mut watcher = RecommendedWatcher::new(sender, Config::default())?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    let mut voice = Voice::default();
    voice.ready();
    voice.flush()?;
    while let Ok(first) = events.recv() {
        say(&mut voice, &root, &file, &first?);
        for event in events.try_iter() {
            say(&mut voice, &root, &file, &event?);
        }
        voice.flush()?;
    }
    Ok(())
}

fn say(voice: &mut Voice, root: &Path, file: &str, event: &Event) {
    for path in &event.paths {
        let Ok(path) = path.strip_prefix(root) else { continue };
        match event.kind {
            EventKind::Create(CreateKind::Folder) => voice.born(&said(path)),
            EventKind::Remove(RemoveKind::Folder) => voice.removed(&said(path)),
            EventKind::Modify(_) if path.ends_with(file) => {
                let directory = path.parent().unwrap_or(path);
                let content = std::fs::read_to_string(root.join(path)).unwrap_or_default();
                voice.changed(&said(directory), &content, 0);
            }
            _ => {}
        }
    }
}

fn said(path: &Path) -> String {
    format!("/{}", path.display())
}
