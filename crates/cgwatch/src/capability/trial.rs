//! Trial calls that change nothing.

use std::{fs, os::fd::AsFd, path::Path};

use linux_notify::{
    fanotify::{self, Fanotify, InitFlags, MarkFlags, Scope},
    inotify::{self, Inotify},
};
use rustix::{fs::Mode, io::Errno};

use super::{
    FANOTIFY, FD_PATHS, Finding, HUGETLB_SUMS, INOTIFY, MEMORY_LOCAL, MEMORY_SUMS, PIDS_LOCAL,
    PIDS_SUMS, TO_WATCH,
};
use crate::{Mount, error::show};

/// How many children of a cgroup are looked at to find a file.
const CHILDREN: usize = 256;

/// What a group is asked to report, and of what, as by the strategy that relies on it.
const REPORTS: InitFlags =
    InitFlags::REPORT_DIR_FID.union(InitFlags::REPORT_NAME).union(InitFlags::REPORT_TARGET_FID);
const BIRTHS_AND_DEATHS: fanotify::Mask =
    fanotify::Mask::CREATE.union(fanotify::Mask::DELETE).union(fanotify::Mask::ONDIR);

/// What can be said of a capability without a removal.
pub(super) fn answer(name: &str, cgroup: &Path) -> Option<Finding> {
    Some(match name {
        INOTIFY => inotify(),
        FD_PATHS => watch_by_descriptor(cgroup),
        FANOTIFY => superblock_mark(cgroup),
        MEMORY_SUMS => sums(cgroup, "memory.events", |name| name == "memory.events"),
        PIDS_SUMS => sums(cgroup, "pids.events", |name| name == "pids.events"),
        HUGETLB_SUMS => sums(cgroup, "hugetlb.*.events", |name| {
            name.starts_with("hugetlb.") && name.ends_with(".events")
        }),
        MEMORY_LOCAL | PIDS_LOCAL => mount_option(cgroup, name),
        _ => return None,
    })
}

fn inotify() -> Finding {
    match Inotify::new() {
        Ok(_) => Finding::yes("inotify_init1 succeeds"),
        Err(error) => Finding::no(error.to_string()),
    }
}

fn watch_by_descriptor(cgroup: &Path) -> Finding {
    let dir = match open(cgroup) {
        Ok(dir) => dir,
        Err(errno) => return Finding::unknown(format!("open {}: {errno}", show(cgroup))),
    };
    let watch =
        Inotify::new().and_then(|inotify| inotify.add_fd(dir.as_fd(), inotify::Mask::DELETE));
    match watch {
        Ok(_) => Finding::yes("inotify_add_watch on /proc/self/fd/N succeeds"),
        // No watch left, no instance left: that says nothing about the way.
        Err(error) if matches!(error.errno(), Errno::NOSPC | Errno::MFILE) => {
            Finding::unknown(error.to_string())
        }
        Err(error) => Finding::no(error.to_string()),
    }
}

fn superblock_mark(cgroup: &Path) -> Finding {
    let dir = match open(cgroup) {
        Ok(dir) => dir,
        Err(errno) => return Finding::unknown(format!("open {}: {errno}", show(cgroup))),
    };
    let marked = Fanotify::new(REPORTS).and_then(|group| {
        group.add(Scope::Filesystem, MarkFlags::empty(), BIRTHS_AND_DEATHS, dir.as_fd())
    });
    match marked {
        Ok(()) => Finding::yes("fanotify_mark(FAN_MARK_FILESYSTEM) succeeds"),
        Err(error) => Finding::no(match error.errno() {
            Errno::PERM => format!("{error} (needs CAP_SYS_ADMIN)"),
            Errno::NODEV => format!("{error} (this kernel gives cgroup v2 no identity)"),
            _ => error.to_string(),
        }),
    }
}

/// A file counts descendants if and only if it has a `.local` twin that does not.
fn sums(cgroup: &Path, what: &str, is_file: impl Fn(&str) -> bool) -> Finding {
    let children = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let children = children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let candidates =
        std::iter::once(cgroup.to_owned()).chain(children.take(CHILDREN).map(|entry| entry.path()));
    for directory in candidates {
        let files = fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut names = files.filter_map(|entry| entry.file_name().into_string().ok());
        let Some(file) = names.find(|name| is_file(name)) else { continue };
        let local = directory.join(format!("{file}.local"));
        return if local.exists() {
            Finding::yes(format!("{} exists", show(&local)))
        } else {
            Finding::no(format!("{} does not exist", show(&local)))
        };
    }
    Finding::unknown(format!("neither this cgroup nor a child of it has {what}"))
}

fn mount_option(cgroup: &Path, option: &str) -> Finding {
    let (Ok(mounts), Ok(cgroup)) = (Mount::all(), cgroup.canonicalize()) else {
        return Finding::unknown("/proc/self/mountinfo cannot be read");
    };
    match Mount::of(&mounts, &cgroup) {
        None => Finding::unknown("the mount is not in /proc/self/mountinfo"),
        Some(mount) if mount.has(option) => Finding::yes("it is among the options of the mount"),
        Some(_) => Finding::no("it is not among the options of the mount"),
    }
}

fn open(cgroup: &Path) -> Result<std::os::fd::OwnedFd, Errno> {
    rustix::fs::open(cgroup, TO_WATCH, Mode::empty())
}

#[cfg(test)]
mod tests;
