//! inotify against this machine's kernel, on tmpfs.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux_notify::inotify::{Inotify, Mask, Wd};
use linux_notify::{Call, Errno, Error};
use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

/// A directory on tmpfs where there is one.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn o_path(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// Everything queued: watch, mask, name.
fn drain(inotify: &Inotify) -> Vec<(Wd, Mask, String)> {
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    loop {
        let mut events = inotify.read(&mut buffer).unwrap();
        let before = all.len();
        for event in events.by_ref() {
            assert_eq!(event.cookie, 0);
            all.push((event.wd, event.mask, String::from_utf8(event.name.to_vec()).unwrap()));
        }
        assert!(events.remainder().is_empty());
        if all.len() == before {
            return all;
        }
    }
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    result.unwrap_err().errno()
}

#[test]
fn births_changes_and_deaths_in_a_directory() {
    let dir = scratch();
    let inotify = Inotify::new().unwrap();
    let wd = inotify
        .add(&c(dir.path()), Mask::CREATE | Mask::DELETE | Mask::MODIFY | Mask::ONLYDIR)
        .unwrap();
    assert_eq!(drain(&inotify), []);

    // Names that end short of, at and beyond the 16 bytes that records are padded to.
    let names = ["a", "fifteen-letters", "sixteen--letters", "seventeen-letters"];
    for name in names {
        fs::write(dir.path().join(name), "x").unwrap();
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::remove_dir(dir.path().join("d")).unwrap();

    let mut expected = Vec::new();
    for name in names {
        for mask in [Mask::CREATE, Mask::MODIFY, Mask::DELETE] {
            expected.push((wd, mask, name.to_owned()));
        }
    }
    for mask in [Mask::CREATE, Mask::DELETE] {
        expected.push((wd, mask | Mask::ISDIR, "d".to_owned()));
    }
    assert_eq!(drain(&inotify), expected);
}

#[test]
fn the_death_of_a_watched_file_ends_the_watch() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let inotify = Inotify::new().unwrap();
    let wd = inotify.add(&c(&file), Mask::DELETE_SELF).unwrap();
    fs::remove_file(&file).unwrap();
    let none = String::new();
    assert_eq!(drain(&inotify), [(wd, Mask::DELETE_SELF, none.clone()), (wd, Mask::IGNORED, none)]);
    let error = inotify.remove(wd).unwrap_err();
    assert_eq!(error, Error::RemoveWatch { wd, errno: Errno::INVAL });
}

#[test]
fn watch_descriptors_count_up_and_stay_with_their_inode() {
    let dir = scratch();
    let inotify = Inotify::new().unwrap();
    let first = inotify.add(&c(dir.path()), Mask::CREATE).unwrap();
    assert_eq!(inotify.add(&c(dir.path()), Mask::DELETE).unwrap(), first);
    inotify.remove(first).unwrap();
    assert_eq!(drain(&inotify), [(first, Mask::IGNORED, String::new())]);
    let second = inotify.add(&c(dir.path()), Mask::CREATE).unwrap();
    assert!(second > first);
}

#[test]
fn through_descriptors_it_watches_that_very_inode() {
    let dir = scratch();
    let (old, file) = (dir.path().join("old"), dir.path().join("old/file"));
    fs::create_dir(&old).unwrap();
    fs::write(&file, "").unwrap();
    let fd = o_path(&old);
    // Somebody else takes the name in the meantime.
    fs::rename(&old, dir.path().join("moved")).unwrap();
    fs::create_dir(&old).unwrap();
    fs::write(&file, "").unwrap();

    let inotify = Inotify::new().unwrap();
    let directory = inotify.add_fd(fd.as_fd(), Mask::CREATE | Mask::ONLYDIR).unwrap();
    let entry = inotify.add_at(fd.as_fd(), b"file", Mask::MODIFY).unwrap();
    fs::write(&file, "not this one").unwrap();
    fs::write(dir.path().join("moved/file"), "this one").unwrap();
    fs::write(dir.path().join("moved/new"), "").unwrap();
    assert_eq!(
        drain(&inotify),
        [(entry, Mask::MODIFY, String::new()), (directory, Mask::CREATE, "new".to_owned())]
    );
    assert_eq!(errno(inotify.add_fd(fd.as_fd(), Mask::CREATE | Mask::DONT_FOLLOW)), Errno::INVAL);
    assert_eq!(
        inotify.add_at(fd.as_fd(), b"none", Mask::MODIFY).unwrap_err(),
        Error::AddWatch { path: "none".into(), errno: Errno::NOENT }
    );
    assert_eq!(
        inotify.add_at(fd.as_fd(), b"../old", Mask::MODIFY).unwrap_err(),
        Error::Name { name: b"../old".to_vec() }
    );
}

#[test]
fn control_bits() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let inotify = Inotify::new().unwrap();

    assert_eq!(errno(inotify.add(&c(&file), Mask::MODIFY | Mask::ONLYDIR)), Errno::NOTDIR);
    let wd = inotify.add(&c(&file), Mask::MODIFY | Mask::MASK_CREATE).unwrap();
    assert_eq!(errno(inotify.add(&c(&file), Mask::MODIFY | Mask::MASK_CREATE)), Errno::EXIST);
    assert_eq!(inotify.add(&c(&file), Mask::ATTRIB | Mask::MASK_ADD | Mask::ONESHOT).unwrap(), wd);
    fs::write(&file, "x").unwrap();
    let none = String::new();
    assert_eq!(drain(&inotify), [(wd, Mask::MODIFY, none.clone()), (wd, Mask::IGNORED, none)]);
}

#[test]
fn refusals() {
    let dir = scratch();
    let inotify = Inotify::new().unwrap();
    let both = Mask::CREATE | Mask::MASK_ADD | Mask::MASK_CREATE;
    for mask in [Mask::empty(), Mask::from_bits_retain(0x0000_1000), both] {
        assert_eq!(errno(inotify.add(&c(dir.path()), mask)), Errno::INVAL, "{mask:?}");
    }
    for wd in [Wd(0), Wd(1), Wd::NONE, Wd(i32::MAX), Wd(i32::MIN)] {
        assert_eq!(errno(inotify.remove(wd)), Errno::INVAL, "{wd}");
    }
    let error = inotify.remove(Wd(7)).unwrap_err();
    assert!(error.to_string().starts_with("inotify_rm_watch 7: "), "{error}");
    let error = inotify.add(c"/nowhere/at/all", Mask::CREATE).unwrap_err();
    assert_eq!(error.errno(), Errno::NOENT);
    assert!(error.to_string().starts_with("inotify_add_watch /nowhere/at/all: "), "{error}");
}

#[test]
fn a_buffer_too_small_for_a_record_loses_nothing() {
    let dir = scratch();
    let inotify = Inotify::new().unwrap();
    let wd = inotify.add(&c(dir.path()), Mask::CREATE).unwrap();
    fs::write(dir.path().join("one"), "").unwrap();
    fs::write(dir.path().join("two"), "").unwrap();
    assert_eq!(inotify.queued_bytes().unwrap(), 64);
    for size in [0, 15, 16, 31] {
        let error = inotify.read(&mut vec![0; size]).unwrap_err();
        assert_eq!(error, Error::Call { call: Call::Read, errno: Errno::INVAL }, "{size}");
        assert!(error.to_string().starts_with("read: "), "{error}");
    }
    let mut buffer = [0; 63];
    let names: Vec<_> = inotify.read(&mut buffer).unwrap().map(|event| event.name).collect();
    assert_eq!(names, [b"one"]);
    assert_eq!(drain(&inotify), [(wd, Mask::CREATE, "two".to_owned())]);
    assert_eq!(inotify.queued_bytes().unwrap(), 0);
}

#[test]
fn an_overflow_is_about_no_watch() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 1 << 20 {
        eprintln!("skipped: {limit} events fit into a queue");
        return;
    }
    let dir = scratch();
    let inotify = Inotify::new().unwrap();
    let wd = inotify.add(&c(dir.path()), Mask::MODIFY).unwrap();
    // In turn, since equal events are merged.
    let mut files = ["one", "two"].map(|name| fs::File::create(dir.path().join(name)).unwrap());
    for number in 0..=limit {
        files[number % 2].write_all(b"x").unwrap();
    }
    let all = drain(&inotify);
    assert_eq!(all.len(), limit + 1);
    assert!(all[..limit].iter().all(|(about, mask, _)| (*about, *mask) == (wd, Mask::MODIFY)));
    assert_eq!(all[limit], (Wd::NONE, Mask::Q_OVERFLOW, String::new()));
}
