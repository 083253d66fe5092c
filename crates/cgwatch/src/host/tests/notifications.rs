//! What is queued is handed over, all of it, by inotify and by the mark. The kernel reports any
//! directory as it does a cgroup's, so most of it is shown on one elsewhere.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use rustix::fs::Mode;

use super::{
    super::{HostDir, open::DIRECTORY},
    HostWorld, id, is_readable, world,
};
use crate::{
    Error, Strategy,
    testing::Own,
    world::{Notification, World},
};

/// A directory of no hierarchy, whose files have no ids to go by.
fn directory(path: &Path) -> HostDir {
    HostDir::new(rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap(), 0, id(path))
}

fn drained(world: &mut HostWorld) -> Vec<String> {
    let mut all = Vec::new();
    world.drain(&mut |notification| all.push(format!("{notification:?}"))).unwrap();
    all
}

#[test]
fn births_deaths_and_writes_in_a_watched_directory_are_handed_over() {
    let top = tempfile::tempdir().unwrap();
    let mut world = world();
    let wd = world.watch(&mut directory(top.path())).unwrap();
    assert!(!is_readable(&world, 0));
    fs::create_dir(top.path().join("child")).unwrap();
    assert!(is_readable(&world, 0));
    fs::remove_dir(top.path().join("child")).unwrap();
    fs::write(top.path().join("file"), "x").unwrap();
    let expected = [
        Notification::Created(wd, b"child"),
        Notification::Deleted(wd, b"child"),
        Notification::Written(wd, b"file"),
    ];
    assert_eq!(drained(&mut world), expected.map(|one| format!("{one:?}")));
    assert!(!is_readable(&world, 0) && drained(&mut world).is_empty());
    // What is no directory cannot be watched as one.
    let file = rustix::fs::open(top.path().join("file"), rustix::fs::OFlags::PATH, Mode::empty());
    let watched = world.watch(&mut HostDir::new(file.unwrap(), 0, 0));
    assert_eq!(watched, Err(rustix::io::Errno::NOTDIR));
}

/// Some times what one read(2) has room for, with long names and with none.
#[test]
fn one_call_hands_over_all_that_is_queued() {
    let top = tempfile::tempdir().unwrap();
    let mut world = world();
    let mut dir = directory(top.path());
    let wd = world.watch(&mut dir).unwrap();
    for number in 0..1_000 {
        fs::create_dir(top.path().join(format!("{number:0>200}"))).unwrap();
    }
    assert_eq!(drained(&mut world).len(), 1_000);
    world.unwatch(wd);
    let mut files = ["one", "other"].map(|name| File::create(top.path().join(name)).unwrap());
    for name in ["one", "other"] {
        world.watch_file(&mut dir, name, 0).unwrap();
    }
    drained(&mut world);
    for _ in 0..5_000 {
        for file in &mut files {
            file.write_all(b"x").unwrap();
        }
    }
    assert_eq!(drained(&mut world).len(), 10_000);
    assert!(drained(&mut world).is_empty());
}

#[test]
fn one_removal_that_is_announced_shows_what_the_kernel_does() {
    let top = tempfile::tempdir().unwrap();
    let paths = ["one", "other"].map(|name| top.path().join(name));
    let mut world = world();
    world.announces = false;
    let mut dir = directory(top.path());
    for path in &paths {
        fs::write(path, "x").unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        world.watch_file(&mut dir, name, 0).unwrap();
    }
    fs::write(&paths[0], "y").unwrap();
    assert!(!drained(&mut world).is_empty() && !world.announces);
    fs::remove_file(&paths[0]).unwrap();
    assert!(!drained(&mut world).is_empty() && world.announces);
    fs::write(&paths[1], "y").unwrap();
    assert!(!drained(&mut world).is_empty() && world.announces);
}

/// `None`, with the reason printed, if the superblock cannot be marked.
fn marking() -> Option<HostWorld> {
    match HostWorld::new(Strategy::Fanotify) {
        Ok(world) => Some(world),
        Err(error @ Error::NoFanotify { .. }) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_mark_reports_births_deaths_and_writes_with_ids() {
    let Some(cgroup) = Own::new("mark") else { return };
    let Some(mut world) = marking() else { return };
    let parent = id(cgroup.path());
    let path = cgroup.make("child");
    let child = id(&path);
    assert!(is_readable(&world, 0));
    let mut assert_drained = |expected: Notification<'_>| {
        let expected = format!("{expected:?}");
        let all = drained(&mut world);
        assert!(all.contains(&expected), "no {expected} in {all:?}");
    };
    assert_drained(Notification::CreatedIn(parent, b"child"));
    fs::write(path.join("cgroup.max.depth"), "3").unwrap();
    assert_drained(Notification::WrittenIn(child, b"cgroup.max.depth"));
    fs::remove_dir(&path).unwrap();
    assert_drained(Notification::DeletedIn { parent, name: b"child", id: child });
}

/// Some times what one read(2) has room for.
#[test]
fn one_call_hands_over_all_records_of_the_mark() {
    let Some(cgroup) = Own::new("mark-many") else { return };
    let Some(mut world) = marking() else { return };
    let parent = id(cgroup.path());
    for number in 0..500 {
        fs::remove_dir(cgroup.make(&format!("{number:0>200}"))).unwrap();
    }
    let mut counts = [0; 2];
    world
        .drain(&mut |notification| match notification {
            Notification::CreatedIn(id, _) if id == parent => counts[0] += 1,
            Notification::DeletedIn { parent: id, .. } if id == parent => counts[1] += 1,
            _ => {}
        })
        .unwrap();
    assert_eq!(counts, [500, 500]);
}
