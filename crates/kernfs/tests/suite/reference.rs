//! Random programs of tree, cache, mark and group operations against a model
//! that is slow, small and obviously right, for each profile.
//!
//! After each step the records of each watch and of the mark on the mount must
//! be the model's, in order, and the caches of one size; at the end nothing
//! may be left.

mod model;

use std::collections::BTreeMap;

use fsnotify::{
    fanotify::{self, Fanotify, InfoKind, MarkFlags},
    inotify::{self, Inotify, WatchMask},
};
use kernfs::{Access, File, Node, Pin, Profile};
use model::{Model, Who};
use proptest::prelude::*;

use crate::hierarchy::{ALL, FILES, Hierarchy, kernel_name};

#[derive(Clone, Debug)]
enum Step {
    Mkdir(usize),
    Rmdir(usize),
    Disable(usize, usize),
    Enable(usize, usize),
    Show(usize, usize, bool),
    Rename(usize, usize, usize),
    Lookup(usize, usize),
    Open(usize, usize),
    Close(usize),
    Pin(usize),
    Unpin(usize),
    Watch(usize, usize, Option<usize>),
    Unwatch(usize, i32),
    /// The group ends, and another takes its place.
    Replace(usize),
    /// The mount gets a mark, or loses it.
    Mark(bool),
    Notify(usize, usize),
    HoldBack(usize, usize),
    Drain,
    Reclaim,
}

const DIRS: [&str; 2] = ["g", "h"];
const GROUPS: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let dir = || 0..DIRS.len();
    let file = || 0..FILES.len();
    let group = || 0..GROUPS;
    prop_oneof![
        3 => dir().prop_map(Step::Mkdir),
        2 => dir().prop_map(Step::Rmdir),
        1 => (dir(), file()).prop_map(|(d, f)| Step::Disable(d, f)),
        1 => (dir(), file()).prop_map(|(d, f)| Step::Enable(d, f)),
        1 => (dir(), file(), any::<bool>()).prop_map(|(d, f, on)| Step::Show(d, f, on)),
        1 => (dir(), file(), file()).prop_map(|(d, f, to)| Step::Rename(d, f, to)),
        2 => (dir(), file()).prop_map(|(d, f)| Step::Lookup(d, f)),
        2 => (dir(), file()).prop_map(|(d, f)| Step::Open(d, f)),
        2 => (0..3_usize).prop_map(Step::Close),
        1 => dir().prop_map(Step::Pin),
        1 => (0..3_usize).prop_map(Step::Unpin),
        4 => (group(), dir(), proptest::option::of(file()))
            .prop_map(|(g, d, f)| Step::Watch(g, d, f)),
        1 => (group(), 1..8).prop_map(|(g, wd)| Step::Unwatch(g, wd)),
        1 => group().prop_map(Step::Replace),
        1 => any::<bool>().prop_map(Step::Mark),
        3 => (dir(), file()).prop_map(|(d, f)| Step::Notify(d, f)),
        1 => (dir(), file()).prop_map(|(d, f)| Step::HoldBack(d, f)),
        3 => Just(Step::Drain),
        2 => Just(Step::Reclaim),
    ]
}

fn path(dir: usize, file: Option<usize>) -> Vec<&'static str> {
    [Some(DIRS[dir]), file.map(|file| FILES[file])].into_iter().flatten().collect()
}

fn text(names: &[&str]) -> String {
    format!("/{}", names.join("/"))
}

/// The real thing, with what it holds; each beside the model's dentry.
struct Both {
    world: Hierarchy,
    model: Model,
    groups: Vec<Inotify>,
    mount_group: Fanotify,
    files: Vec<(File, usize)>,
    pins: Vec<(Pin, usize)>,
    /// The model's nodes by the real ids.
    ids: BTreeMap<u64, usize>,
}

impl Both {
    fn new(profile: Profile) -> Self {
        use fanotify::InitFlags as Init;
        let world = Hierarchy::new(profile);
        world.mount.rmdir("/g").unwrap();
        world.tree.drain();
        let inotify = || Inotify::new(&world.account, inotify::InitFlags::NONBLOCK).unwrap();
        let mut flags = Init::REPORT_FID | Init::REPORT_DIR_FID | Init::REPORT_NAME;
        flags |= Init::REPORT_TARGET_FID | Init::NONBLOCK;
        if profile == Profile::Announced {
            flags |= Init::REPORT_DEFERRED;
        }
        Self {
            model: Model::new(profile),
            groups: (0..GROUPS).map(|_| inotify()).collect(),
            mount_group: Fanotify::new(&world.account, flags).unwrap(),
            files: Vec::new(),
            pins: Vec::new(),
            ids: BTreeMap::from([(1, 0)]),
            world,
        }
    }

    /// A file of both, if there is one, hidden or not.
    fn file(&self, d: usize, f: usize) -> Option<(usize, std::sync::Arc<Node>)> {
        let dir = self.model.node(0, DIRS[d])?;
        let node = self.model.node(dir, FILES[f])?;
        Some((node, self.world.node(&text(&path(d, Some(f))))))
    }

    /// Nodes that were made on both sides, the last ones of the model.
    fn learn(&mut self, paths: &[Vec<&'static str>]) {
        let first = self.model.nodes.len() - paths.len();
        for (at, path) in paths.iter().enumerate() {
            self.ids.insert(self.world.node(&text(path)).id(), first + at);
        }
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Mkdir(d) => self.mkdir(d),
            Step::Rmdir(d) => self.rmdir(d),
            Step::Disable(d, f) => {
                if let Some((node, real)) = self.file(d, f) {
                    real.remove();
                    self.model.remove(node);
                }
            }
            Step::Enable(d, f) => {
                let Some(dir) = self.model.node(0, DIRS[d]) else { return };
                if self.model.node(dir, FILES[f]).is_none() {
                    let real = self.world.node(&text(&path(d, None)));
                    real.make_file(FILES[f], std::sync::Arc::new(Vec::new)).unwrap().activate();
                    self.model.add(FILES[f], dir, false);
                    self.learn(&[path(d, Some(f))]);
                }
            }
            Step::Show(d, f, show) => {
                if let Some((node, real)) = self.file(d, f) {
                    real.show(show).unwrap();
                    self.model.hide(node, !show);
                }
            }
            Step::Rename(d, f, to) => {
                let Some((node, real)) = self.file(d, f) else { return };
                let free = f == to || self.file(d, to).is_none();
                let dir = self.world.node(&text(&path(d, None)));
                assert_eq!(real.rename(&dir, FILES[to]).is_ok(), free);
                if free {
                    self.model.rename(node, FILES[to]);
                }
            }
            Step::Lookup(d, f) => {
                let path = path(d, Some(f));
                let found = self.world.mount.lookup(text(&path)).is_ok();
                assert_eq!(found, self.model.lookup(&path).is_some());
            }
            Step::Open(..) | Step::Close(_) | Step::Pin(_) | Step::Unpin(_) => self.hold(step),
            Step::Watch(..) | Step::Unwatch(..) | Step::Replace(_) | Step::Mark(_) => {
                self.listen(step);
            }
            Step::Notify(d, f) => {
                if let Some((node, real)) = self.file(d, f) {
                    real.notify();
                    self.model.notify(node);
                }
            }
            Step::HoldBack(d, f) => {
                if let Some((node, real)) = self.file(d, f) {
                    real.notify_later();
                    self.model.hold_back(node);
                }
            }
            Step::Drain => {
                self.world.tree.drain();
                self.model.drain();
            }
            Step::Reclaim => {
                self.world.mount.reclaim();
                self.model.kill_unused(|_, _| true);
            }
        }
    }

    fn mkdir(&mut self, d: usize) {
        let made = self.world.mount.mkdir(text(&path(d, None))).is_ok();
        // It looks the name up first.
        assert_eq!(made, self.model.lookup(&path(d, None)).is_none());
        if made {
            let dir = self.model.add(DIRS[d], 0, true);
            let mut paths = vec![path(d, None)];
            for (f, file) in FILES.iter().enumerate() {
                self.model.add(file, dir, false);
                paths.push(path(d, Some(f)));
            }
            self.learn(&paths);
            self.model.born(DIRS[d]);
        }
    }

    fn rmdir(&mut self, d: usize) {
        let removed = self.world.mount.rmdir(text(&path(d, None))).is_ok();
        let model = &mut self.model;
        let dentry = model.lookup(&path(d, None));
        assert_eq!(removed, dentry.is_some());
        let Some(dentry) = dentry else { return };
        let node = model.dentries[dentry].node;
        let mut files: Vec<_> =
            (1..model.nodes.len()).filter(|n| model.nodes[*n].dir == node).collect();
        files.retain(|file| model.nodes[*file].live);
        files.sort_by_key(|file| model.nodes[*file].name);
        files.into_iter().chain([node]).for_each(|node| model.remove(node));
        model.unhash(dentry);
        model.gone(node);
    }

    fn hold(&mut self, step: &Step) {
        let Self { world, model, files, pins, .. } = self;
        match *step {
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
            _ => {}
        }
    }

    fn listen(&mut self, step: &Step) {
        let Self { world, model, groups, mount_group, .. } = self;
        match *step {
            Step::Watch(group, d, f) => {
                let mask = WatchMask::MODIFY | WatchMask::DELETE_SELF;
                let wd = world.mount.watch(&groups[group], text(&path(d, f)), mask).ok();
                let dentry = model.lookup(&path(d, f));
                assert_eq!(wd, dentry.map(|dentry| model.watch(group, dentry)));
            }
            Step::Unwatch(group, wd) => {
                assert_eq!(groups[group].rm_watch(wd).is_ok(), model.unwatch(group, wd));
            }
            Step::Replace(group) => {
                let flags = inotify::InitFlags::NONBLOCK;
                groups[group] = Inotify::new(&world.account, flags).unwrap();
                model.replace_group(group);
            }
            Step::Mark(on) => {
                // MODIFY, CREATE, DELETE, DELETE_SELF, of directories too.
                const MASK: u64 = 0x4000_0702;
                let command = if on { MarkFlags::ADD } else { MarkFlags::REMOVE };
                let flags = command | MarkFlags::FILESYSTEM;
                let done = world.mount.mark(mount_group, flags, MASK, "/").is_ok();
                assert_eq!(done, on || model.marked);
                model.marked = on;
            }
            _ => {}
        }
    }

    /// What was told to each, in order.
    fn told(&self) -> BTreeMap<Who, Vec<String>> {
        let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut buffer = [0; 4096];
        for (group, inotify) in self.groups.iter().enumerate() {
            while let Ok(read) = inotify.read(&mut buffer) {
                for record in inotify::records(&buffer[..read]) {
                    let name = record.name.map(String::from_utf8_lossy);
                    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                    let who = Who::Watch(group, record.wd);
                    told.entry(who).or_default().push(kernel_name(record.mask) + &name);
                }
            }
        }
        while let Ok(read) = self.mount_group.read(&mut buffer) {
            for record in fanotify::records(&buffer[..read]) {
                let mut line = kernel_name(record.metadata.mask);
                for info in record.infos() {
                    let node = self.ids[&info.handle.id().unwrap()];
                    let name = info.name.map(String::from_utf8_lossy);
                    line += &match info.kind {
                        InfoKind::DfidName => format!(" {node}/{}", name.unwrap()),
                        _ => format!(" {node}"),
                    };
                }
                told.entry(Who::Mount).or_default().push(line);
            }
        }
        told
    }

    fn compare(&mut self, step: &Step) {
        let expected = self.model.take_told();
        assert_eq!(self.told(), expected, "after {step:?}");
        let cached = self.world.mount.cached();
        let dentries = self.model.dentries.iter().filter(|dentry| !dentry.dead).count();
        assert_eq!(cached.dentries, dentries, "dentries after {step:?}");
        let inodes = (0..self.model.nodes.len()).filter(|node| self.model.is_cached(*node)).count();
        assert_eq!(cached.inodes, inodes, "inodes after {step:?}");
        let marks = self.model.watches.len() + usize::from(self.model.marked);
        assert_eq!(self.world.account.marks(), marks as u64, "marks after {step:?}");
    }
}

fn run(profile: Profile, steps: &[Step]) {
    let mut both = Both::new(profile);
    for step in steps {
        both.act(step);
        both.compare(step);
    }
    // Everything ends, and nothing is left but what leaks on Linux.
    let Both { world, files, pins, groups, mount_group, .. } = both;
    drop((files, pins, groups, mount_group));
    let Hierarchy { tree, mount, account, .. } = world;
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

    /// Design 6: tree, cache, mark and group operations in any order.
    #[test]
    fn random_programs(
        profile in proptest::sample::select(&ALL[..]),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        run(profile, &steps);
    }
}
