//! The command `cgwatch`: arguments, output, exit codes. What happens to cgroups is the library's
//! business.
//!
//! Exit codes: 0 done, 1 error (wrong arguments too), 2 the time ran out with nothing seen.

// Both panic when nobody reads: see `streams`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

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
mod streams;
mod target;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) if error.is::<streams::ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            streams::say(failure::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return help_or_complain(&error),
    };
    match arguments.command {
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Mount(arguments) => mount::run(&arguments),
        Command::Mirror(arguments) => mirror::run(&arguments),
        Command::Guard { directory } => guard::run(&directory),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(command.as_deref()),
    }
}

/// What clap has to say instead of arguments. It would exit with 2 for wrong ones, which here means
/// that the time ran out.
fn help_or_complain(error: &clap::Error) -> anyhow::Result<ExitCode> {
    let text = error.render();
    if error.use_stderr() {
        // Without colours: what was given as an argument is in it.
        streams::note(&text.to_string());
        return Ok(ExitCode::FAILURE);
    }
    let coloured = people::coloured(arguments::Color::Auto, &std::io::stdout());
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    streams::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "cgwatch", &mut script);
    streams::print(&script)?;
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
    streams::print(&page)?;
    Ok(ExitCode::SUCCESS)
}
