//! fanotify and file handles against this machine's kernel: tmpfs and the cgroup hierarchy.
//!
//! Where the kernel or the user's rights do not allow a test, it says so and passes.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux_notify::fanotify::{Fanotify, Info, InitFlags, MarkFlags, Mask, Relation, Scope};
use linux_notify::{Errno, Error, FileHandle, name_to_handle_at, open_by_handle_at};
use rustix::fs::{AtFlags, Mode, OFlags};
use tempfile::TempDir;

const NAMED: InitFlags =
    InitFlags::REPORT_DIR_FID.union(InitFlags::REPORT_NAME).union(InitFlags::REPORT_TARGET_FID);

fn o_path(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn handle_of(fd: &OwnedFd) -> FileHandle {
    name_to_handle_at(fd.as_fd(), c"", AtFlags::EMPTY_PATH).unwrap().0
}

/// What a record says of handles: relation, handle, name.
type Handles = Vec<(Relation, FileHandle, String)>;

fn drain(fanotify: &Fanotify) -> Vec<(Mask, Handles)> {
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    loop {
        let mut events = fanotify.read(&mut buffer).unwrap();
        let before = all.len();
        for event in events.by_ref() {
            let handles = event.infos().map(|info| match info {
                Info::Handle { relation, handle, name, .. } => {
                    (relation, handle, String::from_utf8(name.to_vec()).unwrap())
                }
                other => panic!("not asked for: {other:?}"),
            });
            all.push((event.mask, handles.collect()));
        }
        assert!(events.remainder().is_empty());
        if all.len() == before {
            return all;
        }
    }
}

/// The value, or `None` after saying why the test cannot be done here.
fn allowed<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if matches!(error.errno(), Errno::PERM | Errno::NOSYS | Errno::NODEV) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_inode_mark_on_a_directory_of_tmpfs() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let Some(fanotify) = allowed(Fanotify::new(NAMED)) else { return };
    let fd = o_path(dir.path());
    let mask = Mask::CREATE | Mask::DELETE | Mask::ONDIR;
    fanotify.add(Scope::Inode, MarkFlags::ONLYDIR, mask, fd.as_fd()).unwrap();
    assert_eq!(drain(&fanotify), []);

    let child = dir.path().join("child");
    fs::create_dir(&child).unwrap();
    let born = handle_of(&o_path(&child));
    fs::remove_dir(&child).unwrap();
    let queued = fanotify.queued_bytes().unwrap();
    assert!(queued == 24 || queued == 48, "{queued}");

    let parent = (Relation::DirectoryEntry, handle_of(&fd), "child".to_owned());
    let events = drain(&fanotify);
    // Both happened to one name by one process, so the kernel may put them into one record.
    let all = events.iter().fold(Mask::empty(), |all, (mask, _)| all | *mask);
    assert_eq!(all, mask);
    for (_, handles) in &events {
        assert_eq!(handles[0], parent);
    }
    let (_, handles) = events.last().unwrap();
    assert_eq!(handles[1..], [(Relation::Object, born, String::new())]);

    fanotify.remove(Scope::Inode, MarkFlags::empty(), mask, fd.as_fd()).unwrap();
    fs::create_dir(&child).unwrap();
    assert_eq!(drain(&fanotify), []);
    let again = fanotify.remove(Scope::Inode, MarkFlags::empty(), mask, fd.as_fd()).unwrap_err();
    assert_eq!(again.errno(), Errno::NOENT);
}

#[test]
fn each_scope_is_its_own() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let child = dir.path().join("child");
    fs::create_dir(&child).unwrap();
    let here = o_path(dir.path());
    let heard = |scope, mask| {
        let fanotify = allowed(Fanotify::new(InitFlags::empty()))?;
        allowed(fanotify.add(scope, MarkFlags::empty(), mask, here.as_fd()))?;
        fs::write(child.join("file"), "x").unwrap();
        let own = handle_of(&o_path(&child.join("file")));
        let mut events = drain(&fanotify);
        fs::remove_file(child.join("file")).unwrap();
        // Others use this file system, too.
        events.retain(|(_, handles)| handles[0].1 == own);
        Some(!events.is_empty())
    };
    assert_ne!(heard(Scope::Inode, Mask::MODIFY), Some(true));
    assert_ne!(heard(Scope::Mount, Mask::MODIFY), Some(false));
    assert_ne!(heard(Scope::Filesystem, Mask::MODIFY), Some(false));
    // Births have no mount.
    let Some(fanotify) = allowed(Fanotify::new(InitFlags::empty())) else { return };
    let born = |scope| fanotify.add(scope, MarkFlags::empty(), Mask::CREATE, here.as_fd());
    if allowed(born(Scope::Filesystem)).is_some() {
        assert_eq!(born(Scope::Mount).unwrap_err().errno(), Errno::INVAL);
    }
}

#[test]
fn a_flush_removes_the_marks() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let Some(fanotify) = allowed(Fanotify::new(InitFlags::empty())) else { return };
    let fd = o_path(dir.path());
    fanotify.add(Scope::Inode, MarkFlags::EVICTABLE, Mask::CREATE, fd.as_fd()).unwrap();
    fanotify.flush(Scope::Inode).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(drain(&fanotify), []);
}

#[test]
fn refusals() {
    let Some(fanotify) = allowed(Fanotify::new(InitFlags::empty())) else { return };
    let root = o_path(Path::new("/"));
    let here = root.as_fd();
    let none = MarkFlags::empty();
    let errno = |result: Result<(), Error>| result.unwrap_err().errno();
    let unknown = Mask::from_bits_retain(1 << 62);
    assert_eq!(errno(fanotify.add(Scope::Inode, none, Mask::empty(), here)), Errno::INVAL);
    assert_eq!(errno(fanotify.add(Scope::Inode, none, unknown, here)), Errno::INVAL);
    let link = MarkFlags::DONT_FOLLOW;
    assert_eq!(errno(fanotify.add(Scope::Inode, link, Mask::CREATE, here)), Errno::INVAL);
    let nowhere = fanotify.add_at(Scope::Inode, none, Mask::CREATE, here, c"nowhere");
    assert_eq!(nowhere, Err(Error::Mark { path: "nowhere".into(), errno: Errno::NOENT }));
    let lonely = Fanotify::new(InitFlags::REPORT_NAME).unwrap_err();
    assert_eq!(lonely.errno(), Errno::INVAL);
}

#[test]
fn a_handle_comes_with_its_mount() {
    let dir = o_path(Path::new("/dev/shm"));
    let (handle, mount) = name_to_handle_at(dir.as_fd(), c"", AtFlags::EMPTY_PATH).unwrap();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).unwrap();
    let number = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap();
    assert_eq!(mount.0.to_string(), number.trim());
    // There is room for the old number only, whatever is asked for.
    let unique = AtFlags::EMPTY_PATH | AtFlags::from_bits_retain(0x001);
    assert_eq!(name_to_handle_at(dir.as_fd(), c"", unique), Ok((handle, mount)));
}

#[test]
fn handles_of_tmpfs_lead_back_until_the_file_is_gone() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(dir.path().join("file"), "hello").unwrap();
    let mount = fs::File::open(dir.path()).unwrap();
    let (handle, _) = name_to_handle_at(mount.as_fd(), c"file", AtFlags::empty()).unwrap();
    assert_eq!(handle.kernfs_id(), None);
    let open = || open_by_handle_at(mount.as_fd(), &handle, OFlags::RDONLY | OFlags::CLOEXEC);
    let Some(fd) = allowed(open()) else { return };
    let mut buffer = [0; 8];
    assert_eq!(rustix::io::read(&fd, &mut buffer).unwrap(), 5);
    assert_eq!(rustix::io::fcntl_getfd(&fd).unwrap(), rustix::io::FdFlags::CLOEXEC);
    let path = open_by_handle_at(mount.as_fd(), &handle, OFlags::PATH).unwrap();
    assert_eq!(rustix::io::read(&path, &mut buffer), Err(Errno::BADF));
    assert_eq!(rustix::io::fcntl_getfd(&path).unwrap(), rustix::io::FdFlags::CLOEXEC);
    drop((fd, path));
    fs::remove_file(dir.path().join("file")).unwrap();
    assert_eq!(open().unwrap_err().errno(), Errno::STALE);
    let error = name_to_handle_at(mount.as_fd(), c"file", AtFlags::empty()).unwrap_err();
    assert_eq!(error, Error::NameToHandle { path: "file".into(), errno: Errno::NOENT });
}

/// Where cgroup v2 is mounted.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| place.split(' ').nth(4).unwrap().into())
    });
    if mount.is_none() {
        eprintln!("skipped: cgroup v2 is not mounted");
    }
    mount
}

/// A cgroup that goes when the test ends, also by a panic.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(mount: &Path) -> Option<Self> {
        // Let tempfile choose the name.
        match TempDir::with_prefix_in("linux-notify-", mount) {
            Ok(dir) => Some(Self(dir.keep())),
            Err(error) => {
                eprintln!("skipped: mkdir in {}: {error}", mount.display());
                None
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("child"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_superblock_mark_tells_of_births_and_deaths_of_cgroups() {
    let Some(mount) = cgroup2() else { return };
    let Some(fanotify) = allowed(Fanotify::new(NAMED | InitFlags::UNLIMITED_QUEUE)) else { return };
    let Some(top) = Cgroup::new(&mount) else { return };
    let fd = o_path(&top.0);
    let mask = Mask::CREATE | Mask::DELETE | Mask::ONDIR;
    let mark = fanotify.add(Scope::Filesystem, MarkFlags::empty(), mask, fd.as_fd());
    if allowed(mark).is_none() {
        return;
    }
    let child = top.0.join("child");
    fs::create_dir(&child).unwrap();
    let parent = (Relation::DirectoryEntry, handle_of(&fd), "child".to_owned());
    // Others make and remove cgroups too.
    let mut born = drain(&fanotify);
    born.retain(|(_, handles)| handles[0] == parent);
    // The new cgroup's own handle is not in it: the kernel tells before the entry has its inode.
    assert_eq!(born, [(Mask::CREATE | Mask::ONDIR, vec![parent.clone()])]);

    let target = handle_of(&o_path(&child));
    let inode = rustix::fs::fstat(o_path(&child)).unwrap().st_ino;
    assert_eq!(target.kernfs_id(), Some(inode));
    fs::remove_dir(&child).unwrap();
    let mut gone = drain(&fanotify);
    gone.retain(|(_, handles)| handles[0] == parent);
    let target = (Relation::Object, target, String::new());
    assert_eq!(gone, [(Mask::DELETE | Mask::ONDIR, vec![parent, target])]);
}

#[test]
fn the_handle_of_a_cgroup_is_its_id() {
    let Some(mount) = cgroup2() else { return };
    let Some(top) = Cgroup::new(&mount) else { return };
    let root = fs::File::open(&mount).unwrap();
    let fd = o_path(&top.0);
    let id = rustix::fs::fstat(&fd).unwrap().st_ino;
    let handle = handle_of(&fd);
    assert_eq!(handle.kernfs_id(), Some(id));
    assert_eq!(handle, FileHandle::from_kernfs_id(id));
    let open = || open_by_handle_at(root.as_fd(), &handle, OFlags::PATH);
    let Some(opened) = allowed(open()) else { return };
    assert_eq!(rustix::fs::fstat(&opened).unwrap().st_ino, id);
    fs::remove_dir(&top.0).unwrap();
    assert_eq!(open().unwrap_err().errno(), Errno::STALE);
}
