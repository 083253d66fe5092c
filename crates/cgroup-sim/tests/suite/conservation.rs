//! Random programs: after every step each sum is the sum of its parts.

use std::time::Duration;

use cgroup_sim::{Event, Hierarchy, MountOptions, Options, Profile, ROOT, Use};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Mkdir(usize, u8),
    Rmdir(usize),
    Write(usize, usize),
    Spawn(usize),
    Fork(usize, bool),
    Exit(usize),
    Move(usize, usize),
    Allocate(usize, u64),
    Free(usize, u64),
    Charge(usize, bool, u64),
    Uncharge(usize, bool, u64),
    Count(usize, usize, u64),
    CountFormer(usize, usize),
    Stubborn(usize, bool, bool),
    Remount(bool, bool),
    Advance(u64),
    Drain,
    Reclaim,
}

const WRITES: [(&str, &str); 22] = [
    ("cgroup.subtree_control", "+memory"),
    ("cgroup.subtree_control", "+memory +pids +io"),
    ("cgroup.subtree_control", "-memory"),
    ("cgroup.subtree_control", "-io"),
    ("cgroup.subtree_control", "+pids"),
    ("cgroup.subtree_control", "-pids -hugetlb"),
    ("cgroup.subtree_control", "+hugetlb"),
    ("cgroup.type", "threaded"),
    ("cgroup.freeze", "1"),
    ("cgroup.freeze", "0"),
    ("cgroup.kill", "1"),
    ("memory.max", "512K"),
    ("memory.max", "max"),
    ("memory.high", "64K"),
    ("memory.low", "256K"),
    ("memory.min", "64K"),
    ("memory.oom.group", "1"),
    ("memory.swap.max", "128K"),
    ("memory.reclaim", "64K"),
    ("pids.max", "2"),
    ("pids.max", "max"),
    ("cgroup.max.descendants", "3"),
];

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..8_usize;
    let bytes = || (1..200_u64).prop_map(|pages| pages * 4096);
    prop_oneof![
        6 => (at(), 0..4_u8).prop_map(|(at, name)| Step::Mkdir(at, name)),
        4 => at().prop_map(Step::Rmdir),
        8 => (at(), 0..WRITES.len()).prop_map(|(at, n)| Step::Write(at, n)),
        4 => at().prop_map(Step::Spawn),
        3 => (at(), any::<bool>()).prop_map(|(at, thread)| Step::Fork(at, thread)),
        2 => at().prop_map(Step::Exit),
        3 => (at(), at()).prop_map(|(task, to)| Step::Move(task, to)),
        5 => (at(), bytes()).prop_map(|(task, bytes)| Step::Allocate(task, bytes)),
        2 => (at(), bytes()).prop_map(|(task, bytes)| Step::Free(task, bytes)),
        4 => (at(), any::<bool>(), bytes()).prop_map(|(at, k, b)| Step::Charge(at, k, b)),
        2 => (at(), any::<bool>(), bytes()).prop_map(|(at, k, b)| Step::Uncharge(at, k, b)),
        4 => (at(), 0..Event::ALL.len(), 1..5_u64).prop_map(|(at, e, n)| Step::Count(at, e, n)),
        2 => (at(), 0..Event::ALL.len()).prop_map(|(at, e)| Step::CountFormer(at, e)),
        1 => (at(), any::<bool>(), any::<bool>()).prop_map(|(t, f, k)| Step::Stubborn(t, f, k)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(m, p)| Step::Remount(m, p)),
        2 => (0..30_u64).prop_map(Step::Advance),
        1 => Just(Step::Drain),
        1 => Just(Step::Reclaim),
    ]
}

/// A cgroup that lives, or one that ever was.
fn pick(all: &[u64], n: usize) -> u64 {
    all[n % all.len()]
}

fn act(all: &Hierarchy, born: &mut Vec<u64>, tasks: &mut Vec<u32>, step: &Step) {
    let live = all.subtree(ROOT);
    let path = |n| String::from_utf8(all.path(pick(&live, n)).unwrap()).unwrap();
    let task = |n: usize| tasks.get(n % tasks.len().max(1)).copied().unwrap_or(0);
    let kind = |kernel| if kernel { Use::Kernel } else { Use::Cache };
    // What is refused is as good as what is not: the sums must hold.
    match step {
        Step::Mkdir(at, name) => {
            born.extend(all.mkdir(format!("{}/{name}", path(*at))).ok());
        }
        Step::Rmdir(at) => drop(all.rmdir(path(*at))),
        Step::Write(at, n) => {
            let (file, text) = WRITES[*n];
            drop(all.write(format!("{}/{file}", path(*at)), text));
        }
        Step::Spawn(at) => tasks.extend(all.spawn(pick(&live, *at)).ok()),
        Step::Fork(n, true) => drop(all.start_thread(task(*n))),
        Step::Fork(n, false) => tasks.extend(all.fork(task(*n)).ok()),
        Step::Exit(n) => drop(all.exit(task(*n))),
        Step::Move(n, to) => {
            drop(all.write(format!("{}/cgroup.procs", path(*to)), &task(*n).to_string()));
        }
        Step::Allocate(n, bytes) => drop(all.allocate(task(*n), *bytes)),
        Step::Free(n, bytes) => drop(all.free(task(*n), *bytes)),
        Step::Charge(n, kernel, bytes) => {
            drop(all.charge(pick(born, *n), kind(*kernel), *bytes));
        }
        Step::Uncharge(n, kernel, bytes) => {
            drop(all.uncharge(pick(born, *n), kind(*kernel), *bytes));
        }
        Step::Count(n, event, times) => {
            drop(all.count(pick(born, *n), Event::ALL[*event], *times));
        }
        Step::CountFormer(n, event) => {
            drop(all.count_former(pick(born, *n), Event::ALL[*event], 1));
        }
        Step::Stubborn(n, freezable, killable) => {
            drop(all.set_task(task(*n), *freezable, *killable));
        }
        Step::Remount(memory_localevents, pids_localevents) => all.remount(MountOptions {
            memory_localevents: *memory_localevents,
            pids_localevents: *pids_localevents,
        }),
        Step::Advance(ms) => all.advance(Duration::from_millis(*ms)),
        Step::Drain => drop(all.drain()),
        Step::Reclaim => all.mount().reclaim(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_sum_is_the_sum_of_its_parts_at_every_step(
        steps in prop::collection::vec(step(), 1..120),
        remember in any::<bool>(),
    ) {
        let options =
            Options { remember, swap: 4 << 20, profile: Profile::Linux71, ..Options::default() };
        let all = Hierarchy::new(options);
        let (mut born, mut tasks) = (vec![ROOT], Vec::new());
        for step in &steps {
            act(&all, &mut born, &mut tasks, step);
            prop_assert_eq!(all.check_conservation(), Ok(()), "after {:?}", step);
        }
    }
}
