//! The kernel's side of a program.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use fsnotify::{fanotify::MarkFlags, inotify::WatchMask};
use linux_notify::{
    fanotify::{self, Fanotify, Info, InitFlags, Relation, Scope},
    inotify::{Inotify, Mask},
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use super::{
    bystander::Bystanders,
    programs::{FORGOTTEN, Step},
    told::{Names, Part, Told},
};
use crate::{
    Cgroup, Environment, Failure, Tree,
    themes::reclaim::{Evidence, drop_caches, look_at_everything, reclaim, siblings},
};

pub(super) struct Linux<'b> {
    held: Vec<File>,
    pinned: Vec<OwnedFd>,
    inotify: Inotify,
    labels: BTreeMap<i32, &'static str>,
    groups: BTreeMap<&'static str, Fanotify>,
    names: Names,
    told: Told,
    /// What is there to be forgotten beside what matters.
    siblings: Vec<Cgroup>,
    /// Whether the step before was [`Step::Reclaim`].
    reclaiming: bool,
    bystanders: &'b mut Bystanders,
    tree: Tree,
}

impl<'b> Linux<'b> {
    pub(super) fn new(
        environment: &Environment,
        program: &[Step],
        bystanders: &'b mut Bystanders,
    ) -> Result<Self, Failure> {
        let tree = Tree::plant(environment)?;
        let does = |which: fn(&Step) -> bool| program.iter().any(which);
        if does(|step| matches!(step, Step::Controller(_))) {
            tree.root().write("cgroup.subtree_control", "+hugetlb")?;
        }
        let reclaims = does(|step| matches!(step, Step::Reclaim));
        let mut linux = Self {
            held: Vec::new(),
            pinned: Vec::new(),
            inotify: Inotify::new()?,
            labels: BTreeMap::new(),
            groups: BTreeMap::new(),
            names: Names::default(),
            told: Told::default(),
            siblings: if reclaims { siblings(&tree)? } else { Vec::new() },
            reclaiming: false,
            bystanders,
            tree,
        };
        linux.look("")?;
        Ok(linux)
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.tree.path().into() } else { self.tree.path().join(path) }
    }

    fn c_path(&self, path: &str) -> Result<CString, Failure> {
        let path = CString::new(self.path(path).as_os_str().as_bytes());
        path.map_err(|_| Failure::broken("a path with NUL"))
    }

    pub(super) fn act(&mut self, step: Step) -> Result<(), Failure> {
        self.reclaiming = matches!(step, Step::Reclaim);
        match step {
            Step::Watch(label, path, mask) => self.watch(label, path, mask)?,
            Step::Mark(label, path, flags, mask) => self.mark(label, path, flags, mask)?,
            Step::Mkdir(name) => {
                let path = self.path(name);
                fs::create_dir(&path).map_err(Failure::driver("make", &path))?;
                self.look(name)?;
            }
            Step::Rmdir(path) => {
                let path = self.path(path);
                fs::remove_dir(&path).map_err(Failure::driver("remove", &path))?;
            }
            Step::Open(path) => {
                let path = self.path(path);
                self.held.push(File::open(&path).map_err(Failure::driver("open", &path))?);
            }
            Step::Close => drop(self.held.pop()),
            Step::Pin(path) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                self.pinned.push(rustix::fs::openat(CWD, self.path(path), flags, Mode::empty())?);
            }
            Step::Unpin => drop(self.pinned.pop()),
            Step::Lookup(name) => {
                if let Some(dir) = self.pinned.last() {
                    // It is gone; to look is the point.
                    let _ = rustix::fs::statat(dir, name, AtFlags::empty());
                }
            }
            Step::Look(path) => self.look(path)?,
            Step::Freeze(path, frozen) => {
                let path = self.path(path).join("cgroup.freeze");
                let file = OpenOptions::new().write(true).open(&path);
                let mut file = file.map_err(Failure::driver("open", &path))?;
                let value = if frozen { b"1" } else { b"0" };
                file.write_all(value).map_err(Failure::driver("write", &path))?;
            }
            Step::Enter(path) => {
                let cgroup = Cgroup { id: 0, directory: self.path(path) };
                self.tree.enter(&cgroup)?;
            }
            Step::Leave => self.tree.leave()?,
            Step::Controller(on) => {
                let value = if on { "+hugetlb" } else { "-hugetlb" };
                self.tree.root().write("cgroup.subtree_control", value)?;
            }
            Step::Reclaim => {
                look_at_everything(&self.siblings)?;
                reclaim(&Evidence::on(&self.path(FORGOTTEN))?)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, path: &str) -> Result<(), Failure> {
        match fs::symlink_metadata(self.path(path)) {
            Ok(found) => {
                self.names.learn(found.ino(), path);
                if found.is_dir() {
                    self.bystanders.know(&self.path(path))?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::driver("look up", path)(error)),
        }
        Ok(())
    }

    fn watch(&mut self, label: &'static str, path: &str, mask: WatchMask) -> Result<(), Failure> {
        let path = self.c_path(path)?;
        let wd = self.inotify.add(&path, Mask::from_bits_retain(mask.bits()))?;
        self.labels.insert(wd.0, label);
        Ok(())
    }

    fn mark(
        &mut self,
        label: &'static str,
        path: &str,
        flags: MarkFlags,
        mask: u64,
    ) -> Result<(), Failure> {
        let path = self.c_path(path)?;
        if !self.groups.contains_key(label) {
            let named = InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
            // A mark on the mount hears of the whole machine: no bound is high enough.
            let all = InitFlags::REPORT_TARGET_FID | InitFlags::UNLIMITED_QUEUE;
            let group = Fanotify::new(named | all)?;
            self.groups.insert(label, group);
        }
        let group = &self.groups[label];
        let whole = flags.contains(MarkFlags::FILESYSTEM);
        let scope = if whole { Scope::Filesystem } else { Scope::Inode };
        let flags = fanotify::MarkFlags::from_bits_retain((flags - MarkFlags::FILESYSTEM).bits());
        let mask = fanotify::Mask::from_bits_retain(mask);
        match group.add_at(scope, flags, mask, CWD, &path) {
            // Before 6.6, cgroup2 has no id to name its objects by.
            Err(error) if error.errno() == Errno::NODEV => {
                Err(Failure::Skip("cgroup2 has no fsid on this kernel".into()))
            }
            done => Ok(done?),
        }
    }

    pub(super) fn told(&mut self) -> Result<&Told, Failure> {
        self.drain_inotify()?;
        self.drain_fanotify()?;
        Ok(&self.told)
    }

    fn drain_inotify(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        loop {
            let events = match self.inotify.read(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.errno() == Errno::AGAIN => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let mut none = true;
            for event in events {
                none = false;
                let label = self.labels.get(&event.wd.0).copied().unwrap_or("queue");
                self.told.add(label, event.mask.bits(), event.name);
            }
            if none {
                return Ok(());
            }
        }
    }

    fn drain_fanotify(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        for (label, group) in &self.groups {
            loop {
                let mut none = true;
                for event in group.read(&mut buffer)? {
                    none = false;
                    if let Some(about) = self.names.describe(event.infos().filter_map(part)) {
                        // All bits that are events are in the lower half.
                        self.told.add_record(label, event.mask.bits() as u32, about);
                    }
                }
                if none {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Until every watch was told as much as the model's.
    pub(super) fn wait_for(&mut self, expected: &Told, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        while !self.told()?.has_as_much_as(expected) {
            if Instant::now() > deadline {
                return Err(Failure::broken(format!(
                    "Linux never tells {:x?}, only {:x?}",
                    expected.0, self.told.0
                )));
            }
            if self.reclaiming {
                // Once is not always enough for a single entry.
                look_at_everything(&self.siblings)?;
                drop_caches()?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

pub(in crate::themes) fn part(info: Info<'_>) -> Option<Part<'_>> {
    let Info::Handle { relation, handle, name, .. } = info else { return None };
    let role = match relation {
        Relation::Object => "fid",
        Relation::Directory => "dfid",
        Relation::DirectoryEntry => "entry",
        _ => "other",
    };
    Some(Part { role, id: handle.kernfs_id()?, name })
}
