//! Debian packages that a task needs, installed where that is allowed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// A program, or any file by its absolute path, and the Debian package that has it.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
}

impl Tool {
    pub(crate) const fn new(program: &'static str, package: &'static str) -> Self {
        Self { program, package }
    }
}

pub(crate) const QEMU: Tool = Tool { program: "qemu-system-x86_64", package: "qemu-system-x86" };
pub(crate) const CPIO: Tool = Tool { program: "cpio", package: "cpio" };
pub(crate) const GZIP: Tool = Tool { program: "gzip", package: "gzip" };
pub(crate) const READELF: Tool = Tool { program: "readelf", package: "binutils" };
pub(crate) const CPLUSPLUS: Tool = Tool { program: "c++", package: "g++" };
pub(crate) const INOTIFYWAIT: Tool = Tool { program: "inotifywait", package: "inotify-tools" };
pub(crate) const BUSYBOX: Tool = Tool { program: "busybox", package: "busybox" };
pub(crate) const WATCHMEDO: Tool = Tool { program: "watchmedo", package: "python3-watchdog" };
pub(crate) const CC: Tool = Tool { program: "cc", package: "gcc" };
pub(crate) const PKG_CONFIG: Tool = Tool { program: "pkg-config", package: "pkg-config" };
pub(crate) const LIBFUSE: Tool =
    Tool { program: "/usr/include/fuse3/fuse_lowlevel.h", package: "libfuse3-dev" };
pub(crate) const MKSWAP: Tool = Tool { program: "/usr/sbin/mkswap", package: "util-linux" };
pub(crate) const SWAPON: Tool = Tool { program: "/usr/sbin/swapon", package: "mount" };
pub(crate) const FUSERMOUNT: Tool = Tool { program: "fusermount3", package: "fuse3" };
pub(crate) const SETPRIV: Tool = Tool { program: "setpriv", package: "util-linux" };

/// Installs the packages of those programs that are missing.
///
/// # Errors
/// The names of the packages, when they cannot be installed: no apt, or not root.
pub(crate) fn provide(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools
        .iter()
        .filter(|tool| process::find(tool.program).is_none())
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if process::find("apt-get").is_none() {
        bail!("missing programs, to be installed by hand (names of Debian's packages): {names}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("missing packages; as root: apt-get install --no-install-recommends {names}");
    }
    update_lists()?;
    println!("installing {names}");
    process::run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(missing))
}

/// Brings the machine's own lists of packages up to date.
///
/// # Errors
/// Not root, or apt failed.
pub(crate) fn update_lists() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("apt has no lists of packages; as root: apt-get update");
    }
    println!("updating apt's lists of packages");
    process::run(apt_get().arg("update"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet=2", "-o=Dpkg::Use-Pty=0"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
