//! Memory: charges, limits, reclaim and the OOM killer.

use cgroup_sim::{Event, Hierarchy, Options, Use};
use rustix::io::Errno;

use crate::{count, errno, nested, value};

const MB: u64 = 1 << 20;

#[test]
fn charges_go_up_and_come_back_with_the_task() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    let pid = all.spawn(b).unwrap();
    all.allocate(pid, 3 * MB + 1).unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), format!("{}\n", 3 * MB + 4096));
    all.free(pid, MB).unwrap();
    assert_eq!(all.read("a/b/memory.current").unwrap(), format!("{}\n", 2 * MB + 4096));
    all.exit(pid).unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), "0\n");
    assert_eq!(all.read("a/b/memory.peak").unwrap(), format!("{}\n", 3 * MB + 4096));
    all.check_conservation().unwrap();
}

#[test]
fn a_breach_of_high_counts_here_and_reclaims() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/b/memory.high", "2M").unwrap();
    all.charge(b, Use::Cache, 2 * MB).unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "high"), 0);
    let pid = all.spawn(b).unwrap();
    all.allocate(pid, MB).unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "high"), 1);
    assert_eq!(value(&all, "a/memory.events", "high"), 1);
    assert_eq!(value(&all, "a/memory.events.local", "high"), 0);
    assert_eq!(all.read("a/b/memory.current").unwrap(), "2097152\n", "cache made room");
    all.allocate(pid, 2 * MB).unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "high"), 2, "breached, never refused");
    all.check_conservation().unwrap();
}

/// Kernel: `try_charge_memcg`: 1 + 16 rounds before the killer comes.
#[test]
fn at_max_the_killer_takes_the_largest_below_the_limit() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    let c = all.mkdir("a/c").unwrap();
    let (large, small) = (all.spawn(b).unwrap(), all.spawn(c).unwrap());
    all.allocate(large, 6 * MB).unwrap();
    all.write("a/memory.max", "8M").unwrap();
    all.allocate(small, 4 * MB).unwrap();
    assert_eq!(all.cgroup_of(large), None);
    assert_eq!(value(&all, "a/memory.events", "max"), 17);
    assert_eq!(value(&all, "a/memory.events", "oom"), 1);
    assert_eq!(value(&all, "a/memory.events.local", "oom"), 1, "where the limit is");
    assert_eq!(value(&all, "a/memory.events.local", "oom_kill"), 0);
    assert_eq!(value(&all, "a/b/memory.events.local", "oom_kill"), 1, "where the victim was");
    assert_eq!(value(&all, "a/c/memory.events", "oom_kill"), 0);
    assert_eq!(value(&all, "a/b/cgroup.events", "populated"), 0);
    all.check_conservation().unwrap();
}

#[test]
fn who_asks_too_much_dies_of_it_and_who_cannot_be_killed_is_refused() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/b/memory.max", "1M").unwrap();
    let pid = all.spawn(b).unwrap();
    all.set_task(pid, true, false).unwrap();
    assert_eq!(errno(all.allocate(pid, 2 * MB)), Errno::NOMEM);
    assert_eq!(value(&all, "a/b/memory.events", "oom"), 1);
    all.set_task(pid, true, true).unwrap();
    assert!(all.allocate(pid, 2 * MB).is_err());
    assert_eq!(all.cgroup_of(pid), None);
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 1);
    all.check_conservation().unwrap();
}

/// Found while the comparison with Linux was built, where memory is taken page by page: the one who
/// had little was killed for the one who asked for much.
#[test]
fn who_asks_for_much_at_once_is_the_victim_and_not_who_has_little() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/b/memory.max", "32M").unwrap();
    let (little, much) = (all.spawn(b).unwrap(), all.spawn(b).unwrap());
    all.allocate(little, MB).unwrap();
    assert_eq!(errno(all.allocate(much, 128 * MB)), Errno::INTR);
    assert_eq!((all.cgroup_of(little), all.cgroup_of(much)), (Some(b), None));
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 1);
    all.check_conservation().unwrap();
}

#[test]
fn a_cgroup_that_goes_as_one_is_killed_whole() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/b/memory.oom.group", "1").unwrap();
    all.write("a/b/memory.max", "4M").unwrap();
    let (one, two) = (all.spawn(b).unwrap(), all.spawn(b).unwrap());
    all.allocate(one, 3 * MB).unwrap();
    assert!(all.allocate(two, 3 * MB).is_err());
    assert_eq!(value(&all, "a/b/memory.events", "oom_group_kill"), 1);
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 2);
    assert_eq!(value(&all, "a/b/cgroup.events", "populated"), 0);
    assert_eq!(errno(all.write("a/b/memory.oom.group", "2")), Errno::INVAL);
}

/// `mem_cgroup_get_oom_group`: from the victim's cgroup up to the one whose limit was met, that one
/// included, the topmost with `memory.oom.group` goes as one. What is set above the limit does not
/// count, nor beside the victim's line.
#[test]
fn the_topmost_cgroup_under_the_limit_that_is_to_go_as_one_is_killed_whole() {
    /// Where the limit is, where the flag is, which cgroups are emptied, where the group kill counts.
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);
    /// `a/b/c` holds the victim.
    const CASES: [Case; 8] = [
        ("a", &[], &["a/b/c"], ""),
        ("a", &["a/b/c"], &["a/b/c"], "a/b/c"),
        ("a", &["a/b", "a/b/c"], &["a/b/c", "a/b/d"], "a/b"),
        ("a", &["a", "a/b/c"], &["a/b/c", "a/b/d", "a/e"], "a"),
        ("a/b", &["a", "a/b", "a/b/c"], &["a/b/c", "a/b/d"], "a/b"),
        ("a/b", &["a", "a/b/c"], &["a/b/c"], "a/b/c"),
        ("a/b", &["a"], &["a/b/c"], ""),
        ("a", &["a/b/d", "a/e"], &["a/b/c"], ""),
    ];
    for (limit, flags, emptied, counted) in CASES {
        let all = nested("+memory");
        all.mkdir("a/b").unwrap();
        all.write("a/b/cgroup.subtree_control", "+memory").unwrap();
        let pids =
            ["a/b/c", "a/b/d", "a/e"].map(|path| all.spawn(all.mkdir(path).unwrap()).unwrap());
        for path in flags {
            all.write(format!("{path}/memory.oom.group"), "1").unwrap();
        }
        all.write(format!("{limit}/memory.max"), "4M").unwrap();
        for (pid, bytes) in pids.into_iter().zip([2 * MB, MB, MB / 2]) {
            all.allocate(pid, bytes).unwrap();
        }
        let case = format!("limit at {limit}, flag at {flags:?}");
        assert_eq!(errno(all.allocate(pids[0], 4 * MB)), Errno::INTR, "{case}");
        for path in ["a/b/c", "a/b/d", "a/e"] {
            let lives = value(&all, &format!("{path}/cgroup.events"), "populated") == 1;
            assert_eq!(lives, !emptied.contains(&path), "{case}: {path}");
        }
        for path in ["a", "a/b", "a/b/c", "a/b/d", "a/e"] {
            let kills = value(&all, &format!("{path}/memory.events.local"), "oom_group_kill");
            assert_eq!(kills, u64::from(path == counted), "{case}: {path}");
        }
        assert_eq!(value(&all, "a/memory.events", "oom_kill"), emptied.len() as u64, "{case}");
        all.check_conservation().unwrap();
    }
}

#[test]
fn lowering_max_below_what_is_used_kills() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    let pid = all.spawn(b).unwrap();
    all.allocate(pid, 4 * MB).unwrap();
    all.charge(b, Use::Cache, MB).unwrap();
    all.write("a/b/memory.max", "4M").unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "oom"), 0, "the cache was enough");
    all.write("a/b/memory.max", "1M").unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 1);
    assert_eq!(value(&all, "a/b/memory.events", "max"), 0);
    assert_eq!(all.cgroup_of(pid), None);
}

#[test]
fn memory_below_low_is_taken_last_and_that_counts() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    let c = all.mkdir("a/c").unwrap();
    all.charge(b, Use::Cache, 2 * MB).unwrap();
    all.charge(c, Use::Cache, 2 * MB).unwrap();
    all.write("a/b/memory.low", "2M").unwrap();
    all.write("a/memory.low", "2M").unwrap();
    all.write("a/memory.max", "2M").unwrap();
    assert_eq!(value(&all, "a/memory.events", "low"), 0);
    assert_eq!(all.read("a/b/memory.current").unwrap(), "2097152\n");
    all.write("a/memory.max", "1M").unwrap();
    assert_eq!(value(&all, "a/b/memory.events.local", "low"), 1);
    assert_eq!(all.read("a/b/memory.current").unwrap(), "1048576\n");
    all.check_conservation().unwrap();
}

/// Found by comparison with Linux (7.3, generated programs with `memory.high` below `memory.max`): it
/// was only counted when the whole of what was asked for could be charged.
#[test]
fn high_is_counted_on_the_way_to_max_also_by_one_who_dies_there() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.write("a/memory.high", "31M").unwrap();
    all.write("a/b/memory.max", "32M").unwrap();
    let pid = all.spawn(b).unwrap();
    assert_eq!(errno(all.allocate(pid, 128 * MB)), Errno::INTR);
    assert_eq!(value(&all, "a/memory.events.local", "high"), 1);
    assert_eq!(value(&all, "a/b/memory.events.local", "high"), 0);
    assert_eq!(value(&all, "a/b/memory.events", "oom_kill"), 1);
    all.check_conservation().unwrap();
}

/// Kernel: `shrink_node_memcgs` asks for the usage with that of all below, not for own pages.
#[test]
fn low_counts_also_where_all_that_is_used_is_used_further_below() {
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    all.write("a/b/cgroup.subtree_control", "+memory").unwrap();
    let c = all.mkdir("a/b/c").unwrap();
    all.mkdir("a/empty").unwrap();
    for protected in ["a/b", "a/b/c", "a/empty"] {
        all.write(format!("{protected}/memory.low"), "1G").unwrap();
    }
    let pid = all.spawn(c).unwrap();
    all.allocate(pid, MB).unwrap();
    assert_eq!(errno(all.write("a/memory.reclaim", "8M")), Errno::AGAIN);
    assert_eq!(value(&all, "a/b/memory.events.local", "low"), 1);
    assert_eq!(value(&all, "a/b/c/memory.events.local", "low"), 1);
    assert_eq!(value(&all, "a/empty/memory.events.local", "low"), 0, "nothing to protect");
    assert_eq!(value(&all, "a/memory.events", "low"), 2);
    assert_eq!(value(&all, "a/memory.events.local", "low"), 0);
    all.check_conservation().unwrap();
}

/// Kernel: `mem_cgroup_css_offline`.
#[test]
fn the_dead_are_not_protected() {
    let all = nested("+memory");
    for protected in ["a/b", "a/c"] {
        let id = all.mkdir(protected).unwrap();
        all.write(format!("{protected}/memory.low"), "1G").unwrap();
        all.charge(id, Use::Cache, MB).unwrap();
    }
    all.rmdir("a/b").unwrap();
    all.write("a/memory.reclaim", "1M").unwrap();
    assert_eq!(value(&all, "a/memory.events", "low"), 0);
    assert_eq!(all.read("a/c/memory.current").unwrap(), "1048576\n");
    all.check_conservation().unwrap();
}

#[test]
fn with_swap_the_limit_is_reached_and_nobody_dies_of_it() {
    let all = Hierarchy::new(Options { swap: 64 * MB, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    all.write("a/memory.max", "8M").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 24 * MB).unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), "8388608\n");
    assert_eq!(all.read("a/memory.swap.current").unwrap(), "16777216\n");
    assert!(value(&all, "a/memory.events", "max") > 0);
    assert_eq!(value(&all, "a/memory.events", "oom"), 0);
    assert_eq!(value(&all, "a/memory.swap.events", "fail"), 0);
    assert_eq!(errno(all.allocate(pid, 64 * MB)), Errno::INTR, "no swap is left");
    assert_eq!(value(&all, "a/memory.events", "oom_kill"), 1);
    all.check_conservation().unwrap();
}

#[test]
fn above_high_no_more_is_swapped_than_is_above() {
    let all = Hierarchy::new(Options { swap: 64 * MB, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    all.write("a/memory.high", "8M").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 24 * MB).unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), "8388608\n");
    assert_eq!(value(&all, "a/memory.events", "high"), 1);
    all.check_conservation().unwrap();
}

/// Some of a larger amount could be swapped, the rest not.
#[test]
fn swap_max_is_counted_when_it_cuts_off_what_is_swapped() {
    let all = Hierarchy::new(Options { swap: 64 * MB, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    all.write("a/memory.swap.max", "400K").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 8 * MB).unwrap();
    assert_eq!(errno(all.write("a/memory.reclaim", "4M")), Errno::AGAIN);
    assert_eq!(all.read("a/memory.swap.current").unwrap(), "409600\n");
    assert_eq!(value(&all, "a/memory.swap.events", "max"), 1);
    assert_eq!(value(&all, "a/memory.swap.events", "fail"), 1);
    all.check_conservation().unwrap();
}

#[test]
fn swap_takes_what_it_can_and_says_what_it_could_not() {
    let all = Hierarchy::new(Options { swap: 8 * MB, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    all.write("a/memory.swap.max", "16K").unwrap();
    all.write("a/memory.swap.high", "8K").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 2 * MB).unwrap();
    assert_eq!(errno(all.write("a/memory.reclaim", "1M")), Errno::AGAIN);
    assert_eq!(all.read("a/memory.swap.current").unwrap(), "16384\n");
    assert_eq!(value(&all, "a/memory.swap.events", "max"), 1);
    assert_eq!(value(&all, "a/memory.swap.events", "fail"), 1);
    all.allocate(pid, 4096).unwrap();
    assert_eq!(value(&all, "a/memory.swap.events", "high"), 1);
    all.check_conservation().unwrap();
    all.exit(pid).unwrap();
    assert_eq!(all.read("a/memory.swap.current").unwrap(), "0\n");
    all.check_conservation().unwrap();
}

#[test]
fn the_dead_hold_memory_until_it_is_taken_and_are_then_forgotten() {
    let all = Hierarchy::new(Options::default());
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    let b = all.mkdir("a/b").unwrap();
    all.charge(b, Use::Kernel, MB).unwrap();
    all.rmdir("a/b").unwrap();
    assert_eq!(value(&all, "a/cgroup.stat", "nr_dying_descendants"), 1);
    all.count(b, Event::MemoryMax, 1).unwrap();
    assert_eq!(value(&all, "a/memory.events", "max"), 1);
    all.uncharge(b, Use::Kernel, MB).unwrap();
    assert_eq!(value(&all, "a/cgroup.stat", "nr_dying_descendants"), 0);
    assert!(all.count(b, Event::MemoryMax, 1).is_err(), "gone for good");
    count(&all, "a", Event::MemoryHigh, 1);
    all.check_conservation().unwrap();
}

/// The state of a dead cgroup is charged, and its last page reclaimed for that charge.
#[test]
fn a_dead_cgroup_reclaimed_while_it_is_charged_stays_whole() {
    let all = Hierarchy::new(Options::default());
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    let b = all.mkdir("a/b").unwrap();
    all.charge(b, Use::Cache, MB).unwrap();
    all.rmdir("a/b").unwrap();
    all.write("a/memory.max", "1M").unwrap();
    all.charge(b, Use::Kernel, MB).unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), "1048576\n");
    all.check_conservation().unwrap();
}

/// Kernel: `page_counter_memparse`, `memparse`, `seq_puts_memcg_tunable`: a number with a suffix, or
/// none at all, in whole pages; `max` is what no signed number of bytes reaches.
#[test]
fn what_limits_take() {
    let all = nested("+memory");
    for (text, shown) in [
        ("1k", "0"),
        ("4095", "0"),
        ("4097", "4096"),
        ("16773120", "16773120"),
        ("2M", "2097152"),
        ("1G", "1073741824"),
        ("1T", "1099511627776"),
        ("1P", "1125899906842624"),
        ("1e", "1152921504606846976"),
        ("9223372036854771711", "9223372036854767616"),
        ("9223372036854771712", "max"),
        ("8E", "max"),
        ("18446744073709551615", "max"),
        ("", "0"),
        ("K", "0"),
        ("max", "max"),
    ] {
        all.write("a/memory.high", text).unwrap();
        assert_eq!(all.read("a/memory.high").unwrap(), format!("{shown}\n"), "{text:?}");
    }
    for text in ["x", "-1", "+1", "1 M", "1MM", "1Kx"] {
        assert_eq!(errno(all.write("a/memory.high", text)), Errno::INVAL, "{text}");
    }
    assert_eq!(errno(all.write("a/memory.current", "1")), Errno::INVAL);
}
