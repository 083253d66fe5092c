//! Listing a directory of a mount while it changes, and what a directory that is held half-read
//! costs the server.

use std::{collections::BTreeMap, fs, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, open, seek};

use crate::mounting::Mounted;

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// The names that one getdents64 has, and where the next goes on.
fn some(directory: &OwnedFd) -> Vec<(String, u64)> {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        names.push((name, entry.next_entry_cookie()));
        if entries.is_buffer_empty() {
            break;
        }
    }
    names
}

fn rest(directory: &OwnedFd) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    loop {
        let more = some(directory);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[test]
fn what_stays_is_listed_once_whatever_comes_and_goes() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    let make = |name: String| fs::create_dir(mounted.directory.join(name)).unwrap();
    let remove = |name: String| fs::remove_dir(mounted.directory.join(name)).unwrap();
    (0..300).for_each(|n| make(format!("c{n:03}")));
    let listed = directory(&mounted.directory);
    let mut seen = some(&listed);
    // What was listed and what was not, next to what stays, and new ones everywhere.
    (0..300).step_by(3).for_each(|n| remove(format!("c{n:03}")));
    (0..300).step_by(5).for_each(|n| make(format!("c{n:03}a")));
    let (_, here) = seen.last().unwrap().clone();
    let onwards = rest(&listed);
    seen.extend(onwards.clone());
    let mut count = BTreeMap::new();
    seen.iter().for_each(|(name, _)| *count.entry(name.as_str()).or_insert(0) += 1);
    for n in (0..300).filter(|n| n % 3 != 0) {
        assert_eq!(count.get(format!("c{n:03}").as_str()), Some(&1), "c{n:03}");
    }
    assert!(count.values().all(|count| *count == 1), "{count:?}");
    // As seekdir(3) goes back to what telldir(3) said, and rewinddir(3).
    seek(&listed, SeekFrom::Start(here)).unwrap();
    assert_eq!(rest(&listed), onwards);
    seek(&listed, SeekFrom::Start(0)).unwrap();
    let names = |entries: &[(String, u64)]| {
        let mut names: Vec<_> = entries.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&rest(&listed)), names(&rest(&directory(&mounted.directory))));
}

/// Bytes of heap and stacks of a server.
fn memory(mounted: &Mounted) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mounted.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn directories_held_half_read_hold_no_lists() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    (0..2000).for_each(|n| fs::create_dir(mounted.directory.join(format!("c{n}"))).unwrap());
    let half_read = || {
        let opened = directory(&mounted.directory);
        assert!(!some(&opened).is_empty());
        opened
    };
    let mut held = vec![half_read()];
    let before = memory(&mounted);
    held.extend((0..300).map(|_| half_read()));
    let more = memory(&mounted).saturating_sub(before);
    // A list of them is 16 KiB.
    assert!(more < 300 * (4 << 10), "{more} bytes for 300 directories");
}
