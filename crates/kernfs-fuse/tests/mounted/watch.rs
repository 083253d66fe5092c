//! A client that knows nothing but inotify, and what it got.

use std::{ffi::CString, os::unix::ffi::OsStrExt as _, path::Path};

use linux_notify::inotify::{Inotify, Mask, Wd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::hierarchy::DEADLINE;

/// One record: the letter that its watch was given, the mask, the name.
pub(crate) type Got = (char, Mask, String);

pub(crate) fn got(letter: char, mask: Mask, name: &str) -> Got {
    (letter, mask, name.into())
}

pub(crate) struct Watch {
    inotify: Inotify,
    letters: Vec<(Wd, char)>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { inotify: Inotify::new().unwrap(), letters: Vec::new() }
    }

    /// Watches all there is (`IN_ALL_EVENTS`) about what is at a path.
    pub(crate) fn add(&mut self, letter: char, path: &Path) {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        let wd = self.inotify.add(&path, Mask::from_bits_retain(0xfff)).unwrap();
        self.letters.push((wd, letter));
    }

    /// What is queued now.
    pub(crate) fn take(&self) -> Vec<Got> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let before = all.len();
            for event in self.inotify.read(&mut buffer).unwrap() {
                let letter = self.letters.iter().find(|(wd, _)| *wd == event.wd).unwrap().1;
                let name = String::from_utf8_lossy(event.name).into_owned();
                all.push((letter, event.mask, name));
            }
            if all.len() == before {
                return all;
            }
        }
    }

    /// Takes until this was got.
    #[track_caller]
    pub(crate) fn until(&self, last: &Got) -> Vec<Got> {
        let mut all = Vec::new();
        let limit = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
        loop {
            all.extend(self.take());
            if all.contains(last) {
                return all;
            }
            let ready = poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&limit));
            assert_eq!(ready, Ok(1), "{last:?} never came, only {all:?}");
        }
    }
}
