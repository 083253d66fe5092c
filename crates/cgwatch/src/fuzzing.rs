//! What the fuzz targets (`fuzz/`) reach of the private decoders; compiled with `--cfg fuzzing`
//! only.

use crate::{Mount, mount, parse};

/// The keys of an event file as they are spelt, with their values.
#[must_use]
pub fn event_file(text: &[u8]) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    parse::entries(text, |key, value| all.push((key.spelt(), value)));
    all
}

/// The mounts of cgroup v2 in a `/proc/self/mountinfo`.
#[must_use]
pub fn mountinfo(text: &[u8]) -> Vec<Mount> {
    mount::parse(text)
}
