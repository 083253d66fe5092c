//! The names that the owner of a cgroup may choose: up to 4,095 bytes, and nothing beside them is
//! hidden. On this machine's own hierarchy.

#![allow(clippy::unwrap_used, reason = "tests")]

mod own;

use std::{
    collections::BTreeSet,
    fs,
    os::fd::OwnedFd,
    process::{Child, Command},
    time::Duration,
};

use cgwatch::{Depth, Error, Event, EventKind, HostReader, Options, Strategy, Watcher};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, statat, unlinkat};

use self::own::Own;

/// Around what fits into the buffers of getdents64(2) that are usual, and the longest.
const LENGTHS: [usize; 7] = [255, 256, 1000, 1514, 1515, 2000, 4095];
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// A cgroup of its own with a directory whose children are made and removed without their paths, which
/// would be too long.
struct Crowd {
    own: Own,
    directory: OwnedFd,
    made: BTreeSet<Vec<u8>>,
}

impl Crowd {
    fn new(test: &str) -> Option<Self> {
        let own = Own::new(test)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(own.path(), flags, Mode::empty()).unwrap();
        Some(Self { own, directory, made: BTreeSet::new() })
    }

    fn make(&mut self, name: &[u8]) -> u64 {
        mkdirat(&self.directory, name, Mode::RWXU).unwrap();
        self.made.insert(name.into());
        statat(&self.directory, name, AtFlags::empty()).unwrap().st_ino
    }

    fn remove(&mut self, name: &[u8]) {
        unlinkat(&self.directory, name, AtFlags::REMOVEDIR).unwrap();
        self.made.remove(name);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for name in &self.made {
            let _ = unlinkat(&self.directory, &name[..], AtFlags::REMOVEDIR);
        }
    }
}

fn until(watcher: &mut Watcher, what: &str, is: impl Fn(&EventKind) -> bool) -> Event {
    loop {
        let event = watcher.wait(PATIENCE).unwrap();
        let event = event.unwrap_or_else(|| panic!("never told: {what}"));
        assert!(!matches!(event.kind, EventKind::Gap { .. }), "{event:?}");
        if is(&event.kind) {
            return event;
        }
    }
}

fn watcher(strategy: Strategy) -> Option<Watcher> {
    let options = Options::new().strategy(strategy).sweep_interval(Duration::from_millis(50));
    match Watcher::new(options) {
        Ok(watcher) => Some(watcher),
        Err(Error::NoFanotify { source }) => {
            println!("skipped: no mark on the superblock: {source}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_long_name_hides_neither_itself_nor_others() {
    for strategy in [Strategy::Inotify, Strategy::Sweep, Strategy::Fanotify] {
        let Some(mut crowd) = Crowd::new("names") else {
            assert!(std::env::var_os("CI").is_none(), "no hierarchy to write in");
            return;
        };
        let Some(mut watcher) = watcher(strategy) else { continue };
        let old: Vec<Vec<u8>> = LENGTHS.iter().map(|length| vec![b'o'; *length]).collect();
        let mut ids = BTreeSet::new();
        ids.insert(crowd.make(b"short"));
        ids.extend(old.iter().map(|name| crowd.make(name)));
        watcher.add(crowd.own.path(), Depth::All).unwrap();
        let mut told = BTreeSet::new();
        while let EventKind::Appeared { cgroup, files, .. } =
            until(&mut watcher, "the baseline", |_| true).kind
        {
            assert!(files.get("cgroup.events").is_some(), "{:?}", cgroup.path);
            told.extend(cgroup.id.filter(|_| cgroup.path.as_bytes() != b"/"));
        }
        assert_eq!(told, ids, "{strategy:?}");
        // What happens beside them, and to them.
        fs::write(crowd.own.path().join("short/cgroup.freeze"), "1").unwrap();
        until(
            &mut watcher,
            "a change beside them",
            |kind| matches!(kind, EventKind::Changed { cgroup, .. } if cgroup.path.as_bytes() == b"/short"),
        );
        let new: Vec<Vec<u8>> = LENGTHS.iter().map(|length| vec![b'n'; *length]).collect();
        let mut born: BTreeSet<_> = new.iter().map(|name| (crowd.make(name), name.len())).collect();
        ids.extend(born.iter().map(|(id, _)| *id));
        while !born.is_empty() {
            let event = until(&mut watcher, "a birth", |kind| kind.name() == "appeared");
            let EventKind::Appeared { cgroup, .. } = event.kind else { unreachable!() };
            let its = (cgroup.id.unwrap(), cgroup.path.as_bytes().len() - 1);
            assert!(born.remove(&its), "{strategy:?}: {its:?} of {born:?}");
        }
        for name in old.iter().chain(&new).chain([&b"short".to_vec()]) {
            crowd.remove(name);
        }
        while !ids.is_empty() {
            let event = until(&mut watcher, "an end", |kind| kind.name() == "removed");
            let EventKind::Removed { cgroup, .. } = event.kind else { unreachable!() };
            assert!(ids.remove(&cgroup.id.unwrap()), "{strategy:?}: {cgroup:?}");
        }
    }
}

#[test]
fn a_reader_lists_all_names() {
    let Some(mut crowd) = Crowd::new("names-listed") else { return };
    for length in LENGTHS {
        crowd.make(&vec![b'l'; length]);
    }
    let reader = HostReader::new(crowd.own.path()).unwrap();
    let id = statat(&crowd.directory, ".", AtFlags::empty()).unwrap().st_ino;
    let mut listed = BTreeSet::new();
    let mut files = 0;
    reader
        .list(b"/", id, |name, _, is_dir| match is_dir {
            true => drop(listed.insert(name.to_vec())),
            false => files += 1,
        })
        .unwrap();
    assert_eq!(listed, crowd.made);
    assert!(files > 5, "{files}");
}

/// The kernel shows such a file page by page, however large the buffer has become.
#[test]
fn a_file_of_many_records_is_read_to_its_end_each_time() {
    const MANY: usize = 900;
    let Some(own) = Own::new("records") else { return };
    let mut shell = Spawned(Command::new("sh"), None);
    let script = format!(
        "echo $$ > \"$1/cgroup.procs\" || exit 77; n=1
        while [ $n -lt {MANY} ]; do sleep 100 & n=$((n+1)); done
        echo ready; wait"
    );
    shell.0.args(["-c", &script, "sh"]).arg(own.path()).stdout(std::process::Stdio::piped());
    let mut child = shell.0.spawn().unwrap();
    let mut line = String::new();
    let out = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
    shell.1 = Some((child, own));
    assert_eq!(line.trim(), "ready");
    let own = &shell.1.as_ref().unwrap().1;
    let reader = HostReader::new(own.path()).unwrap();
    let id = std::os::unix::fs::MetadataExt::ino(&fs::metadata(own.path()).unwrap());
    let mut text = Vec::new();
    for round in 0..4 {
        reader.read((b"/", id), (b"cgroup.procs", 0), &mut text).unwrap();
        let processes = text.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(processes, MANY, "round {round}, {} bytes of room", text.capacity());
    }
}

/// Processes in a cgroup, killed at the end.
struct Spawned(Command, Option<(Child, Own)>);

impl Drop for Spawned {
    fn drop(&mut self) {
        let Some((child, own)) = &mut self.1 else { return };
        let _ = fs::write(own.path().join("cgroup.kill"), "1");
        let _ = child.wait();
        let mut left = 1000;
        while left > 0 && fs::remove_dir(own.path()).is_err() {
            left -= 1;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
