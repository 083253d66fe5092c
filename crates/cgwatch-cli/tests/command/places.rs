//! What mounts can do: whatever they show at a path, what stat(2) says is what is watched.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::running::{Cgroup, assert_fails, errors, is_root};

/// Of a stream: the id and the path of each cgroup that appeared, and the reasons of its gaps.
fn told(output: &Output) -> (Vec<(u64, String)>, Vec<String>) {
    let (mut appeared, mut gaps) = (Vec::new(), Vec::new());
    for line in String::from_utf8(output.stdout.clone()).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        match event["event"].as_str() {
            Some("appeared") => appeared.push((event["id"].as_u64().unwrap(), text("cgroup"))),
            Some("gap") => gaps.push(format!("{} {}", text("reason"), text("cgroup"))),
            _ => {}
        }
    }
    appeared.sort_by(|one, other| one.1.cmp(&other.1));
    (appeared, gaps)
}

fn id(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Runs it in a mount namespace of its own, after this script: `$T` is the cgroup, with `a`, `b` and
/// `b/sub` in it, `$D` a directory elsewhere.
fn watch_after(script: &str, top: &Path, directory: &Path, path: &str) -> Output {
    let run = format!("set -e\n{script}\nexec \"$CGWATCH\" watch --json -q -t 0.3 {path}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &run]);
    command.env("T", top).env("D", directory).env("CGWATCH", env!("CARGO_BIN_EXE_cgwatch"));
    command.output().unwrap()
}

fn planted(test: &str) -> Option<(Cgroup, tempfile::TempDir)> {
    if !is_root() {
        return None;
    }
    let cgroup = Cgroup::new(test)?;
    for name in ["a", "b", "b/sub"] {
        cgroup.make(name);
    }
    Some((cgroup, tempfile::tempdir().unwrap()))
}

/// A mount over a cgroup hides it from who looks by names, and not from the watcher.
#[test]
fn what_is_mounted_over_a_cgroup_is_not_taken_for_it() {
    let Some((cgroup, directory)) = planted("places-over") else { return };
    let top = &cgroup.0;
    let path = |name: &str| top.join(name);
    let whole = vec![
        (id(top), "/".to_owned()),
        (id(&path("a")), "/a".to_owned()),
        (id(&path("b")), "/b".to_owned()),
        (id(&path("b/sub")), "/b/sub".to_owned()),
    ];
    for script in [
        r#"mount --bind "$T/b" "$T/a""#,
        r#"mount --bind "$T/b" "$T/a"; mount --bind "$T/b" "$T/a""#,
        r#"mount --bind "$T/b" "$T/a"; mount -t tmpfs none "$T/a""#,
        r#"mount -t tmpfs none "$T/a"; mount --bind "$T/a" "$T/b""#,
        r#"mount --bind "$T" "$T/b/sub""#,
        // A file's content is the cgroup's own, too.
        r#"echo "populated 7" > "$D/f"; mount --bind "$D/f" "$T/b/cgroup.events""#,
    ] {
        let output = watch_after(script, top, directory.path(), r#""$T""#);
        assert_eq!(told(&output), (whole.clone(), vec![]), "{script}: {}", errors(&output));
    }
}

#[test]
fn a_path_is_what_stat_says() {
    let Some((cgroup, directory)) = planted("places-stat") else { return };
    let top = &cgroup.0;
    let b = [(id(&top.join("b")), "/"), (id(&top.join("b/sub")), "/sub")];
    let b: Vec<_> = b.map(|(id, path)| (id, path.to_owned())).to_vec();
    for (script, path) in [
        ("", r#""$T/b""#),
        (r#"mount --bind "$T/b" "$D""#, r#""$D""#),
        (r#"mount --bind "$T/b" "$T/a""#, r#""$T/a""#),
        (r#"mount --bind "$T/b" "$T/a"; mount --bind "$T/a" "$D""#, r#""$D""#),
        (
            r#"mount -t tmpfs none "$D"; mkdir "$D/x y"; mount --bind "$T" "$D/x y""#,
            r#""$D/x y/b""#,
        ),
        // Two in one place: the later one is seen.
        (r#"mount --bind "$T/a" "$D"; mount --bind "$T/b" "$D""#, r#""$D""#),
        // The whole hierarchy, covered by a part of it.
        (r#"mount -t cgroup2 none "$D"; mount --bind "$T/b" "$D""#, r#""$D""#),
        (r#"mount --bind "$T/b" "$D"; umount -l "$(dirname "$T")""#, r#""$D""#),
    ] {
        let output = watch_after(script, top, directory.path(), path);
        assert_eq!(told(&output), (b.clone(), vec![]), "{script}: {}", errors(&output));
    }
    let covered = r#"mount --bind "$T/b" "$T/a"; mount -t tmpfs none "$T/a""#;
    let output = watch_after(covered, top, directory.path(), r#""$T/a""#);
    assert_fails(&output, &["is not a cgroup"]);
    let twice = r#"mount --bind "$T/b" "$D""#;
    let output = watch_after(twice, top, directory.path(), r#""$D" "$T""#);
    assert_fails(&output, &["overlaps"]);
    let dead = r#"mount --bind "$T/b/sub" "$D"; rmdir "$T/b/sub""#;
    let output = watch_after(dead, top, directory.path(), r#""$D""#);
    assert_fails(&output, &["does not exist"]);
}

/// In a container with a cgroup namespace of its own the host's hierarchy may be visible, too.
#[test]
fn a_cgroup_namespace_beside_the_hosts_hierarchy() {
    let Some((cgroup, directory)) = planted("places-namespace") else { return };
    let top = &cgroup.0;
    let script = r#"
        echo $$ > "$T/b/cgroup.procs"
        exec unshare --cgroup --mount sh -c '
            mount -t cgroup2 none "$D" && exec "$CGWATCH" watch --json -q -t 0.3 $1' sh "$1"
    "#;
    let watch = |paths: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-e", "-c", script, "sh"]);
        command.arg(paths).env("T", top).env("D", directory.path());
        command.env("CGWATCH", env!("CARGO_BIN_EXE_cgwatch")).output().unwrap()
    };
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    let inside = shown(directory.path());
    for (path, same) in [
        (shown(&top.join("a")), "a"),
        (shown(&top.join("b")), "b"),
        (shown(&top.join("b/sub")), "b/sub"),
        (inside.clone(), "b"),
        (format!("{inside}/sub"), "b/sub"),
    ] {
        let output = watch(&path);
        let (appeared, gaps) = told(&output);
        let root = appeared.first().map(|(id, _)| *id);
        assert_eq!(root, Some(id(&top.join(same))), "{path}: {}", errors(&output));
        assert!(gaps.is_empty(), "{path}: {gaps:?}");
    }
    let output = watch(&format!("{inside}/sub {}", shown(&top.join("b"))));
    assert_fails(&output, &["overlaps"]);
}

/// Who may not open by id is told of what he cannot see.
#[test]
fn a_covered_cgroup_that_cannot_be_opened_is_said() {
    let Some((cgroup, directory)) = planted("places-covered") else { return };
    let top = &cgroup.0;
    let script = r#"mount --bind "$T/b" "$T/a"
        exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all \
            "$CGWATCH" watch --json -q -t 0.3 "$T""#;
    // The command itself must be within the reach of that user.
    let output = watch_after(script, top, directory.path(), "");
    if !output.status.success() && errors(&output).contains("setpriv") {
        println!("skipped: {}", errors(&output));
        return;
    }
    let (appeared, gaps) = told(&output);
    let paths: Vec<_> = appeared.iter().map(|(_, path)| path.as_str()).collect();
    assert_eq!(paths, ["/", "/b", "/b/sub"], "{}", errors(&output));
    assert_eq!(appeared[1].0, id(&top.join("b")));
    assert_eq!(gaps, ["covered /"]);
}

/// With procfs mounted for processes only, nothing below `/proc/sys` can be read.
#[test]
fn without_proc_sys_streams_have_names_and_limits_are_unknown() {
    let Some((cgroup, _)) = planted("places-proc") else { return };
    let run = |arguments: &[&OsStr]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c"]);
        command.arg("mount -t proc -o subset=pid proc /proc || exit 77; exec \"$@\"").arg("sh");
        command.arg(env!("CARGO_BIN_EXE_cgwatch")).args(arguments).output().unwrap()
    };
    let path = cgroup.0.as_os_str();
    let start = || {
        let output = run(&["watch", "--json", "-q", "-t", "0.1"]
            .map(OsStr::new)
            .iter()
            .copied()
            .chain([path])
            .collect::<Vec<_>>());
        if output.status.code() == Some(77) {
            println!("skipped: {}", errors(&output));
            return None;
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Some(serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap())
    };
    let (Some(one), Some(other)) = (start(), start()) else { return };
    let name = |start: &Value| start["stream"].as_str().unwrap().to_owned();
    assert_eq!((name(&one).len(), name(&other).len()), (32, 32));
    assert_ne!(name(&one), name(&other));
    assert_eq!(one["boot_id"], Value::Null);
    let report = run(&["doctor".as_ref(), path]);
    let text = String::from_utf8(report.stdout.clone()).unwrap();
    let line = text.lines().find(|line| line.contains("max_user_watches")).unwrap();
    assert!(line.contains("of unknown") && !line.contains("none"), "{line}");
    let report = run(&["doctor".as_ref(), "--json".as_ref(), path]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let limits = report["limits"].as_array().unwrap();
    let of = |name: &str| limits.iter().find(|limit| limit["name"] == name).unwrap();
    assert_eq!(of("fs.inotify.max_user_watches")["known"], false);
    assert_eq!(of("open files (ulimit -n)")["known"], true);
}

/// However few files it may open: an error with the remedy, or all cgroups, or it says that it has not
/// looked at all of them.
#[test]
fn with_few_descriptors_nothing_is_left_out_silently() {
    let Some((cgroup, _)) = planted("places-few") else { return };
    let mut outcomes = [0; 3];
    for limit in 4..32 {
        let output = Command::new("prlimit")
            .arg(format!("--nofile={limit}"))
            .arg(env!("CARGO_BIN_EXE_cgwatch"))
            .args(["watch", "--json", "-t", "0.1"])
            .arg(&cgroup.0)
            .output()
            .unwrap();
        let (text, error) = (String::from_utf8_lossy(&output.stdout), errors(&output));
        let outcome = if text.contains(r#""reason":"descriptor-limit","limit":"RLIMIT_NOFILE","#) {
            1
        } else if text.contains(r#""event":"ready","cgroups":4,"#) {
            2
        } else {
            assert_eq!(output.status.code(), Some(1), "{limit}: {text}{error}");
            assert!(error.contains("ulimit -n"), "{limit}: {error}");
            0
        };
        outcomes[outcome] += 1;
    }
    assert!(outcomes[0] > 0 && outcomes[2] > 0, "{outcomes:?}");
}
