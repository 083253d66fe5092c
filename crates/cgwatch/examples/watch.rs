//! Prints what happens below a cgroup: `cargo run --example watch -- /sys/fs/cgroup/…`.

use cgwatch::{Depth, Options, Watcher};

fn main() -> Result<(), cgwatch::Error> {
    let path = std::env::args_os().nth(1).unwrap_or_else(|| "/sys/fs/cgroup".into());
    let mut watcher = Watcher::new(Options::new())?;
    watcher.add(path.as_ref(), Depth::All)?;
    for event in watcher.events() {
        println!("{:?}", event?);
    }
    Ok(())
}
