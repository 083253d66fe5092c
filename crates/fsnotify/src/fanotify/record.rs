//! `struct fanotify_event_metadata` and the info records behind it
//! (include/uapi/linux/fanotify.h): encoding, and decoding.

use crate::{
    FileHandle, Fsid, Mask,
    decode::{Decode, Decoder},
};

/// Bytes of the metadata.
pub(crate) const METADATA: usize = 24;
/// The version this format has had since Linux 2.6.37.
const VERSION: u8 = 3;
/// No descriptor.
pub(crate) const NOFD: i32 = -1;
/// Info header, fsid, and the head of `struct file_handle`.
const INFO_HEAD: usize = 4 + 8 + 8;
/// Info records are padded to a multiple of this.
const ALIGN: usize = 4;
/// The longest name an info record has room for: its size is 16 bits.
pub(crate) const NAME_MAX: usize =
    u16::MAX as usize - (ALIGN - 1) - INFO_HEAD - FileHandle::MAX - 1;

/// What an info record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InfoKind {
    /// The object (`FAN_EVENT_INFO_TYPE_FID`).
    Fid = 1,
    /// A directory and a name in it (`FAN_EVENT_INFO_TYPE_DFID_NAME`).
    DfidName = 2,
    /// A directory (`FAN_EVENT_INFO_TYPE_DFID`).
    Dfid = 3,
}

/// One info record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "fanotify_event_info_fid")]
pub struct Info<'a> {
    /// What it names.
    pub kind: InfoKind,
    /// The file system.
    pub fsid: Fsid,
    /// The object's or directory's handle.
    pub handle: FileHandle,
    /// The name, of a [`InfoKind::DfidName`]; `.` is the directory itself.
    pub name: Option<&'a [u8]>,
}

impl Info<'_> {
    pub(crate) fn size(&self) -> usize {
        let name = self.name.map_or(0, |name| name.len() + 1);
        (INFO_HEAD + self.handle.bytes().len() + name).next_multiple_of(ALIGN)
    }

    /// Writes itself to the front of `to`, which has room for `size` bytes.
    pub(crate) fn encode(&self, to: &mut [u8]) {
        let size = self.size();
        let handle = self.handle.bytes();
        to[..size].fill(0);
        to[0] = self.kind as u8;
        // Handle and name are together below 64 KiB: see `NAME_MAX`.
        to[2..4].copy_from_slice(&(size as u16).to_ne_bytes());
        to[4..12].copy_from_slice(&self.fsid.0);
        to[12..16].copy_from_slice(&(handle.len() as u32).to_ne_bytes());
        to[16..20].copy_from_slice(&self.handle.kind().to_ne_bytes());
        to[20..20 + handle.len()].copy_from_slice(handle);
        if let Some(name) = self.name {
            let at = INFO_HEAD + handle.len();
            to[at..at + name.len()].copy_from_slice(name);
        }
    }
}

impl<'a> Decode<'a> for Info<'a> {
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let size = usize::from(u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?));
        let (bytes, after) = bytes.split_at_checked(size)?;
        let kind = match bytes.first()? {
            1 => InfoKind::Fid,
            2 => InfoKind::DfidName,
            3 => InfoKind::Dfid,
            _ => return None,
        };
        let fsid = Fsid(bytes.get(4..12)?.try_into().ok()?);
        let len = u32::from_ne_bytes(bytes.get(12..16)?.try_into().ok()?);
        let handle_kind = i32::from_ne_bytes(bytes.get(16..20)?.try_into().ok()?);
        let rest = bytes.get(INFO_HEAD..)?;
        let (handle, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        let handle = FileHandle::new(handle_kind, handle)?;
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let name = (kind == InfoKind::DfidName).then(|| &rest[..end]);
        Some((Info { kind, fsid, handle, name }, after))
    }
}

/// The metadata of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "fanotify_event_metadata")]
pub struct Metadata {
    /// What happened; several events if records were merged.
    pub mask: Mask,
    /// Always -1 (`FAN_NOFD`).
    pub fd: i32,
    /// Who caused it; 0 if that may not be told.
    pub pid: i32,
}

impl Metadata {
    /// Writes itself to the front of `to`, for a record of `len` bytes in all.
    pub(crate) fn encode(&self, len: usize, to: &mut [u8]) {
        // A record is at most two info records long.
        to[..4].copy_from_slice(&(len as u32).to_ne_bytes());
        to[4] = VERSION;
        to[5] = 0;
        to[6..8].copy_from_slice(&(METADATA as u16).to_ne_bytes());
        to[8..16].copy_from_slice(&u64::from(self.mask.bits()).to_ne_bytes());
        to[16..20].copy_from_slice(&self.fd.to_ne_bytes());
        to[20..24].copy_from_slice(&self.pid.to_ne_bytes());
    }
}

/// One decoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its metadata.
    pub metadata: Metadata,
    infos: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its info records. Ends at one that is malformed or of an unknown kind.
    #[must_use]
    pub fn infos(&self) -> Infos<'a> {
        Infos::new(self.infos)
    }

    /// The first info record of a kind.
    #[must_use]
    pub fn info(&self, kind: InfoKind) -> Option<Info<'a>> {
        self.infos().find(|info| info.kind == kind)
    }
}

/// See [`Record::infos`].
pub type Infos<'a> = Decoder<'a, Info<'a>>;

/// Decodes the records of a read, or of any other bytes: iteration ends where
/// they stop being whole records of the known version.
#[must_use]
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records::new(bytes)
}

/// See [`records`].
pub type Records<'a> = Decoder<'a, Record<'a>>;

impl<'a> Decode<'a> for Record<'a> {
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let (record, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
        let metadata_len = u16::from_ne_bytes(record.get(6..8)?.try_into().ok()?);
        let infos = record.get(usize::from(metadata_len)..)?;
        if record.get(4) != Some(&VERSION) || usize::from(metadata_len) < METADATA {
            return None;
        }
        let mask = u64::from_ne_bytes(record.get(8..16)?.try_into().ok()?);
        let metadata = Metadata {
            // The kernel's upper half is unused so far.
            mask: Mask::from_bits_retain(mask as u32),
            fd: i32::from_ne_bytes(record.get(16..20)?.try_into().ok()?),
            pid: i32::from_ne_bytes(record.get(20..24)?.try_into().ok()?),
        };
        Some((Record { metadata, infos }, rest))
    }
}
