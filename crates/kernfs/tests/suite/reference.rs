//! Random programs against a model that is slow, small and obviously right.
//!
//! The model keeps flat lists and looks everything up anew. After each step
//! the records of each watch must be the model's, in order; at the end nothing
//! may be left.

use std::collections::BTreeMap;

use fsnotify::inotify::WatchMask;
use kernfs::{Access, File, Pin, Profile};
use proptest::prelude::*;

use crate::hierarchy::{ALL, FILES, Hierarchy};

#[derive(Clone, Debug)]
enum Step {
    Mkdir(usize),
    Rmdir(usize),
    Disable(usize, usize),
    Enable(usize, usize),
    Lookup(usize, usize),
    Open(usize, usize),
    Close(usize),
    Pin(usize),
    Unpin(usize),
    Watch(usize, Option<usize>),
    Unwatch(i32),
    Notify(usize, usize),
    HoldBack(usize, usize),
    Drain,
    Reclaim,
}

const DIRS: [&str; 2] = ["g", "h"];

fn step() -> impl Strategy<Value = Step> {
    let dir = || 0..DIRS.len();
    let file = || 0..FILES.len();
    prop_oneof![
        3 => dir().prop_map(Step::Mkdir),
        2 => dir().prop_map(Step::Rmdir),
        1 => (dir(), file()).prop_map(|(d, f)| Step::Disable(d, f)),
        1 => (dir(), file()).prop_map(|(d, f)| Step::Enable(d, f)),
        2 => (dir(), file()).prop_map(|(d, f)| Step::Lookup(d, f)),
        2 => (dir(), file()).prop_map(|(d, f)| Step::Open(d, f)),
        2 => (0..3_usize).prop_map(Step::Close),
        1 => dir().prop_map(Step::Pin),
        1 => (0..3_usize).prop_map(Step::Unpin),
        4 => (dir(), proptest::option::of(file())).prop_map(|(d, f)| Step::Watch(d, f)),
        1 => (1..8).prop_map(Step::Unwatch),
        3 => (dir(), file()).prop_map(|(d, f)| Step::Notify(d, f)),
        1 => (dir(), file()).prop_map(|(d, f)| Step::HoldBack(d, f)),
        3 => Just(Step::Drain),
        2 => Just(Step::Reclaim),
    ]
}

/// What a watch is told: its descriptor and the event.
type Told = (i32, String);

#[derive(Clone)]
struct Node {
    name: &'static str,
    dir: usize,
    live: bool,
    modified: bool,
    removed: bool,
    held_back: bool,
}

#[derive(Clone)]
struct Dentry {
    node: usize,
    parent: Option<usize>,
    hashed: bool,
    holders: usize,
    dead: bool,
}

/// The model. Node 0 and dentry 0 are the root's.
struct Model {
    profile: Profile,
    nodes: Vec<Node>,
    dentries: Vec<Dentry>,
    watches: Vec<(i32, usize)>,
    last_wd: i32,
    /// Nodes with something to tell, in the order it came up.
    pending: Vec<usize>,
    told: Vec<Told>,
}

impl Model {
    fn new(profile: Profile) -> Self {
        let mut model = Self {
            profile,
            nodes: Vec::new(),
            dentries: vec![Dentry { node: 0, parent: None, hashed: true, holders: 1, dead: false }],
            watches: Vec::new(),
            last_wd: 0,
            pending: Vec::new(),
            told: Vec::new(),
        };
        model.add("", 0);
        model
    }

    fn add(&mut self, name: &'static str, dir: usize) {
        let live = true;
        let node = Node { name, dir, live, modified: false, removed: false, held_back: false };
        self.nodes.push(node);
    }

    fn node(&self, dir: usize, name: &str) -> Option<usize> {
        (1..self.nodes.len()).find(|node| {
            let node = &self.nodes[*node];
            node.live && node.dir == dir && node.name == name
        })
    }

    fn file(&self, dir: usize, file: usize) -> Option<usize> {
        self.node(self.node(0, DIRS[dir])?, FILES[file])
    }

    fn is_cached(&self, node: usize) -> bool {
        self.watches.iter().any(|(_, other)| *other == node)
            || self.dentries.iter().any(|dentry| !dentry.dead && dentry.node == node)
    }

    fn tell(&mut self, node: usize, event: &str) {
        let wds: Vec<_> = self.watches.iter().filter(|(_, n)| *n == node).map(|w| w.0).collect();
        self.told.extend(wds.into_iter().map(|wd| (wd, event.to_owned())));
    }

    fn end(&mut self, node: usize) {
        self.tell(node, "DELETE_SELF");
        self.tell(node, "IGNORED");
        self.watches.retain(|(_, other)| *other != node);
    }

    fn is_used(&self, dentry: usize) -> bool {
        let below = |other: &Dentry| !other.dead && other.parent == Some(dentry);
        self.dentries[dentry].holders > 0 || self.dentries.iter().any(below)
    }

    fn kill(&mut self, dentry: usize) {
        self.dentries[dentry].dead = true;
        let node = self.dentries[dentry].node;
        let others = self.dentries.iter().any(|other| !other.dead && other.node == node);
        if self.profile == Profile::Linux71 && !self.nodes[node].live && !others {
            self.end(node);
        }
    }

    /// Kills unused dentries of which `which` says so, until there are none.
    fn kill_unused(&mut self, which: impl Fn(&Self, usize) -> bool) {
        let unused = |model: &Self, dentry: usize| {
            !model.dentries[dentry].dead && !model.is_used(dentry) && which(model, dentry)
        };
        while let Some(dentry) = (0..self.dentries.len()).find(|dentry| unused(self, *dentry)) {
            self.kill(dentry);
        }
    }

    fn kill_unhashed(&mut self) {
        self.kill_unused(|model, dentry| !model.dentries[dentry].hashed);
    }

    fn unhash(&mut self, dentry: usize) {
        self.kill_unused(|model, other| model.dentries[other].parent == Some(dentry));
        self.dentries[dentry].hashed = false;
        self.kill_unhashed();
    }

    fn lookup(&mut self, names: &[&str]) -> Option<usize> {
        let mut at = 0;
        for name in names {
            let cached = (1..self.dentries.len()).find(|other| {
                let other = &self.dentries[*other];
                let name_of = self.nodes[other.node].name;
                !other.dead && other.hashed && other.parent == Some(at) && name_of == *name
            });
            if let Some(dentry) = cached {
                if self.nodes[self.dentries[dentry].node].live {
                    at = dentry;
                    continue;
                }
                self.unhash(dentry);
            }
            let node = self.node(self.dentries[at].node, name)?;
            let (parent, hashed) = (Some(at), true);
            self.dentries.push(Dentry { node, parent, hashed, holders: 0, dead: false });
            at = self.dentries.len() - 1;
        }
        Some(at)
    }

    fn hold(&mut self, dentry: usize) {
        self.dentries[dentry].holders += 1;
    }

    fn release(&mut self, dentry: usize) {
        self.dentries[dentry].holders -= 1;
        self.kill_unhashed();
    }

    fn list(&mut self, node: usize) {
        if !self.pending.contains(&node) {
            self.pending.push(node);
        }
    }

    fn notify(&mut self, node: usize) {
        self.nodes[node].modified = true;
        self.nodes[node].held_back = false;
        self.list(node);
    }

    fn remove(&mut self, node: usize) {
        self.nodes[node].live = false;
        if self.profile == Profile::Announced {
            if std::mem::take(&mut self.nodes[node].held_back) {
                self.nodes[node].modified = true;
            }
            self.nodes[node].removed = true;
            self.list(node);
        }
    }

    fn drain(&mut self) {
        let always = self.profile == Profile::Announced;
        if !always {
            self.pending.reverse();
        }
        for node in std::mem::take(&mut self.pending) {
            let Node { name, dir, .. } = self.nodes[node];
            let modified = std::mem::take(&mut self.nodes[node].modified);
            if modified && (always || self.is_cached(node)) {
                self.tell(dir, &format!("MODIFY {name}"));
                self.tell(node, "MODIFY");
            }
            if std::mem::take(&mut self.nodes[node].removed) {
                self.end(node);
            }
        }
    }

    fn watch(&mut self, dentry: usize) -> i32 {
        let node = self.dentries[dentry].node;
        if let Some((wd, _)) = self.watches.iter().find(|(_, other)| *other == node) {
            return *wd;
        }
        self.last_wd += 1;
        self.watches.push((self.last_wd, node));
        self.last_wd
    }
}

fn path(dir: usize, file: Option<usize>) -> Vec<&'static str> {
    [Some(DIRS[dir]), file.map(|file| FILES[file])].into_iter().flatten().collect()
}

/// The real thing, with what it holds; each beside the model's dentry.
struct Both {
    world: Hierarchy,
    model: Model,
    files: Vec<(File, usize)>,
    pins: Vec<(Pin, usize)>,
}

impl Both {
    fn new(profile: Profile) -> Self {
        let world = Hierarchy::new(profile);
        world.mount.rmdir("/g").unwrap();
        world.tree.drain();
        Self { world, model: Model::new(profile), files: Vec::new(), pins: Vec::new() }
    }

    fn act(&mut self, step: &Step) {
        let Self { world, model, files, pins } = self;
        let text = |names: &[&str]| format!("/{}", names.join("/"));
        let change = |model: &Model, d: usize, f: usize| {
            model.file(d, f).map(|node| (node, world.node(&text(&path(d, Some(f))))))
        };
        match *step {
            Step::Mkdir(d) => {
                let made = world.mount.mkdir(text(&path(d, None))).is_ok();
                // It looks the name up first.
                assert_eq!(made, model.lookup(&path(d, None)).is_none());
                if made {
                    model.add(DIRS[d], 0);
                    let dir = model.nodes.len() - 1;
                    FILES.iter().for_each(|file| model.add(file, dir));
                }
            }
            Step::Rmdir(d) => {
                let removed = world.mount.rmdir(text(&path(d, None))).is_ok();
                let dentry = model.lookup(&path(d, None));
                assert_eq!(removed, dentry.is_some());
                let Some(dentry) = dentry else { return };
                let node = model.dentries[dentry].node;
                let mut files: Vec<_> =
                    (0..model.nodes.len()).filter(|n| model.nodes[*n].dir == node).collect();
                files.retain(|file| *file != 0 && model.nodes[*file].live);
                files.sort_by_key(|file| model.nodes[*file].name);
                files.into_iter().chain([node]).for_each(|node| model.remove(node));
                model.unhash(dentry);
            }
            Step::Disable(d, f) => {
                if let Some((node, real)) = change(model, d, f) {
                    real.remove();
                    model.remove(node);
                }
            }
            Step::Enable(d, f) => {
                let Some(dir) = model.node(0, DIRS[d]) else { return };
                if model.node(dir, FILES[f]).is_none() {
                    let real = world.node(&text(&path(d, None)));
                    real.make_file(FILES[f], std::sync::Arc::new(Vec::new)).unwrap().activate();
                    model.add(FILES[f], dir);
                }
            }
            Step::Lookup(d, f) => {
                let found = world.mount.lookup(text(&path(d, Some(f)))).is_ok();
                assert_eq!(found, model.lookup(&path(d, Some(f))).is_some());
            }
            Step::Open(d, f) => {
                let opened = world.mount.open(text(&path(d, Some(f))), Access::READ);
                let dentry = model.lookup(&path(d, Some(f)));
                assert_eq!(opened.is_ok(), dentry.is_some());
                if let (Ok(file), Some(dentry)) = (opened, dentry) {
                    model.hold(dentry);
                    files.push((file, dentry));
                }
            }
            Step::Close(which) if which < files.len() => {
                let (file, dentry) = files.remove(which);
                drop(file);
                model.release(dentry);
            }
            Step::Pin(d) => {
                let pinned = world.mount.pin(text(&path(d, None)));
                let dentry = model.lookup(&path(d, None));
                assert_eq!(pinned.is_ok(), dentry.is_some());
                if let (Ok(pin), Some(dentry)) = (pinned, dentry) {
                    model.hold(dentry);
                    pins.push((pin, dentry));
                }
            }
            Step::Unpin(which) if which < pins.len() => {
                let (pin, dentry) = pins.remove(which);
                drop(pin);
                model.release(dentry);
            }
            Step::Watch(d, f) => {
                let mask = WatchMask::MODIFY | WatchMask::DELETE_SELF;
                let wd = world.mount.watch(&world.inotify, text(&path(d, f)), mask).ok();
                let dentry = model.lookup(&path(d, f));
                assert_eq!(wd, dentry.map(|dentry| model.watch(dentry)));
            }
            Step::Unwatch(wd) => {
                let known = model.watches.iter().any(|(other, _)| *other == wd);
                assert_eq!(world.inotify.rm_watch(wd).is_ok(), known);
                if known {
                    model.told.push((wd, "IGNORED".to_owned()));
                    model.watches.retain(|(other, _)| *other != wd);
                }
            }
            Step::Notify(d, f) => {
                if let Some((node, real)) = change(model, d, f) {
                    real.notify();
                    model.notify(node);
                }
            }
            Step::HoldBack(d, f) => {
                if let Some((node, real)) = change(model, d, f) {
                    real.notify_later();
                    // What is pending already will tell of it.
                    let told_anyway = model.nodes[node].modified;
                    model.nodes[node].held_back |= !told_anyway;
                }
            }
            Step::Drain => {
                world.tree.drain();
                model.drain();
            }
            Step::Reclaim => {
                world.mount.reclaim();
                model.kill_unused(|_, _| true);
            }
            Step::Close(_) | Step::Unpin(_) => {}
        }
    }

    /// The records of each watch, in order.
    fn compare(&mut self, step: &Step) {
        let mut buffer = [0; 4096];
        let mut told: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        while let Ok(read) = self.world.inotify.read(&mut buffer) {
            for record in fsnotify::inotify::records(&buffer[..read]) {
                let name = record.name.map(String::from_utf8_lossy);
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                let event = crate::hierarchy::kernel_name(record.mask) + &name;
                told.entry(record.wd).or_default().push(event);
            }
        }
        let mut expected: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for (wd, event) in self.model.told.drain(..) {
            expected.entry(wd).or_default().push(event);
        }
        assert_eq!(told, expected, "after {step:?}");
        let cached = self.world.mount.cached();
        let dentries = self.model.dentries.iter().filter(|dentry| !dentry.dead).count();
        assert_eq!(cached.dentries, dentries, "dentries after {step:?}");
        let inodes = (0..self.model.nodes.len()).filter(|node| self.model.is_cached(*node)).count();
        assert_eq!(cached.inodes, inodes, "inodes after {step:?}");
        assert_eq!(self.world.inotify.watches(), self.model.watches.len());
    }
}

fn run(profile: Profile, steps: &[Step]) {
    let mut both = Both::new(profile);
    for step in steps {
        both.act(step);
        both.compare(step);
    }
    // Everything ends, and nothing is left but what leaks on Linux.
    let Both { world, files, pins, .. } = both;
    drop((files, pins));
    let Hierarchy { tree, mount, inotify, account, .. } = world;
    drop(inotify);
    tree.drain();
    mount.reclaim();
    assert_eq!(account.marks(), 0);
    assert_eq!((mount.cached().inodes, mount.cached().dentries), (1, 1));
    let weak = std::sync::Arc::downgrade(tree.root());
    drop((tree, mount));
    assert!(weak.upgrade().is_none(), "the tree is freed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn random_programs(
        profile in proptest::sample::select(&ALL[..]),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        run(profile, &steps);
    }
}
