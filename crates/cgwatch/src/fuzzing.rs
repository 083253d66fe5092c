//! What the fuzz targets (`fuzz/`) reach of the private decoders; compiled with `--cfg fuzzing`, and
//! for its own test.

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the targets would try nothing.
    #[test]
    fn the_targets_reach_the_decoders() {
        let entries = [("low".into(), 1), ("dev/max".into(), 2)];
        assert_eq!(event_file(b"low 1\ndev max=2\n"), entries);
        let mounts = mountinfo(b"41 31 0:38 / /c rw - cgroup2 cgroup2 rw\n");
        let points: Vec<_> = mounts.into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, [std::path::Path::new("/c")]);
    }
}
