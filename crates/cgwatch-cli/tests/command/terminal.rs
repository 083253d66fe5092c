//! Nothing from outside steers a terminal or hides in it: names, titles, arguments, mount points.

use std::{ffi::OsStr, fs, path::Path};

use crate::{
    mounting::Mounted,
    running::{Cgroup, cgwatch, errors, run, strange_names},
};

/// An escape sequence, a bidirectional override, a character without width, and a C1 control.
const HOSTILE: &str = "a\u{1b}]0;x\u{7}\u{202e}b\u{200b}\u{9b}2J";

/// Only what is seen, and does not move what is seen.
#[track_caller]
pub(crate) fn assert_harmless(text: &str) {
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    assert!(!text.contains(harmful), "{text:?}");
}

#[test]
fn arguments_that_are_echoed() {
    let file = tempfile::Builder::new().prefix(HOSTILE).tempfile().unwrap();
    fs::write(file.path(), "no scenario \u{1b}[2J").unwrap();
    let sim = format!("--sim={}", file.path().display());
    let option = format!("--{HOSTILE}");
    for arguments in [
        &["watch", HOSTILE][..],
        &["watch", "--event", HOSTILE],
        &["watch", "--files", &format!("../{HOSTILE}")],
        &["watch", "--path", &format!("{HOSTILE}[")],
        &["watch", &sim],
        &["watch", &format!("--sim={HOSTILE}")],
        &["watch", "--sim", HOSTILE],
        &["watch", &option],
        &["doctor", HOSTILE],
        &["mount", HOSTILE, "--sim"],
        &["mirror", HOSTILE],
        &["man", HOSTILE],
        &[HOSTILE],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!errors(&output).is_empty());
        assert_harmless(&errors(&output));
    }
}

#[test]
fn a_title_of_a_scenario() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let title: String = HOSTILE.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    fs::write(file.path(), format!("title = \"{title}\"\nlasts = \"1s\"\n")).unwrap();
    let output = run(["watch", "-t", "0.1", &format!("--sim={}", file.path().display())]);
    let said = errors(&output);
    assert_harmless(&said);
    assert!(said.contains(r"(a\x1b]0;x\x07\xe2\x80\xaeb"), "{said}");
}

#[test]
fn a_cgroup_that_is_watched_and_examined() {
    let Some(cgroup) = Cgroup::new("terminal") else { return };
    // A control character ends no name on Linux's side; a newline it refuses.
    let child = cgroup.make(HOSTILE);
    for arguments in [
        &["watch", "-t", "0.1"][..],
        &["watch", "--json", "-t", "0.1"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        let mut command = cgwatch(arguments);
        let output = command.arg(&child).output().unwrap();
        assert!(!output.stdout.is_empty());
        assert_harmless(&errors(&output));
        assert_harmless(std::str::from_utf8(&output.stdout).unwrap());
    }
}

#[test]
fn names_in_json_mean_the_same() {
    let Some(cgroup) = Cgroup::new("terminal-json") else { return };
    let mut expected = vec!["/".to_owned()];
    for name in strange_names() {
        cgroup.make(name);
        expected.extend(name.to_str().map(|name| format!("/{name}")));
    }
    let output = run(["watch".as_ref(), "--json".as_ref(), "-t0.2".as_ref(), cgroup.0.as_os_str()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_harmless(&text);
    let mut told: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "appeared" && event["cgroup_hex"].is_null())
        .map(|event| event["cgroup"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_mount_point() {
    let place = tempfile::Builder::new().prefix(HOSTILE).tempdir().unwrap();
    let said = place.path().join("said");
    let inside = place.path().join("mounted");
    fs::create_dir(&inside).unwrap();
    let stderr = fs::File::create(&said).unwrap();
    let mounted = Mounted::at(inside.clone(), |directory: &Path| {
        let mut command = cgwatch([OsStr::new("mount"), directory.as_os_str(), "--sim".as_ref()]);
        command.stderr(stderr);
        command
    });
    let Some(mounted) = mounted else { return };
    crate::running::until("it says so", || !fs::read(&said).unwrap().is_empty());
    drop(mounted);
    let said = fs::read_to_string(said).unwrap();
    assert!(said.contains("mounted at"), "{said}");
    assert_harmless(&said);
}
