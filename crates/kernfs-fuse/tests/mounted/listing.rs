//! Directories, listed by getdents(2).

use std::{
    fs::{self, File},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::{RawDir, SeekFrom, seek};

use crate::hierarchy::{Hierarchy, make_file, until};

/// The names that a directory has from where it is read on, and how often the kernel was asked.
fn names(directory: impl AsFd, buffer: usize) -> (Vec<String>, usize) {
    let mut buffer = vec![MaybeUninit::uninit(); buffer];
    let mut raw = RawDir::new(directory, &mut buffer);
    let (mut names, mut calls) = (Vec::new(), 0);
    loop {
        calls += usize::from(raw.is_buffer_empty());
        let Some(entry) = raw.next() else { return (names, calls) };
        names.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
        assert!(names.len() < 1_000, "a listing without end: {names:?}");
    }
}

/// A name of so many bytes that no other number gives.
fn name_of(length: usize, number: usize) -> String {
    format!("{number:0length$}")
}

/// `.` and `..`, and the rest in the order in which it was made.
fn with_dots(names: &[String]) -> Vec<String> {
    [".", ".."].map(String::from).iter().chain(names).cloned().collect()
}

#[test]
fn each_entry_is_listed_once_whatever_the_buffer() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    // Lengths that leave room at the end of an answer for what follows one that has none. An answer
    // is at least a page.
    let lengths = [20, 900, 3, 250, 700, 8].into_iter().cycle().take(60).enumerate();
    let all: Vec<_> = lengths.map(|(number, length)| name_of(length, number)).collect();
    let nodes: Vec<_> = all.iter().map(|name| make_file(&directory, name)).collect();
    let open = File::open(hierarchy.at("directory")).unwrap();
    for buffer in [1 << 10, 1 << 12, 1 << 16, 300 << 2] {
        seek(&open, SeekFrom::Start(0)).unwrap();
        assert_eq!(names(&open, buffer).0, with_dots(&all), "{buffer}");
    }
    // With room for a lone entry of the shortest, each `.` and `..`.
    let few = hierarchy.make_dir("few");
    for name in ["a", "b", "c"] {
        make_file(&few, name);
    }
    let few = File::open(hierarchy.at("few")).unwrap();
    assert_eq!(names(&few, 32).0, with_dots(&["a", "b", "c"].map(String::from)));

    // What is removed is there no more, what is hidden neither, and the rest is.
    nodes[5].remove();
    nodes[6].show(false).unwrap();
    let rest = all.iter().enumerate().filter(|(at, _)| ![5, 6].contains(at));
    let rest: Vec<_> = rest.map(|(_, name)| name.clone()).collect();
    seek(&open, SeekFrom::Start(0)).unwrap();
    assert_eq!(names(&open, 1 << 12).0, with_dots(&rest));
}

#[test]
fn an_answer_has_as_many_entries_as_there_is_room_for() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let all: Vec<_> = (0..200).map(|number| name_of(5, number)).collect();
    all.iter().for_each(|name| drop(make_file(&directory, name)));
    let open = File::open(hierarchy.at("directory")).unwrap();
    let (names, calls) = names(&open, 1 << 16);
    assert_eq!(names, with_dots(&all));
    // As many as fill a page at least, with 152 bytes an entry and its name where they are looked up,
    // and the end.
    assert!(calls <= 10, "{calls}");
}

#[test]
fn a_name_that_no_answer_has_room_for_hides_no_other() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let long = name_of(4095, 1);
    for name in ["a", &long, "b", "c"] {
        make_file(&directory, name);
    }
    // The kernel gives as much room as the client, and a page at least.
    let open = File::open(hierarchy.at("directory")).unwrap();
    let listed = names(&open, 4096).0;
    assert_eq!(listed, with_dots(&["a", "b", "c"].map(String::from)));
}

#[test]
fn what_is_removed_while_it_is_listed_hides_no_other() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let all: Vec<_> = (0..60).map(|number| name_of(200, number)).collect();
    let nodes: Vec<_> = all.iter().map(|name| make_file(&directory, name)).collect();
    let open = File::open(hierarchy.at("directory")).unwrap();
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 10];
    let mut raw = RawDir::new(&open, &mut buffer);
    let mut listed = Vec::new();
    while let Some(entry) = raw.next() {
        listed.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
        if listed.len() == 4 {
            nodes[..40].iter().for_each(kernfs::Node::remove);
        }
    }
    // What the kernel had been given may still be there.
    assert_eq!(listed[..4], with_dots(&all)[..4]);
    assert!(listed.ends_with(&all[40..]), "{listed:?}");

    // The directory itself.
    directory.remove();
    seek(&open, SeekFrom::Start(0)).unwrap();
    assert_eq!(names(&open, 1 << 10).0, [""; 0]);
}

fn stat(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn what_a_listing_shows_is_known_until_the_kernel_forgets_it() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let all: Vec<_> = (0..100).map(|number| name_of(100, number)).collect();
    let nodes: Vec<_> = all.iter().map(|name| make_file(&directory, name)).collect();
    assert_eq!(hierarchy.mount.known(), 1, "the root");
    let open = File::open(hierarchy.at("directory")).unwrap();
    assert_eq!(hierarchy.mount.known(), 2);
    // With their attributes, as the kernel asks first (`fuse_use_readdirplus`).
    assert_eq!(names(&open, 1 << 10).0, with_dots(&all));
    let known = hierarchy.mount.known();
    assert!(known > 2, "looked up with their names");
    for (name, node) in all.iter().zip(&nodes) {
        assert_eq!(stat(&hierarchy.at("directory").join(name)), node.id());
    }
    assert_eq!(hierarchy.mount.known(), 102);

    nodes[0].remove();
    until("a removed node is forgotten", || hierarchy.mount.known() == 101);
    hierarchy.mount.reclaim(&nodes[1]);
    until("a reclaimed one is forgotten", || hierarchy.mount.known() == 100);
    drop(open);
    hierarchy.mount.reclaim(&directory);
    until("all below a reclaimed one is forgotten", || hierarchy.mount.known() == 1);
    assert_eq!(stat(&hierarchy.at("directory").join(&all[1])), nodes[1].id());
    assert_eq!(hierarchy.mount.known(), 3);
}

#[test]
fn a_directory_that_was_read_half_and_closed_is_held_no_more() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    (0..100).for_each(|number| drop(make_file(&directory, &name_of(100, number))));
    drop(directory);
    let open = File::open(hierarchy.at("directory")).unwrap();
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 10];
    assert!(RawDir::new(&open, &mut buffer).next().is_some());
    drop(open);
    fs::remove_dir(hierarchy.at("directory")).unwrap();
    until("only the root is left", || hierarchy.tree.nodes() == 1);
}
