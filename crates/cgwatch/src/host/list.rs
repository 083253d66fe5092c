//! Listing a directory, whatever names its owner chose.
//!
//! A name on cgroupfs may have 4,095 bytes, and getdents64(2) fails with EINVAL if not even one record
//! fits into its buffer: one such name among a thousand, first in the order of the directory, would
//! hide all of them. So the buffer has room for the longest record there can be.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{FileType, RawDir},
    io::Errno,
};

use super::open::{HERE, LISTING, inside};

/// The length of a record is an unsigned number of 16 bits.
const LONGEST_RECORD: usize = 64 * 1024;

/// Calls `each` with the name of each entry but `.` and `..`, whether it is a directory, and its inode
/// number. `buffer` is for reuse, its content means nothing.
///
/// # Errors
/// That of openat2(2) or getdents64(2): then what was handed over is no listing. ENOENT: the
/// directory is removed.
pub(super) fn list(
    directory: &OwnedFd,
    buffer: &mut Vec<u8>,
    each: &mut dyn FnMut(&[u8], bool, u64),
) -> Result<(), Errno> {
    let open = inside(directory, HERE, LISTING)?;
    buffer.clear();
    buffer.reserve(LONGEST_RECORD);
    let mut entries = RawDir::new(open, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(name, entry.file_type() == FileType::Directory, entry.ino());
        }
    }
    Ok(())
}
