//! The queue, kept as the very bytes a read returns
//! (kernel: fs/notify/inotify/inotify_fsnotify.c and inotify_user.c).
//!
//! Invariants:
//! * `bytes` from `start` on is a sequence of whole records, `len` of them,
//!   the last one starting at `tail` (meaningless while `len` is 0).
//! * There is always room for one more record without a name: the overflow
//!   record never needs memory.
//! * At most `max` records and one overflow record are queued.

use super::record::{HEADER, Record};
use crate::{
    Mask,
    channel::{Pushed, Records},
};

/// Memory kept by an empty queue that was once long.
const KEPT: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    /// What is before it has been read.
    start: usize,
    len: usize,
    tail: usize,
    max: usize,
    overflowed: bool,
}

impl Queue {
    pub(crate) fn new(max: usize) -> Self {
        let bytes = Vec::with_capacity(HEADER);
        Self { bytes, start: 0, len: 0, tail: 0, max, overflowed: false }
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
        let wanted = size + HEADER;
        if self.bytes.capacity() - self.bytes.len() >= wanted {
            return true;
        }
        // What was read makes room, if moving the rest costs less than that.
        if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.tail = self.tail.saturating_sub(self.start);
            self.start = 0;
        }
        self.bytes.try_reserve(wanted).is_ok()
    }

    /// Whether the record says what the last one says. The cookie does not
    /// count, and nothing merges with `IGNORED`.
    fn merges(&self, record: &Record<'_>) -> bool {
        if self.len == 0 {
            return false;
        }
        let last = &self.bytes[self.tail..];
        let name = record.name.unwrap_or_default();
        last.len() == record.size()
            && last[..8] == record.header()[..8]
            && !record.mask.contains(Mask::IN_IGNORED)
            && last[HEADER..].starts_with(name)
            // Padding is at least one byte, and the sizes are equal.
            && last.get(HEADER + name.len()).is_none_or(|byte| *byte == 0)
    }

    fn append(&mut self, record: &Record<'_>) {
        self.tail = self.bytes.len();
        self.bytes.extend_from_slice(&record.header());
        if let Some(name) = record.name {
            self.bytes.extend_from_slice(name);
            self.bytes.resize(self.tail + record.size(), 0);
        }
        self.len += 1;
    }

    /// The size of the record that starts at `at`, and whether it is the
    /// overflow record.
    fn record_at(&self, at: usize) -> (usize, bool) {
        let word = |from: usize| {
            let bytes = self.bytes[from..].first_chunk();
            u32::from_ne_bytes(*bytes.unwrap_or(&[0; 4]))
        };
        (HEADER + word(at + 12) as usize, word(at + 4) == Mask::Q_OVERFLOW.bits())
    }
}

impl Records for Queue {
    fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn first(&self) -> Option<usize> {
        (self.len > 0).then(|| self.record_at(self.start).0)
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut end = self.start;
        while end < self.bytes.len() {
            let (size, overflow) = self.record_at(end);
            if end + size - self.start > buffer.len() {
                break;
            }
            end += size;
            self.len -= 1;
            if overflow {
                self.overflowed = false;
            }
        }
        let read = end - self.start;
        buffer[..read].copy_from_slice(&self.bytes[self.start..end]);
        self.start = end;
        if self.len == 0 {
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::with_capacity(HEADER);
            }
        }
        read
    }

    fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &mut Queue, bytes: usize) {
        // Alternating, so that none merges.
        for at in 0..bytes / HEADER {
            let mask = if at % 2 == 0 { Mask::OPEN } else { Mask::ACCESS };
            queue.push(&Record { wd: 1, mask, cookie: 0, name: None });
        }
    }

    /// A backlog costs memory as long as it lasts; a usual length, no allocation
    /// each time.
    #[test]
    fn an_emptied_queue_gives_back_what_it_will_hardly_need_again() {
        let mut queue = Queue::new(usize::MAX);
        for (bytes, kept) in [(8 << 10, true), (64 << 10, false)] {
            fill(&mut queue, bytes);
            let before = queue.bytes.capacity();
            assert_eq!(queue.take(&mut vec![0; bytes]), bytes);
            assert_eq!(queue.bytes.capacity(), if kept { before } else { HEADER });
        }
        // The most that is kept.
        queue.bytes = Vec::with_capacity(16 << 10);
        fill(&mut queue, HEADER);
        queue.take(&mut [0; HEADER]);
        assert_eq!(queue.bytes.capacity(), 16 << 10);
    }
}
