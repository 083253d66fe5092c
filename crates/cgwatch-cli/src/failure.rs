//! One clear sentence for what went wrong, with the remedy.

use std::{io, path::Path};

use cgwatch::{Error, Mount};
use rustix::io::Errno;

use crate::{limits, people::printable};

/// What to tell the user.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    if let Some(error) = error.downcast_ref::<Error>() {
        return explain(error);
    }
    if let Some(error) = error.downcast_ref::<kernfs_fuse::Error>() {
        return explain_mount(error);
    }
    match error.downcast_ref::<cgroup_mirror::Error>() {
        Some(cgroup_mirror::Error::Monitor(error)) => explain(error),
        Some(cgroup_mirror::Error::Mount(error)) => explain_mount(error),
        _ => match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()) {
            Some(cause) => format!("{error:#}{}", open_files(Errno::from_io_error(cause))),
            None => format!("{error:#}"),
        },
    }
}

/// The remedy if a limit on open files was met.
fn open_files(errno: Option<Errno>) -> String {
    let remedy = errno.and_then(limits::open_files);
    remedy.map_or_else(String::new, |remedy| format!("; {remedy}"))
}

fn explain_mount(error: &kernfs_fuse::Error) -> String {
    use kernfs_fuse::Error as Mounting;
    match error {
        Mounting::NoDevice(source) => {
            let remedy = match source.kind() {
                io::ErrorKind::PermissionDenied => "give this user access to it, or run as root",
                _ => "load the module with `modprobe fuse`, as root",
            };
            format!("{error}: {source}; {remedy}")
        }
        Mounting::NoProc(source) => {
            format!("{error}: {source}; mount it with `mount -t proc proc /proc`, as root")
        }
        Mounting::OwnMount { path, mount } => format!(
            "{} lies in a mount of cgwatch itself, at {}; give a directory elsewhere",
            show(path),
            show(mount)
        ),
        Mounting::MountPoint { path, source } => {
            format!("{} cannot be mounted on: {source}; make it with `mkdir`", show(path))
        }
        Mounting::NotDirectory { path } => {
            format!("{} is no directory; give an empty one", show(path))
        }
        Mounting::NotEmpty { path } => format!(
            "{} is not empty, and a mount would hide what is in it; give an empty directory",
            show(path)
        ),
        Mounting::Mount { path, source } => format!(
            "{} cannot be mounted on: {source}; run as root, or install fusermount3",
            show(path)
        ),
        other => match std::error::Error::source(other) {
            Some(source) => format!("{other}: {source}"),
            None => other.to_string(),
        },
    }
}

fn explain(error: &Error) -> String {
    match error {
        Error::NoCgroup2 => format!(
            "{error}; mount one with `mount -t cgroup2 none DIRECTORY` (as root), or boot with \
             systemd.unified_cgroup_hierarchy=1; or see `cgwatch watch --sim`, which needs none"
        ),
        Error::CgroupV1 { path } => format!(
            "{} lies in a cgroup v1 hierarchy, which tells nobody of its changes; give a cgroup \
             v2 path{}",
            show(path),
            mounted_at()
        ),
        Error::NotACgroup { path } => {
            format!("{} is not a cgroup; give a path of the hierarchy{}", show(path), mounted_at())
        }
        Error::NotFound { path } => format!(
            "{} does not exist, nor is there a cgroup of that path in the hierarchy{}",
            show(path),
            mounted_at()
        ),
        Error::Overlap { path, watched } => {
            format!("{} overlaps {}; give only the upper one", show(path), show(watched))
        }
        Error::NoInotify { source } => {
            format!("{error}: {source}; {}, or use --strategy sweep", limits::instances(*source))
        }
        Error::NoFanotify { source: source @ Errno::MFILE } => {
            format!("{error}: {source}; {}, or use --strategy inotify", limits::groups())
        }
        Error::NoFanotify { source } => format!(
            "{error}: {source}; run as root on Linux 6.6 or later, or use --strategy inotify"
        ),
        Error::Path { action, path, source } => {
            let remedy = match *source {
                Errno::ACCESS | Errno::PERM => {
                    "; run as root, or as a user who may read it".to_owned()
                }
                errno => open_files(Some(errno)),
            };
            format!("cannot {action} {}: {source}{remedy}", show(path))
        }
        Error::System { source, .. } => {
            format!("{error}: {source}{}", open_files(Some(*source)))
        }
        Error::BadFileName { name } => format!(
            "{} is not the name of a control file; give a plain name such as memory.events",
            quoted(name)
        ),
        Error::BadGlob { glob, source } => {
            format!("{} is not a path pattern: {}", quoted(glob), source.kind())
        }
        other => other.to_string(),
    }
}

pub(crate) fn show(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

/// What was given as an argument, in quotes, so that its ends are seen.
pub(crate) fn quoted(argument: &str) -> String {
    format!("\"{}\"", printable(argument.as_bytes()))
}

/// ` (mounted at …)`, if there is one.
fn mounted_at() -> String {
    let mounts = Mount::all().unwrap_or_default();
    mounts.first().map_or_else(String::new, |mount| format!(" (mounted at {})", show(&mount.point)))
}
