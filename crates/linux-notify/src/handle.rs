//! File handles: names of inodes that hold nothing open and outlive the process.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, path};
use crate::fanotify::last_errno;

/// The largest handle there may be (`MAX_HANDLE_SZ`).
const MAX_BYTES: usize = libc::MAX_HANDLE_SZ as usize;
/// The type of a handle of kernfs (`FILEID_KERNFS` in `include/linux/exportfs.h`).
const FILEID_KERNFS: i32 = 0xfe;

/// The handle of an inode: a type and at most 128 bytes that mean something to its file system
/// only.
#[doc(alias = "file_handle")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHandle {
    kind: i32,
    length: u8,
    /// Zero from `length` on, so that equality and hash are those of the handle.
    bytes: [u8; MAX_BYTES],
}

impl FileHandle {
    /// A handle from its parts; `None` if there are more than 128 bytes.
    pub fn new(kind: i32, bytes: &[u8]) -> Option<Self> {
        let mut handle =
            Self { kind, length: u8::try_from(bytes.len()).ok()?, bytes: [0; MAX_BYTES] };
        handle.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(handle)
    }

    /// The handle of the kernfs node, hence of the cgroup, with this id. Asks nobody whether
    /// there is such a node.
    pub fn from_kernfs_id(id: u64) -> Self {
        let mut bytes = [0; MAX_BYTES];
        let id = id.to_ne_bytes();
        bytes[..id.len()].copy_from_slice(&id);
        Self { kind: FILEID_KERNFS, length: id.len() as u8, bytes }
    }

    /// The type, as the file system gave it.
    pub const fn kind(&self) -> i32 {
        self.kind
    }

    /// The bytes, as the file system gave them.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The id of the kernfs node this is the handle of, if it is one: of a cgroup's directory,
    /// the cgroup's id.
    pub fn kernfs_id(&self) -> Option<u64> {
        let id = self.bytes().try_into().ok()?;
        (self.kind == FILEID_KERNFS).then_some(u64::from_ne_bytes(id))
    }
}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHandle({:#x}:", self.kind)?;
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The number of a mount in `/proc/self/mountinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountId(pub i32);

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct Buffer {
    length: libc::c_uint,
    kind: libc::c_int,
    bytes: [u8; MAX_BYTES],
}

/// The handle of what `name` leads to from `dir`, and the mount it is on. With
/// [`AtFlags::EMPTY_PATH`] and an empty `name`: of what `dir` itself is open on.
///
/// # Errors
/// `EOPNOTSUPP`: the file system has no handles. `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP` as usual.
pub fn name_to_handle_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: AtFlags,
) -> Result<(FileHandle, MountId), Error> {
    let mut buffer = Buffer { length: MAX_BYTES as libc::c_uint, kind: 0, bytes: [0; MAX_BYTES] };
    let mut mount: libc::c_int = 0;
    let failed = |errno| Error::NameToHandle { path: path(name.to_bytes()), errno };
    // SAFETY: `dir` is open while borrowed, `name` is NUL-terminated, and the kernel writes at
    // most `length` bytes behind the two words of `buffer`, which has that many, and one integer
    // to `mount`. With AT_HANDLE_MNT_ID_UNIQUE it would write eight bytes there; the flag is
    // masked out.
    let result = unsafe {
        libc::name_to_handle_at(
            dir.as_raw_fd(),
            name.as_ptr(),
            (&raw mut buffer).cast(),
            &raw mut mount,
            (flags.bits() & !AT_HANDLE_MNT_ID_UNIQUE).cast_signed(),
        )
    };
    if result < 0 {
        return Err(failed(last_errno()));
    }
    let handle = usize::try_from(buffer.length)
        .ok()
        .and_then(|length| buffer.bytes.get(..length))
        .and_then(|bytes| FileHandle::new(buffer.kind, bytes))
        .ok_or_else(|| failed(Errno::OVERFLOW))?;
    Ok((handle, MountId(mount)))
}

/// Asks for a 64-bit mount id (6.12), for which there is no room.
const AT_HANDLE_MNT_ID_UNIQUE: u32 = 0x001;

/// Opens the inode with this handle on the file system that `mount` is on.
///
/// # Errors
/// `ESTALE`: no such inode any more; after `rmdir`, always so for kernfs. `EPERM`: neither
/// `CAP_DAC_READ_SEARCH` nor (6.11) a case in which it is not needed. `EINVAL`: not a handle of
/// this file system. `EMFILE`, `ENFILE`, `EACCES` as `open`.
pub fn open_by_handle_at(
    mount: BorrowedFd<'_>,
    handle: &FileHandle,
    flags: OFlags,
) -> Result<OwnedFd, Error> {
    let mut buffer = Buffer {
        length: libc::c_uint::from(handle.length),
        kind: handle.kind,
        bytes: handle.bytes,
    };
    // SAFETY: `mount` is open while borrowed, and the kernel reads the two words of `buffer` and
    // `length` bytes behind them, which it has. It writes nothing.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut buffer).cast(),
            (flags | OFlags::CLOEXEC).bits().cast_signed(),
        )
    };
    if fd == -1 {
        return Err(Error::Call { call: Call::OpenByHandle, errno: last_errno() });
    }
    // SAFETY: the call succeeded, so `fd` is open, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
