//! `cgwatch mirror`: what it refuses, its help, and its life with `--daemon`. What its clients get
//! is shown by the scenarios `mirror-*`.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, mkdirat, open, unlinkat},
    mount::{UnmountFlags, unmount},
    process::Pid,
};

use crate::running::{Cgroup, assert_fails, await_end, cgwatch, errors, is_root, run, skipped};

/// Whether a mirror can be mounted here; prints that the test is skipped if not.
fn can_mount() -> bool {
    let device = File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !device {
        skipped("no /dev/fuse");
    }
    device && is_root()
}

fn mirror<A: AsRef<OsStr>>(directory: &OsStr, root: A) -> std::process::Output {
    run([OsStr::new("mirror"), directory, OsStr::new("--root"), root.as_ref()])
}

#[test]
fn where_it_cannot_be_mounted() {
    if !can_mount() {
        return;
    }
    let Some(cgroup) = Cgroup::new("mirror-where") else { return };
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("missing");
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    assert_fails(&mirror(missing.as_os_str(), &cgroup.0), &["missing", "mkdir"]);
    assert_fails(&mirror(file.as_os_str(), &cgroup.0), &["file", "directory"]);
    assert_fails(&mirror(place.path().as_os_str(), &cgroup.0), &["not empty"]);
    // A cgroup has its files in it.
    assert_fails(&mirror(cgroup.0.as_os_str(), &cgroup.0), &["not empty"]);
}

#[test]
fn what_cannot_be_mirrored() {
    if !can_mount() || Cgroup::new("mirror-what").is_none() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().as_os_str();
    assert_fails(&mirror(directory, "/tmp"), &["is not a cgroup", "mounted at"]);
    assert_fails(&mirror(directory, "/no/such/cgroup"), &["does not exist"]);
    let wrong = run(["mirror".as_ref(), directory, "--no-such".as_ref()]);
    assert_eq!(wrong.status.code(), Some(1));
}

/// One child with a long name, which everybody may make in a cgroup of his own, hides nothing else.
#[test]
fn a_long_name_hides_nothing() {
    if !can_mount() {
        return;
    }
    let Some(cgroup) = Cgroup::new("mirror-long") else { return };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = open(&cgroup.0, flags, Mode::empty()).unwrap();
    let long = [1024, 1025, 1515, 2000, 4095].map(|length| vec![b'l'; length]);
    for name in &long {
        mkdirat(&top, &name[..], Mode::RWXU).unwrap();
    }
    for name in ["a", "z"] {
        cgroup.make(name);
    }
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().canonicalize().unwrap();
    let arguments = ["mirror".as_ref(), directory.as_os_str(), "--root".as_ref()];
    let output = cgwatch(arguments).arg(&cgroup.0).arg("--daemon").output().unwrap();
    let listed = |path: &Path| -> BTreeSet<OsString> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.len() <= 1024).collect()
    };
    let (mirrored, host) = (listed(&directory), listed(&cgroup.0));
    let _ = unmount(&directory, UnmountFlags::empty());
    for name in &long {
        unlinkat(&top, &name[..], AtFlags::REMOVEDIR).unwrap();
    }
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(mirrored, host);
    assert!(host.contains(OsStr::new("z")) && host.len() > 10, "{host:?}");
}

#[test]
fn in_the_background_until_it_is_unmounted() {
    if !can_mount() {
        return;
    }
    let Some(cgroup) = Cgroup::new("mirror-daemon") else { return };
    cgroup.make("a");
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().canonicalize().unwrap();
    let start = || {
        let arguments = ["mirror".as_ref(), directory.as_os_str(), "--root".as_ref()];
        cgwatch(arguments).arg(&cgroup.0).arg("--daemon").output().unwrap()
    };
    let output = start();
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(fs::read(directory.join("a/cgroup.events")).unwrap(), b"populated 0\nfrozen 0\n");
    // Where one is, no other is mounted, nor inside it.
    let inside = directory.join("a");
    assert_fails(&start(), &["lies in a mount of cgwatch itself"]);
    assert_fails(&mirror(inside.as_os_str(), &cgroup.0), &["lies in a mount of cgwatch itself"]);
    unmount(&directory, UnmountFlags::empty()).unwrap();
    // Its process ends, too: nothing of the host is watched by it any more.
    let name = directory.to_str().unwrap();
    let running = || {
        let mut processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.find_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let its = String::from_utf8_lossy(&line).contains(name);
            Pid::from_raw(entry.file_name().to_str()?.parse().ok()?).filter(|_| its)
        })
    };
    while let Some(process) = running() {
        await_end(process);
    }
}

#[test]
fn its_help_and_its_page() {
    let help = String::from_utf8(run(["mirror", "--help"]).stdout).unwrap();
    for word in ["--root", "--allow-other", "--daemon", "Examples:", "Exit codes:"] {
        assert!(help.contains(word), "{word}");
    }
    let page = String::from_utf8(run(["man", "mirror"]).stdout).unwrap();
    assert!(page.contains("cgwatch-mirror"), "{page}");
    let script = String::from_utf8(run(["completions", "bash"]).stdout).unwrap();
    assert!(script.contains("mirror"));
}

/// The mirror shows the modes that it has learned, and the kernel decides by them. A client that the
/// host's file keeps out by now is kept out of the mirror's, too.
#[test]
fn who_is_kept_out_on_the_host_later_is_kept_out() {
    if !can_mount() {
        return;
    }
    let Some(cgroup) = Cgroup::new("mirror-modes") else { return };
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().canonicalize().unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let arguments = ["mirror".as_ref(), directory.as_os_str(), "--root".as_ref()];
    let arguments = cgwatch(arguments).arg(&cgroup.0).args(["--daemon", "--allow-other"]).output();
    let started = arguments.unwrap();
    assert!(started.status.success(), "{}", errors(&started));
    let read_as = |user: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--clear-groups", "cat"]);
        command.arg(directory.join("cgroup.events")).output().unwrap()
    };
    let before = read_as("65534");
    let file = cgroup.0.join("cgroup.events");
    fs::set_permissions(file, Permissions::from_mode(0o400)).unwrap();
    let after = [read_as("65534"), read_as("0")];
    unmount(&directory, UnmountFlags::empty()).unwrap();
    assert!(before.status.success(), "{}", errors(&before));
    assert!(errors(&after[0]).contains("Permission denied"), "{:?}", after[0]);
    assert!(after[0].stdout.is_empty() && !after[1].stdout.is_empty(), "{after:?}");
}
