//! What this process holds: heap, descriptors, inotify watches.

use std::fs;

use peak_alloc::PeakAlloc;

use crate::Failure;

/// Counts every byte of the program it is part of.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Live heap bytes.
#[must_use]
pub(crate) fn heap() -> usize {
    HEAP.current_usage()
}

/// The greatest number of live heap bytes since [`forget_heap_peak`].
#[must_use]
pub(crate) fn heap_peak() -> usize {
    HEAP.peak_usage()
}

/// Starts a new measurement of [`heap_peak`].
pub(crate) fn forget_heap_peak() {
    HEAP.reset_peak_usage();
}

/// Descriptors and the inotify watches behind them, as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Open descriptors.
    pub(crate) open: usize,
    /// Watches of all inotify instances.
    pub(crate) watches: usize,
}

/// Counts from `/proc/PID/fd` and `/proc/PID/fdinfo`; `process` is `self` or a process id.
///
/// # Errors
/// [`Failure::Driver`].
pub(crate) fn descriptors(process: &str) -> Result<Descriptors, Failure> {
    let directory = format!("/proc/{process}/fdinfo");
    let mut held = Descriptors { open: 0, watches: 0 };
    for entry in fs::read_dir(&directory).map_err(Failure::driver("list", &directory))? {
        let path = entry.map_err(Failure::driver("list", &directory))?.path();
        // One that was closed meanwhile: the listing itself.
        let Ok(text) = fs::read_to_string(path) else { continue };
        held.open += 1;
        held.watches += text.lines().filter(|line| line.starts_with("inotify ")).count();
    }
    Ok(held)
}

/// Resident bytes of a process.
///
/// # Errors
/// [`Failure::Driver`].
pub(crate) fn resident(process: &str) -> Result<u64, Failure> {
    bytes(process, "VmRSS:")
}

/// Those of them that are no file's: heap and stacks.
///
/// # Errors
/// [`Failure::Driver`].
pub(crate) fn anonymous(process: &str) -> Result<u64, Failure> {
    bytes(process, "RssAnon:")
}

fn bytes(process: &str, field: &str) -> Result<u64, Failure> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).map_err(Failure::driver("read", &path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.ok_or_else(|| Failure::broken(format!("driver: no {field} in {path}")))? << 10)
}
