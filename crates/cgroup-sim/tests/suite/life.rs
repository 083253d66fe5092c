//! Births and deaths of cgroups, and what forbids them.

use cgroup_sim::ROOT;
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
