//! The queue, with merging by hash (kernel: fs/notify/fanotify/fanotify.c).
//!
//! Invariants:
//! * `records[i]` has the number `taken + i`; a bucket holds the numbers of
//!   its queued records, oldest first, so the first record of the queue is the
//!   first of its bucket.
//! * At most `max` records and one overflow record are queued, and there is
//!   always room for the latter. It is in no bucket: nothing merges with it.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::record::{Info, InfoKind, METADATA, Metadata, NAME_MAX, NOFD};
use crate::{
    FileHandle, Fsid, Mask,
    channel::{Pushed, Records},
};

/// Buckets of the merge table (kernel: `FANOTIFY_HTABLE_SIZE`).
const BUCKETS: u64 = 128;
/// Newest records of a bucket that are compared (`FANOTIFY_MAX_MERGE_EVENTS`).
const MAX_MERGE: usize = 128;

/// What two records must share to become one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) fsid: Fsid,
    /// The object, if it is reported.
    pub(super) object: Option<FileHandle>,
    /// The directory, if it is reported.
    pub(super) dir: Option<FileHandle>,
    pub(super) name: Option<Box<[u8]>>,
    pub(super) pid: i32,
    /// So that mkdir and unlink of one name stay apart.
    pub(super) is_dir: bool,
    /// A rename has two names and is its own kind.
    pub(super) is_rename: bool,
}

#[derive(Debug)]
struct Queued {
    mask: Mask,
    /// `None` of an overflow record.
    key: Option<Key>,
    bucket: usize,
}

#[derive(Debug)]
pub(crate) struct Queue {
    records: VecDeque<Queued>,
    buckets: Vec<VecDeque<u64>>,
    taken: u64,
    max: usize,
    bytes: usize,
    overflowed: bool,
    format: Format,
}

/// How a group's records look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Whether records carry handles at all.
    pub(super) handles: bool,
    /// Whether the only handle is the object's (`FAN_REPORT_FID` alone).
    pub(super) object_only: bool,
    /// Whether names are reported.
    pub(super) names: bool,
}

impl Queue {
    pub(super) fn new(max: usize, format: Format) -> Self {
        Self {
            records: VecDeque::with_capacity(1),
            buckets: (0..BUCKETS).map(|_| VecDeque::new()).collect(),
            taken: 0,
            max,
            bytes: 0,
            overflowed: false,
            format,
        }
    }

    /// Queues a record, or adds its events to one that says the same of the
    /// same object: also to an older one, past others.
    pub(super) fn push(&mut self, mask: Mask, key: Key) -> Pushed {
        let too_long = key.name.as_ref().is_some_and(|name| name.len() > NAME_MAX);
        if self.records.len() >= self.max || too_long || !self.reserve() {
            return self.overflow();
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        // Less than 128.
        let bucket = (hasher.finish() % BUCKETS) as usize;
        for number in self.buckets[bucket].iter().rev().take(MAX_MERGE) {
            // Numbers in buckets are those of queued records.
            let at = (number - self.taken) as usize;
            if self.records[at].key.as_ref() == Some(&key) {
                self.records[at].mask |= mask;
                return Pushed::Merged;
            }
        }
        self.buckets[bucket].push_back(self.taken + self.records.len() as u64);
        self.append(Queued { mask, key: Some(key), bucket });
        Pushed::Queued
    }

    /// Room for a record and an overflow record after it. Without memory for it
    /// the record is lost, as on Linux, and the queue says so.
    fn reserve(&mut self) -> bool {
        self.records.try_reserve(2).is_ok()
    }

    fn overflow(&mut self) -> Pushed {
        if self.overflowed {
            return Pushed::Dropped;
        }
        self.overflowed = true;
        self.append(Queued { mask: Mask::Q_OVERFLOW, key: None, bucket: 0 });
        Pushed::Overflowed
    }

    fn append(&mut self, record: Queued) {
        self.bytes += record.size(self.format);
        self.records.push_back(record);
    }

    fn pop(&mut self) -> Option<Queued> {
        let record = self.records.pop_front()?;
        match record.key {
            Some(_) => {
                self.buckets[record.bucket].pop_front();
            }
            None => self.overflowed = false,
        }
        self.taken += 1;
        self.bytes -= record.size(self.format);
        Some(record)
    }
}

impl Queued {
    /// Its info records, in Linux's order: directory, then object.
    fn infos(&self, format: Format) -> [Option<Info<'_>>; 2] {
        let Some(key) = self.key.as_ref().filter(|_| format.handles) else { return [None, None] };
        let info = |kind, handle, name| Info { kind, fsid: key.fsid, handle, name };
        let dir = key.dir.map(|handle| match key.name.as_deref() {
            Some(name) => info(InfoKind::DfidName, handle, Some(name)),
            None => info(InfoKind::Dfid, handle, None),
        });
        let object = key.object.map(|handle| {
            if dir.is_some() || format.object_only {
                info(InfoKind::Fid, handle, None)
            } else if format.names && key.is_dir {
                info(InfoKind::DfidName, handle, Some(b"."))
            } else if key.is_dir || self.mask.intersects(Mask::DIRENT) {
                info(InfoKind::Dfid, handle, None)
            } else {
                info(InfoKind::Fid, handle, None)
            }
        });
        [dir, object]
    }

    fn size(&self, format: Format) -> usize {
        METADATA + self.infos(format).iter().flatten().map(Info::size).sum::<usize>()
    }

    fn encode(&self, format: Format, to: &mut [u8]) {
        let pid = self.key.as_ref().map_or(0, |key| key.pid);
        Metadata { mask: self.mask, fd: NOFD, pid }.encode(to.len(), to);
        let mut at = METADATA;
        for info in self.infos(format).iter().flatten() {
            info.encode(&mut to[at..]);
            at += info.size();
        }
    }
}

impl Records for Queue {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn first(&self) -> Option<usize> {
        self.records.front().map(|record| record.size(self.format))
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut end = 0;
        while let Some(size) = self.first().filter(|size| end + size <= buffer.len()) {
            if let Some(record) = self.pop() {
                record.encode(self.format, &mut buffer[end..end + size]);
                end += size;
            }
        }
        end
    }

    fn len(&self) -> usize {
        self.records.len()
    }
}
