//! What the trials are made of, in a directory elsewhere, where each event is the test's own doing.

use tempfile::TempDir;

use super::*;

/// A directory with the files that the trial of it watches.
fn trial() -> (TempDir, Scratch, Trial) {
    let top = tempfile::tempdir().unwrap();
    let mut scratch = Scratch::new(top.path()).unwrap();
    let name = scratch.make().unwrap();
    for file in [FILE, SIBLING] {
        fs::write(top.path().join(&name).join(file), "").unwrap();
    }
    let trial = Trial::watch(&scratch, name).unwrap();
    (top, scratch, trial)
}

#[test]
fn each_notification_counts_for_its_own_watch_and_cgroup() {
    let (top, mut scratch, mut trial) = trial();
    let directory = top.path().join(&trial.name);
    let seen = |trial: &Trial| {
        let seen = trial.seen().unwrap();
        (seen.file, seen.directory, seen.parent)
    };
    assert_eq!(seen(&trial), (false, false, false));
    // Of another one; and what is no removal.
    fs::create_dir(top.path().join("other")).unwrap();
    fs::remove_dir(top.path().join("other")).unwrap();
    fs::write(directory.join(FILE), "x").unwrap();
    assert_eq!(seen(&trial), (false, false, false));
    fs::remove_file(directory.join(FILE)).unwrap();
    assert_eq!(seen(&trial), (true, false, false));
    fs::remove_file(directory.join(SIBLING)).unwrap();
    assert_eq!(seen(&trial), (false, false, false));
    assert_eq!(trial.open_file().unwrap_err(), Errno::NOENT);
    trial.forget_directory();
    assert_eq!(trial.open_file().unwrap_err(), Errno::BADF);
    scratch.remove(&trial.name).unwrap();
    assert_eq!(seen(&trial), (false, true, true));
    assert_eq!(seen(&trial), (false, false, false));
}

/// More than one read(2) has room for.
#[test]
fn all_that_is_queued_is_looked_at() {
    let (top, _scratch, trial) = trial();
    let directory = top.path().join(&trial.name);
    for number in 0..50 {
        let other = top.path().join(format!("{number:0>200}"));
        fs::create_dir(&other).unwrap();
        fs::remove_dir(other).unwrap();
    }
    fs::remove_file(directory.join(FILE)).unwrap();
    fs::remove_file(directory.join(SIBLING)).unwrap();
    assert!(trial.seen().unwrap().file);
}

#[test]
fn the_witness_is_gone_with_the_file_it_marks() {
    let (top, _scratch, trial) = trial();
    if Fanotify::new(InitFlags::empty()).is_err() {
        return println!("skipped: needs CAP_SYS_ADMIN");
    }
    let directory = top.path().join(&trial.name);
    let witness = Witness::new(&trial).unwrap();
    assert!(!witness.is_gone());
    fs::remove_file(directory.join(SIBLING)).unwrap();
    assert!(witness.is_gone());
    // It has nothing to mark any more.
    assert!(Witness::new(&trial).is_none());
    fs::remove_file(directory.join(FILE)).unwrap();
}

#[test]
fn what_was_made_is_removed_and_no_name_is_used_twice() {
    let top = tempfile::tempdir().unwrap();
    let mut scratch = Scratch::new(top.path()).unwrap();
    let children = || fs::read_dir(top.path()).unwrap().count();
    let first = scratch.make().unwrap();
    scratch.remove(&first).unwrap();
    assert_eq!(children(), 0);
    assert!(scratch.remove(&first).is_err());
    let second = scratch.make().unwrap();
    assert_ne!(first, second);
    drop(scratch);
    assert_eq!(children(), 0);
}

/// So that what an exec'd program does not know of holds back no removal.
#[test]
fn files_are_closed_on_exec() {
    let (top, _scratch, trial) = trial();
    let flags = rustix::io::fcntl_getfd(trial.open_file().unwrap()).unwrap();
    assert_eq!(flags, rustix::io::FdFlags::CLOEXEC);
    for file in [FILE, SIBLING] {
        fs::remove_file(top.path().join(&trial.name).join(file)).unwrap();
    }
}
