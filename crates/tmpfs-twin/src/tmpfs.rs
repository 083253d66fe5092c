//! One small file system, twice: a real tmpfs, and a model of what the VFS
//! tells `fsnotify` for it (include/linux/fsnotify.h, fs/namei.c).

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use fsnotify::{Event, FileHandle, FileSystem, Fsid, Mask, Object, ObjectKind, PathData, notify};

use crate::{Choices, Error, Thing};

/// Something a program does. Paths are relative, one or two names deep.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Makes a file and opens it for writing.
    Create(&'static str),
    /// Opens it for writing.
    Open(&'static str),
    /// Writes one byte.
    Write(&'static str),
    /// Closes it.
    Close(&'static str),
    /// Sets its mode.
    Chmod(&'static str),
    /// Unlinks it, open or not.
    Unlink(&'static str),
    /// Makes a directory.
    Mkdir(&'static str),
    /// Removes an empty directory.
    Rmdir(&'static str),
    /// Gives a file another place.
    Rename(&'static str, &'static str),
}

impl Action {
    pub(crate) const PATHS: [&'static str; 6] = ["a", "b", "d", "d/a", "d/b", "e"];

    pub(crate) fn of(choices: &mut Choices) -> Self {
        let kind = choices.below(22);
        let path = choices.one_of(&Self::PATHS);
        match kind {
            0..3 => Self::Create(path),
            3..5 => Self::Open(path),
            5..9 => Self::Write(path),
            9..12 => Self::Close(path),
            12..14 => Self::Chmod(path),
            14..16 => Self::Unlink(path),
            16..19 => Self::Mkdir(path),
            19 => Self::Rmdir(path),
            _ => Self::Rename(path, choices.one_of(&Self::PATHS)),
        }
    }
}

/// Both file systems in one state.
#[derive(Debug)]
pub struct Tmpfs {
    place: tempfile::TempDir,
    whole: Arc<Thing>,
    nodes: BTreeMap<String, Node>,
    /// For writing.
    open: BTreeMap<&'static str, (File, Node)>,
    cookie: u32,
}

#[derive(Clone, Debug)]
struct Node {
    object: Arc<Thing>,
    handle: FileHandle,
}

const FILE_SYSTEM: FileSystem =
    FileSystem { identity: 77, fsid: Fsid([7; 8]), decodes_handles: true };

/// The directory of a path and its last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Tmpfs {
    /// An empty directory below `place`, and its model.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Notify`] where there are no handles.
    pub fn new(place: &Path) -> Result<Self, Error> {
        let whole = Thing::in_file_system(ObjectKind::SuperBlock, FILE_SYSTEM);
        let made = tempfile::tempdir_in(place);
        let place = made.map_err(|source| Error::File { path: place.into(), source })?;
        let (nodes, open) = (BTreeMap::new(), BTreeMap::new());
        let mut both = Self { place, whole, nodes, open, cookie: 0 };
        both.add("", ObjectKind::Directory)?;
        Ok(both)
    }

    /// Where a path is on the real side.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.place.path().into() } else { self.place.path().join(path) }
    }

    /// What a path leads to on the other.
    #[must_use]
    pub fn object(&self, path: &str) -> Option<Arc<Thing>> {
        self.nodes.get(path).map(|node| Arc::clone(&node.object))
    }

    /// An object was made; its handle is the real one's.
    fn add(&mut self, path: &str, kind: ObjectKind) -> Result<Node, Error> {
        let failed = |source| Error::File { path: self.path(path), source };
        let real = CString::new(self.path(path).as_os_str().as_bytes());
        let real = real.map_err(|error| failed(error.into()))?;
        let (handle, _) =
            linux_notify::name_to_handle_at(rustix::fs::CWD, &real, rustix::fs::AtFlags::empty())?;
        let handle = FileHandle::new(handle.kind(), handle.bytes());
        let handle = handle.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        let node = Node { object: Thing::in_file_system(kind, FILE_SYSTEM), handle };
        self.nodes.insert(path.to_owned(), node.clone());
        Ok(node)
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
        Some(self.nodes.get(path)?.object.kind() == ObjectKind::Directory)
    }

    fn is_open(&self, path: &str) -> bool {
        self.open.contains_key(path)
    }

    /// Does it on both, if it can be done.
    ///
    /// # Errors
    /// [`Error::File`] if the real file system refuses what the model allows.
    pub fn act(&mut self, action: &Action) -> Result<(), Error> {
        match *action {
            Action::Create(path) | Action::Mkdir(path) => self.make(action, path),
            Action::Open(path) | Action::Write(path) | Action::Close(path) => {
                self.use_file(action, path)
            }
            Action::Chmod(path) if self.is_dir(path) == Some(false) => {
                let permissions = Permissions::from_mode(0o600);
                self.real(path, |real| fs::set_permissions(real, permissions))?;
                let node = self.nodes[path].clone();
                self.on_child(Mask::ATTRIB, path, &node, true);
                Ok(())
            }
            Action::Unlink(path) | Action::Rmdir(path) => self.remove(action, path),
            Action::Rename(from, to) => self.rename(from, to),
            Action::Chmod(_) => Ok(()),
        }
    }

    fn real<T>(&self, path: &str, act: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, Error> {
        let real = self.path(path);
        act(&real).map_err(|source| Error::File { path: real, source })
    }

    fn parent_exists(&self, path: &str) -> bool {
        self.is_dir(split(path).0) == Some(true)
    }

    fn make(&mut self, action: &Action, path: &'static str) -> Result<(), Error> {
        if self.nodes.contains_key(path) || self.is_open(path) || !self.parent_exists(path) {
            return Ok(());
        }
        if let Action::Mkdir(_) = action {
            self.real(path, |real| fs::create_dir(real))?;
            let node = self.add(path, ObjectKind::Directory)?;
            self.entry(Mask::CREATE | Mask::ISDIR, path, Some(&node), 0);
        } else {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let file = self.real(path, |real| options.open(real))?;
            let node = self.add(path, ObjectKind::File)?;
            self.entry(Mask::CREATE, path, Some(&node), 0);
            self.on_child(Mask::OPEN, path, &node, true);
            node.object.set_written(true);
            self.open.insert(path, (file, node));
        }
        Ok(())
    }

    fn use_file(&mut self, action: &Action, path: &'static str) -> Result<(), Error> {
        if let Action::Open(_) = action {
            if self.is_dir(path) != Some(false) || self.is_open(path) {
                return Ok(());
            }
            let file = self.real(path, |real| OpenOptions::new().write(true).open(real))?;
            let node = self.nodes[path].clone();
            self.on_child(Mask::OPEN, path, &node, true);
            node.object.set_written(true);
            self.open.insert(path, (file, node));
            return Ok(());
        }
        let Some((mut file, node)) = self.open.remove(path) else { return Ok(()) };
        let linked = self.nodes.contains_key(path);
        if let Action::Write(_) = action {
            self.real(path, |_| file.write_all(b"x"))?;
            self.on_child(Mask::MODIFY, path, &node, linked);
            self.open.insert(path, (file, node));
            return Ok(());
        }
        drop(file);
        node.object.set_written(false);
        self.on_child(Mask::CLOSE_WRITE, path, &node, linked);
        if !linked {
            self.end(Mask::DELETE_SELF, &node);
        }
        Ok(())
    }

    fn remove(&mut self, action: &Action, path: &'static str) -> Result<(), Error> {
        let inside = format!("{path}/");
        let used = self.nodes.keys().any(|other| other.starts_with(&inside));
        let held = self.open.keys().any(|other| other.starts_with(&inside));
        let directory = matches!(action, Action::Rmdir(_));
        if self.is_dir(path) != Some(directory) || used || held {
            return Ok(());
        }
        if directory {
            self.real(path, |real| fs::remove_dir(real))?;
        } else {
            self.real(path, |real| fs::remove_file(real))?;
        }
        let Some(node) = self.nodes.remove(path) else { return Ok(()) };
        if directory {
            self.end(Mask::DELETE_SELF | Mask::ISDIR, &node);
            self.entry(Mask::DELETE | Mask::ISDIR, path, Some(&node), 0);
            return Ok(());
        }
        // The link count changed: told to the inode alone.
        self.alone(Mask::ATTRIB, &node);
        if !self.is_open(path) {
            self.end(Mask::DELETE_SELF, &node);
        }
        self.entry(Mask::DELETE, path, Some(&node), 0);
        Ok(())
    }

    fn rename(&mut self, from: &'static str, to: &'static str) -> Result<(), Error> {
        let taken = self.nodes.contains_key(to) || self.is_open(to) || self.is_open(from);
        if self.is_dir(from) != Some(false) || taken || !self.parent_exists(to) {
            return Ok(());
        }
        self.real(from, |real| fs::rename(real, self.path(to)))?;
        self.cookie += 1;
        let Some(node) = self.nodes.remove(from) else { return Ok(()) };
        self.entry(Mask::MOVED_FROM, from, Some(&node), self.cookie);
        self.entry(Mask::MOVED_TO, to, Some(&node), self.cookie);
        self.alone(Mask::MOVE_SELF, &node);
        self.nodes.insert(to.to_owned(), node);
        Ok(())
    }
}
