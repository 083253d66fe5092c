//! What `stat` says of a node.

use std::time::Duration;

use fuser::{FileAttr, FileType, Generation, INodeNo};
use kernfs::Node;

use crate::known::Times;

/// An id is given once, as on 64-bit Linux, where kernfs's generation is 1.
pub(crate) const GENERATION: Generation = Generation(1);

/// How long the kernel may believe a name or an attribute: whatever changes
/// either is told to it.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// How long what is said of this node may be believed.
pub(crate) fn validity(node: &Node) -> Duration {
    if node.is_removed() { Duration::ZERO } else { LONG }
}

pub(crate) fn kind(node: &Node) -> FileType {
    if node.is_dir() { FileType::Directory } else { FileType::RegularFile }
}

/// A removed node has no links: this is what makes the kernel announce it.
fn links(node: &Node) -> u32 {
    match (node.is_removed(), node.is_dir()) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => u32::try_from(node.subdirectories() + 2).unwrap_or(u32::MAX),
    }
}

/// What a file seems to have in it, as on sysfs; the content is computed when it is read, and ends
/// where it ends. Of an empty one the kernel would tell who copies by splice(2) or sendfile(2) that
/// he is at the end, and never ask.
const SIZE: u64 = 4096;

pub(crate) fn of(node: &Node, times: Times) -> FileAttr {
    let permissions = node.permissions();
    FileAttr {
        ino: INodeNo(node.id()),
        size: if node.is_dir() { 0 } else { SIZE },
        blocks: 0,
        atime: times.accessed,
        mtime: times.modified,
        ctime: times.changed,
        crtime: times.changed,
        kind: kind(node),
        perm: permissions.mode,
        nlink: links(node),
        uid: permissions.uid,
        gid: permissions.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_may_believe_for_a_day_what_it_is_told_when_it_changes() {
        let tree = kernfs::Tree::new(kernfs::Options::default());
        let node = tree.root().make_dir("a").unwrap();
        assert_eq!(validity(&node).as_secs(), 86_400);
        node.remove();
        assert_eq!(validity(&node), Duration::ZERO);
    }
}
