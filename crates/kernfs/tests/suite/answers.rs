//! The review's questions and the answers to them (design 3.3).

use std::sync::Arc;

use fsnotify::{
    fanotify::{Fanotify, InfoKind, InitFlags, MarkFlags, records},
    inotify::{self, Inotify, WatchMask},
};
use kernfs::{Answer, Options, Profile, Tree};

use crate::hierarchy::{ALL, Hierarchy, errno, kernel_name};

const FID: InitFlags = InitFlags::REPORT_FID
    .union(InitFlags::REPORT_DIR_FID)
    .union(InitFlags::REPORT_NAME)
    .union(InitFlags::REPORT_TARGET_FID)
    .union(InitFlags::NONBLOCK);

const DELETE_SELF: u64 = 0x400;
const MODIFY: u64 = 0x2;
const CREATE: u64 = 0x100;
const DELETE: u64 = 0x200;
const ONDIR: u64 = 0x4000_0000;

/// Each record as its events, the ids its infos name, and the name.
pub(crate) fn fanotify_told(group: &Fanotify) -> Vec<String> {
    let mut told = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(read) = group.read(&mut buffer) {
        for record in records(&buffer[..read]) {
            let mut line = kernel_name(record.metadata.mask);
            for info in record.infos() {
                let id = info.handle.id().unwrap();
                let name = info.name.map(String::from_utf8_lossy);
                line += &match info.kind {
                    InfoKind::Fid => format!(" fid={id}"),
                    InfoKind::Dfid => format!(" dfid={id}"),
                    InfoKind::DfidName => format!(" dfid={id}/{}", name.unwrap()),
                };
            }
            told.push(line);
        }
    }
    told
}

/// "How will the application know that it can rely on the event?"
#[test]
fn a_tree_states_what_can_be_relied_on() {
    let capabilities = ALL.map(Profile::capabilities);
    let of = |read: fn(&kernfs::Capabilities) -> Answer| capabilities.each_ref().map(read);
    let (yes, no) = (Answer::Yes, Answer::No);
    assert_eq!(of(|c| c.announces_removal), [no, yes, yes]);
    assert_eq!(of(|c| c.announces_every_removal), [no, no, yes]);
    assert_eq!(of(|c| c.keeps_last_modification), [no, no, yes]);
    assert_eq!(of(|c| c.tells_removals_to_super_block), [no, no, yes]);
    assert_eq!(of(|c| c.tells_deferred_apart), [no, no, yes]);
    assert_eq!(Tree::new(Options::default()).capabilities(), Profile::Announced.capabilities());
}

/// "Remote notification should be opt-in": fanotify groups by an init flag.
#[test]
fn fanotify_groups_opt_into_deferred_events() {
    let world = Hierarchy::new(Profile::Announced);
    let without = Fanotify::new(&world.account, FID).unwrap();
    let with = Fanotify::new(&world.account, FID | InitFlags::REPORT_DEFERRED).unwrap();
    for group in [&without, &with] {
        let mask = MODIFY | DELETE_SELF | ONDIR;
        world.mount.mark(group, MarkFlags::ADD | MarkFlags::FILESYSTEM, mask, "/").unwrap();
    }
    world.node("/g/memory.events").notify();
    world.mount.rmdir("/g").unwrap();
    world.tree.drain();
    assert!(fanotify_told(&without).is_empty());
    assert_eq!(fanotify_told(&with).len(), 1 + 4);
}

/// Inotify groups get both kinds, or local ones only on request.
#[test]
fn inotify_groups_may_decline_deferred_events() {
    let world = Hierarchy::new(Profile::Announced);
    let flags = inotify::InitFlags::NONBLOCK | inotify::InitFlags::LOCAL_ONLY;
    let local = Inotify::new(&world.account, flags).unwrap();
    let wd = world.mount.watch(&local, "/g/memory.events", WatchMask::ALL_EVENTS).unwrap();
    world.node("/g/memory.events").notify();
    world.mount.rmdir("/g").unwrap();
    world.tree.drain();
    let mut buffer = [0; 64];
    let read = local.read(&mut buffer).unwrap();
    let told: Vec<_> = inotify::records(&buffer[..read]).map(|r| (r.wd, r.mask)).collect();
    // IGNORED is the end of the watch, not an event of the file.
    assert_eq!(told, [(wd, fsnotify::Mask::IN_IGNORED)]);
}

/// "The Linux profiles do as Linux does", and asking them for the difference
/// is an error, not silence.
#[test]
fn a_tree_that_cannot_tell_them_apart_refuses_to() {
    for profile in [Profile::Linux70, Profile::Linux71] {
        let world = Hierarchy::new(profile);
        let flags = inotify::InitFlags::NONBLOCK | inotify::InitFlags::LOCAL_ONLY;
        let local = Inotify::new(&world.account, flags).unwrap();
        let refused = world.mount.watch(&local, "/g", WatchMask::MODIFY);
        assert_eq!(errno(refused), rustix::io::Errno::OPNOTSUPP);
        let group = Fanotify::new(&world.account, FID | InitFlags::REPORT_DEFERRED).unwrap();
        let add = MarkFlags::ADD | MarkFlags::FILESYSTEM;
        let refused = world.mount.mark(&group, add, MODIFY, "/");
        assert_eq!(errno(refused), rustix::io::Errno::OPNOTSUPP);
        // Without asking, deferred events come as on Linux.
        let group = Fanotify::new(&world.account, FID).unwrap();
        world.mount.mark(&group, add, MODIFY, "/").unwrap();
        world.mount.lookup("/g/memory.events").unwrap();
        world.node("/g/memory.events").notify();
        world.tree.drain();
        assert_eq!(fanotify_told(&group).len(), 1);
    }
}

/// "IN_DELETE to the parent without IN_CREATE is arbitrary": of what the owner
/// of the tree does, the parent is told neither; of system calls, both.
#[test]
fn the_parent_is_told_of_creation_and_removal_alike() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        world.watch("P", "/g", WatchMask::CREATE | WatchMask::DELETE);
        let file = world.node("/g").make_file("new", Arc::new(Vec::new)).unwrap();
        file.activate();
        file.remove();
        assert!(world.told().is_empty(), "{profile:?}");
        world.mount.mkdir("/g/sub").unwrap();
        world.mount.rmdir("/g/sub").unwrap();
        assert_eq!(world.told(), ["P CREATE|ISDIR sub", "P DELETE|ISDIR sub"], "{profile:?}");
    }
}

/// "A pending MODIFY may be overwritten": it may not, also in one batch.
#[test]
fn a_removal_never_overwrites_a_pending_modification() {
    let world = Hierarchy::new(Profile::Announced);
    world.watch("F", "/g/memory.events", WatchMask::MODIFY | WatchMask::DELETE_SELF);
    let node = world.node("/g/memory.events");
    node.notify();
    node.remove();
    assert_eq!(world.tree.pending(), 1, "one place in the list for both");
    assert_eq!(world.told(), ["F MODIFY", "F DELETE_SELF", "F IGNORED"]);
}

/// "It should be possible to set a super block fanotify watch and get all the
/// FAN_DELETE_SELF events", also of what nobody ever looked up.
#[test]
fn a_super_block_mark_hears_of_every_removal() {
    let world = Hierarchy::new(Profile::Announced);
    let group = Fanotify::new(&world.account, FID | InitFlags::REPORT_DEFERRED).unwrap();
    let add = MarkFlags::ADD | MarkFlags::FILESYSTEM;
    world.mount.mark(&group, add, DELETE_SELF | ONDIR, "/").unwrap();
    let g = world.node("/g");
    let mut expected: Vec<_> = g
        .child_names()
        .iter()
        .map(|name| format!("DELETE_SELF fid={}", g.child(name).unwrap().id()))
        .collect();
    expected.push(format!("DELETE_SELF|ISDIR dfid={}/.", g.id()));
    world.mount.rmdir("/g").unwrap();
    world.tree.drain();
    assert_eq!(fanotify_told(&group), expected, "children before parents, each once");
}

/// kernel-semantics 3.5 (A7): the same mark on 7.1 and later.
#[test]
fn a_super_block_mark_on_linux_hears_of_cached_files_only() {
    for (profile, hears) in [(Profile::Linux70, false), (Profile::Linux71, true)] {
        let world = Hierarchy::new(profile);
        let group = Fanotify::new(&world.account, FID).unwrap();
        let add = MarkFlags::ADD | MarkFlags::FILESYSTEM;
        let mask = CREATE | DELETE | DELETE_SELF | MODIFY | ONDIR;
        world.mount.mark(&group, add, mask, "/").unwrap();
        world.mount.mkdir("/h").unwrap();
        let h = world.node("/h");
        let file = h.child("memory.events").unwrap();
        file.notify();
        world.tree.drain();
        world.mount.lookup("/h/memory.events").unwrap();
        file.notify();
        world.tree.drain();
        world.mount.rmdir("/h").unwrap();
        world.tree.drain();
        let (h, file) = (h.id(), file.id());
        let gone = [format!("DELETE_SELF fid={file}"), format!("DELETE_SELF|ISDIR dfid={h}/.")];
        let mut expected = vec![
            // The new name's dentry is negative: no target.
            "CREATE|ISDIR dfid=1/h".to_owned(),
            format!("MODIFY dfid={h}/memory.events fid={file}"),
        ];
        expected.extend(gone.into_iter().filter(|_| hears));
        expected.push(format!("DELETE|ISDIR dfid=1/h fid={h}"));
        assert_eq!(fanotify_told(&group), expected, "{profile:?}");
    }
}

/// 3.5 (B6): an evictable mark goes with its inode, without a word.
#[test]
fn an_evictable_mark_vanishes_with_reclaim() {
    for profile in ALL {
        let world = Hierarchy::new(profile);
        let group = Fanotify::new(&world.account, FID).unwrap();
        let add = MarkFlags::ADD | MarkFlags::EVICTABLE;
        world.mount.mark(&group, add, DELETE_SELF, "/g/memory.events").unwrap();
        assert_eq!((group.marks(), world.mount.cached().inodes), (1, 3));
        world.mount.reclaim();
        assert_eq!((group.marks(), world.mount.cached().inodes), (0, 1));
        assert_eq!(world.account.marks(), 0);
        assert!(fanotify_told(&group).is_empty());
    }
}

/// Trap 10: a group that reports descriptors never hears of a notification.
#[test]
fn trap_10_a_group_without_handles_hears_of_paths_only() {
    let world = Hierarchy::new(Profile::Linux71);
    let group = Fanotify::new(&world.account, InitFlags::NONBLOCK).unwrap();
    world.mount.mark(&group, MarkFlags::ADD, MODIFY, "/g/memory.events").unwrap();
    world.node("/g/memory.events").notify();
    world.tree.drain();
    assert!(fanotify_told(&group).is_empty());
    let file = world.mount.open("/g/memory.events", kernfs::Access::WRITE).unwrap();
    file.write(b"1").unwrap();
    assert_eq!(fanotify_told(&group), ["MODIFY"]);
}

/// FAN_MARK_ONLYDIR is about the path, also for a mark on the whole mount.
#[test]
fn a_mark_for_directories_only_looks_at_the_path() {
    let world = Hierarchy::new(Profile::Linux71);
    let group = Fanotify::new(&world.account, FID).unwrap();
    for flags in [MarkFlags::ADD, MarkFlags::ADD | MarkFlags::FILESYSTEM] {
        let flags = flags | MarkFlags::ONLYDIR;
        let refused = world.mount.mark(&group, flags, MODIFY, "/g/memory.events");
        assert_eq!(errno(refused), rustix::io::Errno::NOTDIR);
        world.mount.mark(&group, flags, MODIFY, "/g").unwrap();
    }
}

/// fanotify(7): a record says by which process it is, and in which file system.
#[test]
fn records_name_the_caller_or_the_worker_and_the_mount() {
    for profile in ALL {
        let options = Options { profile, pid: 11, worker_pid: 12, ..Options::default() };
        let tree = Tree::new(options);
        let node = tree.root().make_file("f", Arc::new(Vec::new)).unwrap();
        let mount = tree.mount();
        let account = fsnotify::Account::new(fsnotify::Limits::default());
        let apart = profile == Profile::Announced;
        let deferred = if apart { InitFlags::REPORT_DEFERRED } else { InitFlags::empty() };
        let group = Fanotify::new(&account, FID | deferred).unwrap();
        mount.mark(&group, MarkFlags::ADD | MarkFlags::FILESYSTEM, MODIFY | 0x20, "/").unwrap();
        let pids = || {
            let mut buffer = [0; 4096];
            let read = group.read(&mut buffer).unwrap();
            let pid = |record: fsnotify::fanotify::Record<'_>| {
                assert!(record.infos().count() > 0);
                assert!(record.infos().all(|info| info.fsid == mount.fsid()));
                record.metadata.pid
            };
            records(&buffer[..read]).map(pid).collect::<Vec<_>>()
        };
        let file = mount.open("/f", kernfs::Access::READ).unwrap();
        assert_eq!(pids(), [11], "{profile:?}");
        node.notify();
        tree.drain();
        assert_eq!(pids(), [12], "{profile:?}");
        drop(file);
    }
}
