//! Mounts: several of one tree, paths, and unmounting.

use std::sync::Arc;

use fsnotify::inotify::WatchMask;
use kernfs::{Access, Options, Profile, SystemCalls, Tree};
use rustix::io::Errno;

use crate::hierarchy::{ALL, FILES, Hierarchy, errno};

/// 2.1: each super block has its own inodes; the worker serves all of them.
#[test]
fn every_mount_is_told() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        let other = world.tree.mount();
        world.watch("one", "/g/memory.events", WatchMask::MODIFY);
        let wd = other.watch(&world.inotify, "/g/memory.events", WatchMask::MODIFY).unwrap();
        assert_eq!(wd, 2, "another inode");
        assert_ne!(world.mount.fsid(), other.fsid());
        world.node("/g/memory.events").notify();
        world.tree.drain();
        assert_eq!(world.inotify.queued(), 2, "{profile:?}");
    }
}

/// 3.4: UNMOUNT, then IGNORED.
#[test]
fn unmounting_tells_every_watch_and_leaves_nothing() {
    let world = Hierarchy::new(Profile::Linux71);
    let other = world.tree.mount();
    other.watch(&world.inotify, "/g", WatchMask::MODIFY).unwrap();
    drop(other);
    let mut buffer = [0; 64];
    let read = world.inotify.read(&mut buffer).unwrap();
    let told: Vec<_> = fsnotify::inotify::records(&buffer[..read]).map(|r| r.mask).collect();
    let unmount = fsnotify::Mask::UNMOUNT | fsnotify::Mask::ISDIR;
    assert_eq!(told, [unmount, fsnotify::Mask::IN_IGNORED]);
    assert_eq!(world.account.marks(), 0);
}

/// Of two mounts one goes; the other is still told.
#[test]
fn unmounting_is_none_of_another_mounts() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("F", "/g/memory.events", WatchMask::MODIFY);
        drop(world.tree.mount());
        world.node("/g/memory.events").notify();
        assert_eq!(world.told(), ["F MODIFY"], "{profile:?}");
    }
}

/// What is cached, and how much of it nobody holds.
#[test]
fn a_mount_counts_what_it_has_cached() {
    let world = Hierarchy::new(Profile::Linux71);
    let cached = || {
        let cached = world.mount.cached();
        (cached.inodes, cached.dentries, cached.unused)
    };
    world.mount.reclaim();
    assert_eq!(cached(), (1, 1, 0), "the root");
    let pins = FILES.map(|file| world.mount.pin(format!("/g/{file}")).unwrap());
    assert_eq!(cached(), (5, 5, 0));
    drop(pins);
    assert_eq!(cached(), (5, 5, 3), "the directory is held by what is in it");
    world.mount.reclaim();
    assert_eq!(cached(), (1, 1, 0));
}

/// path_resolution(7).
#[test]
fn paths() {
    let world = Hierarchy::new(Profile::Linux71);
    let ino = |path: &str| world.mount.lookup(path).map(|stat| stat.ino);
    let g = world.node("/g").id();
    for path in ["g", "/g", "//g/", "/g/.", "/g/../g", "/../g"] {
        assert_eq!(ino(path), Ok(g), "{path}");
    }
    assert_eq!(errno(ino("/none")), Errno::NOENT);
    assert_eq!(errno(ino("/g/memory.events/x")), Errno::NOTDIR);
    assert_eq!(errno(ino(&"n".repeat(4096))), Errno::NAMETOOLONG);
    assert_eq!(errno(ino(&"n".repeat(4095))), Errno::NOENT);
    assert_eq!(errno(world.mount.open("/g", Access::READ)), Errno::ISDIR);
    assert_eq!(errno(world.mount.list("/g/memory.events")), Errno::NOTDIR);
    assert_eq!(world.mount.list("/g").unwrap().len(), 3);
}

/// read(2), write(2): EBADF.
#[test]
fn files_of_the_wrong_access_refuse() {
    let world = Hierarchy::new(Profile::Linux71);
    let read = world.mount.open("/g/memory.high", Access::READ).unwrap();
    assert_eq!(errno(read.write(b"1")), Errno::BADF);
    let write = world.mount.open("/g/memory.high", Access::WRITE).unwrap();
    assert_eq!(errno(write.read()), Errno::BADF);
}

/// 2.5: "v2 has no rename op => EPERM".
#[test]
fn system_calls_that_the_tree_lacks_are_eperm() {
    let tree = Tree::new(Options::default());
    let mount = tree.mount();
    assert_eq!(errno(mount.mkdir("/x")), Errno::PERM);
    assert_eq!(errno(mount.rmdir("/x")), Errno::PERM);
    assert_eq!(errno(mount.rename("/x", "/y")), Errno::PERM);
    // cgroup v2 has no rename.
    let world = Hierarchy::new(Profile::Linux71);
    assert_eq!(errno(world.mount.rename("/g", "/h")), Errno::PERM);
}

/// mkdir(2), rmdir(2); EBUSY is cgroup's (2.7).
#[test]
fn mkdir_and_rmdir_refuse_as_linux_does() {
    let world = Hierarchy::new(Profile::Linux71);
    assert_eq!(errno(world.mount.mkdir("/g")), Errno::EXIST);
    assert_eq!(errno(world.mount.mkdir("/none/x")), Errno::NOENT);
    assert_eq!(errno(world.mount.mkdir(format!("/{}", "n".repeat(4096)))), Errno::NAMETOOLONG);
    assert_eq!(errno(world.mount.rmdir("/none")), Errno::NOENT);
    assert_eq!(errno(world.mount.rmdir("/g/memory.events")), Errno::NOTDIR);
    world.mount.mkdir("/g/child").unwrap();
    assert_eq!(errno(world.mount.rmdir("/g")), Errno::BUSY);
}

/// The only system call there is.
struct Moving;

impl SystemCalls for Moving {
    fn rename(
        &self,
        node: &Arc<kernfs::Node>,
        to: &Arc<kernfs::Node>,
        name: &[u8],
    ) -> Result<(), Errno> {
        node.rename(to, name).map_err(|error| error.errno())
    }
}

/// A tree of `/a/f` and `/b` in which files can be moved.
fn movable(content: &'static [u8]) -> Tree {
    let system_calls = Some(Arc::new(Moving) as _);
    let tree = Tree::new(Options { system_calls, ..Options::default() });
    for dir in ["a", "b"] {
        tree.root().make_dir(dir).unwrap();
    }
    let content = Arc::new(move || content.to_vec());
    tree.root().child("a").unwrap().make_file("f", content).unwrap();
    tree
}

/// Those that a tree's `SystemCalls` leave out.
#[test]
fn system_calls_that_were_left_out_are_eperm() {
    let tree = movable(b"");
    let mount = tree.mount();
    assert_eq!(errno(mount.mkdir("/x")), Errno::PERM);
    assert_eq!(errno(mount.rmdir("/a")), Errno::PERM);
}

/// `d_move`: who has the file open goes with it, and nothing is held that was not before.
#[test]
fn an_open_file_is_moved_with_its_name() {
    let tree = movable(b"content");
    let mount = tree.mount();
    let account = fsnotify::Account::new(fsnotify::Limits::default());
    let flags = fsnotify::inotify::InitFlags::NONBLOCK;
    let inotify = fsnotify::inotify::Inotify::new(&account, flags).unwrap();
    let file = mount.open("/a/f", Access::READ).unwrap();
    let mut cookies = Vec::new();
    for (dir, from, to) in [("/b", "/a/f", "/b/g"), ("/a", "/b/g", "/a/h")] {
        let wd = mount.watch(&inotify, dir, WatchMask::MOVED_TO | WatchMask::ACCESS).unwrap();
        mount.rename(from, to).unwrap();
        file.read_at(0, &mut [0; 8]).unwrap();
        let mut buffer = [0; 256];
        let read = inotify.read(&mut buffer).unwrap();
        let told: Vec<_> = fsnotify::inotify::records(&buffer[..read]).collect();
        let name = Some(&to.as_bytes()[3..]);
        assert_eq!((told[0].wd, told[0].name), (wd, name));
        assert_eq!((told[1].wd, told[1].name), (wd, name), "read under its new name");
        cookies.push(told[0].cookie);
        inotify.rm_watch(wd).unwrap();
        inotify.read(&mut buffer).unwrap();
    }
    assert_ne!(cookies[0], cookies[1], "each move has its own");
    drop(file);
    mount.reclaim();
    assert_eq!(mount.cached().dentries, 1);
}

/// 2.5: events of a rename come from the system call.
#[test]
fn a_rename_by_system_call_is_told_in_pairs() {
    let tree = movable(b"");
    let mount = tree.mount();
    let account = fsnotify::Account::new(fsnotify::Limits::default());
    let flags = fsnotify::inotify::InitFlags::NONBLOCK;
    let inotify = fsnotify::inotify::Inotify::new(&account, flags).unwrap();
    let watch = |path: &str| mount.watch(&inotify, path, WatchMask::ALL_EVENTS).unwrap();
    let (a, b, f) = (watch("/a"), watch("/b"), watch("/a/f"));
    mount.rename("/a/f", "/b/g").unwrap();
    let mut buffer = [0; 256];
    let read = inotify.read(&mut buffer).unwrap();
    let told: Vec<_> = fsnotify::inotify::records(&buffer[..read]).collect();
    assert_eq!((told[0].wd, told[0].name), (a, Some(&b"f"[..])));
    assert_eq!((told[1].wd, told[1].name), (b, Some(&b"g"[..])));
    assert_eq!(told[0].cookie, told[1].cookie);
    assert_ne!(told[0].cookie, 0);
    assert_eq!((told[2].wd, told[2].mask), (f, fsnotify::Mask::MOVE_SELF));
    assert_eq!(
        mount.lookup("/b/g").unwrap().ino,
        tree.root().child("b").unwrap().child("g").unwrap().id()
    );
    assert_eq!(watch("/b/g"), f, "the same inode");
}

/// readdir(3) gives names, kinds and inode numbers, and looks nothing up.
#[test]
fn a_listing_caches_nothing() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.mount.mkdir("/g/child").unwrap();
        world.mount.reclaim();
        let pin = world.mount.pin("/g").unwrap();
        let before = world.mount.cached();
        let entries = pin.entries().unwrap();
        assert_eq!(world.mount.cached(), before, "{profile:?}");
        let names: Vec<_> = entries.iter().map(|entry| (&*entry.name, entry.is_dir)).collect();
        let files = FILES.map(|name| (name.as_bytes(), false));
        assert_eq!(names, [&files[..1], &[(b"child".as_slice(), true)], &files[1..]].concat());
        assert_eq!(entries[1].ino, world.node("/g/child").id());
        assert_eq!(pin.subdirectories(), 1);
        world.mount.mkdir("/other").unwrap();
        let other = world.mount.pin("/other").unwrap();
        world.node("/g/child").rename(&world.node("/other"), "moved").unwrap();
        assert_eq!((pin.subdirectories(), other.subdirectories()), (0, 1), "{profile:?}");
        world.node("/other/moved").rename(&world.node("/other"), "again").unwrap();
        assert_eq!(other.subdirectories(), 1);
        world.node("/other/again").rename(&world.node("/g"), "child").unwrap();
        assert_eq!(errno(pin.pin("memory.events").unwrap().entries()), Errno::NOTDIR);
        world.mount.rmdir("/g/child").unwrap();
        assert_eq!(pin.subdirectories(), 0);
        world.mount.rmdir("/g").unwrap();
        assert_eq!(errno(pin.entries()), Errno::NOENT);
    }
}

/// Whatever was held, looked up, removed and reclaimed: once nobody holds anything, all can go.
#[test]
fn nothing_stays_cached_that_nobody_holds() {
    for profile in ALL {
        for seed in 0..200_u64 {
            let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |bound: u64| {
                chance ^= chance >> 12;
                chance ^= chance << 25;
                chance ^= chance >> 27;
                (chance.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
            };
            let world = Hierarchy::new(profile);
            let (mut files, mut pins) = (Vec::new(), Vec::new());
            let paths = ["/g", "/g/a", "/g/a/b", "/h"];
            for _ in 0..40 {
                let path = paths[below(4) as usize];
                match below(8) {
                    0 | 1 => drop(world.mount.mkdir(path)),
                    2 => drop(world.mount.rmdir(path)),
                    3 => files.extend(
                        world.mount.open(format!("{path}/memory.events"), Access::READ).ok(),
                    ),
                    4 => pins.extend(world.mount.pin(path).ok()),
                    5 => drop(files.pop()),
                    6 => drop(pins.pop()),
                    _ => world.mount.reclaim(),
                }
            }
            drop((files, pins));
            world.mount.reclaim();
            assert_eq!(world.mount.cached().dentries, 1, "{profile:?}, seed {seed}");
        }
    }
}
