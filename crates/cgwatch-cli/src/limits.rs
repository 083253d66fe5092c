//! The limits that notification runs into, with what is in use of them.
//!
//! The kernel tells nobody how much of a limit is in use, so it is counted over the processes of
//! the same user (`/proc/PID/fd`, `/proc/PID/fdinfo`; `show_fdinfo` in fs/notify/fdinfo.c prints one
//! line a watch). A descriptor that several processes share is counted for each of them.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

const MAX_INSTANCES: &str = "fs.inotify.max_user_instances";

/// How to have more open files, if this errno says that there are too many.
pub(crate) fn open_files(errno: Errno) -> Option<String> {
    match errno {
        Errno::MFILE => Some(OPEN_FILES_REMEDY.to_owned()),
        Errno::NFILE => Some(
            "the system's limit on open files is used up: raise fs.file-max with sysctl(8)"
                .to_owned(),
        ),
        _ => None,
    }
}

const OPEN_FILES_REMEDY: &str =
    "the process's limit on open files is used up: raise it with `ulimit -n`";

/// The value of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    At(u64),
    Unlimited,
    /// It cannot be read, as with procfs mounted with `subset=pid`.
    Unknown,
}

/// A limit, its value and what is in use of it.
#[derive(Debug)]
pub(crate) struct Limit {
    /// The setting's name, as sysctl(8) takes it, or what `ulimit` calls it.
    pub(crate) name: &'static str,
    pub(crate) bound: Bound,
    /// `None`: not countable.
    pub(crate) used: Option<u64>,
    /// What it limits.
    pub(crate) what: &'static str,
}

impl Limit {
    /// `None`: there is no limit, or it cannot be read.
    pub(crate) fn value(&self) -> Option<u64> {
        match self.bound {
            Bound::At(value) => Some(value),
            Bound::Unlimited | Bound::Unknown => None,
        }
    }
}

/// All limits, and whether every process of this user could be counted.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) list: Vec<Limit>,
    /// How many processes of this user could not be looked into.
    pub(crate) unseen_processes: u64,
    /// The user whose processes were counted.
    pub(crate) user: u32,
}

impl Limits {
    /// Reads and counts them now.
    pub(crate) fn now() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let InUse { instances, watches, unseen } = in_use(user);
        let sysctl = |name, used, what| {
            let bound = read_sysctl(name).map_or(Bound::Unknown, Bound::At);
            Limit { name, bound, used, what }
        };
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|entries| {
            // The descriptor that reads the directory is among them.
            (entries.count() as u64).saturating_sub(1)
        });
        let list = vec![
            sysctl(MAX_INSTANCES, Some(instances), "inotify instances of one user"),
            sysctl("fs.inotify.max_user_watches", Some(watches), "inotify watches of one user"),
            sysctl("fs.inotify.max_queued_events", None, "notifications waiting in one instance"),
            sysctl(
                "user.max_inotify_instances",
                Some(instances),
                "instances in this user namespace",
            ),
            sysctl("user.max_inotify_watches", Some(watches), "watches in this user namespace"),
            Limit {
                name: "open files (ulimit -n)",
                bound: getrlimit(Resource::Nofile).current.map_or(Bound::Unlimited, Bound::At),
                used: open_files,
                what: "file descriptors of this process",
            },
        ];
        Self { list, unseen_processes: unseen, user }
    }
}

impl Limits {
    /// How many watches may still be added, as far as could be counted; with the setting that
    /// allows the fewest.
    pub(crate) fn watches_left(&self) -> Option<(u64, &'static str)> {
        let watches = self.list.iter().filter(|limit| limit.name.ends_with("_watches"));
        watches.filter_map(|l| Some((l.value()?.saturating_sub(l.used?), l.name))).min()
    }
}

/// What to do if an inotify instance was refused with this errno.
pub(crate) fn instances(errno: Errno) -> String {
    if errno != Errno::MFILE {
        return "inotify is not to be had on this system".to_owned();
    }
    if are_files_used_up() {
        return OPEN_FILES_REMEDY.to_owned();
    }
    let smaller = ["user.max_inotify_instances", MAX_INSTANCES]
        .into_iter()
        .filter_map(|name| Some((read_sysctl(name)?, name)))
        .min();
    match smaller {
        Some((value, name)) => format!(
            "{name} is {value} and used up: raise it with `sysctl {name}={}`",
            value.saturating_mul(2).max(128)
        ),
        None => format!("{MAX_INSTANCES} is used up"),
    }
}

/// What to do if a fanotify group was refused with EMFILE.
pub(crate) fn groups() -> String {
    if are_files_used_up() {
        return OPEN_FILES_REMEDY.to_owned();
    }
    const MAX_GROUPS: &str = "fs.fanotify.max_user_groups";
    format!("{MAX_GROUPS} is used up: raise it with sysctl(8)")
}

/// EMFILE was met because of the process's limit on open files, and not of another.
fn are_files_used_up() -> bool {
    match fs::read_dir("/proc/self/fd") {
        // The descriptor that reads the directory is among them.
        Ok(open) => {
            let open = open.count() as u64;
            getrlimit(Resource::Nofile).current.is_some_and(|limit| open >= limit)
        }
        Err(error) => Errno::from_io_error(&error) == Some(Errno::MFILE),
    }
}

/// The value of a setting that sysctl(8) calls `name`.
fn read_sysctl(name: &str) -> Option<u64> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

struct InUse {
    instances: u64,
    watches: u64,
    /// Processes of the user that could not be looked into.
    unseen: u64,
}

/// Counts the inotify instances and watches of all processes of `user`.
fn in_use(user: u32) -> InUse {
    let mut sum = InUse { instances: 0, watches: 0, unseen: 0 };
    let Ok(processes) = fs::read_dir("/proc") else {
        return InUse { unseen: 1, ..sum };
    };
    for process in processes.flatten() {
        let numeric = process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        // A process that has ended meanwhile uses nothing.
        let Ok(metadata) = process.metadata() else { continue };
        if !numeric || metadata.uid() != user {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            sum.unseen += u64::from(process.path().exists());
            continue;
        };
        for descriptor in descriptors.flatten() {
            let link = fs::read_link(descriptor.path());
            if !link.is_ok_and(|target| target == Path::new("anon_inode:inotify")) {
                continue;
            }
            sum.instances += 1;
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            let text = fs::read_to_string(info).unwrap_or_default();
            sum.watches += text.lines().filter(|line| line.starts_with("inotify ")).count() as u64;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use rustix::fs::inotify;

    use super::*;

    /// Others of this user may come and go meanwhile, so only a lower bound can be held.
    #[test]
    fn counts_the_watches_of_this_process() {
        let directories: Vec<_> = (0..100).map(|_| tempfile::tempdir().unwrap()).collect();
        let instance = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        for directory in &directories {
            inotify::add_watch(&instance, directory.path(), inotify::WatchFlags::MODIFY).unwrap();
        }
        let sum = in_use(rustix::process::geteuid().as_raw());
        assert!(sum.instances >= 1);
        assert!(sum.watches >= 100, "{}", sum.watches);
    }

    #[test]
    fn the_settings_are_there() {
        let limits = Limits::now();
        for limit in &limits.list {
            assert!(limit.bound != Bound::Unknown, "{limit:?}");
        }
    }
}
