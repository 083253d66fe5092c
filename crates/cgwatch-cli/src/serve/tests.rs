//! A server that panics: it is this program once more, asked for one test alone.
#![expect(clippy::panic, reason = "a test may panic; this one must")]

use std::{env, fs, path::PathBuf, process::Command, thread};

use kernfs::Tree;
use kernfs_fuse::{Mount, Options};

use super::unmount_on_panic;

/// Where that program shall mount.
const PLACE: &str = "CGWATCH_TEST_PANICS_AT";

#[test]
fn a_panic_in_any_thread_ends_the_mount_and_the_server() {
    if let Some(place) = env::var_os(PLACE) {
        serve_and_panic(place.into());
    }
    let fuse = fs::File::options().read(true).write(true).open("/dev/fuse");
    if fuse.is_err() || !rustix::process::geteuid().is_root() {
        println!("skipped: no /dev/fuse, or not root");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let place = temporary.path().canonicalize().unwrap();
    let name = "serve::tests::a_panic_in_any_thread_ends_the_mount_and_the_server";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(PLACE, &place)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("mounted"), "{said}");
    assert_eq!(output.status.code(), Some(101), "{said}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(place.to_str().unwrap()), "{mounts}");
}

fn serve_and_panic(place: PathBuf) -> ! {
    let tree = Tree::new(kernfs::Options { worker: true, ..kernfs::Options::default() });
    let mount = Mount::new(&tree, &place, &Options::default()).unwrap();
    unmount_on_panic(mount.unmounter());
    assert!(mount.is_mounted());
    println!("mounted");
    let broken = thread::spawn(|| panic!("what must not happen"));
    let _ = broken.join();
    // The process has ended before.
    std::process::exit(0);
}
