//! `cgwatch watch` as it runs: the stream, its ends, and a reader that is slow or gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    running::{Cgroup, Running, assert_fails, cgwatch, run, strange_names},
    terminal::assert_harmless,
};

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_quiet_cgroup_runs_out_of_time() {
    let Some(cgroup) = Cgroup::new("timeout") else { return };
    let output = run(["watch".as_ref(), "-t".as_ref(), "0.2".as_ref(), cgroup.0.as_os_str()]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_count_ends_it_and_what_existed_does_not_count() {
    let Some(cgroup) = Cgroup::new("count") else { return };
    cgroup.make("old");
    let mut running = Running::watch(&["-n", "2"], &cgroup.0);
    running.line_with("ready");
    fs::remove_dir(cgroup.make("new")).unwrap();
    let rest = running.rest();
    assert_eq!(rest.len(), 2, "{rest:#?}");
    assert!(rest[0].contains("appeared") && rest[1].contains("removed"), "{rest:#?}");
    assert!(running.end().0.success());
}

#[test]
fn the_end_of_the_root_ends_it() {
    let Some(cgroup) = Cgroup::new("root") else { return };
    let mut running = Running::watch(&["--json"], &cgroup.0);
    running.line_with("ready");
    fs::remove_dir(&cgroup.0).unwrap();
    let last = running.rest().pop().unwrap();
    let last = json(&last);
    assert_eq!((&last["event"], &last["cgroup"]), (&"removed".into(), &"/".into()));
    assert!(running.end().0.success());
}

#[test]
fn what_existed_can_be_left_out() {
    let Some(cgroup) = Cgroup::new("no-existing") else { return };
    cgroup.make("old");
    let mut running = Running::watch(&["--json", "--no-existing", "-n", "1"], &cgroup.0);
    let events: Vec<_> = (0..2).map(|_| json(&running.line().unwrap())).collect();
    assert_eq!(events[0]["event"], "start");
    assert_eq!((&events[1]["event"], &events[1]["seq"]), (&"ready".into(), &1.into()));
    cgroup.make("new");
    assert_eq!(json(&running.line().unwrap())["cgroup"], "/new");
    assert!(running.end().0.success());
}

#[test]
fn a_signal_ends_it_with_a_summary() {
    let Some(cgroup) = Cgroup::new("signal") else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::watch(&[], &cgroup.0);
        running.line_with("ready");
        let child = cgroup.make("child");
        running.line_with("/child");
        fs::remove_dir(child).unwrap();
        running.line_with("removed");
        running.signal(signal);
        let (status, errors) = running.end();
        assert_eq!(status.code(), Some(0), "{errors}");
        assert!(errors.contains("2 cgroups seen: 1 existed, 1 were born; 1 removed"), "{errors}");
    }
}

/// As nohup(1) starts it, and a shell what is to run in the background.
#[test]
fn a_signal_that_is_ignored_at_the_start_does_not_end_it() {
    let Some(cgroup) = Cgroup::new("ignored") else { return };
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("trap '' {name}; exec \"$@\""), "sh"]);
        command.args([env!("CARGO_BIN_EXE_cgwatch"), "watch", "-q", "-t", "60"]).arg(&cgroup.0);
        let mut running = Running::start(command);
        running.line_with("ready");
        running.signal(signal);
        let child = cgroup.make(name);
        running.line_with(&format!("/{name}"));
        fs::remove_dir(child).unwrap();
        running.line_with("removed");
        running.signal(Signal::TERM);
        assert_eq!(running.end().0.code(), Some(0));
    }
}

#[test]
fn a_quiet_run_says_nothing_beside() {
    let Some(cgroup) = Cgroup::new("quiet") else { return };
    let mut running = Running::watch(&["-q", "-n", "1"], &cgroup.0);
    running.line_with("ready");
    cgroup.make("child");
    let (status, errors) = running.end();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let Some(cgroup) = Cgroup::new("pipe") else { return };
    let mut running = Running::watch(&["-q"], &cgroup.0);
    running.line_with("ready");
    running.close_output();
    // Without anything to write it: the pipe itself says that nobody reads.
    let (status, errors) = running.end();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn strange_names_make_well_formed_lines() {
    let Some(cgroup) = Cgroup::new("names") else { return };
    // A birth and a death each.
    let count = (2 * strange_names().len()).to_string();
    let kinds = ["--event", "appeared", "--event", "removed"];
    let mut running = Running::watch(&[&["--json", "-n", &count], &kinds[..]].concat(), &cgroup.0);
    running.line_with("ready");
    for name in strange_names() {
        fs::remove_dir(cgroup.make(name)).unwrap();
    }
    let told = births_and_deaths(&running.rest());
    let expected: BTreeSet<Vec<u8>> =
        strange_names().iter().map(|name| [b"/", name.as_bytes()].concat()).collect();
    assert_eq!(told["appeared"], expected);
    assert_eq!(told["removed"], expected);
    assert!(running.end().0.success());
}

/// The paths that appeared and those that were removed, each once.
fn births_and_deaths(lines: &[String]) -> BTreeMap<&'static str, BTreeSet<Vec<u8>>> {
    let mut told: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut seq = None;
    for line in lines {
        let event = json(line);
        let next = event["seq"].as_u64().unwrap();
        assert_eq!(next, seq.map_or(next, |seq: u64| seq + 1), "seq has no holes");
        seq = Some(next);
        for kind in ["appeared", "removed"] {
            if event["event"] == kind {
                assert!(told.entry(kind).or_default().insert(bytes(&event)), "{line}");
            }
        }
    }
    told
}

/// Their parent, which was watched when they were born, is gone before they are looked at.
#[test]
fn births_right_before_the_end_of_the_root_are_told() {
    let Some(cgroup) = Cgroup::new("last-births") else { return };
    let mut running = Running::watch(&["--json"], &cgroup.0);
    running.line_with("ready");
    running.signal(Signal::STOP);
    for n in 0..20 {
        fs::remove_dir(cgroup.make(n.to_string())).unwrap();
    }
    fs::remove_dir(&cgroup.0).unwrap();
    running.signal(Signal::CONT);
    let told = births_and_deaths(&running.rest());
    let mut expected: BTreeSet<Vec<u8>> = (0..20).map(|n| format!("/{n}").into_bytes()).collect();
    assert_eq!(told.get("appeared"), Some(&expected));
    expected.insert(b"/".to_vec());
    assert_eq!(told["removed"], expected);
    assert!(running.end().0.success());
}

/// The exact path of an event.
fn bytes(event: &Value) -> Vec<u8> {
    let Some(hex) = event["cgroup_hex"].as_str() else {
        return event["cgroup"].as_str().unwrap().as_bytes().to_vec();
    };
    assert!(event["cgroup"].as_str().unwrap().contains('\u{fffd}'));
    let digits: Vec<_> = hex.as_bytes().chunks(2).collect();
    let byte = |pair: &&[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.iter().map(byte).collect()
}

#[test]
fn strange_names_are_one_printable_line_each() {
    let Some(cgroup) = Cgroup::new("printable") else { return };
    let names = strange_names();
    for name in &names {
        cgroup.make(name);
    }
    let output = run(["watch".as_ref(), "-qt0.2".as_ref(), cgroup.0.as_os_str()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), names.len() + 2, "the root, the names, ready: {text}");
    assert_harmless(&text);
    for shown in [
        r"/tab\x09ulator",
        r"/invalid-\xff\xfe",
        r"/dev-disk-by\x2duuid.slice",
        r"/a\xe2\x80\xaegpj.exe",
        // What only looks like the escape of another name.
        r"/\x5cxe2\x5cx80\x5cxae",
    ] {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
}

/// The pipe is full long before the cgroups are through. What was told before stays told, every
/// `appeared` gets its `removed`, and what was withheld is counted in a gap.
#[test]
fn a_reader_that_pauses_loses_no_removal() {
    const BIRTHS: usize = 3000;
    let Some(cgroup) = Cgroup::new("pause") else { return };
    let survivor = cgroup.make("survivor");
    let mut running = Running::watch(&["--json"], &cgroup.0);
    running.line_with("ready");
    for n in 0..BIRTHS {
        fs::remove_dir(cgroup.make(format!("child-{n}"))).unwrap();
    }
    fs::remove_dir(survivor).unwrap();
    fs::remove_dir(&cgroup.0).unwrap();
    let mut alive = BTreeSet::new();
    let (mut removed, mut untold, mut survivor_removed) = (0, 0, false);
    for line in running.rest() {
        let event = json(&line);
        match event["event"].as_str().unwrap() {
            "appeared" => assert!(alive.insert(event["n"].as_u64().unwrap()), "{line}"),
            "removed" if event["cgroup"] == "/" => {}
            "removed" if event["cgroup"] == "/survivor" => survivor_removed = true,
            "removed" => {
                assert!(alive.remove(&event["n"].as_u64().unwrap()), "{line}");
                removed += 1;
            }
            "gap" => untold += event["cancelled_pairs"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert!(alive.is_empty() && survivor_removed);
    // Across an overflow of the kernel's queue births may leave no event of their own.
    assert!(removed as u64 + untold <= BIRTHS as u64, "{removed} + {untold}");
    assert!(removed > 0);
    assert!(running.end().0.success());
}

#[test]
fn a_full_disk_is_an_error() {
    let Some(cgroup) = Cgroup::new("full") else { return };
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = cgwatch(["watch".as_ref(), "-q".as_ref(), cgroup.0.as_os_str()]);
    let output = command.stdout(full).output().unwrap();
    assert_fails(&output, &["cannot write to standard output", "No space left"]);
}

/// What `unshare` with these arguments runs; `None`, with the reason printed, if it may not.
fn unshared(arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let tried = Command::new("unshare").args(arguments).arg("true").output();
    match tried {
        Ok(tried) if tried.status.success() => Some(command),
        Ok(tried) => {
            println!("skipped: {}", String::from_utf8_lossy(&tried.stderr).trim());
            None
        }
        Err(error) => {
            println!("skipped: unshare: {error}");
            None
        }
    }
}

/// The timer of the sweep is set by the clock that also counts while the machine is suspended. Here
/// the two clocks are eleven days apart, as after such a suspension.
#[test]
fn it_sweeps_after_a_suspension() {
    let Some(cgroup) = Cgroup::new("boottime") else { return };
    let Some(mut command) = unshared(&["--time", "--boottime", "1000000", "--fork"]) else {
        return;
    };
    command.arg(env!("CARGO_BIN_EXE_cgwatch")).args(["watch", "--strategy", "sweep"]);
    command.args(["--sweep", "0.2", "-n", "2", "-t", "20"]).arg(&cgroup.0);
    let mut running = command.spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut await_line = |word| lines.any(|line| line.unwrap().contains(word));
    assert!(await_line("ready"));
    // When the time is up it looks once more, so that one of them would be found by that alone.
    for name in ["/first", "/second"] {
        cgroup.make(&name[1..]);
        assert!(await_line(name), "{name} was not found");
    }
    assert!(running.wait().unwrap().success());
}

/// What is mounted over a cgroup is none, though it has directories and files of the same names.
#[test]
fn what_is_mounted_over_a_cgroup_is_not_taken_for_it() {
    let Some(cgroup) = Cgroup::new("covered") else { return };
    let Some(mut command) = unshared(&["--mount", "--propagation", "private"]) else { return };
    let child = cgroup.make("child");
    let script = r#"mount -t tmpfs none "$1/child" && mkdir "$1/child/inside" &&
        echo "populated 1" > "$1/child/cgroup.events" && exec "$0" watch --json -t 1 "$1""#;
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_cgwatch")]).arg(&cgroup.0);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().any(|line| json(line)["event"] == "ready"), "{text}");
    let id = fs::metadata(&child).unwrap().ino();
    for event in text.lines().map(json).filter(|event| event["event"] == "appeared") {
        let path = event["cgroup"].as_str().unwrap();
        assert!(path == "/" || (path == "/child" && event["id"] == id), "{event}");
    }
}
