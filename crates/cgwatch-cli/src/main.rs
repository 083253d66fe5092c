//! The command `cgwatch`: arguments, output, exit codes. What happens to cgroups is the library's
//! business.
//!
//! Exit codes: 0 done, 1 error (wrong arguments too), 2 the time ran out with nothing seen.

mod arguments;
mod doctor;
mod failure;
mod guard;
mod limits;
mod mirror;
mod mount;
mod people;
mod scenario;
mod serve;
mod signals;
mod target;
mod watch;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where help goes to is gone or full: nobody is left to be told.
            let _ = error.print();
            // clap would exit with 2, which here means that the time ran out.
            return if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    let result = match arguments.command {
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Mount(arguments) => mount::run(&arguments),
        Command::Mirror(arguments) => mirror::run(&arguments),
        Command::Guard { directory } => guard::run(&directory),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(command.as_deref()),
    };
    match result {
        Ok(code) => code,
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cgwatch: {}", failure::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "cgwatch", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn man(subcommand: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut command = Arguments::command();
    command.build();
    let command = match subcommand {
        None => command,
        // Built, it goes by the name `man` files it under: cgwatch-watch(1).
        Some(name) => command
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| anyhow::anyhow!("there is no command {name:?}"))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    std::io::stdout().write_all(&page)?;
    Ok(ExitCode::SUCCESS)
}
