//! The one reader of `/proc/self/mountinfo` (proc_pid_mountinfo(5); `show_mountinfo` in
//! `fs/proc_namespace.c`), for any bytes in it.
//!
//! Of the crates that read it, `procfs` wants UTF-8, which mount points need not be, and others are
//! not kept.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

/// Where it is.
pub const PATH: &str = "/proc/self/mountinfo";

/// A mount, as a line of mountinfo tells of it, with its escapes undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Its number: `STATX_MNT_ID`. Given to another mount once this one is gone.
    pub id: u64,
    /// The number of the mount it lies on.
    pub parent: u64,
    /// Which directory of its file system it shows as its root.
    pub root: PathBuf,
    /// Where it is, from this process's root.
    pub point: PathBuf,
    /// The options of this mount, such as `ro`, with commas between.
    pub options: OsString,
    /// The type of its file system, such as `cgroup2`; for FUSE, `fuse` or `fuse.subtype`.
    pub file_system: OsString,
    /// What it was mounted from; for most file systems, any text.
    pub source: OsString,
    /// The options of the file system, with commas between.
    pub file_system_options: OsString,
}

impl MountInfo {
    /// All mounts that this process can see.
    ///
    /// # Errors
    /// `ENOENT`: no procfs is mounted at `/proc`; those of reading a file.
    pub fn all() -> io::Result<Vec<Self>> {
        Ok(Self::parse(&fs::read(PATH)?).collect())
    }

    /// The mount with this number, if this process can see it.
    ///
    /// # Errors
    /// As [`MountInfo::all`].
    pub fn of(id: u64) -> io::Result<Option<Self>> {
        Ok(Self::parse(&fs::read(PATH)?).find(|mount| mount.id == id))
    }

    /// The lines of a text; one that is not understood is passed over.
    pub fn parse(text: &[u8]) -> impl Iterator<Item = Self> {
        text.split(|&byte| byte == b'\n').filter_map(Self::parse_line)
    }

    /// `id parent major:minor root point options [optional…] - type source file-system-options`
    #[must_use]
    pub fn parse_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let root = fields.nth(1)?;
        let point = fields.next()?;
        let options = fields.next()?;
        fields.by_ref().find(|field| *field == b"-")?;
        Some(Self {
            id,
            parent,
            root: unescape(root).into(),
            point: unescape(point).into(),
            options: unescape(options),
            file_system: unescape(fields.next()?),
            source: unescape(fields.next()?),
            file_system_options: unescape(fields.next()?),
        })
    }

    /// Whether it is a FUSE mount whose source begins so.
    #[must_use]
    pub fn is_fuse_from(&self, source: &str) -> bool {
        self.file_system == OsStr::new("fuse")
            && self.source.as_bytes().starts_with(source.as_bytes())
    }
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes `seq_path`'s escapes: `\040` for a space, and so for tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\').then(|| after.get(..3).and_then(octal_byte)).flatten();
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| {
        let digit = matches!(digit, b'0'..=b'7').then(|| digit - b'0')?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_field() {
        let line = b"41 31 0:38 /part /mnt/a\\040b\\011c\\012d\\134e rw,relatime shared:9 master:1 - fuse.x so\\040urce rw,a=\\043";
        let mount = MountInfo::parse_line(line).unwrap();
        assert_eq!((mount.id, mount.parent), (41, 31));
        assert_eq!(mount.root, Path::new("/part"));
        assert_eq!(mount.point, Path::new("/mnt/a b\tc\nd\\e"));
        assert_eq!(
            (&*mount.options, &*mount.file_system),
            ("rw,relatime".as_ref(), "fuse.x".as_ref())
        );
        assert_eq!(mount.source, "so urce");
        assert_eq!(mount.file_system_options, "rw,a=#");
    }

    #[test]
    fn any_bytes_are_a_path() {
        let mount =
            MountInfo::parse_line(b"1 2 0:3 / /\xff\\999\\400\\04 ro - fuse cgwatch-x rw").unwrap();
        assert_eq!(mount.point.as_os_str().as_bytes(), b"/\xff\\999\\400\\04");
        assert!(mount.is_fuse_from("cgwatch-") && !mount.is_fuse_from("other"));
    }

    #[test]
    fn truncated_lines_are_passed_over() {
        let whole = b"41 31 0:38 / /c rw - cgroup2 cgroup2 rw";
        for end in 0..whole.len() - 2 {
            assert_eq!(MountInfo::parse(&whole[..end]).count(), 0, "{end}");
        }
        assert_eq!(MountInfo::parse(&[&whole[..], b"", b"x", whole].join(&b'\n')).count(), 2);
    }

    #[test]
    fn this_process_has_a_root() {
        let all = MountInfo::all().unwrap();
        let root = all.iter().find(|mount| mount.point == Path::new("/")).unwrap();
        assert_eq!(MountInfo::of(root.id).unwrap().as_ref(), Some(root));
    }
}
