//! Which arguments Linux refuses, and with what: `fanotify_init(2)` and
//! `fanotify_mark(2)`, in the order of fs/notify/fanotify/fanotify_user.c.
//!
//! The errno is Linux's for every combination it refuses. What Linux accepts
//! and this crate cannot do is [`Error::Unsupported`], decided last.

use super::flags::{
    EVENT_FLAGS, FS_ERROR, INODE_EVENTS, InitFlags, MarkFlags, PATH_EVENTS, PERMISSION,
};
use crate::{Error, Mask, Object, ObjectKind, mark::has_children};

/// Checks the flags of a new group.
pub(super) fn init(flags: InitFlags, privileged: bool) -> Result<(), Error> {
    let handles = InitFlags::FID_BITS | InitFlags::REPORT_MNT;
    if !privileged && (flags.intersects(InitFlags::ADMIN_BITS) || !flags.intersects(handles)) {
        return Err(Error::NotPermitted);
    }
    let invalid = Err(Error::InvalidFlags { flags: flags.bits() });
    let known = InitFlags::from_bits_retain(0x7fff) | InitFlags::REPORT_DEFERRED;
    if flags.bits() & !known.bits() != 0 {
        return invalid;
    }
    // A pidfd or an error needs the descriptor's place; a pidfd excludes a tid.
    if flags.contains(InitFlags::REPORT_PIDFD | InitFlags::REPORT_TID) {
        return invalid;
    }
    let fid = flags & InitFlags::FID_BITS;
    let class = flags & InitFlags::CLASS_BITS;
    if flags.contains(InitFlags::REPORT_MNT) {
        // Mount events come alone.
        if !class.is_empty() || !fid.is_empty() || flags.contains(InitFlags::REPORT_FD_ERROR) {
            return invalid;
        }
        return Err(Error::Unsupported { what: "mount events" });
    }
    // Content classes work on descriptors.
    if !fid.is_empty() && !class.is_empty() {
        return invalid;
    }
    if fid.contains(InitFlags::REPORT_NAME) && !fid.contains(InitFlags::REPORT_DIR_FID) {
        return invalid;
    }
    let with_target = InitFlags::REPORT_FID | InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
    if fid.contains(InitFlags::REPORT_TARGET_FID) && !fid.contains(with_target) {
        return invalid;
    }
    if class == InitFlags::CLASS_BITS {
        return invalid;
    }
    if !class.is_empty() || flags.contains(InitFlags::ENABLE_AUDIT) {
        return Err(Error::Unsupported { what: "permission events" });
    }
    if flags.contains(InitFlags::REPORT_PIDFD) {
        return Err(Error::Unsupported { what: "pidfds in records" });
    }
    Ok(())
}

/// What is to be done to a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Remove,
    Flush,
}

/// Checks flags and mask, as far as they do not depend on the object.
pub(super) fn mark(
    group: InitFlags,
    privileged: bool,
    flags: MarkFlags,
    mask: u64,
) -> Result<Command, Error> {
    let bad_mask = Err(Error::InvalidMask { mask });
    let bad_flags = Err(Error::InvalidFlags { flags: flags.bits() });
    // Linux looks at the upper half first, then at the flags.
    if mask >> 32 != 0 {
        return bad_mask;
    }
    if flags.bits() & !MarkFlags::KNOWN.bits() != 0 {
        return bad_flags;
    }
    let kind = flags & MarkFlags::TYPE_BITS;
    if kind == MarkFlags::TYPE_BITS {
        // The value of both is the mark type "mount namespace".
        return bad_flags;
    }
    let ignore = flags & MarkFlags::IGNORE_BITS;
    let command = match flags & MarkFlags::CMD_BITS {
        MarkFlags::ADD | MarkFlags::REMOVE if mask == 0 => return bad_mask,
        MarkFlags::ADD => Command::Add,
        MarkFlags::REMOVE => Command::Remove,
        MarkFlags::FLUSH => {
            if !(flags - MarkFlags::TYPE_BITS - MarkFlags::FLUSH).is_empty() {
                return bad_flags;
            }
            Command::Flush
        }
        _ => return bad_flags,
    };
    let events = u64::from((PATH_EVENTS | INODE_EVENTS | EVENT_FLAGS).bits());
    if mask & !(events | FS_ERROR | PERMISSION) != 0 {
        return bad_mask;
    }
    if ignore == MarkFlags::IGNORE_BITS {
        return bad_flags;
    }
    // Only the bearer of CAP_SYS_ADMIN may watch more than inodes.
    if !privileged && !kind.is_empty() {
        return Err(Error::NotPermitted);
    }
    let fid = group.intersects(InitFlags::FID_BITS);
    if mask & PERMISSION != 0 {
        // Only classes that this crate does not have may ask for permission.
        return bad_mask;
    }
    if mask & FS_ERROR != 0 && kind != MarkFlags::FILESYSTEM {
        return bad_mask;
    }
    // An evictable mark is one of an inode.
    if flags.contains(MarkFlags::EVICTABLE) && !kind.is_empty() {
        return bad_flags;
    }
    let inode_events = mask & (u64::from(INODE_EVENTS.bits()) | FS_ERROR) != 0;
    if inode_events && (!fid || kind == MarkFlags::MOUNT) {
        return bad_mask;
    }
    if mask & u64::from(Mask::RENAME.bits()) != 0 && !group.contains(InitFlags::REPORT_NAME) {
        return bad_mask;
    }
    Ok(command)
}

/// Checks what depends on the object.
pub(super) fn object(
    group: InitFlags,
    flags: MarkFlags,
    mask: u64,
    object: &dyn Object,
) -> Result<(), Error> {
    let on_mount = flags.contains(MarkFlags::MOUNT);
    let on_super_block = flags.contains(MarkFlags::FILESYSTEM);
    let on_inode = !on_mount && !on_super_block;
    if on_super_block != (object.kind() == ObjectKind::SuperBlock) {
        return Err(Error::WrongKind { kind: object.kind() });
    }
    let is_dir = has_children(object.kind());
    if flags.contains(MarkFlags::ONLYDIR) && !on_super_block && !is_dir {
        return Err(Error::NotDirectory);
    }
    if !object.readable() {
        return Err(Error::AccessDenied);
    }
    if flags.contains(MarkFlags::REMOVE) {
        return if on_mount { Err(Error::NoMark) } else { Ok(()) };
    }
    // The older ignore mask has no use for remarks.
    let unused = if flags.contains(MarkFlags::IGNORED_MASK) { EVENT_FLAGS } else { Mask::empty() };
    let asks = |events: Mask| mask & u64::from((events - unused).bits()) != 0;
    // What only a directory has: its names, and its children's events. Newer
    // ways to ask (TARGET_FID, RENAME, FAN_MARK_IGNORE) are strict about it.
    let strict = group.contains(InitFlags::REPORT_TARGET_FID)
        || asks(Mask::RENAME)
        || flags.contains(MarkFlags::IGNORE);
    if strict && on_inode && !is_dir && asks(Mask::DIRENT | EVENT_FLAGS) {
        return Err(Error::NotDirectory);
    }
    if group.intersects(InitFlags::FID_BITS) && !on_inode {
        let file_system = object.file_system();
        if file_system.fsid.is_none() {
            return Err(Error::NoFsid);
        }
        if !file_system.decodes_handles {
            return Err(Error::NoHandles);
        }
    }
    // The newer ignore mask of what has more than one inode must survive
    // modifications.
    let survives = flags.contains(MarkFlags::IGNORED_SURV_MODIFY);
    if flags.contains(MarkFlags::IGNORE) && !survives {
        if !on_inode {
            return Err(Error::InvalidFlags { flags: flags.bits() });
        }
        if is_dir {
            return Err(Error::IsDirectory);
        }
    }
    Ok(())
}

/// What Linux would have done, and this crate cannot.
pub(super) fn supported(mask: Mask) -> Result<(), Error> {
    if u64::from(mask.bits()) & FS_ERROR != 0 {
        return Err(Error::Unsupported { what: "file system errors" });
    }
    if mask.contains(Mask::RENAME) {
        return Err(Error::Unsupported { what: "renames told with both names" });
    }
    Ok(())
}
