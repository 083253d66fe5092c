//! Opening by name, without ever crossing a mount.
//!
//! A file system mounted over a cgroup, which may be another cgroup's directory, shows what is not
//! there: the name on the way stands for the cgroup that is covered. RESOLVE_NO_XDEV ends such a walk
//! with EXDEV. Where a sandbox knows no openat2(2) (ENOSYS) names are followed as ever.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// A directory is opened for its identity only; what is no directory, or a link, is not followed.
pub(super) const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory is opened to be listed, or for others to be opened by their ids.
pub(super) const LISTING: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A control file is opened to be read once; it never makes anyone wait.
pub(super) const CONTROL_FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The directory itself.
pub(super) const HERE: &[u8] = b".";

/// The longest path one system call takes, with its NUL.
const PATH_MAX: usize = 4096;

/// Opens what is at a path from this directory and in the same mount.
///
/// # Errors
/// EXDEV if a mount covers it, or lies on the way; else that of openat2(2).
pub(super) fn inside(at: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let (at, mode) = (at.as_fd(), Mode::empty());
    match rustix::fs::openat2(at, path, flags, mode, ResolveFlags::NO_XDEV) {
        Err(Errno::NOSYS) => rustix::fs::openat(at, path, flags, mode),
        opened => opened,
    }
}

/// Opens the directory at a path from this one, however long it is, as [`inside`]. Empty for itself.
///
/// # Errors
/// As [`inside`].
pub(super) fn directory_inside(at: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut rest = if path.is_empty() { HERE } else { path };
    let mut above: Option<OwnedFd> = None;
    loop {
        let at = above.as_ref().map_or(at.as_fd(), AsFd::as_fd);
        if rest.len() < PATH_MAX {
            return inside(at, rest, DIRECTORY);
        }
        let end = rest[..PATH_MAX].iter().rposition(|&b| b == b'/').ok_or(Errno::NAMETOOLONG)?;
        let next = inside(at, &rest[..end], DIRECTORY)?;
        above = Some(next);
        rest = &rest[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Up to PATH_MAX less its NUL in one call, from there on in several.
    #[test]
    fn paths_of_any_length() {
        let top = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(top.path(), DIRECTORY, Mode::empty()).unwrap();
        let mut path = Vec::new();
        let mut at = root.try_clone().unwrap();
        for length in [255; 40].into_iter().chain([200; 60]) {
            let name = vec![b'n'; length];
            rustix::fs::mkdirat(&at, &name[..], Mode::RWXU).unwrap();
            at = inside(&at, &name, DIRECTORY).unwrap();
            path.extend_from_slice(&name);
            path.push(b'/');
        }
        let whole = rustix::fs::fstat(&at).unwrap().st_ino;
        let opened = directory_inside(&root, &path[..path.len() - 1]).unwrap();
        assert_eq!(rustix::fs::fstat(&opened).unwrap().st_ino, whole);
        let itself = directory_inside(&root, b"").unwrap();
        assert_eq!(
            rustix::fs::fstat(&itself).unwrap().st_ino,
            rustix::fs::fstat(&root).unwrap().st_ino
        );
    }

    /// Each length around the limit, so that one that is off by one shows.
    #[test]
    fn a_path_of_exactly_the_longest_length() {
        let top = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(top.path(), DIRECTORY, Mode::empty()).unwrap();
        // 15 names of 255 bytes with their slashes are 3,840 bytes.
        let mut above = root.try_clone().unwrap();
        let mut path = Vec::new();
        for _ in 0..15 {
            let name = [b'n'; 255];
            rustix::fs::mkdirat(&above, &name[..], Mode::RWXU).unwrap();
            above = inside(&above, &name, DIRECTORY).unwrap();
            path.extend_from_slice(&name);
            path.push(b'/');
        }
        for length in PATH_MAX - 3..PATH_MAX + 3 - 1 {
            let name = vec![b'm'; (length - path.len()).min(255)];
            rustix::fs::mkdirat(&above, &name[..], Mode::RWXU).unwrap();
            let mut whole = path.clone();
            whole.extend_from_slice(&name);
            if name.len() < length - path.len() {
                let below = inside(&above, &name, DIRECTORY).unwrap();
                rustix::fs::mkdirat(&below, "d", Mode::RWXU).unwrap();
                whole.extend_from_slice(b"/d");
            }
            assert!(directory_inside(&root, &whole).is_ok(), "of {} bytes", whole.len());
            rustix::fs::unlinkat(
                &above,
                [&name[..], b"/d"].concat(),
                rustix::fs::AtFlags::REMOVEDIR,
            )
            .ok();
            rustix::fs::unlinkat(&above, &name[..], rustix::fs::AtFlags::REMOVEDIR).unwrap();
        }
    }
}
