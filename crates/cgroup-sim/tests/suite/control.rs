//! Controllers that come and go.

use cgroup_sim::{Event, Hierarchy, Options, Use};
use rustix::io::Errno;

use crate::{count, errno, hierarchy, nested, value};

#[test]
fn files_appear_and_vanish_with_their_controller() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    assert_eq!(errno(all.read("a/memory.events")), Errno::NOENT);
    assert_eq!(all.read("a/cgroup.controllers").unwrap(), "");
    all.write("cgroup.subtree_control", "+memory +pids").unwrap();
    assert_eq!(all.read("a/cgroup.controllers").unwrap(), "memory pids\n");
    all.read("a/memory.events").unwrap();
    all.read("a/pids.max").unwrap();
    all.write("cgroup.subtree_control", "-memory").unwrap();
    assert_eq!(errno(all.read("a/memory.events")), Errno::NOENT);
    all.read("a/pids.max").unwrap();
    all.mkdir("b").unwrap();
    all.read("b/pids.max").unwrap();
}

#[test]
fn what_subtree_control_refuses() {
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    assert_eq!(errno(all.write("a/cgroup.subtree_control", "+pids")), Errno::NOENT, "not given");
    assert_eq!(errno(all.write("cgroup.subtree_control", "-memory")), Errno::BUSY, "a child's");
    for text in ["memory", "+", "+nothing", "*memory", "+memory,pids"] {
        assert_eq!(errno(all.write("a/cgroup.subtree_control", text)), Errno::INVAL, "{text}");
    }
    all.write("a/cgroup.subtree_control", "").unwrap();
    all.write("a/cgroup.subtree_control", "+memory -memory").unwrap();
    assert_eq!(all.read("a/cgroup.subtree_control").unwrap(), "", "the last word counts");
    let b = all.find("a/b").unwrap();
    all.spawn(b).unwrap();
    assert_eq!(errno(all.write("a/b/cgroup.subtree_control", "+memory")), Errno::NOENT);
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    assert_eq!(errno(all.write("a/b/cgroup.subtree_control", "+memory")), Errno::BUSY, "tasks");
}

#[test]
fn counters_start_again_after_a_disable() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    count(&all, "a/b", Event::MemoryHigh, 3);
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    assert!(all.count(b, Event::MemoryHigh, 1).is_err(), "it has none");
    all.count_former(b, Event::MemoryHigh, 2).unwrap();
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "high"), 0);
    assert_eq!(value(&all, "a/memory.events", "high"), 5, "those above count on");
    assert_eq!(all.life(b).unwrap().counted[&Event::MemoryHigh], 5);
    all.check_conservation().unwrap();
}

/// Kernel: `cgroup_apply_control_disable`: io depends on memory, so memory is hidden and reset.
#[test]
fn counters_survive_a_disable_while_another_controller_needs_them() {
    let all = nested("+memory +io");
    all.mkdir("a/b").unwrap();
    all.write("a/b/memory.high", "1M").unwrap();
    count(&all, "a/b", Event::MemoryHigh, 3);
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    assert_eq!(errno(all.read("a/b/memory.events")), Errno::NOENT);
    count(&all, "a/b", Event::MemoryHigh, 1);
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    assert_eq!(value(&all, "a/b/memory.events", "high"), 4);
    assert_eq!(all.read("a/b/memory.high").unwrap(), "max\n", "limits do not survive");
}

#[test]
fn a_threaded_cgroup_loses_the_controllers_of_domains() {
    let all = nested("+memory +pids");
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    all.mkdir("a/b").unwrap();
    assert_eq!(all.read("a/b/cgroup.type").unwrap(), "domain\n");
    all.write("a/b/cgroup.type", "threaded").unwrap();
    assert_eq!(all.read("a/b/cgroup.type").unwrap(), "threaded\n");
    assert_eq!(all.read("a/cgroup.type").unwrap(), "domain threaded\n");
    assert_eq!(all.read("a/b/cgroup.controllers").unwrap(), "pids\n");
    assert_eq!(errno(all.read("a/b/cgroup.procs")), Errno::OPNOTSUPP);
    assert_eq!(errno(all.write("a/cgroup.subtree_control", "+memory")), Errno::OPNOTSUPP);
    all.mkdir("a/c").unwrap();
    assert_eq!(all.read("a/c/cgroup.type").unwrap(), "domain invalid\n");
    let c = all.find("a/c").unwrap();
    assert_eq!(errno(all.spawn(c)), Errno::OPNOTSUPP);
    assert_eq!(errno(all.write("a/c/cgroup.type", "domain")), Errno::INVAL);
}

#[test]
fn memory_of_the_disabled_stays_charged_above_until_it_goes() {
    let all = nested("+memory");
    let b = all.mkdir("a/b").unwrap();
    all.charge(b, Use::Cache, 1 << 20).unwrap();
    all.rmdir("a/b").unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), "1048576\n");
    all.write("a/memory.high", "0").unwrap();
    assert_eq!(all.read("a/memory.current").unwrap(), "0\n");
    assert_eq!(value(&all, "a/memory.events", "high"), 0, "writing the limit counts nothing");
    all.check_conservation().unwrap();
}

/// Threads that enable, disable, read, make and remove: nobody waits for ever, and what is left is
/// whole.
#[test]
fn threads_that_toggle_read_and_remove_do_not_wait_for_each_other() {
    let all = nested("+memory");
    std::thread::scope(|scope| {
        for n in 0..2 {
            let all = &all;
            scope.spawn(move || {
                for round in 0..300 {
                    let sign = if round % 2 == 0 { "-" } else { "+" };
                    // Refused now and then: the other toggles too.
                    let _ = all.write("a/cgroup.subtree_control", &format!("{sign}memory"));
                    let _ = all.mkdir(format!("a/{n}"));
                    let _ = all.read(format!("a/{n}/memory.events"));
                    let _ = all.read(format!("a/{}/cgroup.events", 1 - n));
                    let _ = all.rmdir(format!("a/{n}"));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..300 {
                all.drain();
                all.advance(std::time::Duration::from_millis(5));
            }
        });
    });
    all.check_conservation().unwrap();
    let _ = all.write("a/cgroup.subtree_control", "+memory");
    all.mkdir("a/c").unwrap();
    all.read("a/c/memory.events").unwrap();
}

#[test]
fn what_two_children_give_on_is_in_use() {
    let all = nested("+memory");
    all.mkdir("b").unwrap();
    all.write("b/cgroup.subtree_control", "+memory").unwrap();
    assert_eq!(errno(all.write("cgroup.subtree_control", "-memory")), Errno::BUSY);
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    assert_eq!(errno(all.write("cgroup.subtree_control", "-memory")), Errno::BUSY);
}

/// What a disable left charged goes with the task; the state that came after it stays.
#[test]
fn the_end_of_a_disabled_state_is_not_that_of_the_next() {
    let all = Hierarchy::new(Options::default());
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    let pid = all.spawn(a).unwrap();
    all.allocate(pid, 1 << 20).unwrap();
    all.write("cgroup.subtree_control", "-memory").unwrap();
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.exit(pid).unwrap();
    count(&all, "a", Event::MemoryHigh, 1);
    assert_eq!(value(&all, "a/memory.events", "high"), 1);
    all.check_conservation().unwrap();
}
