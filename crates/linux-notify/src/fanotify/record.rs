//! Decoding of fanotify records: pure, for any bytes.
//!
//! A record is a `struct fanotify_event_metadata` followed by information records, each with a
//! type and a length of its own, so that unknown ones can be skipped.

use std::iter::FusedIterator;

use rustix::io::Errno;

use super::Mask;
use crate::handle::FileHandle;
use crate::inotify::until_nul;

/// The one version of the record format there has ever been (`FANOTIFY_METADATA_VERSION`).
const VERSION: u8 = 3;
/// Length, version, reserved byte, length of the fixed part, mask, descriptor, process id.
const FIXED: usize = 24;

/// One record.
#[doc(alias = "fanotify_event_metadata")]
#[derive(Debug, Clone)]
pub struct Event<'b> {
    /// What happened; several bits if the kernel merged several events.
    pub mask: Mask,
    /// The process (or thread, with `REPORT_TID`) that did it; 0 if hidden from this group.
    /// What kernfs reports by itself bears the id of a kernel worker.
    pub pid: i32,
    infos: &'b [u8],
}

impl<'b> Event<'b> {
    /// What it is about, in the kernel's order.
    pub const fn infos(&self) -> Infos<'b> {
        Infos { bytes: self.infos }
    }
}

/// The records of one read, oldest first.
///
/// Bytes that are no whole record of the known version end the iteration and stay in
/// [`remainder`](Self::remainder). The kernel never gives such bytes.
#[derive(Debug, Clone)]
pub struct Events<'b> {
    bytes: &'b [u8],
}

impl<'b> Events<'b> {
    /// Decodes what `read(2)` gave. Never panics, whatever the bytes.
    pub const fn parse(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes not decoded so far; after the last record, those that could not be.
    pub const fn remainder(&self) -> &'b [u8] {
        self.bytes
    }
}

impl<'b> Iterator for Events<'b> {
    type Item = Event<'b>;

    fn next(&mut self) -> Option<Event<'b>> {
        let (length, rest) = self.bytes.split_first_chunk()?;
        let (&[version, _reserved], rest) = rest.split_first_chunk()?;
        let (fixed, rest) = rest.split_first_chunk()?;
        let (mask, rest) = rest.split_first_chunk()?;
        // The descriptor; FAN_NOFD in all groups that report handles.
        let (_fd, rest) = rest.split_first_chunk::<4>()?;
        let (pid, _) = rest.split_first_chunk()?;

        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let fixed = usize::from(u16::from_ne_bytes(*fixed));
        let (record, rest) = self.bytes.split_at_checked(length)?;
        if version != VERSION || fixed < FIXED {
            return None;
        }
        let infos = record.get(fixed..)?;
        self.bytes = rest;
        Some(Event {
            mask: Mask::from_bits_retain(u64::from_ne_bytes(*mask)),
            pid: i32::from_ne_bytes(*pid),
            infos,
        })
    }
}

impl FusedIterator for Events<'_> {}

/// What a file handle in a record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// The object the event happened to, or, with `REPORT_TARGET_FID`, the entry that a directory
    /// event is about.
    #[doc(alias = "FAN_EVENT_INFO_TYPE_FID")]
    Object,
    /// The directory, without a name.
    #[doc(alias = "FAN_EVENT_INFO_TYPE_DFID")]
    Directory,
    /// The directory, with the name of the entry in it; `.` stands for the directory itself.
    #[doc(alias = "FAN_EVENT_INFO_TYPE_DFID_NAME")]
    DirectoryEntry,
    /// Of a rename: where the entry was.
    #[doc(alias = "FAN_EVENT_INFO_TYPE_OLD_DFID_NAME")]
    OldDirectoryEntry,
    /// Of a rename: where the entry is now.
    #[doc(alias = "FAN_EVENT_INFO_TYPE_NEW_DFID_NAME")]
    NewDirectoryEntry,
}

impl Relation {
    const fn from_type(kind: u8) -> Option<Self> {
        Some(match kind {
            libc::FAN_EVENT_INFO_TYPE_FID => Self::Object,
            libc::FAN_EVENT_INFO_TYPE_DFID => Self::Directory,
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => Self::DirectoryEntry,
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => Self::OldDirectoryEntry,
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => Self::NewDirectoryEntry,
            _ => return None,
        })
    }
}

/// One information record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Info<'b> {
    /// A file handle.
    #[doc(alias = "fanotify_event_info_fid")]
    Handle {
        /// What it stands for.
        relation: Relation,
        /// The file system's identity, as `statfs` gives it.
        fsid: [u8; 8],
        /// The handle.
        handle: FileHandle,
        /// The name in the directory, up to the first NUL; empty where there is none.
        name: &'b [u8],
    },
    /// The number of a descriptor of the process, or a negative reason why there is none.
    #[doc(alias = "fanotify_event_info_pidfd")]
    Pidfd(i32),
    /// What went wrong in the file system, and how often since the last report.
    #[doc(alias = "fanotify_event_info_error")]
    Error {
        /// The first error.
        errno: Errno,
        /// How many there were.
        count: u32,
    },
}

/// The information records of one event. Unknown types and records whose contents make no sense
/// are skipped; a record whose length makes no sense ends the iteration.
#[derive(Debug, Clone)]
pub struct Infos<'b> {
    bytes: &'b [u8],
}

impl<'b> Iterator for Infos<'b> {
    type Item = Info<'b>;

    fn next(&mut self) -> Option<Info<'b>> {
        loop {
            let (&[kind, _pad, low, high], _) = self.bytes.split_first_chunk()?;
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let (record, rest) = self.bytes.split_at_checked(length)?;
            // Shorter than its own header: there is no telling where the next one starts.
            let content = record.get(4..)?;
            self.bytes = rest;
            if let Some(info) = info(kind, content) {
                return Some(info);
            }
        }
    }
}

impl FusedIterator for Infos<'_> {}

fn info(kind: u8, content: &[u8]) -> Option<Info<'_>> {
    match kind {
        libc::FAN_EVENT_INFO_TYPE_PIDFD => {
            let (pidfd, _) = content.split_first_chunk()?;
            Some(Info::Pidfd(i32::from_ne_bytes(*pidfd)))
        }
        libc::FAN_EVENT_INFO_TYPE_ERROR => {
            let (error, rest) = content.split_first_chunk()?;
            let (count, _) = rest.split_first_chunk()?;
            Some(Info::Error {
                errno: errno(i32::from_ne_bytes(*error))?,
                count: u32::from_ne_bytes(*count),
            })
        }
        _ => {
            let relation = Relation::from_type(kind)?;
            let (fsid, rest) = content.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (handle_type, rest) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
            let (handle, rest) = rest.split_at_checked(length)?;
            Some(Info::Handle {
                relation,
                fsid: *fsid,
                handle: FileHandle::new(i32::from_ne_bytes(*handle_type), handle)?,
                name: until_nul(rest),
            })
        }
    }
}

/// An errno from a number of either sign; the kernel reports it positive.
fn errno(number: i32) -> Option<Errno> {
    let number = number.checked_abs().filter(|number| (1..4096).contains(number))?;
    Some(Errno::from_raw_os_error(number))
}
