//! What cannot be watched: one clear sentence with the remedy, exit code 1.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use crate::running::{
    Cgroup, assert_fails, cgwatch, copy_for_everybody, errors, is_root, run, skipped,
};

const COMMANDS: [&str; 2] = ["watch", "doctor"];

/// The mount points of a type of file system.
fn mounts_of_type(kind: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap();
    let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines.filter(|fields| fields[2] == kind).map(|fields| fields[1].into()).collect()
}

#[test]
fn a_vanished_path() {
    let Some(cgroup) = Cgroup::new("vanished") else { return };
    let path = cgroup.0.clone();
    drop(cgroup);
    for command in COMMANDS {
        let output = run([command.as_ref(), path.as_os_str()]);
        assert_fails(&output, &["does not exist", &path.display().to_string(), "mounted at"]);
    }
}

#[test]
fn a_plain_directory_and_a_plain_file() {
    if Cgroup::new("plain").is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [directory.path(), &file] {
        for command in COMMANDS {
            let output = run([command.as_ref(), path.as_os_str()]);
            assert_fails(&output, &["is not a cgroup", "mounted at"]);
        }
    }
}

#[test]
fn a_control_file_is_no_cgroup() {
    let Some(cgroup) = Cgroup::new("file") else { return };
    for command in COMMANDS {
        let output = run([command.as_ref(), cgroup.0.join("cgroup.events").as_os_str()]);
        assert_fails(&output, &["cgroup.events"]);
    }
}

#[test]
fn a_cgroup_v1_path() {
    let Some(path) = mounts_of_type("cgroup").into_iter().next() else {
        println!("skipped: no cgroup v1 hierarchy is mounted");
        return;
    };
    if Cgroup::new("v1").is_none() {
        return;
    }
    for command in COMMANDS {
        assert_fails(&run([command.as_ref(), path.as_os_str()]), &["cgroup v1", "v2"]);
    }
}

#[test]
fn no_cgroup_v2_hierarchy() {
    if !is_root() {
        return;
    }
    // In a mount namespace of its own, with every cgroup v2 mount taken away.
    let script = r#"
        for mount in $(awk '$3 == "cgroup2" { print $2 }' /proc/self/mounts); do
            umount --lazy "$mount" || exit 77
        done
        exec "$@"
    "#;
    for command in COMMANDS {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_cgwatch"), command])
            .output();
        match output {
            Ok(output) if output.status.code() != Some(77) => {
                let hints =
                    ["no cgroup v2 hierarchy is mounted", "mount -t cgroup2", "watch --sim"];
                assert_fails(&output, &hints);
            }
            other => skipped(&format!("cannot hide the mounts: {other:?}")),
        }
    }
}

#[test]
fn overlapping_paths() {
    let Some(cgroup) = Cgroup::new("overlap") else { return };
    let child = cgroup.make("child");
    let output = run(["watch".as_ref(), cgroup.0.as_os_str(), child.as_os_str()]);
    assert_fails(&output, &["overlaps", "upper"]);
}

#[test]
fn a_bad_pattern_and_a_bad_file_name() {
    if Cgroup::new("bad").is_none() {
        return;
    }
    assert_fails(&run(["watch", "--path", "a[b"]), &["a[b", "pattern"]);
    assert_fails(&run(["watch", "--files", "../memory.events"]), &["../memory.events"]);
}

/// Runs the command as the user nobody.
fn as_nobody(arguments: &[&std::ffi::OsStr]) -> Option<std::process::Output> {
    if !is_root() {
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let binary = copy_for_everybody(place.path());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary)
        .args(arguments)
        .output();
    output.inspect_err(|error| skipped(&format!("setpriv: {error}"))).ok()
}

#[test]
fn an_unprivileged_user_may_watch_what_he_may_read() {
    let Some(cgroup) = Cgroup::new("nobody") else { return };
    let arguments = ["watch", "-q", "-t", "0.2"].map(std::ffi::OsStr::new);
    let Some(output) = as_nobody(&[&arguments[..], &[cgroup.0.as_os_str()]].concat()) else {
        return;
    };
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("appeared") && text.contains("ready"), "{text}");
}

#[test]
fn an_unprivileged_user_may_not_probe() {
    let Some(cgroup) = Cgroup::new("nobody-probe") else { return };
    let arguments = ["doctor".as_ref(), "--probe".as_ref(), cgroup.0.as_os_str()];
    let Some(output) = as_nobody(&arguments) else { return };
    assert_fails(&output, &["throw-away cgroup", "Permission denied", "run as root"]);
    let arguments = ["doctor".as_ref(), cgroup.0.as_os_str()];
    let Some(output) = as_nobody(&arguments) else { return };
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn a_path_nobody_may_enter() {
    let Some(cgroup) = Cgroup::new("locked") else { return };
    let child = cgroup.make("child");
    fs::set_permissions(&cgroup.0, fs::Permissions::from_mode(0o700)).unwrap();
    let arguments = ["watch".as_ref(), "-t".as_ref(), "1".as_ref(), child.as_os_str()];
    let Some(output) = as_nobody(&arguments) else { return };
    assert_fails(&output, &["Permission denied", "run as root"]);
}

#[test]
fn a_path_from_the_root_of_the_hierarchy() {
    let Some(cgroup) = Cgroup::new("relative") else { return };
    let name = cgroup.0.file_name().unwrap().to_str().unwrap();
    for path in [name.to_owned(), format!("/{name}")] {
        let output = run(["watch", "-t", "0.1", &path]);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    }
    assert_fails(&run(["watch", &format!("../{name}")]), &["does not exist"]);
}

#[test]
fn a_relative_path() {
    let Some(cgroup) = Cgroup::new("cwd") else { return };
    cgroup.make("child");
    let mut command = cgwatch(["watch", "-t", "0.1", "child"]);
    let output = command.current_dir(&cgroup.0).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
}
