//! Programs of others, unchanged, each getting a modification and then the removal: through a tree
//! that its server changes, through `cgwatch mount`, where clients do, and through `cgwatch mirror`,
//! where the host does. They come from packages; one that is not installed is told as
//! `skipped: …`, and fails where `CI=true`.

mod copies;
mod place;
mod program;

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use linux_notify::fanotify::{Fanotify, InitFlags, MarkFlags, Mask, Scope};
use notify::{EventKind, RecursiveMode, Watcher as _, event::ModifyKind};
use rustix::fs::inotify;

use place::Place;
use program::Program;

use crate::running::skipped;

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on every mount there can be.
fn everywhere(test: impl Fn(Place)) {
    for place in place::all() {
        println!("through {}", place.what);
        test(place);
    }
}

#[test]
fn inotifywait() {
    everywhere(|mut place| {
        let mut command = Command::new("inotifywait");
        command.args(["--monitor", "--event", "modify,delete_self", "--format", "%e %w"]);
        let Some(program) = Program::start(command.arg(place.file())) else { return };
        program.until(&["Watches established"]);
        place.change();
        program.until(&["MODIFY", "cgroup.events"]);
        let _mounted = place.remove();
        program.until(&["DELETE_SELF", "cgroup.events"]);
    });
}

const WATCHDOG: &str = "
import sys, time
from watchdog.observers import Observer
from watchdog.events import FileSystemEventHandler
class Told(FileSystemEventHandler):
    def on_any_event(self, event):
        print(event.event_type, event.src_path, flush=True)
observer = Observer()
observer.schedule(Told(), sys.argv[1])
observer.start()
print('ready', flush=True)
time.sleep(600)
";

#[test]
fn python_watchdog() {
    // Debian's own, which its packages are for.
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "import watchdog"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skipped("python3-watchdog is not installed");
    }
    everywhere(|mut place| {
        let mut command = Command::new(python);
        command.args(["-c", WATCHDOG]).arg(&place.directory);
        let Some(program) = Program::start(&mut command) else { return };
        program.until(&["ready"]);
        place.change();
        program.until(&["modified", "cgroup.events"]);
        let _mounted = place.remove();
        program.until(&["deleted", "/d"]);
    });
}

#[test]
fn the_notify_crate() {
    everywhere(|mut place| {
        let (sender, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(sender).unwrap();
        watcher.watch(&place.file(), RecursiveMode::NonRecursive).unwrap();
        let until = |wanted: fn(&EventKind) -> bool| {
            while !wanted(&events.recv_timeout(PATIENCE).unwrap().unwrap().kind) {}
        };
        place.change();
        until(|kind| matches!(kind, EventKind::Modify(ModifyKind::Data(_))));
        let _mounted = place.remove();
        until(|kind| matches!(kind, EventKind::Remove(_)));
    });
}

#[test]
fn a_fanotify_inode_mark() {
    everywhere(|mut place| {
        let group = Fanotify::new(InitFlags::REPORT_FID).unwrap();
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let path = rustix::fs::open(place.file(), flags, rustix::fs::Mode::empty()).unwrap();
        let wanted = Mask::MODIFY | Mask::DELETE_SELF;
        group.add(Scope::Inode, MarkFlags::empty(), wanted, path.as_fd()).unwrap();
        // It would hold the removal back.
        drop(path);
        let until = |wanted: Mask| {
            let end = Instant::now() + PATIENCE;
            let mut buffer = [0; 4096];
            loop {
                assert!(Instant::now() < end, "no {wanted:?}");
                let mut ready = [rustix::event::PollFd::new(&group, rustix::event::PollFlags::IN)];
                let limit = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
                rustix::event::poll(&mut ready, Some(&limit)).unwrap();
                if group.read(&mut buffer).unwrap().any(|event| event.mask.contains(wanted)) {
                    return;
                }
            }
        };
        place.change();
        until(Mask::MODIFY);
        let _mounted = place.remove();
        until(Mask::DELETE_SELF);
    });
}

/// How the kernel's own tests ask: two reads that have room for one record, of a descriptor that
/// blocks (tools/testing/selftests/cgroup/test_memcontrol.c, `test_memcg_inotify_delete_file`,
/// `_dir`).
#[test]
fn two_blocking_reads_of_16_bytes() {
    let ask = |place: Place, watched: &Path| {
        let queue: OwnedFd = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&queue, watched, inotify::WatchFlags::DELETE_SELF).unwrap();
        let _mounted = place.remove();
        // IN_DELETE_SELF, IN_IGNORED.
        for expected in [0x400, 0x8000] {
            let mut record = [0; 16];
            assert_eq!(rustix::io::read(&queue, &mut record), Ok(16));
            let mask = u32::from_ne_bytes(record[4..8].try_into().unwrap());
            assert_eq!(mask, expected, "{mask:#x}");
        }
    };
    everywhere(|place| {
        let file = place.file();
        ask(place, &file);
    });
    everywhere(|place| {
        let directory = place.directory.clone();
        ask(place, &directory);
    });
}

/// A directory's watch gets the name also after the file's dentry is gone.
#[test]
fn a_directory_watch_of_a_reclaimed_file() {
    let Some(mut served) = place::tree() else { return };
    let place = &mut served.place;
    let mut command = Command::new("inotifywait");
    command.args(["--monitor", "--event", "modify", "--format", "%e %f"]).arg(&place.directory);
    let Some(program) = Program::start(&mut command) else { return };
    program.until(&["Watches established"]);
    fs::metadata(place.file()).unwrap();
    served.mount.reclaim(&served.file);
    place.change();
    program.until(&["MODIFY", "cgroup.events"]);
}
