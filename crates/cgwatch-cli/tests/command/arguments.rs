//! Arguments, help, completions and the man page.

use std::{io::Write, process::Stdio};

use crate::running::{errors, run, skipped};

#[test]
fn wrong_arguments_are_errors_not_timeouts() {
    for arguments in [
        &["watch", "--no-such-option"][..],
        &["watch", "-t", "0"],
        &["watch", "-t", "soon"],
        &["watch", "-n", "0"],
        &["watch", "--depth", "-1"],
        &["watch", "--event", "deleted"],
        &["watch", "--strategy", "magic"],
        &["watch", "--color", "pink"],
        &["doctor", "--probe=everything"],
        &["completions", "cmd.exe"],
        &["no-such-command"],
        &[],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version() {
    for arguments in [&["--help"][..], &["watch", "--help"], &["help", "doctor"], &["-V"]] {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let help = String::from_utf8(run(["watch", "--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
    let version = String::from_utf8(run(["--version"]).stdout).unwrap();
    assert_eq!(version, format!("cgwatch {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("no-existing") && script.contains("doctor"), "{shell}");
    }
}

#[test]
fn bash_understands_its_completions() {
    let bash = std::process::Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn();
    let Ok(mut bash) = bash else {
        skipped("no bash");
        return;
    };
    let script = run(["completions", "bash"]).stdout;
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn man_pages() {
    for (arguments, title) in [(&["man"][..], "cgwatch"), (&["man", "watch"], "cgwatch-watch")] {
        let output = run(arguments);
        assert!(output.status.success(), "{}", errors(&output));
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(page.contains(&format!(".TH {title} 1")), "{page}");
    }
    assert_eq!(run(["man", "nothing"]).status.code(), Some(1));
}
