//! What is raised for clients that watch, in which order, and only once.

use std::{fs, fs::File};

use kernfs::Node;
use linux_notify::inotify::Mask;

use crate::{
    hierarchy::{CHANGES_LAST, Hierarchy, make_file},
    watch::{Got, Watch, got},
};

/// What one whose end is raised gets.
fn end(letter: char) -> [Got; 2] {
    [got(letter, Mask::DELETE_SELF, ""), got(letter, Mask::IGNORED, "")]
}

/// What its directory gets of a directory that a client removed.
fn deleted(letter: char, name: &str) -> Got {
    got(letter, Mask::DELETE | Mask::ISDIR, name)
}

/// The part of one watch.
fn of(all: &[Got], letter: char) -> Vec<Got> {
    all.iter().filter(|(watch, ..)| *watch == letter).cloned().collect()
}

/// A file that nothing else is about: what comes before its change was raised before.
struct Barrier(std::sync::Arc<Node>, Got);

impl Barrier {
    fn new(hierarchy: &Hierarchy, watch: &mut Watch) -> Self {
        let node = make_file(&hierarchy.make_dir("barrier"), "barrier");
        watch.add('B', &hierarchy.at("barrier/barrier"));
        Self(node, got('B', Mask::MODIFY, ""))
    }

    /// All that was raised, what is queued now included.
    #[track_caller]
    fn all(&self, watch: &Watch) -> Vec<Got> {
        self.0.notify();
        let mut all = watch.until(&self.1);
        assert_eq!(all.pop().as_ref(), Some(&self.1));
        all
    }
}

#[test]
fn a_clients_rmdir_raises_files_then_the_directory_then_the_parents_record() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let events = make_file(&directory, CHANGES_LAST);
    make_file(&directory, "file");
    let path = hierarchy.at("directory");
    let mut watch = Watch::new();
    let barrier = Barrier::new(&hierarchy, &mut watch);
    watch.add('p', &hierarchy.path);
    watch.add('d', &path);
    watch.add('e', &path.join(CHANGES_LAST));
    watch.add('f', &path.join("file"));
    events.notify();
    let modified = [got('d', Mask::MODIFY, CHANGES_LAST), got('e', Mask::MODIFY, "")];
    assert_eq!(barrier.all(&watch), modified);

    fs::remove_dir(&path).unwrap();
    let all = barrier.all(&watch);
    // The files in any order.
    let [removed, ignored] = end('e');
    assert_eq!(of(&all, 'e'), [got('e', Mask::MODIFY, ""), removed, ignored]);
    assert_eq!(of(&all, 'f'), end('f'));
    assert_eq!(of(&all, 'd')[0], got('d', Mask::MODIFY, CHANGES_LAST));
    let [removed, ignored] = end('d');
    let rest = [removed, ignored, deleted('p', "directory")];
    assert_eq!(all.len(), 6 + rest.len(), "{all:?}");
    assert_eq!(all[6..], rest);
}

#[test]
fn directories_below_one_that_a_client_removes_are_raised() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let outer = hierarchy.make_dir("outer");
    let inner = outer.make_dir("inner").unwrap();
    make_file(&inner, "file");
    let mut watch = Watch::new();
    let barrier = Barrier::new(&hierarchy, &mut watch);
    watch.add('p', &hierarchy.path);
    watch.add('o', &hierarchy.at("outer"));
    watch.add('i', &hierarchy.at("outer/inner"));
    watch.add('f', &hierarchy.at("outer/inner/file"));
    fs::remove_dir(hierarchy.at("outer")).unwrap();
    let mut all = watch.until(&got('i', Mask::IGNORED, ""));
    all.extend(barrier.all(&watch));
    assert_eq!(of(&all, 'o'), end('o'));
    assert_eq!(of(&all, 'f'), end('f'));
    assert_eq!(of(&all, 'p'), [deleted('p', "outer")]);
    assert_eq!(of(&all, 'i'), end('i'));
    assert_eq!(all.len(), 7, "{all:?}");
}

#[test]
fn what_the_server_removes_is_raised_once() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let file = make_file(&directory, "file");
    make_file(&directory, "other");
    let path = hierarchy.at("directory");
    let mut watch = Watch::new();
    let barrier = Barrier::new(&hierarchy, &mut watch);
    watch.add('p', &hierarchy.path);
    watch.add('d', &path);
    watch.add('f', &path.join("file"));
    watch.add('o', &path.join("other"));
    file.notify();
    file.remove();
    let [removed, ignored] = end('f');
    let modified = [got('d', Mask::MODIFY, "file"), got('f', Mask::MODIFY, "")];
    assert_eq!(barrier.all(&watch), [&modified[..], &[removed, ignored]].concat());
    directory.remove();
    assert_eq!(barrier.all(&watch), [end('o'), end('d')].concat());
}

#[test]
fn an_open_file_is_raised_at_its_close() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    make_file(&directory, "file");
    let path = hierarchy.at("directory/file");
    let open = File::open(&path).unwrap();
    let mut watch = Watch::new();
    let barrier = Barrier::new(&hierarchy, &mut watch);
    watch.add('f', &path);
    fs::remove_dir(hierarchy.at("directory")).unwrap();
    let before = barrier.all(&watch);
    drop(open);
    let after = watch.until(&got('f', Mask::IGNORED, ""));
    assert_eq!(before, []);
    let [removed, ignored] = end('f');
    assert_eq!(after, [got('f', Mask::CLOSE_NOWRITE, ""), removed, ignored]);
}

#[test]
fn what_nobody_can_watch_is_not_looked_up() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let directory = hierarchy.make_dir("directory");
    let file = make_file(&directory, "file");
    let mut watch = Watch::new();
    let barrier = Barrier::new(&hierarchy, &mut watch);
    let known = hierarchy.mount.known();
    file.notify();
    assert_eq!(barrier.all(&watch), []);
    file.remove();
    assert_eq!(barrier.all(&watch), []);
    assert_eq!(hierarchy.mount.known(), known);
}

/// Its name leads nowhere, which does not hold up the others.
#[test]
fn a_hidden_file_that_changes_is_passed_over() {
    let Some(hierarchy) = Hierarchy::mount() else { return };
    let file = make_file(&hierarchy.make_dir("directory"), "file");
    let mut watch = Watch::new();
    let barrier = Barrier::new(&hierarchy, &mut watch);
    watch.add('f', &hierarchy.at("directory/file"));
    file.show(false).unwrap();
    hierarchy.mount.reclaim(&file);
    file.notify();
    assert_eq!(barrier.all(&watch), []);
}
