//! What this kernel, this mount and these permissions can do, learned from evidence only: a trial
//! call, a file that is there or not, a removal that was watched. Never from a version, since
//! distributions backport.
//!
//! [`Capabilities::learn`] changes nothing. Only [`Capabilities::probe`] writes in the tree: it
//! makes throw-away cgroups and removes them, whatever happens.

mod probe;
mod trial;

use std::path::Path;

use rustix::fs::OFlags;

use crate::Error;

pub use probe::Probe;

/// Whether something can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is evidence that it can.
    Yes,
    /// There is evidence that it cannot.
    No,
    /// There is no evidence either way.
    Unknown,
}

impl Answer {
    /// `yes`, `no` or `unknown`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that may or may not be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// A short name, such as `removal-events`; never changes.
    pub name: &'static str,
    /// What a yes means.
    pub meaning: &'static str,
    /// Whether.
    pub answer: Answer,
    /// What the answer rests on, or why there is none.
    pub evidence: String,
}

/// An answer with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    answer: Answer,
    evidence: String,
}

impl Finding {
    fn yes(evidence: impl Into<String>) -> Self {
        Self { answer: Answer::Yes, evidence: evidence.into() }
    }

    fn no(evidence: impl Into<String>) -> Self {
        Self { answer: Answer::No, evidence: evidence.into() }
    }

    fn unknown(evidence: impl Into<String>) -> Self {
        Self { answer: Answer::Unknown, evidence: evidence.into() }
    }
}

/// All there is to find out, in the order it is shown.
const ALL: [(&str, &str); 14] = [
    (INOTIFY, "inotify is to be had"),
    (FD_PATHS, "a watch can be put on an open directory, through /proc/self/fd"),
    (FANOTIFY, "one fanotify mark can watch the whole hierarchy"),
    (MEMORY_SUMS, "memory.events counts descendants too, so a parent tells what its dead counted"),
    (PIDS_SUMS, "pids.events counts descendants too"),
    (HUGETLB_SUMS, "hugetlb.*.events count descendants too"),
    (
        MEMORY_LOCAL,
        "mount option: memory.events counts no descendants, which hides what the dead counted",
    ),
    (PIDS_LOCAL, "mount option: pids.events counts no descendants"),
    (PARENT, "a removal raises IN_DELETE at the parent directory"),
    (PLAIN, "a removal raises IN_DELETE_SELF and IN_IGNORED at a watched file"),
    (DIRECTORY, "a removal raises IN_DELETE_SELF and IN_IGNORED at a watched directory"),
    (HELD, "so it does while somebody holds the file open"),
    (READ, "so it does while somebody opens, reads and closes the file during the removal"),
    (RECLAIMED, "so it does after the kernel reclaimed the file's directory entry"),
];

const INOTIFY: &str = "inotify";
const FD_PATHS: &str = "watch-by-descriptor";
const FANOTIFY: &str = "fanotify-superblock-mark";
const MEMORY_SUMS: &str = "hierarchical-memory-events";
const PIDS_SUMS: &str = "hierarchical-pids-events";
const HUGETLB_SUMS: &str = "hierarchical-hugetlb-events";
const MEMORY_LOCAL: &str = "memory_localevents";
const PIDS_LOCAL: &str = "pids_localevents";
const PARENT: &str = "removal-at-parent";
const PLAIN: &str = "removal-at-file";
const DIRECTORY: &str = "removal-at-directory";
const HELD: &str = "removal-at-file-held-open";
const READ: &str = "removal-at-file-read-meanwhile";
const RECLAIMED: &str = "removal-at-file-reclaimed";

/// A directory is opened to be watched, or for its files; following links.
const TO_WATCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What can be relied on below a cgroup.
#[derive(Clone, Debug)]
pub struct Capabilities {
    list: Vec<Capability>,
}

impl Capabilities {
    /// What can be learned about the cgroup directory `cgroup` without changing anything. What
    /// only a removal can show is [`Answer::Unknown`].
    #[must_use]
    pub fn learn(cgroup: &Path) -> Self {
        let nothing_yet = Finding::unknown("only a probe can tell: no removal has been watched");
        let list = ALL
            .iter()
            .map(|&(name, meaning)| {
                let Finding { answer, evidence } =
                    trial::answer(name, cgroup).unwrap_or_else(|| nothing_yet.clone());
                Capability { name, meaning, answer, evidence }
            })
            .collect();
        Self { list }
    }

    /// Finds out about removals by making and removing throw-away cgroups in `cgroup`, all of them
    /// named `cgwatch-probe-…`. They are gone when this returns, also if it fails or `keep_going`,
    /// which is asked between the steps, says no. What was learned until then stays.
    ///
    /// [`Probe::Reclaim`] also drops the directory cache of the whole host.
    ///
    /// # Errors
    /// [`Error::Path`] if no cgroup can be made there: EACCES, EROFS, EAGAIN
    /// (`cgroup.max.descendants`, `cgroup.max.depth`). [`Error::System`] if inotify or a watch is
    /// not to be had: EMFILE, ENOSPC.
    pub fn probe(
        &mut self,
        cgroup: &Path,
        probe: Probe,
        keep_going: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        probe::run(cgroup, probe, keep_going, &mut |name, finding| self.set(name, finding))
    }

    /// One capability by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Capability> {
        self.list.iter().find(|capability| capability.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.list.iter()
    }

    fn set(&mut self, name: &'static str, Finding { answer, evidence }: Finding) {
        if let Some(capability) = self.list.iter_mut().find(|known| known.name == name) {
            capability.answer = answer;
            capability.evidence = evidence;
        }
    }
}
