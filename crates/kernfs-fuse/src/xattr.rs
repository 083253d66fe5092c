//! Extended attributes, which are the nodes' own (kernel: `kernfs_xattr_handlers`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use fuser::{Errno, INodeNo, ReplyXattr, Request};
use kernfs::SetXattr;
use rustix::fs::XattrFlags;

use crate::requests::{Server, errno};

impl Server {
    pub(crate) fn xattr(&self, ino: INodeNo, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.node(ino)?.xattr(name.as_bytes()).map_err(|error| errno(error.errno()))
    }

    /// The names, each with a NUL. Those of `trusted` are root's to know.
    pub(crate) fn xattr_names(&self, request: &Request, ino: INodeNo) -> Result<Vec<u8>, Errno> {
        let names = self.node(ino)?.xattr_names();
        let shown = |name: &[u8]| request.uid() == 0 || !name.starts_with(b"trusted.");
        Ok(names
            .iter()
            .filter(|name| shown(name))
            .flat_map(|name| [name, b"\0".as_slice()].concat())
            .collect())
    }

    pub(crate) fn set_xattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
    ) -> Result<(), Errno> {
        self.may_change(request)?;
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        let how = if flags.contains(XattrFlags::CREATE) {
            SetXattr::Create
        } else if flags.contains(XattrFlags::REPLACE) {
            SetXattr::Replace
        } else {
            SetXattr::Either
        };
        let set = self.node(ino)?.set_xattr(name.as_bytes(), value, how);
        set.map_err(|error| errno(error.errno()))
    }

    pub(crate) fn remove_xattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
    ) -> Result<(), Errno> {
        self.may_change(request)?;
        self.node(ino)?.remove_xattr(name.as_bytes()).map_err(|error| errno(error.errno()))
    }
}

/// Answers with as much as was asked for, or says how much there is.
pub(crate) fn reply(found: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match found {
        // At most what all of a node's take, or its list of names.
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(error),
    }
}
