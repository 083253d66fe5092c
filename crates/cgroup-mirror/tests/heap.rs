//! What a mirror takes for cgroups it gives back when they are gone. Alone in its program, since
//! every byte of that is counted.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path, time::Duration};

use cgroup_mirror::{Mirror, Usage};
use cgwatch::Mount;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const CGROUPS: usize = 500;
/// What buffers and tables may keep for the next ones.
const KEPT: usize = 512 << 10;

#[test]
fn births_and_deaths_leave_no_heap() {
    let mount = Mount::all().unwrap_or_default().into_iter().next();
    let top = mount.map(|m| m.point.join(format!("cgwatch-mirror-heap-{}", std::process::id())));
    let Some(top) = top.filter(|top| fs::create_dir(top).is_ok()) else {
        assert!(std::env::var_os("CI").is_none(), "no hierarchy to write in");
        return eprintln!("skipped: no cgroup v2 hierarchy that can be written");
    };
    let told = shown(&top);
    fs::remove_dir(&top).unwrap();
    let [start, full, first, second] = told.unwrap();
    println!("{start} bytes, {full} with {CGROUPS} cgroups more, {first} without, {second} again");
    assert!(full - start > CGROUPS * 2048, "it shows something");
    assert!(first - start < KEPT, "{} bytes are kept", first - start);
    assert!(second < first + 4096, "{} bytes more after a second time", second - first);
}

/// The heap at the start, with many cgroups, and twice after they went; the cgroups are gone
/// whatever comes of it.
fn shown(top: &Path) -> Result<[usize; 4], cgroup_mirror::Error> {
    let mut mirror = Mirror::new(top)?;
    let nodes = mirror.usage().nodes;
    let start = HEAP.current_usage();
    let mut until = |so: fn(Usage, usize) -> bool| {
        while !so(mirror.usage(), nodes) {
            mirror.wait(Duration::from_millis(20))?;
        }
        Ok::<_, cgroup_mirror::Error>(HEAP.current_usage())
    };
    let mut measured = Vec::new();
    for _ in 0..2 {
        let paths: Vec<_> = (0..CGROUPS).map(|n| top.join(n.to_string())).collect();
        let made: Vec<_> = paths.iter().map(fs::create_dir).collect();
        let all = made.iter().all(Result::is_ok);
        let full = if all { until(|now, _| now.cgroups == 1 + CGROUPS) } else { Ok(0) };
        paths.iter().for_each(|path| drop(fs::remove_dir(path)));
        // What is removed is in memory until it was told.
        measured.push((full?, until(|now, nodes| now.cgroups == 1 && now.nodes == nodes)?));
    }
    Ok([start, measured[0].0, measured[0].1, measured[1].1])
}
