//! Where the cgroup v2 hierarchy is mounted, as `/proc/self/mountinfo` tells.
//!
//! Every mount of cgroup2 shows the same tree, each from a root of its own.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use linux_notify::mountinfo::MountInfo;
use rustix::io::Errno;

use crate::Error;

/// `CGROUP2_SUPER_MAGIC`
const CGROUP2: u64 = 0x6367_7270;
/// `CGROUP_SUPER_MAGIC`
const CGROUP1: u64 = 0x0027_e0eb;

pub(crate) const MOUNTINFO: &str = linux_notify::mountinfo::PATH;

/// A mount of the cgroup v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: PathBuf,
    /// Which cgroup it shows as its root, seen from this process's cgroup namespace; `/` is the
    /// hierarchy's root, or the namespace's.
    pub root: PathBuf,
    /// The options of this mount, such as `ro`.
    pub options: Vec<String>,
    /// The options of the hierarchy, such as `nsdelegate` or `memory_localevents`.
    pub hierarchy_options: Vec<String>,
}

impl Mount {
    /// All mounts of cgroup v2 that can be reached, those that show the whole hierarchy first.
    ///
    /// # Errors
    /// [`Error::Path`] if `/proc/self/mountinfo` cannot be read. None at all is not an error here.
    pub fn all() -> Result<Vec<Self>, Error> {
        let text = std::fs::read(MOUNTINFO).map_err(|error| Error::Path {
            action: "read",
            path: MOUNTINFO.into(),
            source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })?;
        let mut mounts = parse(&text);
        // Another mount may lie on top.
        mounts.retain(|mount| FileSystem::of(&mount.point) == Ok(FileSystem::Cgroup2));
        Ok(mounts)
    }

    fn from_info(info: MountInfo) -> Option<Self> {
        (info.file_system == OsStr::new("cgroup2")).then(|| Self {
            options: split_options(&info.options),
            hierarchy_options: split_options(&info.file_system_options),
            point: info.point,
            root: info.root,
        })
    }

    /// The mount that shows `path`: of those at or above it, the innermost.
    #[must_use]
    pub fn of<'a>(mounts: &'a [Self], path: &Path) -> Option<&'a Self> {
        let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// Whether the hierarchy has this option now, such as `memory_localevents`.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.hierarchy_options.iter().any(|o| o == option)
    }
}

/// What kind of file system a path lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// cgroup v2.
    Cgroup2,
    /// cgroup v1, whichever controller.
    Cgroup1,
    /// Something else.
    Other,
}

impl FileSystem {
    /// That of `path`, which is followed if it is a link.
    ///
    /// # Errors
    /// The errno of `statfs`.
    pub fn of(path: &Path) -> Result<Self, Errno> {
        let kind = rustix::fs::statfs(path)?.f_type;
        Ok(match u64::try_from(kind) {
            Ok(CGROUP2) => Self::Cgroup2,
            Ok(CGROUP1) => Self::Cgroup1,
            _ => Self::Other,
        })
    }
}

/// The lines of type `cgroup2`, those that show the whole hierarchy first; a line that is not
/// understood is passed over.
pub(crate) fn parse(text: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<_> = MountInfo::parse(text).filter_map(Mount::from_info).collect();
    mounts.sort_by_key(|mount| mount.root != Path::new("/"));
    mounts
}

/// A line, if it is of type `cgroup2`.
pub(crate) fn parse_line(line: &[u8]) -> Option<Mount> {
    MountInfo::parse_line(line).and_then(Mount::from_info)
}

fn split_options(list: &OsStr) -> Vec<String> {
    list.as_bytes().split(|&b| b == b',').map(|o| String::from_utf8_lossy(o).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine() {
        let text = b"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw,nsdelegate\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].point, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(mounts[0].root, Path::new("/"));
        assert!(mounts[0].has("nsdelegate") && !mounts[0].has("memory_localevents"));
    }

    #[test]
    fn escapes() {
        let text = b"1 2 0:3 /a\\134x2db /mnt/a\\040b\\011c\\999 ro - cgroup2 none rw";
        let mounts = parse(text);
        assert_eq!(mounts[0].root, Path::new("/a\\x2db"));
        assert_eq!(mounts[0].point, Path::new("/mnt/a b\tc\\999"));
        assert_eq!(mounts[0].options, ["ro"]);
    }

    #[test]
    fn a_path_belongs_to_the_innermost_mount() {
        let mount = |point: &str| Mount {
            point: point.into(),
            root: "/".into(),
            options: Vec::new(),
            hierarchy_options: Vec::new(),
        };
        let mounts = [mount("/c"), mount("/c/deep"), mount("/cc")];
        assert_eq!(Mount::of(&mounts, Path::new("/c/deep/x")).unwrap().point, Path::new("/c/deep"));
        assert_eq!(Mount::of(&mounts, Path::new("/c/d")).unwrap().point, Path::new("/c"));
        assert!(Mount::of(&mounts, Path::new("/d")).is_none());
    }

    /// Whatever was mounted first: without a path the whole hierarchy is meant.
    #[test]
    fn what_shows_the_whole_hierarchy_comes_first() {
        let text = b"1 2 0:3 /part /a rw - cgroup2 none rw\n\
            2 2 0:3 / /b rw - cgroup2 none rw\n\
            3 2 0:3 /.. /c rw - cgroup2 none rw\n\
            4 2 0:3 / /d rw - cgroup2 none rw\n";
        let points: Vec<_> = parse(text).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, ["/b", "/d", "/a", "/c"].map(PathBuf::from));
    }
}
