//! A scenario in a process of its own, under a time limit.
//!
//! The child is this program, executed with `--scenario NAME`; its standard output ends with the
//! [`Outcome`] as one line. It leads a process group of its own, so that its workers die with it,
//! and its cgroups are removed after it, whatever became of it.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Environment, Failure, Outcome, Requirement, Scenario, huge_pages, tree, worker};

/// To be called first in every `main` of a program that runs scenarios: if the arguments ask for
/// one, or for a worker of one, does it and gives the exit code.
#[must_use]
pub fn entry() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        "--scenario" => {}
        "--worker" => {
            return Some(match worker::work(arguments) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    eprintln!("worker: {failure}");
                    ExitCode::FAILURE
                }
            });
        }
        _ => return None,
    }
    let name = arguments.next().unwrap_or_default();
    let guest = arguments.next().is_some_and(|place| place == "--guest");
    let scenario = crate::all().into_iter().find(|scenario| *scenario.full_name() == *name);
    let outcome = match (scenario, Environment::detect(guest)) {
        (None, _) => Outcome::Fail(format!("there is no scenario {}", name.display())),
        (_, None) => Outcome::Skip("no cgroup v2 hierarchy is mounted".into()),
        (Some(scenario), Some(mut environment)) => {
            environment.strategy = scenario.strategy;
            match (scenario.run)(&environment) {
                Ok(()) => Outcome::Pass,
                Err(Failure::Skip(reason)) => Outcome::Skip(reason),
                Err(failure) => Outcome::Fail(failure.to_string()),
            }
        }
    };
    // Nobody to tell if the parent is gone.
    let _ = writeln!(std::io::stdout(), "{outcome}");
    Some(if matches!(outcome, Outcome::Fail(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs a scenario in a child process, killed when its time is up. Its standard error is passed on.
#[must_use]
pub fn run_in_child(scenario: &Scenario, environment: &Environment) -> Outcome {
    if let Some(requirement) = scenario.unmet(environment) {
        return Outcome::Skip(requirement.to_string());
    }
    let offer = (scenario.requirements.contains(&Requirement::HugeTlb))
        .then(|| huge_pages::Offer::new(environment))
        .transpose();
    if let Err(failure) = offer {
        return Outcome::Fail(failure.to_string());
    }
    tree::fell_orphans(environment);
    let mut command = Command::new("/proc/self/exe");
    command.arg("--scenario").arg(scenario.full_name()).process_group(0).stdin(Stdio::null());
    if environment.guest {
        command.arg("--guest");
    }
    if let Some(program) = &environment.command {
        command.env("CGWATCH", program);
    }
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Fail(format!("cannot start the scenario: {error}")),
    };
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // The receiver is gone when the time was up.
            let _ = sender.send(lines.filter_map(|line| Outcome::parse(&line)).last());
        });
    }
    let outcome = receiver.recv_timeout(environment.limit(scenario.limit));
    let status = end(&mut child);
    tree::fell(environment, child.id());
    drop(offer);
    match outcome {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Outcome::Fail(format!("it died without a word ({status})")),
        Err(_) => Outcome::Fail("its time was up".into()),
    }
}

/// Kills the child's whole process group and takes its exit status.
fn end(child: &mut Child) -> String {
    // ESRCH: all are gone already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}
