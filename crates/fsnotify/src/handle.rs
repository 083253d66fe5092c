//! How an event names an object that nobody holds: file system and file handle
//! (kernel: `__kernel_fsid_t`, `struct file_handle`).

/// A file system's id, `statfs.f_fsid`. All zero means it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Fsid(pub [u8; 8]);

impl Fsid {
    /// Whether records can tell this file system from another.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == [0; 8]
    }
}

/// A file handle: a type and up to [`FileHandle::MAX`] opaque bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "file_handle")]
pub struct FileHandle {
    kind: i32,
    len: u8,
    bytes: [u8; Self::MAX],
}

impl FileHandle {
    /// The longest handle this crate carries (Linux allows 128 bytes; no
    /// handle of an in-process file system needs them).
    pub const MAX: usize = 24;

    /// A handle of type `kind`; `None` if `bytes` is longer than [`Self::MAX`].
    #[must_use]
    pub fn new(kind: i32, bytes: &[u8]) -> Option<Self> {
        let mut own = [0; Self::MAX];
        own.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { kind, len: bytes.len() as u8, bytes: own })
    }

    /// A handle whose bytes are one 64-bit number in the machine's order, as
    /// kernfs makes them.
    #[must_use]
    pub fn of_id(kind: i32, id: u64) -> Self {
        let mut bytes = [0; Self::MAX];
        bytes[..8].copy_from_slice(&id.to_ne_bytes());
        Self { kind, len: 8, bytes }
    }

    /// `handle_type`.
    #[must_use]
    pub fn kind(&self) -> i32 {
        self.kind
    }

    /// `f_handle`.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The number of a handle made by [`Self::of_id`]; `None` for others.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes().try_into().ok()?))
    }
}
