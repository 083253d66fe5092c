//! `cgwatch watch --sim`: no root, no cgroup v2, and it says what it is.

use std::{fs, process::Output};

use crate::running::{assert_fails, errors, run};

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_first_line_says_that_nothing_is_real() {
    let output = run(["watch", "--sim=oom-and-gone", "--speed", "1000000"]);
    assert!(output.status.success(), "{}", errors(&output));
    let first = errors(&output).lines().next().unwrap_or_default().to_owned();
    assert!(first.contains("simulated") && first.contains("oom-and-gone"), "{first}");
    let output = run(["watch", "--sim=oom-and-gone", "--json", "--speed", "1000000"]);
    assert!(lines(&output)[0].contains(r#""simulated":true"#), "{:?}", lines(&output)[0]);
}

#[test]
fn a_kill_and_its_last_word_whatever_the_speed() {
    let told = |speed| {
        let output = run(["watch", "--sim=oom-and-gone", "--json", "--speed", speed]);
        assert!(output.status.success(), "{}", errors(&output));
        lines(&output)
    };
    let fast = told("1000000");
    let killed = |line: &&String| line.contains(r#""oom_kill":1"#);
    assert!(fast.iter().any(|line| killed(&line)), "{fast:#?}");
    assert!(fast.iter().any(|line| line.contains(r#""event":"removed""#)), "{fast:#?}");
    assert_eq!(fast, told("100000000"), "the same at any speed");
}

#[test]
fn an_unknown_scenario_names_those_there_are() {
    let output = run(["watch", "--sim=none-such"]);
    assert_fails(&output, &["none-such", "quiet-host", "oom-and-gone"]);
}

#[test]
fn a_broken_scenario_names_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.toml");
    fs::write(&file, "title = \"broken\"\nlasts = 7\nnonsense = true\n").unwrap();
    let output =
        run(["watch".as_ref(), format!("--sim={}", file.display()).as_ref()]
            as [&std::ffi::OsStr; 2]);
    assert_fails(&output, &["broken.toml", "line"]);
}

#[test]
fn a_speed_is_a_positive_number_and_needs_a_simulation() {
    for speed in ["0", "-1", "nan", "fast"] {
        let output = run(["watch", "--sim", "--speed", speed]);
        assert_eq!(output.status.code(), Some(1), "{speed}");
    }
    let output = run(["watch", "--speed", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("--sim"), "{}", errors(&output));
}
