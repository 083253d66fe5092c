//! The feed without a mount: real cgroups of this machine, watched in the mirror's tree through a
//! mount within this process.
//!
//! Each test has cgroups of its own below one that is named after it and this process, and removes
//! them also if it fails. Without a cgroup v2 mount that can be written nothing is shown.

#![allow(clippy::unwrap_used, reason = "tests")]

mod top;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cgroup_mirror::Mirror;
use fsnotify::{
    Account, Limits,
    inotify::{InitFlags, Inotify, WatchMask},
};
use kernfs::{Access, SuperBlock};
use rustix::io::Errno;

use self::top::Top;

const MODIFY: u32 = 0x2;
const CREATE: u32 = 0x100;
const DELETE: u32 = 0x200;
const DELETE_SELF: u32 = 0x400;
const IGNORED: u32 = 0x8000;
const ISDIR: u32 = 0x4000_0000;

impl Top {
    /// A process in a cgroup until it is dropped.
    fn inhabit(&self, path: &str) -> Inhabitant {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let entered = fs::write(self.path.join(path).join("cgroup.procs"), child.id().to_string());
        if entered.is_err() {
            let _ = child.kill();
        }
        entered.unwrap();
        Inhabitant(child)
    }
}

struct Inhabitant(Child);

impl Drop for Inhabitant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mirror of `top`, shown by a mount in this process, and one who watches there.
struct Shown {
    mirror: Mirror,
    mount: Arc<SuperBlock>,
    inotify: Inotify,
}

impl Shown {
    fn new(top: &Top) -> Self {
        let mut mirror = Mirror::new(&top.path).unwrap();
        let mount = Arc::new(mirror.tree().mount());
        mirror.set_front(Some(Box::new(Arc::clone(&mount))));
        let account = Account::new(Limits::default());
        let inotify = Inotify::new(&account, InitFlags::NONBLOCK).unwrap();
        Self { mirror, mount, inotify }
    }

    fn watch(&self, path: &str, mask: u32) -> i32 {
        let mask = WatchMask::from_bits_retain(mask);
        self.mount.watch(&self.inotify, path, mask).unwrap()
    }

    /// What the watches were told, once `enough` of it was.
    fn events(
        &mut self,
        enough: impl Fn(&[(i32, u32, String)]) -> bool,
    ) -> Vec<(i32, u32, String)> {
        let mut all = Vec::new();
        let end = Instant::now() + Duration::from_secs(20);
        while !enough(&all) {
            assert!(Instant::now() < end, "only {all:x?}");
            self.mirror.wait(Duration::from_millis(20)).unwrap();
            self.mirror.tree().drain();
            let mut buffer = [0; 65536];
            while let Ok(read) = self.inotify.read(&mut buffer) {
                all.extend(records(&buffer[..read]));
            }
        }
        all
    }

    /// Takes in until it is so.
    fn until(&mut self, mut so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !so(self) {
            assert!(Instant::now() < end);
            self.mirror.wait(Duration::from_millis(20)).unwrap();
        }
    }

    fn read(&self, path: &str) -> Result<String, Errno> {
        let file = self.mount.open(path, Access::READ).map_err(|error| error.errno())?;
        let mut buffer = [0; 65536];
        let read = file.read_at(0, &mut buffer).map_err(|error| error.errno())?;
        Ok(String::from_utf8(buffer[..read].to_vec()).unwrap())
    }
}

/// `struct inotify_event`s: wd, mask, name.
fn records(mut bytes: &[u8]) -> Vec<(i32, u32, String)> {
    let mut all = Vec::new();
    while let Some(head) = bytes.get(..16) {
        let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
        let end = 16 + word(12) as usize;
        let name = String::from_utf8_lossy(&bytes[16..end]).trim_end_matches('\0').to_owned();
        all.push((word(0).cast_signed(), word(4), name));
        bytes = &bytes[end..];
    }
    all
}

fn masks_of(events: &[(i32, u32, String)], wd: i32) -> Vec<u32> {
    events.iter().filter(|event| event.0 == wd).map(|event| event.1).collect()
}

fn ends(wd: i32) -> impl Fn(&[(i32, u32, String)]) -> bool {
    move |events| events.iter().any(|event| event.0 == wd && event.1 & IGNORED != 0)
}

#[test]
fn it_shows_what_the_host_shows() {
    let Some(top) = Top::new("shows") else { return };
    let id = top.make("a");
    top.make("d");
    for delegated in ["a/cgroup.procs", "d"] {
        std::os::unix::fs::chown(top.path.join(delegated), Some(65534), Some(65534)).unwrap();
    }
    let mut shown = Shown::new(&top);
    // Files of a first newborn are looked at, those of others are as its were.
    for newborn in ["b", "c"] {
        let id = top.make(newborn);
        shown.until(|shown| shown.mount.lookup(format!("/{newborn}")).is_ok_and(|s| s.ino == id));
    }
    let names = |list: fs::ReadDir| {
        let mut names: Vec<_> = list.map(|e| e.unwrap().file_name().into_encoded_bytes()).collect();
        names.sort();
        names
    };
    // On Linux what a user makes is his.
    let mut mkdir = Command::new("setpriv");
    mkdir.args(["--reuid=65534", "--regid=65534", "--clear-groups", "mkdir"]);
    assert!(mkdir.arg(top.path.join("d/his")).status().unwrap().success());
    shown.until(|shown| shown.mount.lookup("/d/his").is_ok());
    for path in ["", "a", "c", "d/his"] {
        let listed = shown.mount.list(format!("/{path}")).unwrap();
        let host = names(fs::read_dir(top.path.join(path)).unwrap());
        assert_eq!(listed.iter().map(|name| name.to_vec()).collect::<Vec<_>>(), host);
        for name in host.iter().map(|name| std::str::from_utf8(name).unwrap()) {
            let metadata = fs::metadata(top.path.join(path).join(name)).unwrap();
            let stat = shown.mount.lookup(format!("/{path}/{name}")).unwrap();
            assert_eq!(stat.ino, metadata.ino(), "{name}");
            assert_eq!(u32::from(stat.permissions.mode), metadata.mode() & 0o7777, "{name}");
            assert_eq!(stat.permissions.uid, metadata.uid(), "{name}");
        }
    }
    assert_eq!(shown.mount.lookup("/a").unwrap().ino, id);
    assert_eq!(shown.read("/a/cgroup.events").unwrap(), "populated 0\nfrozen 0\n");
    let _someone = top.inhabit("a");
    // Whatever the feed knows: it is the host's file.
    assert_eq!(shown.read("/a/cgroup.events").unwrap(), "populated 1\nfrozen 0\n");
}

#[test]
fn a_change_is_a_modify_and_a_removal_ends_the_watch() {
    let Some(top) = Top::new("removal") else { return };
    top.make("a");
    let mut shown = Shown::new(&top);
    let file = shown.watch("/a/cgroup.events", MODIFY | DELETE_SELF);
    let someone = top.inhabit("a");
    let events = shown.events(|events| !events.is_empty());
    assert_eq!(masks_of(&events, file), [MODIFY]);
    assert!(shown.read("/a/cgroup.events").unwrap().starts_with("populated 1"));
    // The last change and the removal at once: the kernel drops the one and may drop the other.
    drop(someone);
    top.remove("a");
    let events = shown.events(ends(file));
    assert_eq!(masks_of(&events, file), [MODIFY, DELETE_SELF, IGNORED]);
    assert_eq!(shown.read("/a/cgroup.events"), Err(Errno::NOENT));
}

#[test]
fn a_state_that_came_and_went_is_a_modify() {
    let Some(top) = Top::new("flap") else { return };
    top.make("a");
    let mut shown = Shown::new(&top);
    let file = shown.watch("/a/cgroup.events", MODIFY | DELETE_SELF);
    // Before the feed can look.
    drop(top.inhabit("a"));
    let events = shown.events(|events| !events.is_empty());
    assert_eq!(masks_of(&events, file), [MODIFY]);
}

#[test]
fn the_parent_sees_births_deaths_and_the_name_of_what_changed() {
    let Some(top) = Top::new("parent") else { return };
    let mut shown = Shown::new(&top);
    let parent = shown.watch("/", MODIFY | CREATE | DELETE);
    top.make("b");
    let events = shown.events(|events| !events.is_empty());
    assert_eq!(events, [(parent, CREATE | ISDIR, "b".into())]);
    let directory = shown.watch("/b", MODIFY | DELETE_SELF);
    // On Linux only what was looked up tells its directory.
    shown.mount.lookup("/b/cgroup.events").unwrap();
    let someone = top.inhabit("b");
    let events = shown.events(|events| events.iter().any(|event| event.0 == directory));
    assert!(events.contains(&(directory, MODIFY, "cgroup.events".into())), "{events:x?}");
    let file = shown.watch("/b/cgroup.events", DELETE_SELF);
    drop(someone);
    top.remove("b");
    let mut events = shown.events(|events| events.iter().any(|event| event.1 & DELETE != 0));
    // Children, directory, parent: when the parent hears of it, all else was told.
    events.retain(|event| event.1 & MODIFY == 0);
    let expected = [
        (file, DELETE_SELF, String::new()),
        (file, IGNORED, String::new()),
        (directory, DELETE_SELF, String::new()),
        (directory, IGNORED, String::new()),
        (parent, DELETE | ISDIR, "b".into()),
    ];
    assert_eq!(events, expected);
    shown.mount.lookup("/b").unwrap_err();
}

#[test]
fn nothing_but_the_feed_changes_anything() {
    let Some(top) = Top::new("refuses") else { return };
    top.make("a");
    let shown = Shown::new(&top);
    let errno = |result: Result<(), kernfs::Error>| result.unwrap_err().errno();
    assert_eq!(errno(shown.mount.mkdir("/x")), Errno::ROFS);
    assert_eq!(errno(shown.mount.rmdir("/a")), Errno::ROFS);
    let file = shown.mount.open("/a/cgroup.freeze", Access::READ | Access::WRITE).unwrap();
    file.write(b"1").unwrap_err();
    assert_eq!(fs::read_to_string(top.path.join("a/cgroup.freeze")).unwrap(), "0\n");
    assert!(!top.path.join("x").exists());
}

#[test]
fn an_open_file_never_shows_the_next_bearer_of_its_path() {
    let Some(top) = Top::new("reuse") else { return };
    top.make("a");
    let mut shown = Shown::new(&top);
    let file = shown.mount.open("/a/cgroup.events", Access::READ).unwrap();
    let mut buffer = [0; 100];
    file.read_at(0, &mut buffer).unwrap();
    top.remove("a");
    let id = top.make("a");
    // The feed knows nothing of it yet.
    assert_eq!(file.read_at(0, &mut buffer).unwrap_err().errno(), Errno::NODEV);
    shown.until(|shown| shown.mount.lookup("/a").is_ok_and(|stat| stat.ino == id));
    assert_eq!(file.read_at(0, &mut buffer).unwrap_err().errno(), Errno::NODEV);
    assert_eq!(shown.read("/a/cgroup.events").unwrap(), "populated 0\nfrozen 0\n");
}

#[test]
fn files_come_and_go_with_their_controllers() {
    let Some(top) = Top::new("controllers") else { return };
    let offered = fs::read_to_string(top.path.join("cgroup.controllers")).unwrap();
    let Some(controller) = offered.split_whitespace().next() else {
        assert!(std::env::var_os("CI").is_none(), "no controller");
        return eprintln!("skipped: no controller to switch");
    };
    top.make("a");
    let mut shown = Shown::new(&top);
    let host = |top: &Top| fs::read_dir(top.path.join("a")).unwrap().count();
    let before = host(&top);
    for round in 0..3 {
        fs::write(top.path.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        let many = host(&top);
        assert!(many > before);
        shown.until(|shown| shown.mount.list("/a").unwrap().len() == many);
        let names = shown.mount.list("/a").unwrap();
        let added = names.iter().find(|name| name.starts_with(controller.as_bytes())).unwrap();
        let file = shown.watch(&format!("/a/{}", String::from_utf8_lossy(added)), DELETE_SELF);
        fs::write(top.path.join("cgroup.subtree_control"), format!("-{controller}")).unwrap();
        let events = shown.events(ends(file));
        assert_eq!(masks_of(&events, file), [DELETE_SELF, IGNORED], "round {round}");
        shown.until(|shown| shown.mount.list("/a").unwrap().len() == before);
    }
}

#[test]
fn the_roots_own_removal_ends_it() {
    let Some(top) = Top::new("root") else { return };
    let mut shown = Shown::new(&top);
    let file = shown.watch("/cgroup.events", MODIFY | DELETE_SELF);
    top.make("a");
    top.remove("a");
    top.remove("");
    let events = shown.events(ends(file));
    assert_eq!(masks_of(&events, file), [DELETE_SELF, IGNORED]);
    while shown.mirror.wait(Duration::from_millis(20)).unwrap() {}
    assert!(shown.mount.list("/").unwrap().is_empty());
}

#[test]
fn births_and_deaths_leave_nothing() {
    let Some(top) = Top::new("leaks") else { return };
    let mut shown = Shown::new(&top);
    shown.until(|shown| shown.mirror.usage().cgroups == 1);
    let before = shown.mirror.usage();
    let mut watched = 0;
    let mut ended = 0;
    for round in 0..200 {
        let id = top.make(&format!("{round}"));
        shown.until(|shown| shown.mount.lookup(format!("/{round}")).is_ok_and(|s| s.ino == id));
        shown.watch(&format!("/{round}/cgroup.events"), DELETE_SELF);
        watched += 1;
        top.remove(&format!("{round}"));
        let events = shown.events(|events| events.iter().any(|event| event.1 & IGNORED != 0));
        ended += events.iter().filter(|event| event.1 & DELETE_SELF != 0).count();
    }
    assert_eq!(ended, watched);
    shown.until(|shown| shown.mirror.usage() == before);
}

#[test]
fn what_is_no_cgroup_is_refused() {
    Mirror::new("/nonexistent".as_ref()).unwrap_err();
    Mirror::new("/tmp".as_ref()).unwrap_err();
}
