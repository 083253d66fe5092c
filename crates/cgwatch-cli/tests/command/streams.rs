//! Standard output and standard error that nobody reads, that are full, or that are closed: they
//! never change what the command does, and never its exit code beyond what is documented.

use std::{
    fs::File,
    io::{PipeReader, Write as _, pipe},
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::{
    fs::OFlags,
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use crate::{
    mounting::is_mounted,
    running::{Cgroup, assert_fails, cgwatch, errors, is_root, skipped, until},
};

/// Standard errors that cannot be written to, each with what keeps it so.
fn unusable() -> [(&'static str, Stdio, Option<PipeReader>); 3] {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (_, without_reader) = pipe().unwrap();
    let (reader, without_room) = pipe().unwrap();
    fill(&without_room);
    [
        ("full", full.into(), None),
        ("its reader is gone", without_reader.into(), None),
        ("nobody makes room", without_room.into(), Some(reader)),
    ]
}

/// Leaves no room in a pipe.
fn fill(mut pipe: &std::io::PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(pipe).unwrap();
    rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while pipe.write(&vec![b'.'; size]).is_ok() {}
    }
    assert_eq!(rustix::io::write(pipe, b"."), Err(Errno::AGAIN));
    rustix::fs::fcntl_setfl(pipe, flags).unwrap();
}

fn with_stderr(arguments: &[&str], stderr: Stdio) -> Output {
    cgwatch(arguments).stderr(stderr).stdout(Stdio::piped()).output().unwrap()
}

#[test]
fn events_are_printed_whatever_becomes_of_standard_error() {
    let Some(cgroup) = Cgroup::new("stderr") else { return };
    let path = cgroup.0.to_str().unwrap();
    for (what, stderr, _reader) in unusable() {
        let output = with_stderr(&["watch", "-t", "0.2", path], stderr);
        assert_eq!(output.status.code(), Some(2), "{what}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("appeared") && text.contains("ready"), "{what}: {text}");
    }
}

#[test]
fn errors_keep_their_exit_code_whatever_becomes_of_standard_error() {
    for arguments in [
        &["watch", "/no/such/cgroup"][..],
        &["watch", "--no-such-option"],
        &["doctor", "/no/such/cgroup"],
        &["mount", "/no/such/directory", "--sim"],
        &["mirror", "/no/such/directory"],
        &["man", "nothing"],
        &["no-such-command"],
    ] {
        for (what, stderr, _reader) in unusable() {
            let output = with_stderr(arguments, stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}, {what}");
        }
    }
}

#[test]
fn a_mount_lives_whatever_becomes_of_standard_error() {
    if !is_root() || File::options().write(true).open("/dev/fuse").is_err() {
        skipped("not root, or no /dev/fuse");
        return;
    }
    for (what, stderr, _reader) in unusable() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().canonicalize().unwrap();
        let mut command = cgwatch(["mount", "--sim"]);
        // With this it has something to say.
        let command = command.arg("--allow-other").arg(&directory).stderr(stderr);
        let mut server = command.spawn().unwrap();
        until(what, || is_mounted(&directory) || server.try_wait().unwrap().is_some());
        std::fs::create_dir(directory.join("made")).unwrap();
        kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{what}");
        assert!(!is_mounted(&directory), "{what}");
    }
}

/// What prints something once and ends.
const PRINTING: [&[&str]; 8] = [
    &["--help"],
    &["--version"],
    &["help", "watch"],
    &["watch", "--help"],
    &["man"],
    &["man", "watch"],
    &["completions", "bash"],
    &["completions", "zsh"],
];

/// The same, and `doctor` where there is something to examine.
fn printing(cgroup: Option<&Cgroup>) -> Vec<Vec<&str>> {
    let path = cgroup.map(|cgroup| cgroup.0.to_str().unwrap());
    let doctor =
        path.into_iter().flat_map(|path| [vec!["doctor", path], vec!["doctor", "--json", path]]);
    PRINTING.iter().map(|arguments| arguments.to_vec()).chain(doctor).collect()
}

#[test]
fn nobody_to_read_what_is_printed() {
    let cgroup = Cgroup::new("no-reader");
    for arguments in printing(cgroup.as_ref()) {
        let (_, without_reader) = pipe().unwrap();
        let output = cgwatch(&arguments).stdout(without_reader).output().unwrap();
        assert_eq!(
            (output.status.code(), errors(&output)),
            (Some(0), String::new()),
            "{arguments:?}"
        );
    }
}

#[test]
fn no_room_for_what_is_printed() {
    let cgroup = Cgroup::new("no-room");
    for arguments in printing(cgroup.as_ref()) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = cgwatch(&arguments).stdout(full).output().unwrap();
        assert_fails(&output, &["cannot write to standard output", "No space left"]);
    }
}

/// A reader that takes its time: standard output may be a pipe that somebody made non-blocking.
#[test]
fn what_is_printed_waits_for_room() {
    let (reader, writer) = pipe().unwrap();
    fill(&writer);
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut child = cgwatch(["completions", "bash"]).stdout(writer).spawn().unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut { reader }, &mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.ends_with(&crate::running::run(["completions", "bash"]).stdout));
}

/// Whatever is opened next must not take the number of a standard stream.
#[test]
fn closed_standard_streams() {
    let Some(cgroup) = Cgroup::new("closed") else { return };
    let closed = |arguments: &[&str], path: &Path| {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh", env!("CARGO_BIN_EXE_cgwatch")]);
        command.args(arguments).arg(path);
        command
    };
    for (arguments, code) in
        [(&["watch", "-t", "0.2"][..], 2), (&["watch", "--json", "-t", "0.2"], 2), (&["doctor"], 0)]
    {
        let status = closed(arguments, &cgroup.0).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
    assert_eq!(closed(&["watch"], "/no/such".as_ref()).status().unwrap().code(), Some(1));
    if !is_root() || File::options().write(true).open("/dev/fuse").is_err() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().canonicalize().unwrap();
    let mut server = closed(&["mount", "--sim"], &directory).spawn().unwrap();
    until("mounted", || is_mounted(&directory) || server.try_wait().unwrap().is_some());
    for stream in 0..3 {
        let opened = std::fs::read_link(format!("/proc/{}/fd/{stream}", server.id())).unwrap();
        assert_eq!(opened, Path::new("/dev/null"));
    }
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(!is_mounted(&directory));
}
