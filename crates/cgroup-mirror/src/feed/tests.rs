//! Events that a driver cannot bring about at will, told to the feed of a mirror of real cgroups.

#[path = "../../tests/top/mod.rs"]
mod top;

use cgwatch::{CgroupPath, FileName, LearnedFrom};
use fsnotify::{
    Account, Limits,
    inotify::{InitFlags, Inotify, WatchMask},
};
use kernfs::SuperBlock;

use self::top::Top;
use super::*;
use crate::Mirror;

const EVENTS: &str = "cgroup.events";

/// A mirror of a cgroup of the test's own, and a watch on every `cgroup.events` that was asked for.
struct Shown {
    mirror: Mirror,
    mount: SuperBlock,
    inotify: Inotify,
    top: Top,
}

impl Shown {
    /// With these cgroups; `None`, with a word, where there is no hierarchy to write in.
    fn new(test: &str, cgroups: &[&str]) -> Option<Self> {
        let top = Top::new(test)?;
        for path in cgroups {
            top.make(path);
        }
        let mirror = Mirror::new(&top.path).unwrap();
        let account = Account::new(Limits::default());
        let inotify = Inotify::new(&account, InitFlags::NONBLOCK).unwrap();
        let mount = mirror.tree().mount();
        Some(Self { mirror, mount, inotify, top })
    }

    fn watch(&self, path: &str) -> i32 {
        self.mount.watch(&self.inotify, path, WatchMask::MODIFY).unwrap()
    }

    /// The watch descriptors that saw a modification since the last call.
    fn modified(&self) -> Vec<i32> {
        self.mirror.tree().drain();
        let mut buffer = [0; 4096];
        let read = self.inotify.read(&mut buffer).unwrap_or(0);
        let word =
            |event: &[u8], at: usize| u32::from_ne_bytes(event[at..][..4].try_into().unwrap());
        let modifies = |event: &&[u8]| word(event, 4) & WatchMask::MODIFY.bits() != 0;
        buffer[..read].chunks(16).filter(modifies).map(|e| word(e, 0).cast_signed()).collect()
    }

    /// As the monitor names it.
    fn cgroup(&self, name: &str) -> Cgroup {
        let is_it = |(_, life): &(&u64, &Life)| &*life.node.name() == name.as_bytes();
        let (n, life) = self.mirror.feed.lives.iter().find(is_it).unwrap();
        let path = CgroupPath::new(format!("/{name}").as_bytes());
        Cgroup { n: *n, id: Some(life.node.id()), root_id: self.mirror.feed.root.id(), path }
    }

    fn root(&self) -> Cgroup {
        let root = &self.mirror.feed.root;
        let is_it = |(_, life): &(&u64, &Life)| Arc::ptr_eq(&life.node, root);
        let (n, _) = self.mirror.feed.lives.iter().find(is_it).unwrap();
        Cgroup { n: *n, id: Some(root.id()), root_id: root.id(), path: CgroupPath::new(b"/") }
    }

    fn touch(&mut self, cgroup: &Cgroup, file: &str) {
        self.take(EventKind::Touched { cgroup: cgroup.clone(), file: file.into() });
    }

    fn take(&mut self, kind: EventKind) {
        self.mirror.feed.take(&kind);
    }

    fn remove(&mut self, name: &str, unseen: Unseen) {
        let (cgroup, files) = (self.cgroup(name), Values::default());
        let learned_from = LearnedFrom::Lookup;
        self.take(EventKind::Removed { cgroup, lived_ns: None, files, unseen, learned_from });
    }
}

fn gap(reason: GapReason) -> EventKind {
    EventKind::Gap { reason, cancelled_pairs: 0, cancelled: Values::default() }
}

fn amount(count: u64) -> Vec<(FileName, Option<cgwatch::Values<u64>>)> {
    let values = (count > 0).then(|| ("populated".into(), count));
    vec![(EVENTS.into(), Some(cgwatch::Values(values.into_iter().collect())))]
}

#[test]
fn what_was_lost_is_a_modify_of_everything_and_what_one_reader_missed_is_not() {
    let Some(mut shown) = Shown::new("gap", &["a"]) else { return };
    let file = shown.watch("/a/cgroup.events");
    let other = shown.watch("/a/cgroup.freeze");
    let ready = EventKind::Ready { cgroups: 2, after_gap: true };
    shown.take(ready.clone());
    assert!(shown.modified().is_empty(), "nothing was lost");
    let inaccessible = GapReason::Inaccessible { cgroup: shown.cgroup("a"), errno: Errno::ACCESS };
    for reason in [GapReason::Reader, inaccessible] {
        shown.take(gap(reason));
        shown.take(ready.clone());
        assert!(shown.modified().is_empty(), "its files are as they were told");
    }
    shown.take(gap(GapReason::QueueOverflow));
    shown.take(gap(GapReason::Reader));
    assert!(shown.modified().is_empty(), "it is not known yet what changed");
    shown.take(ready.clone());
    assert_eq!(shown.modified(), [file], "only event files: {other} is none");
    shown.take(ready);
    assert!(shown.modified().is_empty(), "once for a gap");
}

#[test]
fn an_amount_of_several_is_a_modify_of_each_that_may_own_it() {
    let Some(mut shown) = Shown::new("sharers", &["a", "b", "c", "c/d", "e"]) else { return };
    let [b, c, d] = ["/b", "/c", "/c/d"].map(|path| shown.watch(&format!("{path}/{EVENTS}")));
    let named = Unseen {
        files: amount(1),
        shared_with: vec![shown.cgroup("d").n],
        shared_count: 1,
        ..Unseen::default()
    };
    shown.remove("a", named);
    assert_eq!(shown.modified(), [d], "only the one that was named");
    let unnamed = Unseen { files: amount(1), shared_count: 1, ..Unseen::default() };
    shown.remove("e", unnamed);
    let mut modified = shown.modified();
    modified.sort_unstable();
    assert_eq!(modified, [b, c], "each beside it, none below those");
}

#[test]
fn only_what_was_counted_unseen_is_a_modify() {
    let Some(mut shown) = Shown::new("unseen", &["a"]) else { return };
    let file = shown.watch("/a/cgroup.events");
    let cgroup = shown.cgroup("a");
    let removed = |files| EventKind::FileRemoved {
        cgroup: cgroup.clone(),
        file: "memory.events".into(),
        unseen: Unseen { files, ..Unseen::default() },
    };
    shown.take(removed(amount(0)));
    assert!(shown.modified().is_empty());
    shown.take(removed(amount(1)));
    assert_eq!(shown.modified(), [file]);
    // It was never inhabited, so that it cannot have counted.
    shown.take(removed(vec![(EVENTS.into(), None)]));
    assert!(shown.modified().is_empty());
}

#[test]
fn nested_cgroups_are_shown_where_they_are() {
    let Some(mut shown) = Shown::new("nested", &["a", "a/b"]) else { return };
    assert_eq!(shown.mirror.usage().cgroups, 3);
    shown.top.make("a/b/c");
    let end = Instant::now() + Duration::from_secs(20);
    while shown.mount.lookup("/a/b/c").is_err() {
        assert!(Instant::now() < end, "never shown");
        shown.mirror.wait(Duration::from_millis(20)).unwrap();
    }
    assert_eq!(shown.mirror.usage().cgroups, 4);
}

#[test]
fn which_files_there_are_is_looked_up_when_they_may_be_others() {
    let Some(mut shown) = Shown::new("files", &["a"]) else { return };
    let all = shown.mount.list("/a").unwrap().len();
    let (top, cgroup) = (shown.root(), shown.cgroup("a"));
    let files = Values::default();
    for kind in [
        EventKind::Touched { cgroup: cgroup.clone(), file: "cgroup.type".into() },
        EventKind::FileAdded { cgroup: cgroup.clone(), files },
        EventKind::Touched { cgroup: top, file: "cgroup.subtree_control".into() },
    ] {
        let life = &shown.mirror.feed.lives[&cgroup.n];
        life.node.child("cgroup.freeze").unwrap().remove();
        assert_eq!(shown.mount.list("/a").unwrap().len(), all - 1);
        shown.take(kind.clone());
        assert_eq!(shown.mount.list("/a").unwrap().len(), all, "after {kind:?}");
    }
}

#[test]
fn who_was_ever_inhabited_may_have_counted() {
    let unknown = || vec![(EVENTS.into(), None)];
    let Some(mut shown) = Shown::new("inhabited", &["a", "b", "c"]) else { return };
    let watches = ["/a", "/b", "/c"].map(|path| shown.watch(&format!("{path}/{EVENTS}")));
    let [a, b, c] = ["a", "b", "c"].map(|name| shown.cgroup(name));
    // Someone came and went, and of that only this is known.
    shown.touch(&a, EVENTS);
    for populated in [1, 0] {
        shown.take(EventKind::Changed {
            cgroup: b.clone(),
            file: EVENTS.into(),
            old: cgwatch::Values::default(),
            new: cgwatch::Values(vec![("populated".into(), populated)]),
            delta: cgwatch::Values::default(),
            own: None,
            late: cgwatch::Values::default(),
        });
    }
    // Another file's says nothing of that.
    shown.touch(&c, "cgroup.freeze");
    shown.modified();
    for cgroup in [a, b, c] {
        let unseen = Unseen { files: unknown(), ..Unseen::default() };
        shown.take(EventKind::FileRemoved { cgroup, file: "memory.events".into(), unseen });
    }
    assert_eq!(shown.modified(), watches[..2]);
}

#[test]
fn a_removal_is_a_modify_if_something_ended_with_it() {
    let Some(mut shown) = Shown::new("death", &["a", "b", "c", "d"]) else { return };
    let [a, b, c, _] =
        ["/a", "/b", "/c", "/d"].map(|path| shown.watch(&format!("{path}/{EVENTS}")));
    let n = shown.cgroup("a").n;
    shown.mirror.feed.lives.get_mut(&n).unwrap().populated = true;
    shown.remove("a", Unseen::default());
    assert_eq!(shown.modified(), [a], "it became empty");
    let files = vec![("memory.events".into(), Some(cgwatch::Values::default()))];
    shown.remove("b", Unseen { files, ..Unseen::default() });
    assert_eq!(shown.modified(), [b], "it counted");
    shown.remove("c", Unseen { unseen_in: Some(n), ..Unseen::default() });
    assert_eq!(shown.modified(), [c], "it may have counted");
    shown.remove("d", Unseen::default());
    assert!(shown.modified().is_empty(), "nothing was left to be said");
}

#[test]
fn what_a_cgroup_counted_itself_is_a_modify_of_the_local_file() {
    let Some(mut shown) = Shown::new("local", &["a"]) else { return };
    let life = &shown.mirror.feed.lives[&shown.cgroup("a").n];
    // A controller's, which this machine may lack.
    let attribute = Arc::clone(&life.attribute);
    life.node.make_file("cgroup.events.local", attribute).unwrap().activate();
    let (file, local) = (shown.watch("/a/cgroup.events"), shown.watch("/a/cgroup.events.local"));
    let cgroup = shown.cgroup("a");
    let changed = |own: &[(&str, i128)]| EventKind::Changed {
        cgroup: cgroup.clone(),
        file: EVENTS.into(),
        old: cgwatch::Values::default(),
        new: cgwatch::Values(vec![("frozen".into(), 1)]),
        delta: cgwatch::Values::default(),
        own: Some(cgwatch::Values(own.iter().map(|(key, by)| ((*key).into(), *by)).collect())),
        late: cgwatch::Values::default(),
    };
    shown.take(changed(&[]));
    assert_eq!(shown.modified(), [file], "a child counted it");
    shown.take(changed(&[("frozen", 1)]));
    let mut modified = shown.modified();
    modified.sort_unstable();
    assert_eq!(modified, [file, local]);
}

#[test]
fn it_looks_again_when_it_is_time_to() {
    let Some(mut shown) = Shown::new("again", &["a"]) else { return };
    let all = shown.mount.list("/a").unwrap().len();
    let life = &shown.mirror.feed.lives[&shown.cgroup("a").n];
    // As if it had come without a word.
    life.node.child("cgroup.freeze").unwrap().remove();
    shown.mirror.feed.look_again_at = Instant::now() + LOOK_AGAIN;
    shown.mirror.feed.look_again();
    assert_eq!(shown.mount.list("/a").unwrap().len(), all - 1, "too early");
    shown.mirror.feed.look_again_at = Instant::now();
    shown.mirror.feed.look_again();
    assert_eq!(shown.mount.list("/a").unwrap().len(), all);
    assert!(shown.mirror.feed.look_again_at > Instant::now(), "and again later");
}
