//! The order of a removal: children before their directory, that before what
//! the parent hears; by every way in, on every profile.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use fsnotify::{
    fanotify::{Fanotify, InitFlags, MarkFlags},
    inotify::{self, Inotify, WatchMask},
};
use kernfs::{Access, Attribute, Listener, Node, Operation, Profile};
use rustix::io::Errno;

use crate::{
    answers::fanotify_told,
    hierarchy::{ALL, Hierarchy},
};

/// `/g` with a file and a directory that has one, too; the letters of the table
/// are `F`, `D`, `f`, `d`, and `P` for the directory above.
fn nested(profile: Profile) -> Hierarchy {
    let world = Hierarchy::new(profile);
    world.mount.mkdir("/g/sub").unwrap();
    let dir = WatchMask::DELETE_SELF | WatchMask::DELETE;
    // Parents first, so that the order of the watches is not the expected one.
    for (label, path) in [
        ("P", "/"),
        ("D", "/g"),
        ("F", "/g/memory.events"),
        ("d", "/g/sub"),
        ("f", "/g/sub/memory.events"),
    ] {
        world.watch(label, path, dir);
    }
    world
}

/// Removes itself when written.
struct Suicide;

impl Attribute for Suicide {
    fn store(&self, operation: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        assert!(operation.remove_self());
        Ok(())
    }
}

fn two_rmdirs(world: &Hierarchy) {
    world.mount.rmdir("/g/sub").unwrap();
    world.mount.rmdir("/g").unwrap();
}

/// The owner of the tree removes all of it; on Linux that is silent until the
/// VFS looks.
fn subtree(world: &Hierarchy) {
    world.node("/g").remove();
    assert!(world.mount.lookup("/g").is_err());
}

/// The owner removes the children first, and one file before that.
fn piece_by_piece(world: &Hierarchy) {
    world.node("/g/sub").remove_child("memory.events").unwrap();
    world.node("/g").remove_child("sub").unwrap();
    world.node("/g").remove();
    assert!(world.mount.lookup("/g").is_err());
}

/// A controller is switched off, and before anything of that is told the
/// directories go.
fn controller_off_then_rmdirs(world: &Hierarchy) {
    world.disable_controller();
    two_rmdirs(world);
}

/// A directory goes by its owner while the one above goes by system call.
fn owner_then_rmdir(world: &Hierarchy) {
    world.node("/g/sub").remove();
    world.mount.rmdir("/g").unwrap();
}

/// A file removes itself, and then its directories go.
fn suicide_then_rmdirs(world: &Hierarchy) {
    world.node("/g/sub").remove_child("cgroup.events").unwrap();
    let file = world.node("/g/sub").make_file("cgroup.events", Arc::new(Suicide)).unwrap();
    file.activate();
    world.watch("f", "/g/sub/cgroup.events", WatchMask::DELETE_SELF);
    let open = world.mount.open("/g/sub/cgroup.events", Access::WRITE).unwrap();
    open.write(b"1").unwrap();
    drop(open);
    two_rmdirs(world);
}

/// Files changed, and none of that was told.
fn changed_then_rmdirs(world: &Hierarchy) {
    world.node("/g/memory.events").notify();
    world.node("/g/sub/memory.events").notify_later();
    two_rmdirs(world);
}

/// Held dentries delay on Linux; what is told then is in this order, too.
fn held_then_rmdirs(world: &Hierarchy) {
    let held = world.mount.open("/g/sub/memory.events", Access::READ).unwrap();
    two_rmdirs(world);
    drop(held);
    world.mount.reclaim();
}

/// Whether the parent hears of the removal of `D` and `d`.
const BY_CALL: [bool; 2] = [true, true];

type Way = (&'static str, fn(&Hierarchy), [bool; 2]);

const HELD: &str = "held, then rmdirs";

const WAYS: [Way; 8] = [
    ("rmdirs", two_rmdirs, BY_CALL),
    ("subtree", subtree, [false, false]),
    ("piece by piece", piece_by_piece, [false, false]),
    ("controller off, then rmdirs", controller_off_then_rmdirs, BY_CALL),
    ("owner, then rmdir", owner_then_rmdir, [true, false]),
    ("suicide, then rmdirs", suicide_then_rmdirs, BY_CALL),
    ("changed, then rmdirs", changed_then_rmdirs, BY_CALL),
    (HELD, held_then_rmdirs, BY_CALL),
];

/// What is told, each with what must not come before it.
const ORDER: [(&str, &[&str]); 10] = [
    ("f DELETE_SELF", &["f IGNORED"]),
    ("f IGNORED", &["d DELETE_SELF", OF_SUB]),
    ("d DELETE_SELF", &["d IGNORED"]),
    ("d IGNORED", &[OF_SUB, "D DELETE_SELF"]),
    ("F DELETE_SELF", &["F IGNORED"]),
    ("F IGNORED", &["D DELETE_SELF", OF_G]),
    ("D DELETE_SELF", &["D IGNORED"]),
    ("D IGNORED", &[OF_G]),
    (OF_SUB, &["D DELETE_SELF", OF_G]),
    (OF_G, &[]),
];

const OF_SUB: &str = "D DELETE|ISDIR sub";
const OF_G: &str = "P DELETE|ISDIR g";

#[test]
fn children_then_directory_then_parent_by_every_way_on_every_profile() {
    for (way, remove, [of_g, of_sub]) in WAYS {
        for profile in ALL {
            let world = nested(profile);
            remove(&world);
            let told = world.told();
            let at = |line: &str| told.iter().position(|other| other == line);
            let is_told = |line: &str| match line {
                OF_G => of_g,
                OF_SUB => of_sub,
                _ => profile != Profile::Linux70,
            };
            // What is held at its removal says so after the call, on Linux.
            let delayed = way == HELD && profile == Profile::Linux71;
            let bound =
                |later: &str| is_told(later) && !(delayed && [OF_G, OF_SUB].contains(&later));
            for (line, after) in ORDER {
                assert_eq!(at(line).is_some(), is_told(line), "{way}, {profile:?}: {told:?}");
                for later in after.iter().filter(|later| is_told(line) && bound(later)) {
                    assert!(at(line) < at(later), "{way}, {profile:?}: {later} in {told:?}");
                }
            }
        }
    }
}

/// What a listener was told, as `modified` or `removed` and the id.
#[derive(Default)]
struct Heard(Mutex<Vec<(&'static str, u64)>>);

impl Listener for Heard {
    fn modified(&self, node: &Arc<Node>) {
        self.0.lock().unwrap().push(("modified", node.id()));
    }

    fn removed(&self, node: &Arc<Node>) {
        self.0.lock().unwrap().push(("removed", node.id()));
    }
}

/// A change that comes after the end was told is told to nobody, also not to
/// those whose marks outlive the file: the mount's, the directory's, listeners.
#[test]
fn nothing_follows_the_end_that_was_told() {
    const MODIFY: u64 = 0x2;
    const DELETE_SELF: u64 = 0x400;
    let world = Hierarchy::new(Profile::Announced);
    let heard = Arc::new(Heard::default());
    let listener: Arc<dyn Listener> = heard.clone();
    world.tree.listen(Arc::downgrade(&listener));
    let flags = InitFlags::REPORT_FID | InitFlags::REPORT_DEFERRED | InitFlags::NONBLOCK;
    let group = Fanotify::new(&world.account, flags).unwrap();
    let add = MarkFlags::ADD | MarkFlags::FILESYSTEM;
    world.mount.mark(&group, add, MODIFY | DELETE_SELF, "/").unwrap();
    world.watch("D", "/g", WatchMask::MODIFY);
    world.watch("F", "/g/memory.events", WatchMask::MODIFY | WatchMask::DELETE_SELF);
    let file = world.node("/g/memory.events");
    file.notify();
    file.remove();
    // Before its end is told, a change still is.
    file.notify();
    let last = ["D MODIFY memory.events", "F MODIFY", "F DELETE_SELF", "F IGNORED"];
    assert_eq!(world.told(), last);
    let id = file.id();
    assert_eq!(fanotify_told(&group), [format!("MODIFY|DELETE_SELF fid={id}")]);
    file.notify_later();
    file.notify();
    assert_eq!(world.tree.pending(), 0);
    assert!(world.told().is_empty());
    assert!(fanotify_told(&group).is_empty());
    assert_eq!(*heard.0.lock().unwrap(), [("modified", id), ("removed", id)]);
}

/// A write that removes its own file is told to nobody after the file's end.
#[test]
fn a_write_that_removes_its_file_does_not_follow_the_end() {
    let world = Hierarchy::new(Profile::Announced);
    let file = world.node("/g").make_file("suicide", Arc::new(Suicide)).unwrap();
    file.activate();
    world.watch("D", "/g", WatchMask::MODIFY);
    let open = world.mount.open("/g/suicide", Access::WRITE).unwrap();
    open.write(b"1").unwrap();
    assert!(world.told().is_empty());
}

/// `shrink_dcache_parent` goes by the children's list, which has the youngest first: what was looked
/// up last is told first, whatever its name.
#[test]
fn on_linux_the_file_looked_up_last_is_told_first() {
    let [one, other] = ["cgroup.events", "memory.events"];
    for [first, last] in [[one, other], [other, one]] {
        let world = Hierarchy::new(Profile::Linux71);
        for file in [first, last] {
            world.watch(file, &format!("/g/{file}"), WatchMask::DELETE_SELF);
        }
        world.mount.rmdir("/g").unwrap();
        let expected = [last, first].map(|f| [format!("{f} DELETE_SELF"), format!("{f} IGNORED")]);
        assert_eq!(world.told(), expected.concat());
    }
}

/// What is pending when a directory goes is told by `rmdir` up to the directory's own removal on
/// `Announced`, and left to the worker on Linux.
#[test]
fn rmdir_tells_what_was_pending_before_the_removal_and_no_more() {
    /// A directory goes, and then something else changes.
    struct Meanwhile(Arc<Mutex<Option<Arc<Node>>>>);
    impl kernfs::SystemCalls for Meanwhile {
        fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
            node.remove();
            self.0.lock().unwrap().take().unwrap().notify();
            Ok(())
        }
    }
    for profile in ALL {
        let changes = Arc::new(Mutex::new(None));
        let calls = Some(Arc::new(Meanwhile(Arc::clone(&changes))) as _);
        let options = kernfs::Options { profile, system_calls: calls, ..Default::default() };
        let tree = kernfs::Tree::new(options);
        let [before, after] = ["before", "after"]
            .map(|name| tree.root().make_file(name, Arc::new(Vec::new)).unwrap());
        tree.root().make_dir("d").unwrap();
        *changes.lock().unwrap() = Some(after);
        before.notify();
        tree.mount().rmdir("/d").unwrap();
        let told_at_once = profile == Profile::Announced;
        assert_eq!(tree.pending(), if told_at_once { 1 } else { 2 }, "{profile:?}");
        tree.drain();
    }
}

/// The parent hears of a directory when all that another thread found gone in it is told, also if
/// somebody holds the directory's dentry, so that its own end is not told now.
#[test]
fn rmdir_waits_for_what_another_thread_announces() {
    let world = Hierarchy::new(Profile::Linux71);
    let blocked = Inotify::new(&world.account, inotify::InitFlags::NONBLOCK).unwrap();
    world.mount.watch(&blocked, "/g/memory.events", WatchMask::DELETE_SELF).unwrap();
    world.watch("P", "/", WatchMask::DELETE);
    let _held = world.mount.pin("/g").unwrap();
    let (entered, is_in) = mpsc::channel();
    let (go, leave) = mpsc::channel();
    let leave = Mutex::new(leave);
    blocked.on_ready(move || {
        entered.send(()).unwrap();
        leave.lock().unwrap().recv().unwrap();
    });
    world.disable_controller();
    let mount = &world.mount;
    let waits = thread::scope(|scope| {
        scope.spawn(|| assert!(mount.lookup("/g/memory.events").is_err()));
        is_in.recv().unwrap();
        let (removed, is_removed) = mpsc::channel();
        // Sent to nobody if it came too early.
        scope.spawn(move || drop(removed.send(mount.rmdir("/g"))));
        let waits = crate::life::still_empty(&is_removed);
        go.send(()).unwrap();
        waits && is_removed.recv().unwrap().is_ok()
    });
    assert!(waits);
    assert_eq!(world.told(), [OF_G]);
}
