//! Which names the kernel takes from a server.
//!
//! kernfs has names of up to 4,095 bytes. Up to Linux 6.14 FUSE takes 1,024 (`FUSE_NAME_MAX`), and one
//! longer name in a listing makes all of it fail with EIO (`parse_dirfile`): it would hide the others.

use std::sync::OnceLock;

/// The longest name that every kernel takes.
pub(crate) const NAME_MAX: usize = 1024;

/// The longest name that a path can have in it.
const LONGEST: usize = 4095;

/// The first release that takes any.
const FIRST: (u32, u32) = (6, 15);

/// Whether this kernel takes the name in a listing.
pub(crate) fn is_taken(name: &[u8]) -> bool {
    static TAKEN: OnceLock<usize> = OnceLock::new();
    let most = TAKEN.get_or_init(|| longest(rustix::system::uname().release().to_bytes()));
    name.len() <= *most
}

fn longest(release: &[u8]) -> usize {
    let text = String::from_utf8_lossy(release);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= FIRST => LONGEST,
        _ => NAME_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_release() {
        for (release, most) in [
            ("6.1.0-18-amd64", NAME_MAX),
            ("6.14.9", NAME_MAX),
            ("6.15", LONGEST),
            ("7.3.4+deb13-cloud-amd64", LONGEST),
            ("next", NAME_MAX),
        ] {
            assert_eq!(longest(release.as_bytes()), most, "{release}");
        }
    }

    #[test]
    fn of_any_kernel() {
        assert!(is_taken(&[b'x'; NAME_MAX]));
        assert!(!is_taken(&[b'x'; LONGEST + 1]));
    }
}
