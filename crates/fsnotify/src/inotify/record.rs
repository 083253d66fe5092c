//! `struct inotify_event`: 16 bytes, then the name, padded with NUL.

use crate::{
    Mask,
    decode::{Decode, Decoder},
};

/// Bytes of a record without a name.
pub(crate) const HEADER: usize = 16;

/// One record, as decoded from the bytes of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "inotify_event")]
pub struct Record<'a> {
    /// The watch it belongs to; -1 of an overflow.
    pub wd: i32,
    /// What happened.
    pub mask: Mask,
    /// Pairs the halves of a move.
    pub cookie: u32,
    /// The name, without its padding.
    pub name: Option<&'a [u8]>,
}

impl Record<'_> {
    /// Bytes the record takes: a name is closed with NUL and padded to a
    /// multiple of the header's size.
    pub(crate) fn size(&self) -> usize {
        match self.name {
            None | Some([]) => HEADER,
            Some(name) => HEADER + (name.len() + 1).next_multiple_of(HEADER),
        }
    }

    pub(crate) fn header(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.wd.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.mask.bits().to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.cookie.to_ne_bytes());
        // Names are far shorter than 4 GiB.
        let len = (self.size() - HEADER) as u32;
        bytes[12..].copy_from_slice(&len.to_ne_bytes());
        bytes
    }
}

/// Decodes the records of a read, or of any other bytes.
#[must_use]
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records::new(bytes)
}

/// See [`records`].
pub type Records<'a> = Decoder<'a, Record<'a>>;

impl<'a> Decode<'a> for Record<'a> {
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (wd, rest) = bytes.split_first_chunk::<4>()?;
        let (mask, rest) = rest.split_first_chunk::<4>()?;
        let (cookie, rest) = rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_ne_bytes(*len)).ok()?;
        let (padded, rest) = rest.split_at_checked(len)?;
        let end = padded.iter().position(|byte| *byte == 0).unwrap_or(len);
        let record = Record {
            wd: i32::from_ne_bytes(*wd),
            mask: Mask::from_bits_retain(u32::from_ne_bytes(*mask)),
            cookie: u32::from_ne_bytes(*cookie),
            name: (len > 0).then(|| &padded[..end]),
        };
        Some((record, rest))
    }
}
