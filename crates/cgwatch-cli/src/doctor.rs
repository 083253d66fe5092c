//! `cgwatch doctor`: what this machine allows, each answer with its evidence.

mod facts;
mod report;

use std::{
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use cgwatch::Probe;

use crate::{arguments, people, signals, streams, target};
use facts::Facts;

/// Examines, probes if asked to, and prints.
pub(crate) fn run(arguments: &arguments::Doctor) -> anyhow::Result<ExitCode> {
    let cgroup = target::one(arguments.path.as_deref())?;
    let mut facts = Facts::gather(&cgroup)?;
    if let Some(probe) = arguments.probe {
        let interrupted = interrupted().context("cannot catch signals")?;
        let probe = match probe {
            arguments::Probe::Plain => Probe::Plain,
            arguments::Probe::Reclaim => {
                streams::say(
                    "dropping the directory caches of the whole host (vm.drop_caches = 2); \
                     everything that is looked up next will be slower",
                );
                Probe::Reclaim
            }
        };
        facts.capabilities.probe(&cgroup, probe, &|| !interrupted.load(Ordering::Relaxed))?;
        if interrupted.load(Ordering::Relaxed) {
            streams::say("interrupted; the throw-away cgroups are removed");
        }
    }
    let text = if arguments.json {
        report::json(&facts) + "\n"
    } else {
        report::text(&facts, people::coloured(arguments.color, &io::stdout()))
    };
    streams::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Set by a signal that asks to end, so that the probe can clean up.
fn interrupted() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::default();
    for signal in signals::ending() {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}
