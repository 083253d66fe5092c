//! Every scenario on this machine's own cgroup v2 hierarchy, one test each. What this machine lacks
//! is listed as ignored.

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
};

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::{Environment, Outcome, Requirement, Scenario};

fn main() -> ExitCode {
    if let Some(code) = scenarios::entry() {
        return code;
    }
    let arguments = Arguments::from_args();
    let environment = Environment::detect(false);
    let trials = scenarios::all().into_iter().map(|scenario| {
        let environment = environment.clone();
        let possible = environment.as_ref().is_some_and(|e| possible(&scenario, e));
        let name = scenario.full_name();
        let run = move || run(&scenario, environment);
        Trial::test(name, run).with_ignored_flag(!possible)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A command that is not there yet can be built.
fn possible(scenario: &Scenario, environment: &Environment) -> bool {
    scenario.unmet(environment).is_none_or(|unmet| unmet == Requirement::Command)
}

fn run(scenario: &Scenario, environment: Option<Environment>) -> Result<(), Failed> {
    let Some(mut environment) = environment else { return Ok(()) };
    if scenario.requirements.contains(&Requirement::Command) {
        build_the_command()?;
        environment = Environment::detect(false).unwrap_or(environment);
    }
    match scenarios::run_in_child(scenario, &environment) {
        Outcome::Pass => Ok(()),
        Outcome::Fail(reason) => Err(Failed::from(reason.replace(" | ", "\n"))),
        Outcome::Skip(reason) => {
            println!("skip {} {reason}", scenario.full_name());
            Ok(())
        }
    }
}

/// Cargo builds the programs of other packages for nobody's tests, and one that was built before
/// may be old.
fn build_the_command() -> Result<(), Failed> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let build = ["build", "--quiet", "--locked", "--package", "cgwatch-cli"];
    let status = Command::new(cargo).args(build).current_dir(workspace).status()?;
    if status.success() { Ok(()) } else { Err(Failed::from("the command does not build")) }
}
