//! What the kernel tells about itself: mount options, limits, kills.

use std::{
    fs::File,
    io::{Read, Seek},
};

use crate::world::WatchLimit;

/// How many processes were killed for memory since the boot (`oom_kill` in `/proc/vmstat`).
pub(super) fn oom_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// The limit on a user's `instances` or `watches`, by the name of its setting: the host's, or that
/// of this user namespace if it is lower.
pub(crate) fn inotify_limit(of: &str) -> WatchLimit {
    let read = |path: String| std::fs::read_to_string(path).ok()?.trim().parse().ok();
    let host: Option<u64> = read(format!("/proc/sys/fs/inotify/max_user_{of}"));
    let namespace: Option<u64> = read(format!("/proc/sys/user/max_inotify_{of}"));
    match (host, namespace) {
        (Some(host), Some(namespace)) if namespace < host => {
            WatchLimit { name: format!("user.max_inotify_{of}"), value: Some(namespace) }
        }
        _ => WatchLimit { name: format!("fs.inotify.max_user_{of}"), value: host },
    }
}

/// Reads no further than to the first line of type cgroup2: a host may have thousands of mounts.
pub(super) fn first_cgroup2_line(mountinfo: &mut File) -> Option<Vec<u8>> {
    mountinfo.rewind().ok()?;
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    let mut from = 0;
    loop {
        let got = mountinfo.read(&mut chunk).ok()?;
        text.extend_from_slice(&chunk[..got]);
        while let Some(length) = text[from..].iter().position(|&byte| byte == b'\n') {
            let line = &text[from..from + length];
            if line.windows(11).any(|window| window == b" - cgroup2 ") {
                return Some(line.to_vec());
            }
            from += length + 1;
        }
        if got == 0 {
            return None;
        }
    }
}
