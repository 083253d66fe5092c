//! One scenario: its name, what it needs, what came of it.

use std::{fmt, time::Duration};

use cgwatch::Strategy;

use crate::{Environment, Failure};

/// Something that must be shown.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Unique: lower case, words joined by `-`, the theme first.
    pub name: &'static str,
    /// How cgwatch is to watch; see [`Environment::watcher`].
    pub strategy: Strategy,
    /// Without all of these it is skipped.
    pub requirements: &'static [Requirement],
    /// Why it does not always pass yet. It is left out then, unless `SCENARIO_UNPROVEN` is set in the
    /// environment.
    pub unproven: Option<&'static str>,
    /// How long it may take on the development machine; see [`Environment::limit`].
    pub limit: Duration,
    /// Drives, watches, judges.
    pub run: fn(&Environment) -> Result<(), Failure>,
}

impl Scenario {
    /// A scenario without requirements, with a minute's time.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(&Environment) -> Result<(), Failure>) -> Self {
        Self {
            name,
            strategy: Strategy::Auto,
            requirements: &[],
            unproven: None,
            limit: Duration::from_secs(60),
            run,
        }
    }

    /// Sets [`Scenario::requirements`].
    #[must_use]
    pub const fn needs(mut self, requirements: &'static [Requirement]) -> Self {
        self.requirements = requirements;
        self
    }

    /// Sets [`Scenario::unproven`].
    #[must_use]
    pub const fn unproven(mut self, why: &'static str) -> Self {
        self.unproven = Some(why);
        self
    }

    /// It is unproven, and those were not asked for.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.unproven.is_some() && std::env::var_os("SCENARIO_UNPROVEN").is_none()
    }

    /// Sets [`Scenario::limit`].
    #[must_use]
    pub const fn seconds(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// The same with another strategy.
    #[must_use]
    pub const fn by(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Its name, and the strategy if it is not the default one.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.strategy {
            Strategy::Auto => self.name.into(),
            strategy => format!("{}-by-{}", self.name, strategy.name()),
        }
    }

    /// The first requirement that is not met here.
    #[must_use]
    pub fn unmet(&self, environment: &Environment) -> Option<Requirement> {
        let mark = (self.strategy == Strategy::Fanotify).then_some(Requirement::SuperblockMark);
        let mut all = self.requirements.iter().copied().chain(mark);
        all.find(|requirement| !environment.meets(*requirement))
    }
}

/// What a scenario needs beyond a cgroup v2 hierarchy and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// The memory controller in the cgroup v2 hierarchy.
    Memory,
    /// The pids controller in the cgroup v2 hierarchy.
    Pids,
    /// The hugetlb controller in the cgroup v2 hierarchy, and 2 MB huge pages.
    HugeTlb,
    /// The swap disk of a guest.
    Swap,
    /// It disturbs the whole machine, so it runs in a guest of its own only.
    Guest,
    /// A machine with users and a cgroup v1 hierarchy beside, as the development machine is.
    Host,
    /// The command `cgwatch`, built; see [`Environment::command`].
    Command,
    /// User namespaces.
    UserNamespace,
    /// `/dev/fuse`, and the right to mount.
    Fuse,
    /// Fanotify marks on the superblock of the hierarchy.
    SuperblockMark,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "no memory controller in the cgroup v2 hierarchy",
            Self::Pids => "no pids controller in the cgroup v2 hierarchy",
            Self::HugeTlb => "no hugetlb controller in the cgroup v2 hierarchy",
            Self::Swap => "no swap disk: in a guest only",
            Self::Guest => "disturbs the whole machine: in a guest only",
            Self::Host => "not in a guest",
            Self::Command => "the command cgwatch is not built",
            Self::UserNamespace => "no user namespaces",
            Self::Fuse => "no /dev/fuse",
            Self::SuperblockMark => "no fanotify mark on this kernel's cgroup v2",
        })
    }
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Shown.
    Pass,
    /// Not shown, and why.
    Fail(String),
    /// Not tried, and why.
    Skip(String),
}

/// `pass`, `fail REASON`, `skip REASON`; one line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Fail(reason) => write!(f, "fail {}", reason.replace('\n', " | ")),
            Self::Skip(reason) => write!(f, "skip {}", reason.replace('\n', " | ")),
        }
    }
}

impl Outcome {
    /// The line that [`Outcome`] shows as, read back.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("pass", "") => Some(Self::Pass),
            ("fail", reason) => Some(Self::Fail(reason.into())),
            ("skip", reason) => Some(Self::Skip(reason.into())),
            _ => None,
        }
    }
}
