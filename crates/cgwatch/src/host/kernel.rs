//! What the kernel tells about itself: mount options, limits, kills.

use std::{
    fs::File,
    io::{Read, Seek},
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

use crate::{Error, mount::MOUNTINFO, world::WatchLimit};

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

/// The limit on open files that this errno speaks of: the process's (EMFILE) or the system's (ENFILE).
pub(super) fn descriptor_limit(errno: Errno) -> WatchLimit {
    if errno == Errno::NFILE {
        let text = std::fs::read_to_string("/proc/sys/fs/file-max").ok();
        let value = text.and_then(|text| text.trim().parse().ok());
        return WatchLimit { name: "fs.file-max".into(), value };
    }
    WatchLimit { name: "RLIMIT_NOFILE".into(), value: getrlimit(Resource::Nofile).current }
}

/// Open for as long as there is a world, so that a limit on open files never hides what was switched.
pub(super) fn open_mountinfo() -> Result<File, Error> {
    File::open(MOUNTINFO).map_err(|error| Error::Path {
        action: "read",
        path: MOUNTINFO.into(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

/// Whether this kernel may announce removals: Linux 7.1 was the first to do so, and whose release
/// cannot be understood is taken for a later one.
pub(super) fn may_announce_removals() -> bool {
    const FIRST: (u32, u32) = (7, 1);
    let name = rustix::system::uname();
    version(name.release().to_bytes()).is_none_or(|version| version >= FIRST)
}

/// The first two numbers of a release.
fn version(release: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(release).ok()?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_release() {
        assert_eq!(version(b"7.1.13+deb13-cloud-amd64"), Some((7, 1)));
        assert_eq!(version(b"6.18"), Some((6, 18)));
        assert_eq!(version(b"7.1-rc3"), Some((7, 1)));
        assert_eq!(version(b"next"), None);
        assert_eq!(version(b""), None);
    }
}
