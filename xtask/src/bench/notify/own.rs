//! What is measured of ours.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::Result;
use fsnotify::inotify::{InitFlags, Inotify, WatchMask};
use fsnotify::{Account, Connector, Event, Limits, Mask, Object, ObjectKind, ReadinessFd, notify};
use kernfs::{Node, Options, SuperBlock, Tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A file that is nothing but an object to watch.
pub(super) struct File(pub(super) Connector);

impl Object for File {
    fn connector(&self) -> &Connector {
        &self.0
    }

    fn kind(&self) -> ObjectKind {
        ObjectKind::File
    }
}

/// Files without a tree, each watched by all groups.
pub(super) struct Watched {
    files: Vec<Arc<File>>,
    groups: Vec<(Inotify, Option<Arc<ReadinessFd>>)>,
    buffer: Vec<u8>,
    next: usize,
}

fn limits() -> Limits {
    Limits { groups: u64::MAX, marks: u64::MAX, ..Limits::default() }
}

impl Watched {
    pub(super) fn new(groups: usize, files: usize) -> Result<Self> {
        let account = Account::new(limits());
        let files: Vec<_> = (0..files).map(|_| Arc::new(File(Connector::new()))).collect();
        let mut listening = Vec::new();
        for _ in 0..groups {
            let group = Inotify::new(&account, InitFlags::NONBLOCK)?;
            for file in &files {
                group.add_watch(file.clone(), WatchMask::MODIFY)?;
            }
            listening.push((group, None));
        }
        Ok(Self { files, groups: listening, buffer: vec![0; 4096], next: 0 })
    }

    pub(super) fn with_fd(mut self) -> Result<Self> {
        for (group, fd) in &mut self.groups {
            *fd = Some(group.readiness()?);
        }
        Ok(self)
    }

    pub(super) fn notify(&self, file: usize) {
        notify(&Event::on(Mask::MODIFY, &*self.files[file]));
    }

    /// Some events, of other files in turn, then every group reads.
    pub(super) fn turn(&mut self, events: usize) {
        for _ in 0..events {
            self.next = (self.next + 1) % self.files.len();
            self.notify(self.next);
        }
        for (group, fd) in &self.groups {
            if let Some(fd) = fd {
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                let _ = black_box(poll(&mut [PollFd::new(&**fd, PollFlags::IN)], Some(&now)));
            }
            let _ = black_box(group.read(&mut self.buffer));
        }
    }

    /// The newest watch goes, and one of the same file comes.
    pub(super) fn add_and_remove(&mut self) {
        let (group, _) = &self.groups[0];
        if let Ok(wd) = group.add_watch(self.files[0].clone(), WatchMask::MODIFY) {
            let _ = group.rm_watch(wd);
        }
        let _ = black_box(group.read(&mut self.buffer));
    }
}

/// A tree of which some files are watched by one group.
pub(super) struct Forest {
    tree: Tree,
    _mount: SuperBlock,
    inotify: Inotify,
    nodes: Vec<Arc<Node>>,
    buffer: Vec<u8>,
    next: usize,
}

/// A tree of about so many nodes, a hundred a directory.
pub(super) fn plant(nodes: usize) -> Result<Tree> {
    let tree = Tree::new(Options::default());
    let content: Arc<dyn kernfs::Attribute> = Arc::new(Vec::new);
    for dir in 0..nodes / 100 {
        let dir = tree.root().make_dir(format!("d{dir}"))?;
        for file in 0..99 {
            dir.make_file(format!("f{file}"), Arc::clone(&content))?;
        }
    }
    Ok(tree)
}

impl Forest {
    pub(super) fn new(nodes: usize, watched: usize) -> Result<Self> {
        let tree = plant(nodes)?;
        let mount = tree.mount();
        let inotify = Inotify::new(&Account::new(limits()), InitFlags::NONBLOCK)?;
        let mut files = Vec::new();
        for dir in tree.root().child_names() {
            let Some(dir) = tree.root().child(dir) else { continue };
            // The first of each directory, so that they lie apart.
            files.extend(dir.child("f0"));
        }
        files.truncate(watched.max(1));
        for file in files.iter().take(watched) {
            let dir = file.parent().map(|dir| dir.name()).unwrap_or_default();
            let path = [b"/", &*dir, b"/f0"].concat();
            mount.watch(&inotify, path, WatchMask::MODIFY)?;
        }
        Ok(Self { tree, _mount: mount, inotify, nodes: files, buffer: vec![0; 4096], next: 0 })
    }

    pub(super) fn notify(&self) {
        self.nodes[0].notify();
    }

    /// One file changes, the worker tells it, and it is read.
    pub(super) fn turn(&mut self) {
        self.next = (self.next + 7919) % self.nodes.len();
        self.nodes[self.next].notify();
        self.tree.drain();
        let _ = black_box(self.inotify.read(&mut self.buffer));
    }
}
