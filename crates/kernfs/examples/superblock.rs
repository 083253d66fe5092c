//! One fanotify mark on the whole mount hears of every removed file, also of
//! those that nobody ever looked up.
//!
//! `cargo run -p kernfs --example superblock`

use std::{error::Error, sync::Arc};

use fsnotify::{
    Account, Limits, Mask,
    fanotify::{Fanotify, InitFlags, MarkFlags, records},
};
use kernfs::{Options, Tree};

fn main() -> Result<(), Box<dyn Error>> {
    let tree = Tree::new(Options::default());
    for cgroup in ["a", "b", "c"] {
        let cgroup = tree.root().make_dir(cgroup)?;
        for file in ["cgroup.events", "memory.events", "pids.events"] {
            cgroup.make_file(file, Arc::new(Vec::new))?;
        }
    }

    let mount = tree.mount();
    // Events that the file system tells later are opted into.
    let flags = InitFlags::REPORT_FID | InitFlags::REPORT_DEFERRED | InitFlags::NONBLOCK;
    let group = Fanotify::new(&Account::new(Limits::default()), flags)?;
    let mask = Mask::DELETE_SELF | Mask::ISDIR;
    let add = MarkFlags::ADD | MarkFlags::FILESYSTEM;
    mount.mark(&group, add, mask.bits().into(), "/")?;

    for cgroup in tree.root().child_names() {
        tree.root().remove_child(cgroup)?;
    }
    tree.drain();

    let mut files = 0;
    let mut buffer = [0; 4096];
    while let Ok(read) = group.read(&mut buffer) {
        for record in records(&buffer[..read]) {
            let id = record.infos().find_map(|info| info.handle.id());
            let is_dir = record.metadata.mask.contains(Mask::ISDIR);
            let kind = if is_dir { "directory" } else { "file" };
            println!("DELETE_SELF {kind} {}", id.unwrap_or_default());
            files += usize::from(!is_dir);
        }
    }
    println!("removed {files} files");
    Ok(())
}
