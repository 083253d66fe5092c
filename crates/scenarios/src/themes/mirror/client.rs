//! A client that knows nothing but inotify.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, Instant},
};

use linux_notify::inotify::{Inotify, Mask, Wd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Environment, Failure, ensure};

/// What a service asks for that must drop its state.
pub(super) const ONE_WATCH: Mask = Mask::MODIFY.union(Mask::DELETE_SELF);

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) wd: Wd,
    pub(super) mask: Mask,
    pub(super) name: String,
}

pub(super) struct Client {
    inotify: Inotify,
    patience: Duration,
    /// What was taken so far, in order.
    pub(super) records: Vec<Record>,
    /// Others look up what it watches all the while. Then one inode can have two entries that die at the
    /// same instant, and the kernel tells of each before it ends the watch (`fsnotify_inoderemove`). As
    /// neighbours they would have been one record, had nobody read the first (inotify(7)). Seen once, on
    /// 6.1.
    pub(super) among_readers: bool,
}

impl Client {
    pub(super) fn new(environment: &Environment) -> Result<Self, Failure> {
        let patience = environment.patience();
        Ok(Self { inotify: Inotify::new()?, patience, records: Vec::new(), among_readers: false })
    }

    pub(super) fn watch(&self, path: &Path, mask: Mask) -> Result<Wd, Failure> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Failure::broken("a NUL in a path"))?;
        Ok(self.inotify.add(&name, mask)?)
    }

    /// Takes what is queued now.
    pub(super) fn take(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 16384];
        loop {
            let before = self.records.len();
            for event in self.inotify.read(&mut buffer)? {
                let name = String::from_utf8_lossy(event.name).into_owned();
                self.records.push(Record { wd: event.wd, mask: event.mask, name });
            }
            if self.records.len() == before {
                return Ok(());
            }
        }
    }

    /// Takes until it is enough.
    pub(super) fn until(
        &mut self,
        what: &str,
        enough: impl Fn(&[Record]) -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + self.patience;
        loop {
            self.take()?;
            if enough(&self.records) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = &self.records[self.records.len().saturating_sub(8)..];
                return Err(Failure::broken(format!("{what}: never; the last were {last:?}")));
            }
            let left = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&left))?;
        }
    }

    /// Another modification than those that were taken so far.
    pub(super) fn until_modified(&mut self, wd: Wd) -> Result<(), Failure> {
        let before = self.records.len();
        self.until("a MODIFY", |records| {
            records[before..].iter().any(|record| record.wd == wd && record.mask == Mask::MODIFY)
        })
    }

    /// The end of a watch, which is exact: any number of modifications, the removal, the end.
    pub(super) fn until_removed(&mut self, wd: Wd) -> Result<(), Failure> {
        self.until("IGNORED", |records| {
            records.iter().rev().any(|record| record.wd == wd && record.mask == Mask::IGNORED)
        })?;
        let of_it = self.records.iter().filter(|record| record.wd == wd);
        let mut masks: Vec<_> = of_it.map(|record| record.mask).collect();
        if self.among_readers {
            masks.dedup_by(|later, first| later == first && *first == Mask::DELETE_SELF);
        }
        let changes = masks.iter().take_while(|mask| **mask == Mask::MODIFY).count();
        ensure!(masks[changes..] == [Mask::DELETE_SELF, Mask::IGNORED], "it got {masks:?}");
        Ok(())
    }
}
