//! What is taken back for how much is wanted, from whom, and what swap takes.

use cgroup_sim::{Event, Hierarchy, Options, Use};
use rustix::io::Errno;

use crate::{errno, nested, value};

const PAGE: u64 = 4096;

/// A machine with so many pages of swap, and a cgroup `a` with the memory controller below it.
fn with_swap(pages: u64) -> (Hierarchy, u64) {
    let all = Hierarchy::new(Options { swap: pages * PAGE, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    (all, a)
}

#[track_caller]
fn pages(all: &Hierarchy, path: &str) -> u64 {
    all.read(path).unwrap().trim().parse::<u64>().unwrap() / PAGE
}

fn reclaim(all: &Hierarchy, path: &str, pages: u64) -> Result<(), cgroup_sim::Error> {
    all.write(format!("{path}/memory.reclaim"), &(pages * PAGE).to_string())
}

#[test]
fn no_more_is_taken_from_several_than_is_wanted() {
    for low in ["0", "max"] {
        let all = nested("+memory");
        for (name, cache) in [("a/b", 2), ("a/c", 10)] {
            let id = all.mkdir(name).unwrap();
            all.write(format!("{name}/memory.low"), low).unwrap();
            all.charge(id, Use::Cache, cache * PAGE).unwrap();
        }
        reclaim(&all, "a", 3).unwrap();
        assert_eq!(pages(&all, "a/b/memory.current"), 0, "low {low}");
        assert_eq!(pages(&all, "a/c/memory.current"), 9, "low {low}");
        let spared = if low == "max" { 2 } else { 0 };
        assert_eq!(value(&all, "a/memory.events", "low"), spared);
        all.check_conservation().unwrap();
    }
}

#[test]
fn clean_pages_are_taken_first_and_only_the_rest_is_swapped() {
    let (all, a) = with_swap(64);
    all.charge(a, Use::Cache, 2 * PAGE).unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 10 * PAGE).unwrap();
    reclaim(&all, "a", 3).unwrap();
    assert_eq!(pages(&all, "a/memory.current"), 9);
    assert_eq!(pages(&all, "a/memory.swap.current"), 1);
    all.check_conservation().unwrap();
}

/// Kernel: `folio_alloc_swap`, `mem_cgroup_try_charge_swap`: `max` is for the cgroup's own limit.
#[test]
fn a_full_swap_is_a_failure_and_no_breach_of_swap_max() {
    let (all, a) = with_swap(4);
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 10 * PAGE).unwrap();
    assert_eq!(errno(reclaim(&all, "a", 6)), Errno::AGAIN);
    assert_eq!(pages(&all, "a/memory.swap.current"), 4);
    assert_eq!(value(&all, "a/memory.swap.events", "max"), 0);
    assert_eq!(value(&all, "a/memory.swap.events", "fail"), 1);
    all.check_conservation().unwrap();
}

/// Kernel: `can_reclaim_anon_pages`: where there is none to be had, swap is not tried.
#[test]
fn without_any_swap_to_be_had_no_attempt_is_made_and_none_fails() {
    for (machine, max) in [(0, "max"), (64, "0")] {
        let (all, a) = with_swap(machine);
        all.write("a/memory.swap.max", max).unwrap();
        let pid = all.spawn(a).unwrap();
        all.allocate(pid, 10 * PAGE).unwrap();
        assert_eq!(errno(reclaim(&all, "a", 6)), Errno::AGAIN);
        assert_eq!(all.read("a/memory.swap.events").unwrap(), "high 0\nmax 0\nfail 0\n");
    }
}

#[test]
fn swap_that_suffices_exactly_does_not_fail() {
    let (all, a) = with_swap(64);
    all.write("a/memory.swap.max", "12K").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 10 * PAGE).unwrap();
    reclaim(&all, "a", 3).unwrap();
    assert_eq!(pages(&all, "a/memory.swap.current"), 3);
    assert_eq!(all.read("a/memory.swap.events").unwrap(), "high 0\nmax 0\nfail 0\n");
}

/// Kernel: `swap_find_max_overage`: what is above the limit counts, not what reaches it.
#[test]
fn swap_high_is_breached_above_it() {
    let (all, a) = with_swap(64);
    all.write("a/memory.swap.high", "8K").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 10 * PAGE).unwrap();
    reclaim(&all, "a", 2).unwrap();
    all.allocate(pid, PAGE).unwrap();
    assert_eq!(value(&all, "a/memory.swap.events", "high"), 0);
    reclaim(&all, "a", 1).unwrap();
    all.allocate(pid, PAGE).unwrap();
    assert_eq!(value(&all, "a/memory.swap.events", "high"), 1);
}

/// The latest charge first, memory before swap, and nothing that is not there.
#[test]
fn memory_and_swap_of_several_cgroups_are_given_back() {
    let (all, a) = with_swap(64);
    all.mkdir("b").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 8 * PAGE).unwrap();
    reclaim(&all, "a", 5).unwrap();
    let state = || {
        ["a/memory.current", "a/memory.swap.current", "b/memory.current"]
            .map(|path| pages(&all, path))
    };
    assert_eq!(state(), [3, 5, 0]);
    all.free(pid, 5 * PAGE).unwrap();
    assert_eq!(state(), [0, 3, 0]);
    all.write("b/cgroup.procs", &pid.to_string()).unwrap();
    all.allocate(pid, 4 * PAGE).unwrap();
    assert_eq!(state(), [0, 3, 4]);
    all.free(pid, 6 * PAGE).unwrap();
    assert_eq!(state(), [0, 1, 0]);
    all.free(pid, 6 * PAGE).unwrap();
    assert_eq!(state(), [0, 0, 0]);
    all.check_conservation().unwrap();
}

/// A dead cgroup lives on by the swap of a task that moved away, and is then forgotten, also by the
/// task.
#[test]
fn a_dead_cgroup_is_held_by_swap_alone() {
    for freed in [true, false] {
        let (all, a) = with_swap(64);
        all.mkdir("b").unwrap();
        let pid = all.spawn(a).unwrap();
        all.allocate(pid, 4 * PAGE).unwrap();
        reclaim(&all, "a", 4).unwrap();
        all.write("b/cgroup.procs", &pid.to_string()).unwrap();
        all.rmdir("a").unwrap();
        assert_eq!(value(&all, "cgroup.stat", "nr_dying_descendants"), 1);
        if freed {
            all.free(pid, 4 * PAGE).unwrap();
            assert_eq!(value(&all, "cgroup.stat", "nr_dying_descendants"), 0);
        }
        all.exit(pid).unwrap();
        assert_eq!(value(&all, "cgroup.stat", "nr_dying_descendants"), 0);
        all.check_conservation().unwrap();
    }
}

/// Kernel: `try_charge_memcg`: what was reclaimed for at most `1 << PAGE_ALLOC_COSTLY_ORDER` pages is
/// worth another attempt beside the `MAX_RECLAIM_RETRIES`.
#[test]
fn a_small_charge_is_tried_again_when_something_was_reclaimed() {
    for (wanted, attempts) in [(8, 18), (9, 17)] {
        let all = nested("+memory");
        let b = all.mkdir("a/b").unwrap();
        all.write("a/b/memory.max", "1M").unwrap();
        let pid = all.spawn(b).unwrap();
        all.set_task(pid, true, false).unwrap();
        all.allocate(pid, 252 * PAGE).unwrap();
        all.charge(b, Use::Cache, 2 * PAGE).unwrap();
        assert_eq!(value(&all, "a/b/memory.events", "max"), 0);
        assert_eq!(errno(all.allocate(pid, wanted * PAGE)), Errno::NOMEM);
        assert_eq!(value(&all, "a/b/memory.events", "max"), attempts, "{wanted} pages");
        assert_eq!(value(&all, "a/b/memory.events", "oom"), 1);
    }
}

/// Kernel: `memory_max_write` goes on until it fits or nobody is left to be killed.
#[test]
fn lowering_max_kills_one_after_the_other() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    let pids = [(); 3].map(|()| all.spawn(b).unwrap());
    for pid in pids {
        all.allocate(pid, 64 * PAGE).unwrap();
    }
    all.set_task(pids[0], true, false).unwrap();
    all.write("a/b/memory.max", "128K").unwrap();
    assert_eq!(all.tasks(b), [pids[0]]);
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 2);
    assert_eq!(value(&all, "a/b/memory.events", "oom"), 3, "the last found nobody");
    assert_eq!(all.oom_kills(), 2);
}

/// Kernel: `oom_kill_memcg_member` spares who has `OOM_SCORE_ADJ_MIN`.
#[test]
fn a_cgroup_killed_as_one_keeps_those_that_may_not_be_killed() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/b/memory.oom.group", "1").unwrap();
    all.write("a/b/memory.max", "1M").unwrap();
    let [spared, other, large] = [(); 3].map(|()| all.spawn(b).unwrap());
    all.start_thread(other).unwrap();
    all.set_task(spared, true, false).unwrap();
    assert_eq!(errno(all.allocate(large, 300 * PAGE)), Errno::INTR);
    assert_eq!(all.tasks(b), [spared]);
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 2, "one each, whatever its threads");
    assert_eq!(value(&all, "a/b/memory.events", "oom_group_kill"), 1);
}

#[test]
fn the_kills_of_the_whole_machine_are_its_kills_and_nothing_else() {
    let all = nested("+memory");
    let a = all.find("a").unwrap();
    assert_eq!(all.oom_kills(), 0);
    all.count(a, Event::MemoryHigh, 5).unwrap();
    assert_eq!(all.oom_kills(), 0);
    all.count(a, Event::MemoryOomKill, 2).unwrap();
    all.count(a, Event::MemoryOomKill, 1).unwrap();
    assert_eq!(all.oom_kills(), 3);
}
