//! One small file system, twice: a real tmpfs, and a model of what the VFS
//! tells `fsnotify` for it (include/linux/fsnotify.h, fs/namei.c). The model
//! is the test's, not the crate's: it is what makes both sides see the same.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use fsnotify::{Event, FileHandle, FileSystem, Fsid, Mask, Object, ObjectKind, PathData, notify};

use crate::objects::Thing;

/// Something a program does. Paths are relative, one or two names deep.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Create(&'static str),
    Open(&'static str),
    Write(&'static str),
    Close(&'static str),
    Chmod(&'static str),
    Unlink(&'static str),
    Mkdir(&'static str),
    Rmdir(&'static str),
    Rename(&'static str, &'static str),
}

/// Both file systems in one state.
pub(crate) struct Tmpfs {
    place: tempfile::TempDir,
    pub(crate) whole: Arc<Thing>,
    nodes: BTreeMap<String, Node>,
    /// For writing.
    open: BTreeMap<&'static str, (File, Node)>,
    cookie: u32,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) object: Arc<Thing>,
    pub(crate) handle: FileHandle,
}

pub(crate) const FILE_SYSTEM: FileSystem =
    FileSystem { identity: 77, fsid: Fsid([7; 8]), decodes_handles: true };

/// The directory of a path and its last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Tmpfs {
    pub(crate) fn new() -> Self {
        let whole = Thing::in_file_system(ObjectKind::SuperBlock, FILE_SYSTEM);
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let (nodes, open) = (BTreeMap::new(), BTreeMap::new());
        let mut both = Self { place, whole, nodes, open, cookie: 0 };
        both.add("", ObjectKind::Directory);
        both
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.place.path().into() } else { self.place.path().join(path) }
    }

    pub(crate) fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// An object was made; its handle is the real one's.
    fn add(&mut self, path: &str, kind: ObjectKind) {
        let real = CString::new(self.path(path).into_os_string().into_encoded_bytes()).unwrap();
        let (handle, _) =
            linux_notify::name_to_handle_at(rustix::fs::CWD, &real, rustix::fs::AtFlags::empty())
                .unwrap();
        let handle = FileHandle::new(handle.kind(), handle.bytes()).unwrap();
        let object = Thing::in_file_system(kind, FILE_SYSTEM);
        self.nodes.insert(path.to_owned(), Node { object, handle });
    }

    fn event(&self, mask: Mask, node: Option<&Node>) -> Event<'_> {
        Event {
            super_block: Some(&*self.whole),
            fsid: FILE_SYSTEM.fsid,
            target: node.map(|node| node.handle),
            pid: std::process::id() as i32,
            ..Event::new(mask)
        }
    }

    /// A name in a directory; the child is not known yet when it is created.
    fn entry(&self, mask: Mask, path: &str, node: Option<&Node>, cookie: u32) {
        let (dir, name) = split(path);
        let dir = &self.nodes[dir];
        notify(&Event {
            dir: Some(&*dir.object),
            parent: Some(dir.handle),
            name: Some(name.as_bytes()),
            cookie,
            ..self.event(mask, node)
        });
    }

    fn alone(&self, mask: Mask, node: &Node) {
        notify(&Event { inode: Some(&*node.object), ..self.event(mask, Some(node)) });
    }

    /// An operation on an open or named file: its directory hears too.
    fn on_child(&self, mask: Mask, path: &str, node: &Node, linked: bool) {
        let (dir, name) = split(path);
        let dir = &self.nodes[dir];
        notify(&Event {
            inode: Some(&*node.object),
            dir: Some(&*dir.object),
            parent: Some(dir.handle),
            name: Some(name.as_bytes()),
            path: if linked { PathData::Linked } else { PathData::Unlinked },
            ..self.event(mask | Mask::EVENT_ON_CHILD, Some(node))
        });
    }

    fn end(&self, mask: Mask, node: &Node) {
        self.alone(mask, node);
        node.object.connector().close();
    }

    fn is_dir(&self, path: &str) -> Option<bool> {
        Some(self.node(path)?.object.kind() == ObjectKind::Directory)
    }

    fn is_open(&self, path: &str) -> bool {
        self.open.contains_key(path)
    }

    /// Does it on both, if it can be done; whether it was.
    pub(crate) fn act(&mut self, action: &Action) -> bool {
        let parent_exists = |path: &str| self.is_dir(split(path).0) == Some(true);
        match *action {
            Action::Create(path) => {
                let free = !self.nodes.contains_key(path) && !self.is_open(path);
                if !free || !parent_exists(path) {
                    return false;
                }
                let file = OpenOptions::new().write(true).create_new(true).open(self.path(path));
                self.add(path, ObjectKind::File);
                let node = self.nodes[path].clone();
                self.entry(Mask::CREATE, path, Some(&node), 0);
                self.on_child(Mask::OPEN, path, &node, true);
                node.object.written.store(true, Relaxed);
                self.open.insert(path, (file.unwrap(), node));
            }
            Action::Open(path) => {
                if self.is_dir(path) != Some(false) || self.is_open(path) {
                    return false;
                }
                let file = OpenOptions::new().write(true).open(self.path(path)).unwrap();
                let node = self.nodes[path].clone();
                self.on_child(Mask::OPEN, path, &node, true);
                node.object.written.store(true, Relaxed);
                self.open.insert(path, (file, node));
            }
            Action::Write(path) => {
                let Some((mut file, node)) = self.open.remove(path) else { return false };
                file.write_all(b"x").unwrap();
                let linked = self.nodes.contains_key(path);
                self.on_child(Mask::MODIFY, path, &node, linked);
                self.open.insert(path, (file, node));
            }
            Action::Close(path) => {
                let Some((file, node)) = self.open.remove(path) else { return false };
                drop(file);
                node.object.written.store(false, Relaxed);
                let linked = self.nodes.contains_key(path);
                self.on_child(Mask::CLOSE_WRITE, path, &node, linked);
                if !linked {
                    self.end(Mask::DELETE_SELF, &node);
                }
            }
            Action::Chmod(path) => {
                if self.is_dir(path) != Some(false) {
                    return false;
                }
                fs::set_permissions(self.path(path), Permissions::from_mode(0o600)).unwrap();
                let node = self.nodes[path].clone();
                self.on_child(Mask::ATTRIB, path, &node, true);
            }
            Action::Unlink(path) => {
                if self.is_dir(path) != Some(false) {
                    return false;
                }
                fs::remove_file(self.path(path)).unwrap();
                let Some(node) = self.nodes.remove(path) else { return false };
                // The link count changed: told to the inode alone.
                self.alone(Mask::ATTRIB, &node);
                if !self.is_open(path) {
                    self.end(Mask::DELETE_SELF, &node);
                }
                self.entry(Mask::DELETE, path, Some(&node), 0);
            }
            Action::Mkdir(path) => {
                if self.nodes.contains_key(path) || self.is_open(path) || !parent_exists(path) {
                    return false;
                }
                fs::create_dir(self.path(path)).unwrap();
                self.add(path, ObjectKind::Directory);
                let node = self.nodes[path].clone();
                self.entry(Mask::CREATE | Mask::ISDIR, path, Some(&node), 0);
            }
            Action::Rmdir(path) => {
                let inside = format!("{path}/");
                let used = self.nodes.keys().any(|other| other.starts_with(&inside));
                let held = self.open.keys().any(|other| other.starts_with(&inside));
                if self.is_dir(path) != Some(true) || used || held {
                    return false;
                }
                fs::remove_dir(self.path(path)).unwrap();
                let Some(node) = self.nodes.remove(path) else { return false };
                self.end(Mask::DELETE_SELF | Mask::ISDIR, &node);
                self.entry(Mask::DELETE | Mask::ISDIR, path, Some(&node), 0);
            }
            Action::Rename(from, to) => {
                let taken = self.nodes.contains_key(to) || self.is_open(to) || self.is_open(from);
                if self.is_dir(from) != Some(false) || taken || !parent_exists(to) {
                    return false;
                }
                fs::rename(self.path(from), self.path(to)).unwrap();
                self.cookie += 1;
                let Some(node) = self.nodes.remove(from) else { return false };
                self.entry(Mask::MOVED_FROM, from, Some(&node), self.cookie);
                self.entry(Mask::MOVED_TO, to, Some(&node), self.cookie);
                self.alone(Mask::MOVE_SELF, &node);
                self.nodes.insert(to.to_owned(), node);
            }
        }
        true
    }
}
