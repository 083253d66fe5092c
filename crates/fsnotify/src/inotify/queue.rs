//! The queue, kept as the very bytes a read returns
//! (kernel: fs/notify/inotify/inotify_fsnotify.c and inotify_user.c).
//!
//! Invariants:
//! * `bytes` is a sequence of whole records, `len` of them, the last one
//!   starting `tail` bytes before its end (meaningless while `len` is 0).
//! * There is always room for one more record without a name: the overflow
//!   record never needs memory.
//! * At most `max` records and one overflow record are queued.

use std::collections::VecDeque;

use super::record::{HEADER, Record};
use crate::{
    Mask,
    channel::{Pushed, Records},
};

/// Memory kept by an empty queue that was once long.
const KEPT: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Queue {
    bytes: VecDeque<u8>,
    len: usize,
    tail: usize,
    max: usize,
    overflowed: bool,
}

impl Queue {
    pub(crate) fn new(max: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(HEADER), len: 0, tail: 0, max, overflowed: false }
    }

    /// Queues a record. The full queue is noticed before a merge is tried, as
    /// on Linux: a record that would merge is lost too.
    pub(crate) fn push(&mut self, record: &Record<'_>) -> Pushed {
        if self.len >= self.max || !self.reserve(record.size()) {
            return self.overflow();
        }
        if self.merges(record) {
            return Pushed::Merged;
        }
        self.append(record);
        Pushed::Queued
    }

    fn overflow(&mut self) -> Pushed {
        if self.overflowed {
            return Pushed::Dropped;
        }
        self.overflowed = true;
        self.append(&Record { wd: -1, mask: Mask::Q_OVERFLOW, cookie: 0, name: None });
        Pushed::Overflowed
    }

    /// Room for a record of `size` bytes and an overflow record after it.
    fn reserve(&mut self, size: usize) -> bool {
        self.bytes.try_reserve(size + HEADER).is_ok()
    }

    /// Whether the record says what the last one says. The cookie does not
    /// count, and nothing merges with `IGNORED`.
    fn merges(&self, record: &Record<'_>) -> bool {
        if self.len == 0 || self.tail != record.size() {
            return false;
        }
        let start = self.bytes.len() - self.tail;
        if self.word(start + 4) & Mask::IN_IGNORED.bits() != 0 {
            return false;
        }
        let header = record.header();
        let equal = |at: usize, bytes: &[u8]| self.bytes.range(at..at + bytes.len()).eq(bytes);
        let name = record.name.unwrap_or_default();
        equal(start, &header[..8])
            && equal(start + HEADER, name)
            // Padding is at least one byte, and the sizes are equal.
            && (name.is_empty() || self.bytes[start + HEADER + name.len()] == 0)
    }

    fn append(&mut self, record: &Record<'_>) {
        self.bytes.extend(record.header());
        let name = record.name.unwrap_or_default();
        self.bytes.extend(name);
        let padding = record.size() - HEADER - name.len();
        self.bytes.extend(std::iter::repeat_n(0, padding));
        self.tail = record.size();
        self.len += 1;
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(self.bytes.range(at..)) {
            *to = *from;
        }
        u32::from_ne_bytes(bytes)
    }

    /// The size of the record that starts at `at`, and whether it is the
    /// overflow record.
    fn record_at(&self, at: usize) -> (usize, bool) {
        let name = self.word(at + 12) as usize;
        (HEADER + name, self.word(at + 4) == Mask::Q_OVERFLOW.bits())
    }
}

impl Records for Queue {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn first(&self) -> Option<usize> {
        (self.len > 0).then(|| self.record_at(0).0)
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut end = 0;
        while end < self.bytes.len() {
            let (size, overflow) = self.record_at(end);
            if end + size > buffer.len() {
                break;
            }
            end += size;
            self.len -= 1;
            if overflow {
                self.overflowed = false;
            }
        }
        let (front, back) = self.bytes.as_slices();
        let from_front = front.len().min(end);
        buffer[..from_front].copy_from_slice(&front[..from_front]);
        buffer[from_front..end].copy_from_slice(&back[..end - from_front]);
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = VecDeque::with_capacity(HEADER);
            }
        }
        end
    }

    fn len(&self) -> usize {
        self.len
    }
}
