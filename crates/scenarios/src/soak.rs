//! The soak: cgwatch on this machine's own hierarchy for as long as is wanted, under random load and
//! with one fault after the other; the books are balanced every minute.
//!
//! Several watchers, each a process of its own, watch one tree ([`watched`]). In each minute the
//! [`load`] does what its seed says while [`faults`] come and go. Then all comes to rest, and what
//! each watcher told is held against the contract and against the driver's truth, with what was told
//! of the living in earlier minutes before it ([`told`]); and what it holds must be what it needs.
//!
//! The seed decides the choices of a minute, not how many of them fit into it. A signal ends it, and
//! nothing of it stays.

mod faults;
mod hostile;
mod interrupt;
mod load;
mod told;
mod watched;

use std::{
    env, fmt, fs,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::UnshareFlags,
};

use self::{faults::Fault, interrupt::Interrupt, load::Load, watched::Watched};
use crate::{
    Environment, Failure, Requirement, Tree,
    huge_pages::{FILE, KEY, Offer},
    tree,
};

const MINUTE: Duration = Duration::from_secs(60);
/// So much of a minute is left for coming to rest and for being judged. What that takes longer is
/// taken from the next minute's load.
const REST: Duration = Duration::from_secs(10);
/// The load lasts so long in any case.
const LEAST: Duration = Duration::from_secs(20);

/// The exit code when a signal ended it, as a shell tells that of Ctrl-C.
const INTERRUPTED: u8 = 130;

/// How long, and by which choices.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// How many minutes.
    pub minutes: u64,
    /// What decides every choice.
    pub seed: u64,
}

impl Soak {
    /// Runs it; tells a line a minute, or `skip` and why it cannot be run here.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let Some(environment) = Environment::detect(false) else {
            println!("skip no cgroup v2 hierarchy is mounted");
            return ExitCode::SUCCESS;
        };
        let needed = [Requirement::HugeTlb, Requirement::Command];
        if let Some(unmet) = needed.into_iter().find(|needed| !environment.meets(*needed)) {
            println!("skip {unmet}");
            return ExitCode::SUCCESS;
        }
        let interrupt = match Interrupt::catch() {
            Ok(interrupt) => interrupt,
            Err(error) => {
                println!("cannot catch signals: {error}");
                return ExitCode::FAILURE;
            }
        };
        // Nobody may be left to hear the last line.
        match self.soak(&environment, &interrupt) {
            Ok(()) => ExitCode::SUCCESS,
            // Whatever broke then did so because all that it drives was told to end, too.
            Err(_) if interrupt.came() => {
                let _ = say(format_args!("interrupted; nothing of it is left"));
                ExitCode::from(INTERRUPTED)
            }
            Err(failure) => {
                let _ = say(format_args!("broken with --seed {}: {failure}", self.seed));
                ExitCode::FAILURE
            }
        }
    }

    fn soak(self, environment: &Environment, interrupt: &Interrupt) -> Result<(), Failure> {
        say(format_args!("soak of {} minutes, --seed {}", self.minutes, self.seed))?;
        apart()?;
        tree::fell_orphans(environment);
        let _offer = Offer::new(environment)?;
        let tree = Tree::plant(environment)?;
        tree.root().write("cgroup.subtree_control", "+hugetlb")?;
        let mut watched = watched::start(environment, &tree)?;
        let mut load = Load::new(&tree);
        let (mut born, mut died) = (0, 0);
        let begin = Instant::now();
        let whole = MINUTE.saturating_mul(u32::try_from(self.minutes).unwrap_or(u32::MAX));
        let mut minute = 0;
        // Fewer, if some take longer.
        while minute < self.minutes && (minute == 0 || begin.elapsed() + LEAST < whole) {
            minute += 1;
            // A minute's choices do not depend on how far the one before it came.
            load.rng = Rng::with_seed(self.seed ^ minute.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            load.forget();
            let end = MINUTE.saturating_mul(u32::try_from(minute).unwrap_or(u32::MAX));
            let left = end.saturating_sub(begin.elapsed() + REST).max(LEAST);
            let passed = under_load(environment, &watched, &mut load, left, interrupt);
            let judged = passed.and_then(|()| judge(&tree, &mut watched, interrupt));
            let lines = match judged {
                Ok(lines) => lines,
                Err(failure) => {
                    if !interrupt.came() {
                        leave_behind(&load, &watched);
                    }
                    return Err(Failure::Broken(format!("minute {minute}: {failure}")));
                }
            };
            let (new, dead, alive) = load.count();
            (born, died) = (born + new, died + dead);
            let lines = lines.join(" | ");
            say(format_args!("{minute:4}: {new} born, {dead} died, {alive} live | {lines}"))?;
            tree.forget_the_dead();
        }
        let counted = tree.root().count(FILE, KEY)?;
        say(format_args!(
            "held: {} minutes, judged {minute} times, --seed {}: {born} born, {died} died, {counted} \
             counted",
            self.minutes, self.seed
        ))
    }
}

/// To who started it; ends it if he is gone.
fn say(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(Failure::driver("write", "the standard output"))
}

/// All comes to rest, and each watcher is held to what it told; a line of each.
fn judge(
    tree: &Tree,
    watched: &mut [Watched],
    interrupt: &Interrupt,
) -> Result<Vec<String>, Failure> {
    let counted = tree.root().count(FILE, KEY)?;
    interrupt.heed()?;
    settle(tree, watched)?;
    watched.iter_mut().map(|watched| watched.judge(tree, counted, interrupt)).collect()
}

/// Waits until each watcher has told all that was done, by the birth and the death of one more that
/// all of them are to tell: nothing of this minute is told in the next.
fn settle(tree: &Tree, watched: &[Watched]) -> Result<(), Failure> {
    let last = tree.make("settled")?;
    watched.iter().try_for_each(|watched| watched.has_told_birth(&last))?;
    tree.remove(&last)?;
    watched.iter().try_for_each(|watched| watched.has_told_death(&last))
}

/// All faults of a minute, one after the other, in a slice of the time each.
fn under_load(
    environment: &Environment,
    watched: &[Watched],
    load: &mut Load<'_>,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let faults = Fault::draw(&mut load.rng);
    let slice = time / u32::try_from(faults.len()).unwrap_or(1);
    let begin = Instant::now();
    for (fault, end) in faults.into_iter().zip(1..) {
        load.deed(format_args!("{fault:?}"));
        let until = begin + slice * end;
        fault.meanwhile(environment, watched, load, &mut |load| {
            while Instant::now() < until {
                interrupt.heed()?;
                load.act()?;
            }
            Ok(())
        })?;
    }
    load.calm()
}

/// Into a mount namespace of its own: what is mounted in it is seen by the watchers, and by nobody
/// else.
fn apart() -> Result<(), Failure> {
    // Only this thread runs yet, so that nothing else is taken along.
    #[expect(
        deprecated,
        reason = "sound for namespaces; its successor is unsafe for shared files"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// For people who look into a failure: what was done, and what each watcher told.
fn leave_behind(load: &Load<'_>, watched: &[Watched]) {
    let Some(path) = env::var_os("SCENARIO_STREAM") else { return };
    let mut text = load.deeds().join("\n");
    for watched in watched {
        text += &format!("\n\n{}\n{:#?}", watched.name, watched.stream());
    }
    if let Err(error) = fs::write(&path, text) {
        eprintln!("{}: {error}", path.display());
    }
}
