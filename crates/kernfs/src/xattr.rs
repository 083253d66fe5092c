//! Extended attributes of a node (kernel: `kernfs_xattr_set` and
//! `kernfs_vfs_user_xattr_set`, fs/kernfs/inode.c; `simple_xattr_set`,
//! fs/xattr.c).
//!
//! Most nodes never get any, and cost nothing for it. The tree enforces what
//! bounds the memory that users can take, and no permissions.

use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::{Error, Node};

/// How many of `user.*` a node can have (`KERNFS_MAX_USER_XATTRS`), and how
/// many bytes their values (`KERNFS_USER_XATTR_SIZE_LIMIT`).
const USER_COUNT: usize = 128;
const USER_BYTES: usize = 128 << 10;
/// Bytes of one value (`XATTR_SIZE_MAX`), and of a name (`XATTR_NAME_MAX`).
const VALUE_MAX: usize = 65536;
const NAME_MAX: usize = 255;

pub(crate) type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What [`Node::set_xattr`] does about one that is there, or is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetXattr {
    /// Makes or replaces it.
    #[default]
    Either,
    /// Makes it (`XATTR_CREATE`).
    Create,
    /// Replaces it (`XATTR_REPLACE`).
    Replace,
}

impl Node {
    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`: it has none of that name. `EOPNOTSUPP`: a namespace that is
    /// none of `user`, `trusted` and `security`; `EINVAL`: nothing after it.
    #[doc(alias = "getxattr")]
    pub fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Error> {
        self.check_xattr(name)?;
        let value = self.with_xattrs(|xattrs| xattrs.get(name).map(|value| value.to_vec()));
        value.ok_or_else(|| self.refused(Errno::NODATA))
    }

    /// The names of its extended attributes.
    #[must_use]
    #[doc(alias = "listxattr")]
    pub fn xattr_names(&self) -> Vec<Box<[u8]>> {
        self.with_xattrs(|xattrs| xattrs.keys().cloned().collect())
    }

    /// Sets an extended attribute, and tells nobody.
    ///
    /// # Errors
    /// As [`xattr`](Self::xattr). `EEXIST`, `ENODATA`: it is there, or not,
    /// and `how` wants it otherwise. `ENOSPC`: users set too much. `E2BIG`: a
    /// value of more than 64 KiB; `ERANGE`: a name of more than 255 bytes.
    #[doc(alias = "setxattr")]
    pub fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<(), Error> {
        self.check_xattr(name)?;
        if value.len() > VALUE_MAX {
            return Err(self.refused(Errno::TOOBIG));
        }
        let set = self.with_xattrs_mut(|xattrs| {
            if is_users(name) {
                // What is replaced counts, too: it goes after the new one came.
                let of_users = || xattrs.iter().filter(|(name, _)| is_users(name));
                let bytes: usize = of_users().map(|(_, value)| value.len()).sum();
                if of_users().count() >= USER_COUNT || bytes + value.len() > USER_BYTES {
                    return Err(Errno::NOSPC);
                }
            }
            match (how, xattrs.contains_key(name)) {
                (SetXattr::Create, true) => return Err(Errno::EXIST),
                (SetXattr::Replace, false) => return Err(Errno::NODATA),
                _ => {}
            }
            xattrs.insert(name.into(), value.into());
            Ok(())
        });
        set.map_err(|errno| self.refused(errno))
    }

    /// Removes an extended attribute, and tells nobody.
    ///
    /// # Errors
    /// As [`xattr`](Self::xattr).
    #[doc(alias = "removexattr")]
    pub fn remove_xattr(&self, name: &[u8]) -> Result<(), Error> {
        self.check_xattr(name)?;
        let removed = self.with_xattrs_mut(|xattrs| xattrs.remove(name));
        removed.map(drop).ok_or_else(|| self.refused(Errno::NODATA))
    }

    /// Kernel: `kernfs_xattr_handlers`.
    fn check_xattr(&self, name: &[u8]) -> Result<(), Error> {
        let spaces = [b"user.".as_slice(), b"trusted.", b"security."];
        let rest = spaces.iter().find_map(|space| name.strip_prefix(*space));
        match rest {
            None => Err(self.refused(Errno::OPNOTSUPP)),
            Some([]) => Err(self.refused(Errno::INVAL)),
            Some(_) if name.len() > NAME_MAX => Err(self.refused(Errno::RANGE)),
            Some(_) => Ok(()),
        }
    }

    fn refused(&self, errno: Errno) -> Error {
        Error::Refused { name: self.text(), errno }
    }
}

fn is_users(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}
