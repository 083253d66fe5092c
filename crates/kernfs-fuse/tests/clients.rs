//! Programs of others, unchanged, each getting a modification and then the
//! removal through a mount. They come from packages; one that is not
//! installed is told as `skipped: …`, and fails where `CI=true`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::fd::AsFd as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use kernfs::{Node, Tree};
use kernfs_fuse::{Mount, Options};
use linux_notify::fanotify::{Fanotify, InitFlags, MarkFlags, Mask, Scope};
use notify::{EventKind, RecursiveMode, Watcher as _, event::ModifyKind};

const PATIENCE: Duration = Duration::from_secs(30);

struct Mounted {
    // Before the tree.
    mount: Mount,
    _tree: Tree,
    directory: Arc<Node>,
    file: Arc<Node>,
    path: PathBuf,
    // Removed when nothing is mounted there any more.
    _temporary: tempfile::TempDir,
}

/// `/d/memory.events`, mounted; `None` where nothing can be.
fn mounted() -> Option<Mounted> {
    if File::options().read(true).write(true).open("/dev/fuse").is_err()
        || !rustix::process::geteuid().is_root()
    {
        skipped("no /dev/fuse, or not root");
        return None;
    }
    let tree = Tree::new(kernfs::Options { worker: true, ..kernfs::Options::default() });
    let directory = tree.root().make_dir("d").unwrap();
    let file = directory.make_file("memory.events", Arc::new(|| b"low 0\n".to_vec())).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let mount = Mount::new(&tree, temporary.path(), &Options::default()).unwrap();
    let path = mount.path().join("d");
    Some(Mounted { mount, _tree: tree, directory, file, path, _temporary: temporary })
}

fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped: {why}");
    println!("skipped: {why}");
}

/// A program whose output is read line by line, and that is ended with the
/// test.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    fn start(command: &mut Command) -> Option<Self> {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            skipped(&format!("{:?} is not installed", command.get_program()));
            return None;
        };
        let (sender, lines) = mpsc::channel();
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(pipe).lines().map_while(Result::ok);
                lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
            });
        }
        Some(Self { child, lines })
    }

    /// Reads until a line has all the words.
    #[track_caller]
    fn until(&self, words: &[&str]) {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if words.iter().all(|word| line.contains(word)) => return,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {words:?}, only {seen:#?}"),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn inotifywait() {
    let Some(mounted) = mounted() else { return };
    let file = mounted.path.join("memory.events");
    let mut command = Command::new("inotifywait");
    command.args(["--monitor", "--event", "modify,delete_self", "--format", "%e %w"]).arg(&file);
    let Some(program) = Program::start(&mut command) else { return };
    program.until(&["Watches established"]);
    mounted.file.notify();
    program.until(&["MODIFY", "memory.events"]);
    mounted.directory.remove();
    program.until(&["DELETE_SELF", "memory.events"]);
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
    let Some(mounted) = mounted() else { return };
    // Debian's own, which its packages are for.
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "import watchdog"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skipped("python3-watchdog is not installed");
    }
    let mut command = Command::new(python);
    command.args(["-c", WATCHDOG]).arg(&mounted.path);
    let Some(program) = Program::start(&mut command) else { return };
    program.until(&["ready"]);
    mounted.file.notify();
    program.until(&["modified", "memory.events"]);
    mounted.directory.remove();
    program.until(&["deleted", "/d"]);
}

#[test]
fn the_notify_crate() {
    let Some(mounted) = mounted() else { return };
    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender).unwrap();
    let file = mounted.path.join("memory.events");
    watcher.watch(&file, RecursiveMode::NonRecursive).unwrap();
    let until = |wanted: fn(&EventKind) -> bool| {
        while !wanted(&events.recv_timeout(PATIENCE).unwrap().unwrap().kind) {}
    };
    mounted.file.notify();
    until(|kind| matches!(kind, EventKind::Modify(ModifyKind::Data(_))));
    mounted.directory.remove();
    until(|kind| matches!(kind, EventKind::Remove(_)));
}

#[test]
fn a_fanotify_inode_mark() {
    let Some(mounted) = mounted() else { return };
    let file = mounted.path.join("memory.events");
    let group = Fanotify::new(InitFlags::REPORT_FID).unwrap();
    let path = rustix::fs::open(
        &file,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
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
    mounted.file.notify();
    until(Mask::MODIFY);
    mounted.directory.remove();
    until(Mask::DELETE_SELF);
}

/// A directory's watch gets the name also after the file's dentry is gone.
#[test]
fn a_directory_watch_of_a_reclaimed_file() {
    let Some(mounted) = mounted() else { return };
    let mut command = Command::new("inotifywait");
    command.args(["--monitor", "--event", "modify", "--format", "%e %f"]).arg(&mounted.path);
    let Some(program) = Program::start(&mut command) else { return };
    program.until(&["Watches established"]);
    fs::metadata(mounted.path.join("memory.events")).unwrap();
    mounted.mount.reclaim(&mounted.file);
    mounted.file.notify();
    program.until(&["MODIFY", "memory.events"]);
}
