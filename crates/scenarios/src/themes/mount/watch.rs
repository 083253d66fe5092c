//! A watcher that knows nothing but inotify, and what it got.

use std::{
    ffi::CString,
    fmt,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, Instant},
};

use linux_notify::inotify::{Inotify, Mask, Wd};

use crate::Failure;

/// One record: the watch by the letter it was given, the mask, the name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) watch: char,
    pub(crate) mask: Mask,
    pub(crate) name: String,
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.watch)?;
        let names: Vec<_> = self.mask.iter_names().map(|(name, _)| name).collect();
        f.write_str(&names.join("|"))?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "({})", self.name) }
    }
}

pub(crate) fn got(watch: char, mask: Mask, name: &str) -> Got {
    Got { watch, mask, name: name.into() }
}

pub(crate) struct Watch {
    inotify: Inotify,
    letters: Vec<(Wd, char)>,
}

impl Watch {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { inotify: Inotify::new()?, letters: Vec::new() })
    }

    /// Watches everything about what is at a path (`IN_ALL_EVENTS`).
    pub(crate) fn add(&mut self, letter: char, path: &Path) -> Result<(), Failure> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Failure::broken("a NUL in a path"))?;
        let wd = self.inotify.add(&name, Mask::from_bits_retain(0xfff))?;
        self.letters.push((wd, letter));
        Ok(())
    }

    /// What is queued now.
    pub(crate) fn take(&self) -> Result<Vec<Got>, Failure> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let events = self.inotify.read(&mut buffer)?;
            let before = all.len();
            for event in events {
                let letter = self.letters.iter().rev().find(|(wd, _)| *wd == event.wd);
                let name = String::from_utf8_lossy(event.name).into_owned();
                let watch = letter.map_or('?', |(_, letter)| *letter);
                all.push(Got { watch, mask: event.mask, name });
            }
            if all.len() == before {
                return Ok(all);
            }
        }
    }

    /// Takes until this was got.
    pub(crate) fn until(&self, last: &Got, patience: Duration) -> Result<Vec<Got>, Failure> {
        let end = Instant::now() + patience;
        let mut all = Vec::new();
        loop {
            all.extend(self.take()?);
            if all.contains(last) {
                return Ok(all);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::broken(format!("{last:?} never came, only {all:?}")));
            }
            let mut ready =
                [rustix::event::PollFd::new(&self.inotify, rustix::event::PollFlags::IN)];
            let left = rustix::event::Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            rustix::event::poll(&mut ready, Some(&left))?;
        }
    }
}
