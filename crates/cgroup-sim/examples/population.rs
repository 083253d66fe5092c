//! How long births, counts and deaths take, and how much memory a cgroup.
//! `cargo run --release -p cgroup-sim --example population [CGROUPS] [notifying]`

use std::time::Instant;

use cgroup_sim::{Error, Event, Hierarchy, Options, Surface};

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn main() -> Result<(), Error> {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000_u64);
    let few = std::env::args().nth(2).is_some_and(|text| text == "notifying");
    let surface = if few { Surface::Notifying } else { Surface::Whole };
    let before = resident();
    let all = Hierarchy::new(Options { surface, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory +pids")?;
    let start = Instant::now();
    let ids = (0..count).map(|n| all.mkdir(format!("c{n}"))).collect::<Result<Vec<_>, _>>()?;
    let births = start.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    let memory = (resident() - before) / count;
    let start = Instant::now();
    for id in &ids {
        all.count(*id, Event::MemoryHigh, 1)?;
    }
    let told = all.drain();
    let counts = start.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    let start = Instant::now();
    for n in 0..count {
        all.rmdir(format!("c{n}"))?;
    }
    let deaths = start.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    println!(
        "{surface:?}: {count} cgroups, {memory} bytes each; mkdir {births:?}, count and tell \
         {counts:?} ({told} files), rmdir {deaths:?}"
    );
    Ok(())
}
