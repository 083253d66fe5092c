//! Decoding of `struct inotify_event` records: pure, for any bytes, without a copy.

use std::iter::FusedIterator;

use super::{Mask, Wd};

/// One record.
#[doc(alias = "inotify_event")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'b> {
    /// The watch it is about; [`Wd::NONE`] for an overflow.
    pub wd: Wd,
    /// What happened.
    pub mask: Mask,
    /// Connects the two halves of a move; 0 otherwise.
    pub cookie: u32,
    /// The entry of the watched directory it is about, up to the first NUL; empty if it is about
    /// the watched inode itself.
    pub name: &'b [u8],
}

/// The records of one read, oldest first.
///
/// Bytes that are no whole record end the iteration and stay in [`remainder`](Self::remainder).
/// The kernel never gives such bytes.
#[derive(Debug, Clone)]
pub struct Events<'b> {
    bytes: &'b [u8],
}

impl<'b> Events<'b> {
    /// Decodes what `read(2)` gave. Never panics, whatever the bytes.
    pub const fn parse(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes not decoded so far; after the last record, those of a record cut short.
    pub const fn remainder(&self) -> &'b [u8] {
        self.bytes
    }
}

impl<'b> Iterator for Events<'b> {
    type Item = Event<'b>;

    fn next(&mut self) -> Option<Event<'b>> {
        let (wd, rest) = self.bytes.split_first_chunk()?;
        let (mask, rest) = rest.split_first_chunk()?;
        let (cookie, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let (name, rest) = rest.split_at_checked(length)?;
        self.bytes = rest;
        Some(Event {
            wd: Wd(i32::from_ne_bytes(*wd)),
            mask: Mask::from_bits_retain(u32::from_ne_bytes(*mask)),
            cookie: u32::from_ne_bytes(*cookie),
            name: until_nul(name),
        })
    }
}

impl FusedIterator for Events<'_> {}

/// The bytes before the first NUL; all, if there is none.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
