//! Every scenario on this machine's own cgroup v2 hierarchy, one test each. What this machine lacks
//! is listed as ignored.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::{Environment, Outcome};

fn main() -> ExitCode {
    if let Some(code) = scenarios::entry() {
        return code;
    }
    let arguments = Arguments::from_args();
    let environment = Environment::detect(false);
    let trials = scenarios::all().into_iter().map(|scenario| {
        let environment = environment.clone();
        let possible = environment.as_ref().is_some_and(|e| scenario.unmet(e).is_none());
        Trial::test(scenario.name, move || {
            let Some(environment) = environment else { return Ok(()) };
            match scenarios::run_in_child(&scenario, &environment) {
                Outcome::Pass => Ok(()),
                Outcome::Fail(reason) => Err(Failed::from(reason)),
                Outcome::Skip(reason) => {
                    println!("skip {reason}");
                    Ok(())
                }
            }
        })
        .with_ignored_flag(!possible)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
