//! Whose an open file is (kernel: `struct cred`, `file->f_cred`), and what a
//! node's mode lets him do (`inode_permission`).
//!
//! A file is read and written with the rights of who opened it, whoever does
//! so later: a descriptor may be inherited, passed on, or be the standard
//! output of a program with more rights (CVE-2021-4197).

use crate::{Access, Permissions};

/// A user as the kernel's permission checks see him.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "cred")]
pub struct Credentials {
    /// The user, for file systems (`fsuid`).
    pub uid: u32,
    /// The group, for file systems (`fsgid`).
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Box<[u32]>,
    /// Modes do not hold him back, nor whose a process is (`CAP_DAC_OVERRIDE`
    /// and `CAP_KILL`).
    pub privileged: bool,
}

impl Credentials {
    fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

impl Permissions {
    /// Whether they let a user read or write. Of owner, group and others the
    /// first class that he is in decides alone.
    #[must_use]
    #[doc(alias = "inode_permission")]
    pub fn allow(&self, user: &Credentials, access: Access) -> bool {
        let shift = if self.uid == user.uid {
            6
        } else if user.is_in_group(self.gid) {
            3
        } else {
            0
        };
        let given = self.mode >> shift;
        let may = |wanted, bit: u16| !access.contains(wanted) || given & bit != 0;
        user.privileged || (may(Access::READ, 4) && may(Access::WRITE, 2))
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;
    use crate::{Access, Permissions};

    fn user(uid: u32, groups: &[u32]) -> Credentials {
        Credentials { uid, gid: uid, groups: groups.into(), privileged: false }
    }

    #[test]
    fn the_first_class_that_fits_decides_alone() {
        let (read, write) = (Access::READ, Access::WRITE);
        let file = |mode| Permissions { mode, uid: 1, gid: 20 };
        let [owner, member, other] = [user(1, &[20]), user(2, &[7, 20]), user(3, &[])];
        // The mode that lets each class in alone, in order.
        for (mode, allowed) in [
            (0o200, [true, false, false]),
            (0o020, [false, true, false]),
            (0o002, [false, false, true]),
            (0o622, [true, true, true]),
            (0o606, [true, false, true]),
            (0o444, [false, false, false]),
        ] {
            let may = [&owner, &member, &other].map(|user| file(mode).allow(user, write));
            assert_eq!(may, allowed, "{mode:o}");
        }
        assert!(file(0o400).allow(&owner, read) && !file(0o400).allow(&owner, read | write));
        // His own group counts as much as the others.
        assert!(Permissions { mode: 0o020, uid: 1, gid: 3 }.allow(&other, write));
    }

    #[test]
    fn who_is_privileged_is_held_back_by_nothing() {
        let root = Credentials { privileged: true, ..user(0, &[]) };
        let nobodys = Permissions { mode: 0, uid: 1, gid: 1 };
        assert!(nobodys.allow(&root, Access::READ | Access::WRITE));
        assert!(!nobodys.allow(&user(0, &[]), Access::READ), "not by being 0 alone");
    }
}
