//! What is done to both hierarchies, drawn from a seed.

use super::simulated::Simulated;

/// One thing done. Paths are from the program's own cgroup, which is "".
#[derive(Clone, Debug)]
pub(super) enum Step {
    Mkdir(String),
    Rmdir(String),
    /// A text is written to a file.
    Write(String, &'static str),
    /// A process starts outside and is put into a cgroup; if that is refused, it ends.
    Start(usize, String),
    Move(usize, String),
    /// One thread of it, by the way of its cgroup's `cgroup.threads`.
    MoveThread(usize, String),
    Exit(usize),
    Thread(usize),
    Eat(usize, u64),
    /// A huge page is asked for where none is allowed.
    Refuse(String),
    /// The events of a file or directory are listened to from now on.
    Watch(String),
}

/// The source of programs.
pub(super) struct Draw {
    state: u64,
    controllers: Vec<String>,
    started: usize,
}

/// More of them make a program slow, not better.
const CGROUPS: usize = 10;
const TASKS: usize = 5;

const MB: u64 = 1 << 20;
/// The only limit of memory: far from what a step takes, on either side.
pub(super) const LIMIT: u64 = 32 * MB;

const ALWAYS: [(&str, &str); 12] = [
    ("cgroup.freeze", "1"),
    ("cgroup.freeze", "0"),
    ("cgroup.freeze", "2"),
    ("cgroup.kill", "1"),
    ("cgroup.kill", "0"),
    ("cgroup.type", "threaded"),
    ("cgroup.max.descendants", "2"),
    ("cgroup.max.descendants", "max"),
    ("cgroup.max.depth", "1"),
    ("cgroup.max.depth", "max"),
    ("cgroup.max.depth", "-2"),
    ("cgroup.subtree_control", "+nothing"),
];
const MEMORY: [(&str, &str); 6] = [
    ("cgroup.subtree_control", "+memory"),
    ("cgroup.subtree_control", "-memory"),
    ("memory.max", "33554432"),
    ("memory.max", "max"),
    ("memory.oom.group", "1"),
    ("memory.low", "much"),
];
const PIDS: [(&str, &str); 6] = [
    ("cgroup.subtree_control", "+pids"),
    ("cgroup.subtree_control", "-pids"),
    ("pids.max", "1"),
    ("pids.max", "2"),
    ("pids.max", "max"),
    ("pids.max", "-1"),
];
const IO: [(&str, &str); 2] =
    [("cgroup.subtree_control", "+io"), ("cgroup.subtree_control", "-io")];
const HUGETLB: [(&str, &str); 2] =
    [("cgroup.subtree_control", "+hugetlb"), ("cgroup.subtree_control", "-hugetlb")];

impl Draw {
    pub(super) fn new(seed: u64, controllers: Vec<String>) -> Self {
        Self { state: seed, controllers, started: 0 }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len());
        of.get(at)
    }

    /// The next step: one that can be taken, or is refused, by the model as it is now.
    pub(super) fn step(&mut self, model: &Simulated) -> Step {
        loop {
            if let Some(step) = self.attempt(model) {
                return step;
            }
        }
    }

    fn attempt(&mut self, model: &Simulated) -> Option<Step> {
        let cgroups = model.cgroups();
        let at = self.one(&cgroups)?.clone();
        let task = self.one(&model.tasks()).copied();
        let has = |name: &str| self.controllers.iter().any(|one| one == name);
        let (memory, pids, huge) = (has("memory"), has("pids"), has("hugetlb"));
        Some(match self.below(100) {
            0..20 if cgroups.len() < CGROUPS => {
                let name = ["x", "y", "z"][self.below(3)];
                Step::Mkdir(join(&at, name))
            }
            20..32 if !at.is_empty() => Step::Rmdir(at),
            32..52 => {
                let mut texts = ALWAYS.to_vec();
                for (there, more) in [(memory, &MEMORY), (pids, &PIDS)] {
                    if there {
                        texts.extend(more.iter().chain(more));
                    }
                }
                for (name, more) in [("io", &IO), ("hugetlb", &HUGETLB)] {
                    if self.controllers.iter().any(|one| one == name) {
                        texts.extend(more.iter().chain(more));
                    }
                }
                let (file, text) = *self.one(&texts)?;
                let limits = file == "memory.max" && text != "max";
                if limits && !model.may_be_limited(&at) {
                    return None;
                }
                Step::Write(join(&at, file), text)
            }
            52..65 if model.tasks().len() < TASKS => {
                self.started += 1;
                Step::Start(self.started, at)
            }
            65..73 => Step::Move(task?, at),
            73..76 => Step::MoveThread(task?, at),
            76..82 => Step::Exit(task?),
            82..87 if model.runs(task?) => Step::Thread(task?),
            87..92 if memory && model.runs(task?) => {
                let bytes = [MB, 4 * LIMIT][self.below(2)];
                if !model.may_eat(task?, bytes) {
                    return None;
                }
                Step::Eat(task?, bytes)
            }
            87..92
                if huge
                    && model.has_file(&at, "hugetlb.2MB.events")
                    && model.may_be_entered(&at) =>
            {
                Step::Refuse(at)
            }
            92..100 => {
                let files = [
                    "",
                    "cgroup.events",
                    "memory.events",
                    "memory.events.local",
                    "pids.events",
                    "pids.events.local",
                    "hugetlb.2MB.events",
                ];
                let file = files[self.below(files.len())];
                let known = file.is_empty() || model.has_file(&at, file);
                (known && (!at.is_empty() || file.is_empty()))
                    .then(|| Step::Watch(if file.is_empty() { at } else { join(&at, file) }))?
            }
            _ => return None,
        })
    }
}

/// A name in a directory.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
