//! Large trees and many threads: nothing deadlocks, nothing leaks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use fsnotify::{
    Account, Limits, Mask,
    inotify::{InitFlags, Inotify, WatchMask, records},
};
use kernfs::{Access, Attribute, Node, Options, Profile, SuperBlock, Tree};

use crate::hierarchy::ALL;

fn limits() -> Limits {
    Limits { queued_events: usize::MAX, ..Limits::default() }
}

/// A thousand directories of a thousand files less one each.
fn million(tree: &Tree) {
    let attribute: Arc<dyn Attribute> = Arc::new(Vec::new);
    for dir in 0..1000 {
        let node = tree.root().make_dir(format!("d{dir}")).unwrap();
        for file in 0..999 {
            node.make_file(format!("f{file}"), Arc::clone(&attribute)).unwrap();
        }
    }
    assert_eq!(tree.nodes(), 1_000_001);
}

fn count(inotify: &Inotify) -> (u64, u64) {
    let (mut gone, mut ignored) = (0, 0);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = inotify.read(&mut buffer) {
        for record in records(&buffer[..read]) {
            match record.mask {
                Mask::DELETE_SELF => gone += 1,
                Mask::IN_IGNORED => ignored += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    (gone, ignored)
}

/// Each watch hears of its file's end once, and nothing is left.
#[test]
fn a_million_nodes_with_a_hundred_thousand_watches_are_removed() {
    let tree = Tree::new(Options::default());
    million(&tree);
    let mount = tree.mount();
    let account = Account::new(limits());
    let inotify = Inotify::new(&account, InitFlags::NONBLOCK).unwrap();
    for dir in 0..1000 {
        for file in 0..100 {
            mount.watch(&inotify, format!("/d{dir}/f{file}"), WatchMask::DELETE_SELF).unwrap();
        }
    }
    for dir in tree.root().child_names() {
        tree.root().remove_child(dir).unwrap();
    }
    assert_eq!(tree.pending(), 1_000_000);
    assert_eq!(tree.drain(), 1_000_000);
    assert_eq!(count(&inotify), (100_000, 100_000));
    assert_eq!(account.marks(), 0);
    mount.reclaim();
    let cached = mount.cached();
    assert_eq!((cached.inodes, cached.dentries, tree.nodes()), (1, 1, 1), "nothing is left");
}

/// Design 7: "dropped without recursion".
#[test]
fn a_chain_deeper_than_the_stack_is_removed_and_dropped() {
    let tree = Tree::new(Options::default());
    let mut node = Arc::clone(tree.root());
    for _ in 0..200_000 {
        node = node.make_dir("d").unwrap();
    }
    drop(node);
    let top = tree.root().child("d").unwrap();
    top.remove();
    drop(top);
    tree.drain();
    assert_eq!(tree.nodes(), 1);
    // And dropped whole, without a removal in between.
    let mut chain = tree.root().make_dir("top").unwrap();
    let top = Arc::downgrade(&chain);
    for _ in 0..200_000 {
        chain = chain.make_dir("d").unwrap();
    }
    drop(chain);
    drop(tree);
    assert!(top.upgrade().is_none());
}

/// Nor with one when a removal ends in its middle: an attribute panics.
#[test]
fn a_chain_whose_removal_panicked_is_dropped() {
    struct Bad;
    impl Attribute for Bad {
        fn has_release(&self) -> bool {
            true
        }

        fn release(&self, _: &Node) {
            panic!("on purpose");
        }
    }
    let tree = Tree::new(Options::default());
    // It is drained before the chain, and held beyond the test.
    let bad = tree.root().make_file("bad", Arc::new(Bad)).unwrap();
    std::mem::forget(bad.open(Access::READ).unwrap());
    let mut chain = tree.root().make_dir("d").unwrap();
    let top = Arc::downgrade(&chain);
    for _ in 0..200_000 {
        chain = chain.make_dir("d").unwrap();
    }
    drop(chain);
    let end = std::panic::AssertUnwindSafe(|| drop(tree));
    assert!(std::panic::catch_unwind(end).is_err());
    assert!(top.upgrade().is_none());
}

/// Many threads notify while a worker delivers and a reader reads: each file's
/// last change is told, and after the last of all, nothing is pending.
#[test]
fn many_threads_notify_and_no_last_change_is_lost() {
    const THREADS: usize = 8;
    for profile in ALL {
        let tree = Tree::new(Options { profile, worker: true, ..Options::default() });
        let mount = tree.mount();
        let account = Account::new(limits());
        let inotify = Inotify::new(&account, InitFlags::NONBLOCK).unwrap();
        let counts: Arc<Vec<AtomicU64>> = Arc::new((0..THREADS).map(|_| 0.into()).collect());
        let nodes: Vec<_> = (0..THREADS)
            .map(|at| {
                let counts = Arc::clone(&counts);
                let value = move || counts[at].load(SeqCst).to_string().into_bytes();
                let node = tree.root().make_file(format!("f{at}"), Arc::new(value)).unwrap();
                let wd = mount.watch(&inotify, format!("/f{at}"), WatchMask::MODIFY).unwrap();
                assert_eq!(wd as usize, at + 1);
                node
            })
            .collect();
        let mut seen = [0; THREADS];
        // What a reader of the files knows after each record.
        let mut follow = || {
            let mut buffer = [0; 4096];
            while let Ok(read) = inotify.read(&mut buffer) {
                for record in records(&buffer[..read]) {
                    let at = record.wd as usize - 1;
                    let file = mount.open(format!("/f{at}"), Access::READ).unwrap();
                    let value = String::from_utf8(file.read().unwrap()).unwrap();
                    seen[at] = value.parse().unwrap();
                }
            }
        };
        thread::scope(|scope| {
            for at in 0..THREADS {
                let (counts, nodes) = (&counts, &nodes);
                scope.spawn(move || {
                    // Each changes its own file, and now and then a neighbour's.
                    for turn in 0..2000 {
                        let which = if turn % 10 == 0 { (at + 1) % THREADS } else { at };
                        counts[which].fetch_add(1, SeqCst);
                        nodes[which].notify();
                    }
                });
            }
            follow();
        });
        tree.drain();
        follow();
        assert_eq!(seen, [2000; THREADS], "{profile:?}");
        assert_eq!(tree.pending(), 0);
    }
}

/// Everything at once: notifying, watching, opening, reclaiming, making and
/// removing. At the end every mark, node and inode is gone.
#[test]
fn everything_at_once_ends_and_leaves_nothing() {
    for profile in ALL {
        storm(profile);
    }
}

fn storm(profile: Profile) {
    let tree = Tree::new(Options { profile, worker: true, ..Options::default() });
    let mount = tree.mount();
    let account = Account::new(limits());
    let stop = AtomicBool::new(false);
    let removals = AtomicU64::new(0);
    thread::scope(|scope| {
        let until_stopped = |work: &(dyn Fn() + Sync)| {
            while !stop.load(SeqCst) {
                work();
            }
        };
        let file = || tree.root().child("d").and_then(|dir| dir.child("f"));
        scope.spawn(move || {
            until_stopped(&|| {
                if let Some(file) = file() {
                    file.notify();
                }
            });
        });
        let (mount, account) = (&mount, &account);
        scope.spawn(move || until_stopped(&|| watch_for_a_while(mount, account, profile)));
        scope.spawn(move || {
            until_stopped(&|| {
                if let Ok(file) = mount.open("/d/f", Access::READ) {
                    let _ = file.read();
                    let _ = file.poll();
                }
            });
        });
        scope.spawn(move || until_stopped(&|| mount.reclaim()));
        let turns = 300;
        for turn in 0..turns {
            let dir: Arc<Node> = tree.root().make_dir("d").unwrap();
            dir.make_file("f", Arc::new(Vec::new)).unwrap();
            thread::yield_now();
            if turn % 2 == 0 {
                thread::scope(|both| {
                    both.spawn(|| dir.remove());
                    both.spawn(|| drop(dir.remove_child("f")));
                });
            } else {
                dir.remove();
            }
            removals.fetch_add(1, SeqCst);
        }
        stop.store(true, SeqCst);
        assert_eq!(removals.load(SeqCst), turns);
    });
    tree.drain();
    mount.reclaim();
    assert_eq!((account.groups(), account.marks()), (0, 0), "{profile:?}");
    let cached = mount.cached();
    assert_eq!((cached.inodes, cached.dentries), (1, 1), "{profile:?}");
    assert_eq!(tree.nodes(), 1, "{profile:?}");
}

/// A watch's records are MODIFYs, then at most one DELETE_SELF, then IGNORED;
/// on Linux 7.1 MODIFYs of the worker may also fall between those two
/// (kernel-semantics 4.3: "MODIFY (worker) vs DELETE_SELF (rmdir caller): no
/// order"). None follows IGNORED.
fn watch_for_a_while(mount: &SuperBlock, account: &Arc<Account>, profile: Profile) {
    let inotify = Inotify::new(account, InitFlags::NONBLOCK).unwrap();
    let wanted = WatchMask::MODIFY | WatchMask::DELETE_SELF;
    if mount.watch(&inotify, "/d/f", wanted).is_err() {
        return;
    }
    let (mut last, mut dying) = (Mask::MODIFY, false);
    let mut buffer = [0; 256];
    for _ in 0..50 {
        let Ok(read) = inotify.read(&mut buffer) else {
            thread::yield_now();
            continue;
        };
        for record in records(&buffer[..read]) {
            let follows = match (last, record.mask) {
                (Mask::DELETE_SELF, Mask::MODIFY) => profile == Profile::Linux71,
                (Mask::MODIFY, Mask::DELETE_SELF) => !dying,
                (Mask::MODIFY | Mask::DELETE_SELF, Mask::IN_IGNORED) => true,
                (last, now) => (last, now) == (Mask::MODIFY, Mask::MODIFY),
            };
            assert!(follows, "{profile:?}: {:?} after {last:?}", record.mask);
            dying |= record.mask == Mask::DELETE_SELF;
            last = record.mask;
        }
    }
}
