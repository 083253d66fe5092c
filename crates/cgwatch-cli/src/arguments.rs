//! The command line. Help, completions and the man page all come from here.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint, builder::PossibleValuesParser};

/// Watch cgroups: every change, then exactly one removal.
#[derive(Debug, Parser)]
#[command(
    name = "cgwatch",
    version,
    about,
    // Of an option that is given twice, by an alias and by hand, say, the last counts.
    args_override_self = true,
    long_about = "Watch Linux control groups (cgroup v2): every birth, every change of an event \
                  file such as memory.events, then exactly one removal, with what was counted \
                  last. Works on any kernel, with one inotify instance, as any user who may read \
                  the files.",
    after_help = "Exit codes: 0 done (also when the watched cgroup is removed, or nobody reads \
                  standard output any more), 1 error (also when standard output cannot be written), \
                  2 the time given with -t ran out with nothing seen.\n\n\
                  Messages go to standard error; what cannot be written there is dropped.\n\n\
                  See `cgwatch watch --help` for examples."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what happens to cgroups, one line an event
    Watch(Watch),
    /// Tell what this kernel, this mount and these limits allow, with the evidence
    Doctor(Doctor),
    /// Mount a simulated cgroup hierarchy, to test programs against
    Mount(Mount),
    /// Mount the host's cgroups once more, read-only, where every removal is announced
    Mirror(Mirror),
    /// Started by cgwatch itself beside a mount, to end it if its server is killed
    #[command(hide = true)]
    Guard {
        /// The mount point
        directory: PathBuf,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example: cgwatch completions bash > \
                            ~/.local/share/bash-completion/completions/cgwatch")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page, of the command or of one of its subcommands
    #[command(after_help = "Example: cgwatch man watch | man -l -")]
    Man {
        /// The subcommand; without it the page of cgwatch itself
        #[arg(value_parser = PossibleValuesParser::new(["watch", "doctor", "mount", "mirror", "completions", "man"]))]
        command: Option<String>,
    },
}

/// The examples of `watch`.
const WATCH_EXAMPLES: &str = "\
Examples:
  cgwatch watch                                   the whole hierarchy
  cgwatch watch system.slice                      one cgroup and all below it
  cgwatch watch --file memory.events --key oom_kill --event changed --event removed
                                                  OOM kills, and what died of them
  cgwatch watch --json --no-existing | jq -c 'select(.event == \"removed\")'
                                                  removals, for programs
  cgwatch watch -n 1 -t 60 --event removed my.scope
                                                  wait a minute for a removal (exit code 2: none)
  cgwatch watch --sim=oom-and-gone --speed 10     an OOM kill and its last word, simulated

Exit codes: 0 done (also when the watched cgroup is removed, or nobody reads standard output any \
more), 1 error (also when standard output cannot be written), 2 the time given with -t ran out with \
nothing seen. Messages go to standard error; what cannot be written there is dropped.";

#[derive(Debug, Args)]
#[command(after_help = WATCH_EXAMPLES)]
pub(crate) struct Watch {
    /// Cgroups to watch, as paths in the file system or from the root of the hierarchy; without
    /// any, the whole hierarchy
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) paths: Vec<PathBuf>,

    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// When to colour the output
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: Color,

    /// Stop after so many seconds; exit code 2 if nothing was seen but what existed already
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Stop after so many events, what existed at the start not counted
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// No word but events and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Watch at most so many levels below each PATH; 0 is PATH itself only. Saves watches
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u16>,

    /// Read these event files too, beside cgroup.events, memory.events and pids.events; `*` is a
    /// pattern, as in hugetlb.*.events
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) files: Vec<String>,

    /// Do not print what existed at the start
    #[arg(long)]
    pub(crate) no_existing: bool,

    /// Tell only of cgroups whose path from the watched root matches; `**` matches any depth
    #[arg(long, value_name = "GLOB", help_heading = "Filters (each may be given more than once)")]
    pub(crate) path: Vec<String>,

    /// Tell only of changes of this file; it is read even if it is none of the usual ones
    #[arg(long, value_name = "NAME", help_heading = "Filters (each may be given more than once)")]
    pub(crate) file: Vec<String>,

    /// Tell only of changes of this key, such as oom_kill
    #[arg(long, value_name = "KEY", help_heading = "Filters (each may be given more than once)")]
    pub(crate) key: Vec<String>,

    /// Tell only of events of this kind; `ready` and `gap` are always told
    #[arg(
        long,
        value_name = "KIND",
        value_parser = PossibleValuesParser::new(
            ["appeared", "changed", "file-removed", "file-added", "removed"]
        ),
        help_heading = "Filters (each may be given more than once)"
    )]
    pub(crate) event: Vec<String>,

    /// Read everything anew at least so often
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) sweep: Duration,

    /// Watch a simulated hierarchy, not this host's: no root, no cgroup v2 and no Linux is needed for
    /// what happens in it. A scenario is played in it, one of those that come with cgwatch or a file
    #[arg(
        long,
        value_name = "SCENARIO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help_heading = "Simulation"
    )]
    pub(crate) sim: Option<String>,

    /// How many times faster than real time the scenario is played
    #[arg(
        long,
        value_name = "FACTOR",
        value_parser = speed,
        default_value = "1",
        requires = "sim",
        help_heading = "Simulation"
    )]
    pub(crate) speed: f64,

    /// How to learn of changes: inotify, fanotify, by reading everything at each sweep, or the best
    /// of what is allowed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) strategy: Strategy,
}

/// The examples of `doctor`.
const DOCTOR_EXAMPLES: &str = "\
Examples:
  cgwatch doctor                   look, without changing anything
  sudo cgwatch doctor --probe      find out by making and removing throw-away cgroups
  cgwatch doctor --json | jq .capabilities";

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub(crate) struct Doctor {
    /// The cgroup to examine; without it, the root of the hierarchy
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,

    /// Print JSON, one object
    #[arg(long)]
    pub(crate) json: bool,

    /// Create and remove throw-away cgroups below PATH to find out what removal looks like.
    /// `--probe=reclaim` also drops the caches of the whole host
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "plain"
    )]
    pub(crate) probe: Option<Probe>,

    /// When to colour the output
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: Color,
}

/// The examples of `mount`.
const MOUNT_EXAMPLES: &str = "\
Examples:
  mkdir /tmp/cgroup && cgwatch mount /tmp/cgroup --sim &
  echo +memory > /tmp/cgroup/cgroup.subtree_control
  mkdir /tmp/cgroup/service && cat /tmp/cgroup/service/memory.events
  inotifywait -m /tmp/cgroup/service/memory.events     its changes, then its removal
  cgwatch mount /tmp/cgroup --sim=oom-and-gone         something happens in it

What is written to cgroup.procs is the number of a real process, which is a task there for as long \
as it lives; cgroup.kill and limits that kill do kill it.

Exit codes: 0 unmounted, 1 error.";

#[derive(Debug, Args)]
#[command(after_help = MOUNT_EXAMPLES)]
pub(crate) struct Mount {
    /// The simulated hierarchy: empty, with every simulated controller; or with a scenario that is
    /// played in it, one of those that come with cgwatch or a file
    #[arg(
        long,
        value_name = "SCENARIO",
        required = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) sim: String,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// The examples of `mirror`.
const MIRROR_EXAMPLES: &str = "\
Examples:
  mkdir /run/cgroups && cgwatch mirror /run/cgroups &
  inotifywait -m -e modify,delete_self /run/cgroups/system.slice/my.service/memory.events
                                       each change, then the removal, on any kernel
  cgwatch mirror --daemon --root /sys/fs/cgroup/user.slice /run/user-cgroups

Files are read from the host when they are read here. Nothing can be changed here, and nothing is \
written to the host. When the mirrored cgroup itself is removed, it ends.

Exit codes: 0 unmounted, or the mirrored cgroup was removed, 1 error.";

#[derive(Debug, Args)]
#[command(after_help = MIRROR_EXAMPLES)]
pub(crate) struct Mirror {
    #[command(flatten)]
    pub(crate) place: Place,

    /// The cgroup to mirror with all below it, as a path in the file system or from the root of the
    /// hierarchy; without it, the whole hierarchy
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
}

/// Where and how something is mounted.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// An empty directory
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,

    /// Let other users in. They can then keep the server busy, and hold up what others are told;
    /// see the notes on security
    #[arg(long)]
    pub(crate) allow_other: bool,

    /// Go to the background once it is mounted
    #[arg(long)]
    pub(crate) daemon: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// The best that is allowed here
    #[default]
    Auto,
    /// inotify watches on every directory and event file
    Inotify,
    /// One fanotify mark for births and deaths, inotify watches on event files (root, Linux 6.6)
    Fanotify,
    /// No watches: read everything at each sweep
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Probe {
    /// Only create, read and remove cgroups
    Plain,
    /// Also drop the caches of the whole host
    Reclaim,
}

/// A positive number of seconds, such as `2` or `0.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a positive number of seconds".to_owned()),
    }
}

/// A positive factor, such as `10` or `0.5`.
fn speed(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("not a positive number".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "inf", "1e99", "", "2s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    fn watch(arguments: &[&str]) -> Watch {
        let all = ["cgwatch", "watch"].iter().chain(arguments);
        match Arguments::try_parse_from(all).unwrap().command {
            Command::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_of_two_counts_and_filters_add_up() {
        let twice =
            watch(&["-qq", "--json", "--json", "-t9", "-t", "2", "--color=never", "-n1", "-n2"]);
        assert!(twice.quiet && twice.json);
        assert_eq!((twice.timeout, twice.count), (Some(Duration::from_secs(2)), Some(2)));
        let again = watch(&[
            "--sweep", "9", "--sweep", "1", "--sim=a", "--sim=b", "--speed", "2", "--speed", "3",
        ]);
        assert_eq!((again.sweep, again.sim.as_deref()), (Duration::from_secs(1), Some("b")));
        assert_eq!(watch(&["--color", "never", "--color", "always"]).color, Color::Always);
        assert_eq!(watch(&["--strategy", "sweep", "--strategy", "auto"]).strategy, Strategy::Auto);
        let filters =
            watch(&["--key", "a", "--key", "b", "--files", "c,d", "--files", "e", "p", "q"]);
        assert_eq!(
            (filters.key, filters.files.len(), filters.paths.len()),
            (vec!["a".into(), "b".into()], 3, 2)
        );
        assert_eq!(doctor(&["--probe", "--probe=reclaim"]).probe, Some(Probe::Reclaim));
    }

    fn doctor(arguments: &[&str]) -> Doctor {
        let all = ["cgwatch", "doctor"].iter().chain(arguments);
        match Arguments::parse_from(all).command {
            Command::Doctor(doctor) => doctor,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_probe_takes_its_value_with_an_equals_sign_only() {
        assert_eq!(doctor(&[]).probe, None);
        assert_eq!(doctor(&["--probe"]).probe, Some(Probe::Plain));
        assert_eq!(doctor(&["--probe=reclaim"]).probe, Some(Probe::Reclaim));
        let both = doctor(&["--probe", "reclaim"]);
        assert_eq!(both.probe, Some(Probe::Plain));
        assert_eq!(both.path, Some("reclaim".into()));
    }
}
