//! Every schedule of small models: two or three threads, one question each.
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p kernfs --test loom`.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fsnotify::{
    Account, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask, records},
};
use kernfs::{Access, Attribute, Node, Operation, Options, Profile, SuperBlock, SystemCalls, Tree};
use loom::{
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
};
use rustix::io::Errno;

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(run);
}

struct Calls;

impl SystemCalls for Calls {
    fn rmdir(&self, node: &Arc<Node>) -> Result<(), Errno> {
        node.remove();
        Ok(())
    }
}

/// A tree with one file, mounted, and an inotify instance.
struct World {
    tree: Arc<Tree>,
    node: Arc<Node>,
    mount: Arc<SuperBlock>,
    inotify: Arc<Inotify>,
    account: Arc<Account>,
}

impl World {
    fn new(profile: Profile, attribute: Arc<dyn Attribute>) -> Self {
        let system_calls: Option<Arc<dyn SystemCalls>> = Some(Arc::new(Calls));
        let options = Options { profile, system_calls, ..Options::default() };
        let tree = Arc::new(Tree::new(options));
        let node = tree.root().make_file("f", attribute).unwrap();
        let mount = Arc::new(tree.mount());
        let account = Account::new(Limits::default());
        let inotify = Arc::new(Inotify::new(&account, InitFlags::NONBLOCK).unwrap());
        Self { tree, node, mount, inotify, account }
    }

    fn watched(profile: Profile) -> Self {
        let world = Self::new(profile, Arc::new(Vec::new));
        world.watch().unwrap();
        world
    }

    fn watch(&self) -> Result<i32, kernfs::Error> {
        watch(&self.mount, &self.inotify)
    }

    fn told(&self) -> Vec<Mask> {
        let mut buffer = [0; 256];
        let read = self.inotify.read(&mut buffer).unwrap_or(0);
        records(&buffer[..read]).map(|record| record.mask).collect()
    }
}

fn watch(mount: &SuperBlock, inotify: &Inotify) -> Result<i32, kernfs::Error> {
    mount.watch(inotify, "/f", WatchMask::MODIFY | WatchMask::DELETE_SELF)
}

const LAST_WORD: [Mask; 3] = [Mask::MODIFY, Mask::DELETE_SELF, Mask::IN_IGNORED];

/// A pending change and a removal are both told, in order, whenever the worker
/// runs.
#[test]
fn a_change_and_a_removal_are_told_in_order_whenever_the_worker_runs() {
    model(|| {
        let world = World::watched(Profile::Announced);
        let worker = thread::spawn({
            let tree = Arc::clone(&world.tree);
            move || tree.drain()
        });
        world.node.notify();
        world.node.remove();
        worker.join().unwrap();
        world.tree.drain();
        assert_eq!(world.told(), LAST_WORD);
        assert_eq!(world.account.marks(), 0);
    });
}

/// Notify against remove: whoever comes first, the end is told last and once.
#[test]
fn notify_against_remove() {
    model(|| {
        let world = World::watched(Profile::Announced);
        let notifier = thread::spawn({
            let node = Arc::clone(&world.node);
            move || node.notify()
        });
        world.node.remove();
        world.tree.drain();
        notifier.join().unwrap();
        world.tree.drain();
        let told = world.told();
        assert!(told == LAST_WORD || told == LAST_WORD[1..], "{told:?}");
        assert_eq!(world.account.marks(), 0);
    });
}

/// Two threads notify, a third delivers: nothing is lost, nothing told twice
/// as much.
#[test]
fn two_notifiers_and_the_worker() {
    model(|| {
        let world = World::watched(Profile::Linux71);
        let notifier = thread::spawn({
            let node = Arc::clone(&world.node);
            move || node.notify()
        });
        let worker = thread::spawn({
            let tree = Arc::clone(&world.tree);
            move || tree.drain()
        });
        world.node.notify();
        notifier.join().unwrap();
        worker.join().unwrap();
        world.tree.drain();
        let told = world.told();
        assert!(!told.is_empty() && told.len() <= 2, "{told:?}");
    });
}

#[test]
fn the_worker_against_the_removal_of_a_mark() {
    model(|| {
        let world = World::watched(Profile::Announced);
        world.node.notify();
        let worker = thread::spawn({
            let tree = Arc::clone(&world.tree);
            move || tree.drain()
        });
        world.inotify.rm_watch(1).unwrap();
        worker.join().unwrap();
        let told = world.told();
        let all = [Mask::MODIFY, Mask::IN_IGNORED];
        assert!(told == all || told == all[1..], "{told:?}");
        assert_eq!(world.account.marks(), 0);
    });
}

/// A mark added while a change is delivered hears of it or not, and of the next
/// in any case.
#[test]
fn the_worker_against_the_addition_of_a_mark() {
    for profile in [Profile::Linux71, Profile::Announced] {
        model(move || {
            let world = World::new(profile, Arc::new(Vec::new));
            world.node.notify();
            let worker = thread::spawn({
                let tree = Arc::clone(&world.tree);
                move || tree.drain()
            });
            world.watch().unwrap();
            worker.join().unwrap();
            let first = world.told();
            assert!(first.is_empty() || first == [Mask::MODIFY], "{first:?}");
            world.node.notify();
            world.tree.drain();
            assert_eq!(world.told(), [Mask::MODIFY]);
        });
    }
}

/// A mark added while the file goes is refused or told of the end: also on
/// 7.1 once the name is looked up again (the bug fixed in 7.3.2).
#[test]
fn the_addition_of_a_mark_against_removal() {
    for profile in [Profile::Linux71, Profile::Announced] {
        model(move || {
            let world = World::new(profile, Arc::new(Vec::new));
            let remover = thread::spawn({
                let (node, tree) = (Arc::clone(&world.node), Arc::clone(&world.tree));
                move || {
                    node.remove();
                    tree.drain();
                }
            });
            let added = world.watch();
            remover.join().unwrap();
            assert!(world.mount.lookup("/f").is_err());
            let told = world.told();
            match added {
                Ok(_) if profile == Profile::Linux71 => assert_eq!(told, LAST_WORD[1..]),
                // The event may have passed before the mark was there; its end
                // is told in any case.
                Ok(_) => assert_eq!(told.last(), Some(&Mask::IN_IGNORED), "{told:?}"),
                Err(_) => assert!(told.is_empty()),
            }
            assert_eq!((world.account.marks(), world.mount.cached().inodes), (0, 1));
        });
    }
}

#[derive(Default)]
struct Counted {
    released: AtomicU32,
}

impl Attribute for Counted {
    fn show(&self, _: &Operation<'_>, _: &mut Vec<u8>) -> Result<(), Errno> {
        Ok(())
    }

    fn has_release(&self) -> bool {
        true
    }

    fn release(&self, _: &Node) {
        self.released.fetch_add(1, SeqCst);
    }
}

/// Last close against removal: the attribute is told once, and nothing stays.
#[test]
fn last_close_against_removal() {
    model(|| {
        let counted = Arc::new(Counted::default());
        let world = World::new(Profile::Linux71, counted.clone());
        let file = world.mount.open("/f", Access::READ).unwrap();
        let closer = thread::spawn(move || drop(file));
        world.node.remove();
        closer.join().unwrap();
        assert_eq!(counted.released.load(SeqCst), 1);
        world.mount.reclaim();
        let cached = world.mount.cached();
        assert_eq!((cached.inodes, cached.dentries), (1, 1));
    });
}

/// Open against removal: an open file is ended by the removal or was refused.
#[test]
fn open_against_removal() {
    model(|| {
        let counted = Arc::new(Counted::default());
        let world = World::new(Profile::Linux71, counted.clone());
        let remover = thread::spawn({
            let node = Arc::clone(&world.node);
            move || node.remove()
        });
        let opened = world.mount.open("/f", Access::READ);
        remover.join().unwrap();
        assert_eq!(counted.released.load(SeqCst), u32::from(opened.is_ok()));
    });
}

/// Group drop against delivery.
#[test]
fn a_group_dropped_under_delivery_leaves_nothing() {
    model(|| {
        let world = World::watched(Profile::Announced);
        world.node.notify();
        world.node.remove();
        let World { tree, node, mount, inotify, account } = world;
        let worker = thread::spawn({
            let tree = Arc::clone(&tree);
            move || tree.drain()
        });
        drop(inotify);
        worker.join().unwrap();
        assert_eq!((account.groups(), account.marks()), (0, 0));
        mount.reclaim();
        assert_eq!(mount.cached().inodes, 1);
        drop(node);
        assert_eq!(tree.nodes(), 1);
    });
}

struct Busy {
    running: AtomicU32,
}

impl Attribute for Busy {
    fn show(&self, _: &Operation<'_>, _: &mut Vec<u8>) -> Result<(), Errno> {
        self.running.fetch_add(1, SeqCst);
        self.running.fetch_sub(1, SeqCst);
        Ok(())
    }
}

/// Removal returns when no operation runs, and none starts after it.
#[test]
fn drain_waits_for_operations() {
    model(|| {
        let busy = Arc::new(Busy { running: AtomicU32::new(0) });
        let world = World::new(Profile::Linux71, busy.clone());
        let file = world.mount.open("/f", Access::READ).unwrap();
        let reader = thread::spawn(move || drop(file.read_at(0, &mut [0; 8])));
        world.node.remove();
        assert_eq!(busy.running.load(SeqCst), 0);
        reader.join().unwrap();
    });
}

#[derive(Default)]
struct Suicide {
    wins: AtomicU32,
}

impl Attribute for Suicide {
    fn store(&self, operation: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        if operation.remove_self() {
            self.wins.fetch_add(1, SeqCst);
        }
        Ok(())
    }
}

#[test]
fn two_that_remove_themselves() {
    model(|| {
        let suicide = Arc::new(Suicide::default());
        let world = World::new(Profile::Announced, suicide.clone());
        let open = || world.mount.open("/f", Access::WRITE).unwrap();
        let (one, two) = (open(), open());
        let other = thread::spawn(move || drop(one.write(b"1")));
        let _ = two.write(b"1");
        other.join().unwrap();
        assert_eq!(suicide.wins.load(SeqCst), 1);
        assert!(world.node.is_removed());
    });
}

/// A watched directory `d` with a watched file `f`: watches 1 and 2.
struct Nested {
    dir: Arc<Node>,
    file: Arc<Node>,
    world: World,
}

const DIR: i32 = 1;
const FILE: i32 = 2;

impl Nested {
    fn new(profile: Profile) -> Self {
        let world = World::new(profile, Arc::new(Vec::new));
        let dir = world.tree.root().make_dir("d").unwrap();
        let file = dir.make_file("f", Arc::new(Vec::new)).unwrap();
        for (path, wd) in [("/d", DIR), ("/d/f", FILE)] {
            assert_eq!(world.mount.watch(&world.inotify, path, WatchMask::DELETE_SELF), Ok(wd));
        }
        Self { dir, file, world }
    }

    /// Of which watch each record is.
    fn told(&self) -> Vec<(i32, Mask)> {
        let mut buffer = [0; 256];
        let read = self.world.inotify.read(&mut buffer).unwrap_or(0);
        records(&buffer[..read]).map(|record| (record.wd, record.mask)).collect()
    }
}

const CHILD_THEN_PARENT: [(i32, Mask); 4] = [
    (FILE, Mask::DELETE_SELF),
    (FILE, Mask::IN_IGNORED),
    (DIR, Mask::DELETE_SELF),
    (DIR, Mask::IN_IGNORED),
];

/// One removes a file while another removes its directory: the child is
/// announced before the parent, whoever unlinks it.
#[test]
fn a_second_remover_does_not_overtake() {
    model(|| {
        let nested = Nested::new(Profile::Announced);
        let other = thread::spawn({
            let file = Arc::clone(&nested.file);
            move || file.remove()
        });
        nested.dir.remove();
        other.join().unwrap();
        nested.world.tree.drain();
        assert_eq!(nested.told(), CHILD_THEN_PARENT);
    });
}

/// The same by system call: what the parent hears is last, also if the worker
/// tells the rest.
#[test]
fn the_parent_hears_of_an_rmdir_last() {
    model(|| {
        let nested = Nested::new(Profile::Announced);
        let parent = nested.world.mount.watch(&nested.world.inotify, "/", WatchMask::DELETE);
        let remover = thread::spawn({
            let file = Arc::clone(&nested.file);
            move || file.remove()
        });
        let worker = thread::spawn({
            let tree = Arc::clone(&nested.world.tree);
            move || tree.drain()
        });
        nested.world.mount.rmdir("/d").unwrap();
        let told = nested.told();
        assert_eq!(told[..4], CHILD_THEN_PARENT);
        assert_eq!(told[4..], [(parent.unwrap(), Mask::DELETE | Mask::ISDIR)]);
        remover.join().unwrap();
        worker.join().unwrap();
    });
}

/// The same where dentries announce: a file that another unlinked has lost its
/// links, too, when the removal of its directory returns, or its dentry would
/// die in silence.
#[test]
fn what_another_remover_unlinked_has_no_links_left() {
    model(|| {
        let nested = Nested::new(Profile::Linux71);
        let other = thread::spawn({
            let file = Arc::clone(&nested.file);
            move || file.remove()
        });
        nested.dir.remove();
        nested.world.mount.reclaim();
        other.join().unwrap();
        assert_eq!(nested.told(), CHILD_THEN_PARENT);
    });
}

/// And of dentries: one thread's lookup drops the file's, another reclaims the
/// directory's.
#[test]
fn a_second_killer_of_dentries_does_not_overtake() {
    model(|| {
        let nested = Nested::new(Profile::Linux71);
        nested.file.remove();
        let other = thread::spawn({
            let mount = Arc::clone(&nested.world.mount);
            move || drop(mount.lookup("/d/f"))
        });
        nested.dir.remove();
        nested.world.mount.reclaim();
        other.join().unwrap();
        // A lookup amid the removal takes the directory's dentry in silence, as on Linux.
        let told = nested.told();
        assert!(told == CHILD_THEN_PARENT || told == CHILD_THEN_PARENT[..2], "{told:?}");
    });
}

/// What one schedule or another told, over all of them.
#[derive(Default)]
struct Seen(std::sync::Mutex<std::collections::BTreeSet<Vec<u32>>>);

impl Seen {
    fn add(&self, told: &[Mask]) {
        self.0.lock().unwrap().insert(told.iter().map(|mask| mask.bits()).collect());
    }

    fn assert_is<const N: usize>(&self, all: [&[Mask]; N]) {
        let all = all.map(|told| told.iter().map(|mask| mask.bits()).collect());
        assert_eq!(*self.0.lock().unwrap(), all.into());
    }
}

/// The worker tells of a change while the file's dentry dies. On Linux the
/// two exclude each other nowhere (`kernfs_notify_workfn` holds kernfs's locks,
/// `fsnotify_inoderemove` runs without), and `DELETE_SELF` and the end of the
/// marks are two steps: the change may fall between them. It never follows
/// `IGNORED`. On `Announced` the worker does both.
#[test]
fn a_change_may_fall_between_delete_self_and_ignored_on_linux_alone() {
    let [modify, delete_self, ignored] = LAST_WORD;
    for profile in [Profile::Linux71, Profile::Announced] {
        let seen = Arc::new(Seen::default());
        model({
            let seen = Arc::clone(&seen);
            move || {
                let world = World::watched(profile);
                world.node.notify();
                let worker = thread::spawn({
                    let tree = Arc::clone(&world.tree);
                    move || tree.drain()
                });
                world.node.remove();
                world.mount.reclaim();
                worker.join().unwrap();
                world.tree.drain();
                seen.add(&world.told());
            }
        });
        match profile {
            Profile::Linux71 => seen.assert_is([
                &[modify, delete_self, ignored],
                &[delete_self, modify, ignored],
                &[delete_self, ignored],
            ]),
            _ => seen.assert_is([&LAST_WORD]),
        }
    }
}

/// A write(2) in flight against removal: its `MODIFY` comes before the end or
/// not at all.
#[test]
fn a_write_in_flight_is_told_before_the_removal() {
    let [modify, delete_self, ignored] = LAST_WORD;
    let seen = Arc::new(Seen::default());
    model({
        let seen = Arc::clone(&seen);
        move || {
            let world = World::new(Profile::Announced, Arc::new(Written));
            world.watch().unwrap();
            let file = world.mount.open("/f", Access::WRITE).unwrap();
            let writer = thread::spawn(move || drop(file.write(b"1")));
            world.node.remove();
            world.tree.drain();
            writer.join().unwrap();
            seen.add(&world.told());
        }
    });
    seen.assert_is([&[modify, delete_self, ignored], &[delete_self, ignored]]);
}

struct Written;

impl Attribute for Written {
    fn store(&self, _: &Operation<'_>, _: &[u8]) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn two_removals_announce_once() {
    model(|| {
        let world = World::watched(Profile::Announced);
        let other = thread::spawn({
            let node = Arc::clone(&world.node);
            move || node.remove()
        });
        world.node.remove();
        other.join().unwrap();
        world.tree.drain();
        assert_eq!(world.told(), LAST_WORD[1..]);
    });
}

/// Hide, show and remove at once leave a removed, unusable node.
#[test]
fn hiding_against_removal() {
    model(|| {
        let world = World::new(Profile::Linux71, Arc::new(Vec::new));
        let other = thread::spawn({
            let node = Arc::clone(&world.node);
            move || {
                node.show(false).unwrap();
                node.show(true).unwrap();
            }
        });
        world.node.remove();
        other.join().unwrap();
        assert!(!world.node.is_active());
    });
}

/// Who hides a file waits for its operations, but not for ever if somebody shows it again.
#[test]
fn hiding_against_showing() {
    model(|| {
        let world = World::new(Profile::Linux71, Arc::new(Vec::new));
        let file = world.node.open(Access::READ).unwrap();
        let reader = thread::spawn(move || drop(file.read_at(0, &mut [0; 1])));
        let hider = thread::spawn({
            let node = Arc::clone(&world.node);
            move || node.show(false).unwrap()
        });
        world.node.show(true).unwrap();
        hider.join().unwrap();
        reader.join().unwrap();
    });
}

/// A sleeper in a poll sees the notification, however they cross.
#[test]
fn a_sleeping_poll_is_woken() {
    model(|| {
        let world = World::new(Profile::Linux71, Arc::new(Vec::new));
        let file = world.mount.open("/f", Access::READ).unwrap();
        file.read_at(0, &mut [0; 1]).unwrap();
        let notifier = thread::spawn({
            let node = Arc::clone(&world.node);
            move || node.notify()
        });
        assert!(file.wait(std::time::Duration::MAX).contains(kernfs::Ready::PRI));
        notifier.join().unwrap();
    });
}
