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
    weights: [usize; 10],
    swaps: bool,
    /// How each program begins, the last first.
    beginning: Vec<Step>,
    started: usize,
}

/// In per cent: mkdir, rmdir, write, start, move, move a thread, exit, thread, eat, watch.
const EVEN: [usize; 10] = [20, 12, 20, 13, 8, 3, 6, 4, 6, 8];
/// Where memory is the only matter.
const HUNGRY: [usize; 10] = [5, 3, 36, 10, 4, 1, 4, 1, 26, 10];

/// More of them make a program slow, not better.
const CGROUPS: usize = 10;
const TASKS: usize = 5;

const MB: u64 = 1 << 20;
/// The only limit of memory: far from what a step takes, on either side.
pub(super) const LIMIT: u64 = 32 * MB;
/// More than the limit by what would have to be swapped.
const MEAL: u64 = LIMIT + LIMIT / 2 + 4 * MB;
/// More than what waits in batches per processor.
pub(super) const LITTLE: u64 = MB;

const ALWAYS: &[(&str, &str)] = &[
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
const MEMORY: &[(&str, &str)] =
    &[("cgroup.subtree_control", "+memory"), ("cgroup.subtree_control", "-memory")];
/// `memory.high` is either out of reach of what is killed at the limit, or breached just before.
const LIMITS: &[(&str, &str)] = &[
    ("memory.max", "33554432"),
    ("memory.max", "33554432"),
    ("memory.max", "max"),
    ("memory.high", "67108864"),
    ("memory.high", "67108864"),
    ("memory.high", "32505856"),
    ("memory.high", "max"),
    ("memory.oom.group", "1"),
    ("memory.low", "1073741824"),
    ("memory.low", "1073741824"),
    ("memory.low", "1073741824"),
    ("memory.low", "4096"),
    ("memory.low", "0"),
    ("memory.low", "much"),
    ("memory.swap.max", "0"),
    ("memory.swap.max", "max"),
    ("memory.swap.high", "8388608"),
    ("memory.swap.high", "-1"),
    ("memory.reclaim", "8388608"),
    ("memory.reclaim", "8388608"),
];
/// Where there is swap.
const SWAPPING: &[(&str, &str)] = &[
    ("memory.max", "33554432"),
    ("memory.max", "max"),
    ("memory.low", "1073741824"),
    ("memory.low", "0"),
    ("memory.oom.group", "1"),
    ("memory.swap.max", "0"),
    ("memory.swap.max", "409600"),
    ("memory.swap.max", "max"),
    ("memory.swap.high", SWAP_HIGH),
    ("memory.swap.high", "max"),
    ("memory.reclaim", "8388608"),
    ("memory.reclaim", "8388608"),
];
const SWAP_HIGH: &str = "67108864";
/// A little more.
const ABOVE_SWAP_HIGH: &str = "69206016";

const PIDS: &[(&str, &str)] = &[
    ("cgroup.subtree_control", "+pids"),
    ("cgroup.subtree_control", "-pids"),
    ("pids.max", "1"),
    ("pids.max", "2"),
    ("pids.max", "max"),
    ("pids.max", "-1"),
];
const IO: &[(&str, &str)] = &[("cgroup.subtree_control", "+io"), ("cgroup.subtree_control", "-io")];
const HUGETLB: &[(&str, &str)] =
    &[("cgroup.subtree_control", "+hugetlb"), ("cgroup.subtree_control", "-hugetlb")];

impl Draw {
    pub(super) fn new(seed: u64, controllers: Vec<String>, swaps: bool) -> Self {
        let weights = if controllers == ["memory"] { HUNGRY } else { EVEN };
        let mut draw =
            Self { state: seed, controllers, weights, swaps, beginning: Vec::new(), started: 0 };
        if draw.weights == HUNGRY {
            // Programs of one seed differ in its upper half: each begins in another way.
            draw.beginning = draw.begin(seed >> 32);
            draw.beginning.reverse();
            draw.started = 1;
        }
        draw
    }

    /// How a program of memory begins: with a family of cgroups, and what would hardly ever come
    /// together by chance.
    fn begin(&self, which: u64) -> Vec<Step> {
        let mkdir = |path: &str| Step::Mkdir(path.into());
        let write = |path: &str, text| Step::Write(path.into(), text);
        let watch = |path: &str| Step::Watch(path.into());
        let enable = |path: &str| Step::Write(join(path, "cgroup.subtree_control"), "+memory");
        let mut steps = vec![enable(""), mkdir("x"), enable("x"), mkdir("x/y"), mkdir("x/z")];
        let start = Step::Start(1, "x/y".into());
        steps.extend(match (self.swaps, which % 5) {
            // More swapped than may be, then one page more is charged.
            (true, 0) => vec![
                write("x/memory.swap.high", SWAP_HIGH),
                start,
                Step::Eat(1, 4 * LIMIT),
                write("x/memory.reclaim", ABOVE_SWAP_HIGH),
                watch("x/memory.swap.events"),
                watch("x/y/memory.swap.events"),
                Step::Eat(1, LITTLE),
            ],
            // More is there than there should be from now on, and none of it can be reclaimed.
            (false, 4) => vec![
                watch("x/memory.events"),
                start,
                Step::Eat(1, MEAL),
                write("x/memory.high", "32505856"),
            ],
            // Only protected memory is there.
            (_, 2) => vec![
                write("x/y/memory.low", "1073741824"),
                watch("x/y/memory.events"),
                start,
                Step::Eat(1, MEAL),
                write("x/memory.reclaim", "8388608"),
            ],
            _ => vec![enable("x/y"), mkdir("x/y/x")],
        });
        steps
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
        if let Some(step) = self.beginning.pop() {
            return step;
        }
        loop {
            if let Some(step) = self.attempt(model) {
                return step;
            }
        }
    }

    fn attempt(&mut self, model: &Simulated) -> Option<Step> {
        let cgroups = model.cgroups();
        let mut at = self.one(&cgroups)?.clone();
        let task = self.one(&model.tasks()).copied();
        if let Some(task) = task.filter(|_| self.weights == HUNGRY) {
            // Where something is the matter.
            at = match self.below(4) {
                0 => at,
                1 => parent(&model.home(task)).to_owned(),
                _ => model.home(task),
            };
        }
        let has = |name: &str| self.controllers.iter().any(|one| one == name);
        let (memory, huge) = (has("memory"), has("hugetlb"));
        let mut left = self.below(100);
        let kind = self.weights.iter().position(|weight| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        Some(match kind? {
            0 if cgroups.len() < CGROUPS => {
                let name = ["x", "y", "z"][self.below(3)];
                Step::Mkdir(join(&at, name))
            }
            1 if !at.is_empty() => Step::Rmdir(at),
            2 => {
                let mut texts = MEMORY.to_vec();
                if self.weights == EVEN {
                    texts = ALWAYS.to_vec();
                    for name in &self.controllers {
                        let more = texts_of(name);
                        texts.extend(more.iter().chain(more));
                    }
                }
                if memory {
                    texts.extend(if self.swaps { SWAPPING } else { LIMITS });
                }
                let (file, text) = *self.one(&texts)?;
                if !model.is_certain(&at, file, text) {
                    return None;
                }
                Step::Write(join(&at, file), text)
            }
            3 if model.tasks().len() < TASKS => {
                self.started += 1;
                Step::Start(self.started, at)
            }
            4 => Step::Move(task?, at),
            5 => Step::MoveThread(task?, at),
            6 => Step::Exit(task?),
            7 if model.runs(task?) && model.may_start_thread(task?) => Step::Thread(task?),
            8 if memory && model.runs(task?) => {
                let bytes = match self.below(3) {
                    0 => LITTLE,
                    1 => 4 * LIMIT,
                    _ => model.breach(task?).unwrap_or(MEAL),
                };
                if !model.may_eat(task?, bytes) {
                    return None;
                }
                Step::Eat(task?, bytes)
            }
            8 if huge && model.has_file(&at, "hugetlb.2MB.events") && model.may_be_entered(&at) => {
                Step::Refuse(at)
            }
            9 => {
                let files = [
                    "",
                    "cgroup.events",
                    "memory.events",
                    "memory.events.local",
                    "memory.swap.events",
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

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// What is written to switch a controller, and to its files.
fn texts_of(controller: &str) -> &'static [(&'static str, &'static str)] {
    match controller {
        "memory" => MEMORY,
        "pids" => PIDS,
        "io" => IO,
        "hugetlb" => HUGETLB,
        _ => &[],
    }
}

/// A name in a directory.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
