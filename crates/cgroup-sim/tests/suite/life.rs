//! Births and deaths of cgroups, and what forbids them.

use std::time::Duration;

use cgroup_sim::{Controllers, Event, Happening, Hierarchy, Options, ROOT, Use, What};
use rustix::io::Errno;

use crate::{errno, hierarchy, nested};

#[test]
fn a_cgroup_lives_from_mkdir_to_rmdir_and_its_id_is_not_given_again() {
    let all = hierarchy();
    let first = all.mkdir("a").unwrap();
    assert_eq!(all.find("a"), Some(first));
    assert_eq!(all.read("a/cgroup.events").unwrap(), "populated 0\nfrozen 0\n");
    all.rmdir("a").unwrap();
    assert_eq!((all.find("a"), all.is_live(first)), (None, false));
    let second = all.mkdir("/a").unwrap();
    assert_ne!(first, second);
    let lives = all.lives();
    let paths: Vec<_> = lives.iter().map(|life| life.path.as_slice()).collect();
    assert_eq!(paths, [b"/".as_slice(), b"/a", b"/a"]);
    assert!(lives[1].died.is_some() && lives[2].died.is_none());
}

#[test]
fn rmdir_is_refused_with_tasks_here_or_below_and_with_children() {
    let all = hierarchy();
    let a = all.mkdir("a").unwrap();
    all.mkdir("a/b").unwrap();
    assert_eq!(errno(all.rmdir("a")), Errno::BUSY, "children");
    all.rmdir("a/b").unwrap();
    let pid = all.spawn(a).unwrap();
    assert_eq!(errno(all.rmdir("a")), Errno::BUSY, "tasks");
    all.exit(pid).unwrap();
    all.rmdir("a").unwrap();
    assert_eq!(errno(all.rmdir("a")), Errno::NOENT);
}

/// `cgroup_destroy_locked`: `kill_css` of each controller, `css_clear_dir` of the cgroup itself, then
/// `kernfs_remove`.
#[test]
fn rmdir_takes_the_files_one_by_one_and_the_directory_last() {
    let all = nested("+memory +pids");
    let b = all.mkdir("a/b").unwrap();
    let present = |file| all.read(format!("a/b/{file}")).is_ok();
    all.begin_rmdir("a/b").unwrap();
    let mut gone = Vec::new();
    while all.step_rmdir() {
        assert_eq!(all.find("a/b"), Some(b), "the directory goes last");
        for file in ["cgroup.events", "memory.events", "memory.events.local", "pids.events"] {
            if !present(file) && !gone.contains(&file) {
                gone.push(file);
            }
        }
    }
    assert_eq!(gone, ["memory.events", "memory.events.local", "pids.events", "cgroup.events"]);
    assert_eq!(all.find("a/b"), None);
    assert_eq!(all.life(b).unwrap().disabled, [], "no controller was switched");
    all.write("a/cgroup.subtree_control", "-memory").unwrap();
    all.check_conservation().unwrap();
}

#[test]
fn who_needs_the_locks_of_an_rmdir_waits_for_its_end() {
    let begun = || {
        let all = nested("+memory");
        let (a, b) = (all.find("a").unwrap(), all.mkdir("a/b").unwrap());
        all.begin_rmdir("a/b").unwrap();
        assert!(all.step_rmdir());
        (all, a, b)
    };
    let (all, ..) = begun();
    all.mkdir("a/b").unwrap();
    let (all, _, b) = begun();
    assert_eq!(errno(all.spawn(b)), Errno::NOENT);
    for listed in [1, 2] {
        let (all, a, b) = begun();
        all.wait_for_rmdir_in(ROOT);
        assert_eq!(all.find("a/b"), Some(b));
        all.wait_for_rmdir_in(if listed == 1 { a } else { b });
        assert_eq!(all.find("a/b"), None);
    }
    let all = nested("+memory");
    all.mkdir("a/b").unwrap();
    assert_eq!(errno(all.begin_rmdir("a")), Errno::BUSY);
    assert!(!all.step_rmdir());
}

#[test]
fn max_descendants_and_max_depth_limit_mkdir() {
    let all = hierarchy();
    all.mkdir("a").unwrap();
    all.write("a/cgroup.max.descendants", "2").unwrap();
    all.mkdir("a/b").unwrap();
    all.mkdir("a/b/c").unwrap();
    assert_eq!(errno(all.mkdir("a/d")), Errno::AGAIN);
    assert_eq!(errno(all.mkdir("a/b/c/d")), Errno::AGAIN, "counted at every level");
    all.write("a/cgroup.max.descendants", "max").unwrap();
    all.write("a/cgroup.max.depth", "2").unwrap();
    assert_eq!(errno(all.mkdir("a/b/c/d")), Errno::AGAIN);
    all.mkdir("a/b/d").unwrap();
    all.write("a/cgroup.max.depth", "0").unwrap();
    assert_eq!(errno(all.mkdir("a/e")), Errno::AGAIN);
    assert_eq!(errno(all.write("a/cgroup.max.depth", "-1")), Errno::RANGE);
    assert_eq!(errno(all.write("a/cgroup.max.depth", "many")), Errno::INVAL);
    assert_eq!(all.read("a/cgroup.stat").unwrap(), "nr_descendants 3\nnr_dying_descendants 0\n");
}

#[test]
fn names_that_no_cgroup_can_have() {
    let all = hierarchy();
    assert_eq!(errno(all.mkdir("a\nb")), Errno::INVAL);
    assert_eq!(errno(all.mkdir("cgroup.procs")), Errno::EXIST);
    assert_eq!(errno(all.mkdir("x".repeat(4096))), Errno::NAMETOOLONG);
}

#[test]
fn the_root_has_only_what_linux_gives_it() {
    let all = nested("+memory +pids");
    assert_eq!(errno(all.read("cgroup.events")), Errno::NOENT);
    assert_eq!(errno(all.read("memory.events")), Errno::NOENT);
    assert_eq!(all.read("cgroup.controllers").unwrap(), "io memory hugetlb pids\n");
    assert_eq!(all.subtree(ROOT).len(), 2);
}

#[test]
fn the_dead_that_nothing_is_charged_to_are_forgotten() {
    let all = Hierarchy::new(Options::default());
    all.mkdir("a").unwrap();
    let b = all.mkdir("a/b").unwrap();
    all.rmdir("a/b").unwrap();
    assert_eq!(all.path(b), None);
    assert_eq!(all.read("a/cgroup.stat").unwrap(), "nr_descendants 0\nnr_dying_descendants 0\n");
}

/// Of the dead one's states each goes by itself: the one with memory stays, the others do not.
#[test]
fn a_dead_cgroup_counts_for_the_controllers_that_hold_something_of_it() {
    let all = Hierarchy::new(Options::default());
    all.write("cgroup.subtree_control", "+memory +hugetlb").unwrap();
    let a = all.mkdir("a").unwrap();
    all.charge(a, Use::Kernel, 4096).unwrap();
    all.rmdir("a").unwrap();
    assert_eq!(all.path(a).unwrap(), b"/a");
    all.count(a, Event::MemoryMax, 1).unwrap();
    assert_eq!(errno(all.count(a, Event::HugetlbMax, 1)), Errno::OPNOTSUPP);
    all.check_conservation().unwrap();
}

/// A dead cgroup stays for those that died below it before.
#[test]
fn the_dead_keep_their_path_while_one_below_them_is_charged() {
    let all = Hierarchy::new(Options::default());
    all.write("cgroup.subtree_control", "+memory").unwrap();
    all.mkdir("a").unwrap();
    all.write("a/cgroup.subtree_control", "+memory").unwrap();
    let b = all.mkdir("a/b").unwrap();
    all.charge(b, Use::Kernel, 4096).unwrap();
    all.rmdir("a/b").unwrap();
    all.rmdir("a").unwrap();
    assert_eq!(all.path(b).unwrap(), b"/a/b");
    assert_eq!(all.read("cgroup.stat").unwrap(), "nr_descendants 0\nnr_dying_descendants 2\n");
    all.uncharge(b, Use::Kernel, 4096).unwrap();
    assert_eq!(all.path(b), None);
    assert_eq!(all.read("cgroup.stat").unwrap(), "nr_descendants 0\nnr_dying_descendants 0\n");
}

#[test]
fn it_is_said_who_lives_and_who_is_populated() {
    let all = hierarchy();
    let a = all.mkdir("a").unwrap();
    let b = all.mkdir("a/b").unwrap();
    assert!(all.is_live(a) && !all.is_populated(a));
    let pid = all.spawn(b).unwrap();
    assert!(all.is_populated(a) && all.is_populated(b));
    all.exit(pid).unwrap();
    assert!(!all.is_populated(a));
    all.rmdir("a/b").unwrap();
    assert!(!all.is_live(b) && !all.is_populated(b));
}

#[test]
fn the_journal_says_what_happened_in_order_with_its_time() {
    let all = Hierarchy::new(Options { journal: true, ..Options::default() });
    all.write("cgroup.subtree_control", "+memory").unwrap();
    let a = all.mkdir("a").unwrap();
    all.advance(Duration::from_millis(5));
    let pid = all.spawn(a).unwrap();
    all.count(a, Event::MemoryHigh, 2).unwrap();
    all.write("a/cgroup.freeze", "1").unwrap();
    all.write("a/cgroup.freeze", "0").unwrap();
    all.exit(pid).unwrap();
    all.write("cgroup.subtree_control", "-memory").unwrap();
    all.rmdir("a").unwrap();
    let expected = [
        (0, What::Born { parent: ROOT }),
        (0, What::Enabled(Controllers::MEMORY)),
        (5_000_000, What::Populated(true)),
        (5_000_000, What::Counted { event: Event::MemoryHigh, times: 2 }),
        (5_000_000, What::Frozen(true)),
        (5_000_000, What::Frozen(false)),
        (5_000_000, What::Populated(false)),
        (5_000_000, What::Disabled { controller: Controllers::MEMORY, hidden: false }),
        (5_000_000, What::Died),
    ];
    let expected = expected.map(|(at, what)| Happening { at, cgroup: a, what });
    let mut journal = all.take_journal();
    let of_the_root = |happening: &Happening| happening.cgroup == ROOT;
    assert_eq!(journal.iter().filter(|one| of_the_root(one)).count(), 2, "populated and not");
    journal.retain(|happening| !of_the_root(happening));
    assert_eq!(journal, expected);
    assert_eq!(all.take_journal(), [], "taken");
    let silent = hierarchy();
    silent.mkdir("a").unwrap();
    assert_eq!(silent.take_journal(), [], "not asked for");
}
