//! Paths through `/proc/self/fd`: how to name the very inode a descriptor is open on, or an entry
//! of the very directory, in calls that accept paths only.
//!
//! The path is written into a buffer on the stack: this runs once or more for every watch.
//! Descriptors opened with `O_PATH` work. Without `/proc` the calls fail with `ENOENT`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Error;

/// The longest name of a directory entry (`NAME_MAX`).
const NAME_MAX: usize = 255;
const PREFIX: &[u8] = b"/proc/self/fd/";
/// Prefix, ten digits, a slash, a name, a NUL.
const SIZE: usize = PREFIX.len() + 10 + 1 + NAME_MAX + 1;

/// A path below `/proc/self/fd`, valid while the descriptor it was made from is open.
pub(crate) struct FdPath {
    bytes: [u8; SIZE],
    /// The bytes in use, without the NUL that follows them.
    len: usize,
}

impl FdPath {
    /// The object `fd` is open on.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Self {
        let mut path = Self { bytes: [0; SIZE], len: 0 };
        path.push(PREFIX);
        path.push_decimal(fd.as_raw_fd().unsigned_abs());
        path
    }

    /// The entry `name` of the directory `dir` is open on.
    pub(crate) fn at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Self, Error> {
        if name.is_empty() || name.len() > NAME_MAX || name.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err(Error::Name { name: name.to_vec() });
        }
        let mut path = Self::of(dir);
        path.push(b"/");
        path.push(name);
        Ok(path)
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        // The buffer starts zeroed and is larger than everything that is ever pushed, so a NUL
        // always follows; were there none, the empty path makes the call fail with ENOENT.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn push_decimal(&mut self, number: u32) {
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        for place in (0..digits).rev() {
            let digit = number / 10u32.pow(place) % 10;
            self.push(&[b'0' + digit as u8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn decimal_numbers() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, i32::MAX as u32, u32::MAX] {
            let mut path = FdPath { bytes: [0; SIZE], len: 0 };
            path.push_decimal(number);
            assert_eq!(path.as_c_str().to_str().unwrap(), number.to_string());
        }
    }

    #[test]
    fn the_longest_path_fits_exactly() {
        let mut path = FdPath { bytes: [0; SIZE], len: 0 };
        path.push(PREFIX);
        path.push_decimal(i32::MAX.unsigned_abs());
        path.push(b"/");
        path.push(&[b'x'; NAME_MAX]);
        let whole = path.as_c_str().to_bytes_with_nul();
        assert!(whole.starts_with(b"/proc/self/fd/2147483647/x"));
        assert_eq!(whole.len(), SIZE);
    }

    #[test]
    fn names() {
        let stdin = std::io::stdin();
        let fd = stdin.as_fd();
        let path = FdPath::at(fd, b"a b").unwrap();
        assert_eq!(path.as_c_str(), c"/proc/self/fd/0/a b");
        assert!(FdPath::at(fd, &[b'x'; 255]).is_ok());
        for name in [&b""[..], b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
            assert!(matches!(FdPath::at(fd, name), Err(Error::Name { .. })), "{name:?}");
        }
    }
}
