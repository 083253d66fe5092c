//! What procfs says of a thread: whose it is and what it may do, which no FUSE request says whole.
//!
//! A thread changes its credentials itself. While it waits for the answer to its request it can
//! neither do that nor end, so what is read meanwhile is what the request was made with.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
};

/// Bytes that are read at most: a hundred lines, and some thousand groups.
const BYTES_MAX: u64 = 64 << 10;
/// Groups that are kept: no more than a page of them for each file that a client opens.
const GROUPS_MAX: usize = 1024;
/// Kernel: `CAP_DAC_OVERRIDE` and `CAP_KILL`.
const PRIVILEGED: u64 = 1 << 1 | 1 << 5;

/// A thread's credentials, in the numbers of this process's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its real, effective and saved user.
    pub users: [u32; 3],
    /// Its user for file systems.
    pub(crate) file_user: u32,
    /// Its supplementary groups; none if they are more than 1,024.
    pub(crate) groups: Box<[u32]>,
    /// The effective ones, in its own user namespace.
    capabilities: u64,
    /// How many pid namespaces it has a number in, from that of procfs on.
    pid_namespaces: usize,
    thread: String,
}

impl Status {
    /// That of a thread by its number. `None` if there is none, or procfs is not there, does not
    /// show it or says more than 64 KiB of it.
    #[must_use]
    pub fn of(thread: u32) -> Option<Self> {
        Self::read(thread.to_string())
    }

    fn read(thread: String) -> Option<Self> {
        let mut text = String::new();
        let file = File::open(format!("/proc/{thread}/status")).ok()?;
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Self::parse(thread, &text)
    }

    fn parse(thread: String, text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let numbers = |field: &str| -> Option<Vec<u32>> {
            field.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
        };
        let users = numbers(field("Uid:")?)?;
        let &[real, effective, saved, file_user] = users.as_slice() else { return None };
        let groups = numbers(field("Groups:")?)?;
        let groups = if groups.len() > GROUPS_MAX { Vec::new() } else { groups };
        Some(Self {
            users: [real, effective, saved],
            file_user,
            groups: groups.into(),
            // It comes after all other fields: what was cut off is not taken for what is not there.
            capabilities: u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?,
            // Without namespaces in the kernel there is no such line.
            pid_namespaces: field("NSpid:").map_or(1, |all| all.split_ascii_whitespace().count()),
            thread,
        })
    }

    /// Whether process numbers mean the same to it and to this process.
    #[must_use]
    pub fn shares_pid_namespace(&self) -> bool {
        let this = Self::read("self".into());
        self.pid_namespaces == 1 && this.is_some_and(|this| this.pid_namespaces == 1)
    }

    /// Whether it has the capabilities that `Credentials::privileged` stands for, over what this
    /// process has them over.
    pub(crate) fn is_privileged(&self) -> bool {
        let namespace = |thread: &str| {
            let found = fs::metadata(format!("/proc/{thread}/ns/user")).ok()?;
            Some((found.dev(), found.ino()))
        };
        self.capabilities & PRIVILEGED == PRIVILEGED
            && namespace(&self.thread).is_some_and(|its| Some(its) == namespace("self"))
    }
}

#[cfg(test)]
mod tests {
    use super::{GROUPS_MAX, Status};

    const TEXT: &str = "Name:\ta\\nUid:\t0\nUmask:\t0022\nPid:\t42\nUid:\t1\t2\t3\t4\n\
        Gid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t24 25 \nNStgid:\t42\t7\nNSpid:\t42\t7\n\
        CapInh:\t0000000000000000\nCapEff:\t0000000000000022\n";

    #[test]
    fn each_field_is_read_from_its_line() {
        let status = Status::parse("42".into(), TEXT).unwrap();
        assert_eq!((status.users, status.file_user), ([1, 2, 3], 4));
        assert_eq!(*status.groups, [24, 25]);
        assert_eq!((status.capabilities, status.pid_namespaces), (0x22, 2));
    }

    #[test]
    fn what_was_cut_off_or_is_too_much_gives_no_rights() {
        for end in 0..TEXT.len() {
            let cut = Status::parse("42".into(), &TEXT[..end]);
            assert!(cut.is_none_or(|cut| cut.capabilities != 0x22 || end + 1 == TEXT.len()));
        }
        let many = format!("Groups:\t{}", "7 ".repeat(GROUPS_MAX + 1));
        let status = Status::parse("42".into(), &TEXT.replace("Groups:\t24 25 ", &many)).unwrap();
        assert!(status.groups.is_empty());
    }

    #[test]
    fn this_process_is_in_its_own_namespaces() {
        let status = Status::of(std::process::id()).unwrap();
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(status.users[0], uid);
        let outer = Status::read("self".into()).is_none_or(|this| this.pid_namespaces != 1);
        assert!(status.shares_pid_namespace() || outer);
        assert!(Status::of(u32::MAX).is_none());
    }

    #[test]
    fn as_many_groups_as_are_kept_are_kept() {
        let most = format!("Groups:\t{}", "7 ".repeat(GROUPS_MAX));
        let status = Status::parse("42".into(), &TEXT.replace("Groups:\t24 25 ", &most)).unwrap();
        assert_eq!(status.groups.len(), GROUPS_MAX);
    }

    #[test]
    fn privileged_takes_both_capabilities_in_the_namespace_of_this_process() {
        let is_privileged = |thread: &str, capabilities: &str| {
            let text = TEXT.replace("0000000000000022", capabilities);
            Status::parse(thread.into(), &text).unwrap().is_privileged()
        };
        // CAP_DAC_OVERRIDE is 1, CAP_KILL is 5 (include/uapi/linux/capability.h).
        for (capabilities, both) in [
            ("22", true),
            ("000001ffffffffff", true),
            ("2", false),
            ("20", false),
            ("1", false),
            ("0", false),
            ("000001ffffffffdd", false),
        ] {
            assert_eq!(is_privileged("self", capabilities), both, "{capabilities}");
        }
        assert!(!is_privileged("no-thread", "22"));
    }
}
