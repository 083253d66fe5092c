//! What can go wrong, with the errno Linux gives for it.

use rustix::io::Errno;
use thiserror::Error;

use crate::ObjectKind;

/// A refused call. [`Error::errno`] is what the system call of the same name
/// would have failed with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A mask with unknown bits, with none, or with two that exclude each other.
    #[error("mask {mask:#x}: unknown, missing or contradicting bits")]
    InvalidMask {
        /// The mask as given.
        mask: u64,
    },
    /// Flags with unknown bits, or that exclude each other.
    #[error("flags {flags:#x}: unknown or contradicting bits")]
    InvalidFlags {
        /// The flags as given.
        flags: u32,
    },
    /// No watch of this group has that descriptor (any more).
    #[error("watch descriptor {wd}: no such watch")]
    UnknownWatch {
        /// The descriptor as given.
        wd: i32,
    },
    /// `ONLYDIR` and the object is no directory.
    #[error("not a directory")]
    NotDirectory,
    /// `MASK_CREATE` and the object is already watched.
    #[error("already watched as {wd}")]
    AlreadyWatched {
        /// The descriptor of the watch that exists.
        wd: i32,
    },
    /// The object may not be read by who asks.
    #[error("no permission to read the object")]
    AccessDenied,
    /// The object is being torn down; nothing can be attached any more.
    #[error("the object is gone")]
    ObjectGone,
    /// The user has as many groups as allowed.
    #[error("limit of {limit} groups reached")]
    TooManyGroups {
        /// The limit that was hit.
        limit: u64,
    },
    /// The user has as many marks as allowed.
    #[error("limit of {limit} marks reached")]
    TooManyMarks {
        /// The limit that was hit.
        limit: u64,
    },
    /// The buffer cannot hold the first record.
    #[error("buffer of {given} bytes: the next record needs {needed}")]
    BufferTooSmall {
        /// Bytes of the first record.
        needed: usize,
        /// Bytes of the buffer.
        given: usize,
    },
    /// Only the privileged may.
    #[error("not permitted")]
    NotPermitted,
    /// The object has no mark of this group.
    #[error("no mark to remove")]
    NoMark,
    /// A mark that holds its inode cannot become evictable; an ignore mask
    /// cannot change its rules or stop surviving modifications.
    #[error("the mark exists and cannot be made weaker")]
    MarkIsStronger,
    /// The object is a directory, and the request makes sense for files only.
    #[error("is a directory")]
    IsDirectory,
    /// The object is not of the kind the mark's flags say.
    #[error("no such mark on a {kind:?}")]
    WrongKind {
        /// What it is.
        kind: ObjectKind,
    },
    /// The file system has no id, so that records could not name its objects.
    #[error("the file system has no id")]
    NoFsid,
    /// The group already has marks on a file system that its records could
    /// not tell from this one.
    #[error("the group watches another file system without an id of its own")]
    CrossFileSystem,
    /// The file system cannot turn handles back into objects.
    #[error("the file system does not decode handles")]
    NoHandles,
    /// Linux can, this crate cannot.
    #[error("not supported: {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// Nothing queued, and the group does not block.
    #[error("nothing queued")]
    WouldBlock,
}

impl Error {
    /// The errno of the system call this models.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::InvalidMask { .. }
            | Self::InvalidFlags { .. }
            | Self::UnknownWatch { .. }
            | Self::WrongKind { .. }
            | Self::BufferTooSmall { .. } => Errno::INVAL,
            Self::NotDirectory => Errno::NOTDIR,
            Self::IsDirectory => Errno::ISDIR,
            Self::AlreadyWatched { .. } | Self::MarkIsStronger => Errno::EXIST,
            Self::NotPermitted => Errno::PERM,
            Self::NoFsid => Errno::NODEV,
            Self::CrossFileSystem => Errno::XDEV,
            Self::NoHandles | Self::Unsupported { .. } => Errno::OPNOTSUPP,
            Self::AccessDenied => Errno::ACCESS,
            Self::ObjectGone | Self::NoMark => Errno::NOENT,
            Self::TooManyGroups { .. } => Errno::MFILE,
            Self::TooManyMarks { .. } => Errno::NOSPC,
            Self::WouldBlock => Errno::AGAIN,
        }
    }
}
