//! A mount below a directory that belongs to somebody else, who moves the way to it aside and puts
//! another there: whichever way the mount ends, it is this one that ends, and no other.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::{ffi::OsStringExt as _, fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use kernfs::Tree;
use kernfs_fuse::{Mount, MountPoint};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    mount::{MountFlags, UnmountFlags, unmount},
    process::Signal,
};

use crate::{
    mounting::{Mounted, is_mounted, mount},
    running::{assert_fails, await_end, cgwatch, is_root, skipped, until},
};

/// A mount that is none of cgwatch's business; gone at the end.
struct Other(PathBuf);

impl Other {
    fn over(directory: &Path) -> Self {
        rustix::mount::mount("other", directory, "tmpfs", MountFlags::empty(), None).unwrap();
        Self(directory.to_owned())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// `mount` is at `way/here`, the other at `other`.
struct Scene {
    // First, so that the way is still there.
    mounted: Mounted,
    other: Other,
    top: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Scene {
    fn new() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let temporary = tempfile::tempdir().unwrap();
        let top = temporary.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("way/here")).unwrap();
        fs::create_dir(top.join("other")).unwrap();
        let other = Other::over(&top.join("other"));
        let mounted = Mounted::at(top.join("way/here"), |at| mount(at, &[]))?;
        Some(Self { mounted, other, top, _temporary: temporary })
    }

    /// What an owner of `top` may do: no more than rename and link.
    fn lead_elsewhere(&mut self) {
        fs::rename(self.top.join("way"), self.top.join("aside")).unwrap();
        self.mounted.directory = self.top.join("aside/here");
        fs::create_dir(self.top.join("way")).unwrap();
        symlink(&self.other.0, self.top.join("way/here")).unwrap();
    }
}

/// What is checked is what is mounted on.
#[test]
fn the_way_leads_elsewhere_before_it_is_mounted() {
    if !is_root() || File::options().read(true).write(true).open("/dev/fuse").is_err() {
        skipped("not root, or no /dev/fuse");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let top = temporary.path().canonicalize().unwrap();
    fs::create_dir_all(top.join("way/here")).unwrap();
    fs::create_dir(top.join("other")).unwrap();
    let place = MountPoint::open(&top.join("way/here"), "kernfs").unwrap();
    fs::rename(top.join("way"), top.join("aside")).unwrap();
    fs::create_dir(top.join("way")).unwrap();
    symlink(top.join("other"), top.join("way/here")).unwrap();
    let tree = Tree::new(kernfs::Options { worker: true, ..kernfs::Options::default() });
    let mount = Mount::at(&tree, place, &kernfs_fuse::Options::default()).unwrap();
    assert!(is_mounted(&top.join("aside/here")) && mount.is_mounted());
    assert!(!is_mounted(&top.join("other")));
    drop(mount);
    assert!(!is_mounted(&top.join("aside/here")));
}

#[test]
fn the_way_leads_elsewhere_when_it_ends() {
    for signal in [Signal::TERM, Signal::KILL] {
        let Some(mut scene) = Scene::new() else { return };
        scene.lead_elsewhere();
        scene.mounted.signal(signal);
        scene.mounted.await_end();
        until("unmounted", || !is_mounted(&scene.mounted.directory));
        assert!(is_mounted(&scene.other.0), "{signal:?}");
    }
}

/// It is still served, and ends when it is unmounted.
#[test]
fn the_way_leads_elsewhere_while_it_lives() {
    let Some(mut scene) = Scene::new() else { return };
    scene.lead_elsewhere();
    // Longer than the server takes to look whether it is mounted.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    scene.mounted.make("made");
    unmount(&scene.mounted.directory, UnmountFlags::empty()).unwrap();
    scene.mounted.await_end();
    assert!(is_mounted(&scene.other.0));
}

#[test]
fn the_way_changes_all_the_time() {
    for _ in 0..10 {
        let Some(mut scene) = Scene::new() else { return };
        scene.lead_elsewhere();
        let (way, other) = (scene.top.join("way/here"), scene.top.join("way/elsewhere"));
        symlink(&scene.mounted.directory, &other).unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    renameat_with(CWD, &way, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                }
            });
            scene.mounted.signal(Signal::TERM);
            scene.mounted.await_end();
            ended.store(true, Ordering::Relaxed);
        });
        assert!(!is_mounted(&scene.mounted.directory));
        assert!(is_mounted(&scene.other.0));
    }
}

#[test]
fn what_is_mounted_over_it_stays() {
    for signal in [Signal::TERM, Signal::KILL] {
        let Some(mut scene) = Scene::new() else { return };
        let over = Other::over(&scene.mounted.directory);
        scene.mounted.signal(signal);
        scene.mounted.await_end();
        scene.mounted.await_guard();
        assert!(is_mounted(&over.0), "{signal:?}");
        fs::write(over.0.join("file"), "").unwrap();
    }
}

/// Names that `/proc/self/mountinfo` writes otherwise.
fn strange_places() -> Vec<OsString> {
    [&b"a space"[..], b"a\ttab", b"new\nline", b"back\\slash", b"\\040", b"\xff\xfe"]
        .map(|name| OsString::from_vec(name.to_vec()))
        .to_vec()
}

#[test]
fn a_killed_server_leaves_no_mount_wherever_it_was() {
    if !is_root() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    for name in strange_places() {
        let directory = temporary.path().canonicalize().unwrap().join(name);
        fs::create_dir(&directory).unwrap();
        let Some(mut mounted) = Mounted::at(directory.clone(), |at| mount(at, &[])) else { return };
        // One of our own mounts is no place for another.
        let again = cgwatch([OsStr::new("mount"), directory.as_os_str(), "--sim".as_ref()]);
        assert_fails(&{ again }.output().unwrap(), &["a mount of cgwatch itself"]);
        mounted.signal(Signal::KILL);
        mounted.await_end();
        until("unmounted", || !is_mounted(&directory));
    }
}

/// A mount without a server, as another FUSE file system leaves it.
#[test]
fn a_dead_mount_of_another_stays() {
    if !is_root() {
        return;
    }
    let Ok(device) = File::options().read(true).write(true).open("/dev/fuse") else {
        skipped("no /dev/fuse");
        return;
    };
    let temporary = tempfile::tempdir().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&device);
    let data = format!("fd={fd},rootmode=40755,user_id=0,group_id=0");
    let data = std::ffi::CString::new(data).unwrap();
    rustix::mount::mount("other-fs", temporary.path(), "fuse", MountFlags::empty(), Some(&*data))
        .unwrap();
    let other = Other(temporary.path().to_owned());
    drop(device);
    until("dead", || fs::read_dir(&other.0).is_err());
    let output = Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_cgwatch"), "mount", "--sim"])
        .arg(&other.0)
        .output()
        .unwrap();
    assert_fails(&output, &["cannot be mounted on", "not connected"]);
    assert!(is_mounted(&other.0));
}

/// Without it a mount could not be told from another.
#[test]
fn without_proc() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "umount --lazy /proc && exec \"$0\" mount \"$1\" --sim";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_cgwatch")])
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_fails(&output, &["mount -t proc"]);
}

/// A server that died before its guard could ask who its parent is sends it no signal.
#[test]
fn a_guard_whose_server_was_dead_at_once_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut guard = cgwatch(["guard".as_ref(), directory.path().as_os_str()]);
    guard.current_dir(directory.path().parent().unwrap()).stdin(Stdio::piped());
    let mut guard = guard.stdout(Stdio::null()).spawn().unwrap();
    drop(guard.stdin.take());
    await_end(rustix::process::Pid::from_child(&guard));
    assert!(guard.wait().unwrap().success());
}
