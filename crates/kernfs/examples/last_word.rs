//! A file changes and is removed in one go, and its watch hears all of it.
//!
//! `cargo run -p kernfs --example last_word`, or with `linux70` or `linux71`
//! behind it to see what those make of the same program.

use std::{error::Error, sync::Arc};

use fsnotify::{
    Account, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask, records},
};
use kernfs::{Options, Profile, Tree};

fn main() -> Result<(), Box<dyn Error>> {
    let profile = match std::env::args().nth(1).as_deref() {
        None | Some("announced") => Profile::Announced,
        Some("linux70") => Profile::Linux70,
        Some("linux71") => Profile::Linux71,
        Some(other) => return Err(format!("{other}: announced, linux70 or linux71").into()),
    };
    let tree = Tree::new(Options { profile, ..Options::default() });
    let cgroup = tree.root().make_dir("job")?;
    let events = cgroup.make_file("memory.events", Arc::new(|| b"oom_kill 1\n".to_vec()))?;

    let mount = tree.mount();
    let inotify = Inotify::new(&Account::new(Limits::default()), InitFlags::NONBLOCK)?;
    mount.watch(&inotify, "/job/memory.events", WatchMask::MODIFY | WatchMask::DELETE_SELF)?;

    // The kill that empties the cgroup, and its end.
    events.notify();
    cgroup.remove();
    tree.drain();

    let mut buffer = [0; 4096];
    while let Ok(read) = inotify.read(&mut buffer) {
        for record in records(&buffer[..read]) {
            println!("{}", name(record.mask));
        }
    }
    if inotify.watches() > 0 {
        eprintln!("the watch leaked");
    }
    Ok(())
}

/// The event's kernel name, without the prefix.
fn name(mask: Mask) -> &'static str {
    match mask {
        Mask::MODIFY => "MODIFY",
        Mask::DELETE_SELF => "DELETE_SELF",
        Mask::IN_IGNORED => "IGNORED",
        _ => "OTHER",
    }
}
