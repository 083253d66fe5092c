//! The mark on the hierarchy's superblock: one fanotify group that hears of every birth and death.
//!
//! Needs Linux 6.6 (cgroup2 has a file system identity from then on) and CAP_SYS_ADMIN.
//! Records of
//! one name merge (`fanotify_merge` in `fs/notify/fanotify/fanotify.c`), and a CREATE bears no
//! id of what was made, since the dentry is still negative when `fsnotify_mkdir` runs; a DELETE does.

use std::os::fd::{AsFd, BorrowedFd};

use linux_notify::fanotify::{Event, Fanotify, Info, InitFlags, MarkFlags, Mask, Relation, Scope};
use rustix::{fs::Mode, io::Errno};

use super::{open::DIRECTORY, place::handles_of};
use crate::{Error, Mount, world::Notification};

/// Room for a few hundred records at a time.
const RECORDS: usize = 64 * 1024;

/// The group and its mark.
#[derive(Debug)]
pub(super) struct SuperblockMark {
    group: Fanotify,
    records: Vec<u8>,
}

impl SuperblockMark {
    /// Marks the superblock of the hierarchy. All its mounts share one.
    pub(super) fn new() -> Result<Self, Error> {
        let mount = Mount::all()?.into_iter().next().ok_or(Error::NoCgroup2)?;
        let failed = |source| Error::NoFanotify { source };
        let root = rustix::fs::open(&mount.point, DIRECTORY, Mode::empty()).map_err(failed)?;
        // What died in an unknown directory asks whether that one is alive, by its id.
        let stat = rustix::fs::fstat(&root).map_err(failed)?;
        handles_of(root.as_fd(), stat.st_ino).map_err(failed)?.ok_or(failed(Errno::PERM))?;
        let flags = InitFlags::REPORT_DIR_FID | InitFlags::REPORT_NAME;
        let group = Fanotify::new(flags | InitFlags::REPORT_TARGET_FID);
        let group = group.map_err(|error| failed(error.errno()))?;
        let mask = Mask::CREATE | Mask::DELETE | Mask::CLOSE_WRITE | Mask::ONDIR;
        let marked = group.add(Scope::Filesystem, MarkFlags::empty(), mask, root.as_fd());
        marked.map_err(|error| failed(error.errno()))?;
        Ok(Self { group, records: vec![0; RECORDS] })
    }

    /// Hands over every record that is queued.
    pub(super) fn drain(&mut self, each: &mut dyn FnMut(Notification<'_>)) -> Result<(), Errno> {
        loop {
            let mut any = false;
            for event in self.group.read(&mut self.records).map_err(|error| error.errno())? {
                any = true;
                translate(&event, each);
            }
            if !any {
                return Ok(());
            }
        }
    }
}

impl AsFd for SuperblockMark {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

fn translate(event: &Event<'_>, each: &mut dyn FnMut(Notification<'_>)) {
    let (mut entry, mut target) = (None, None);
    for info in event.infos() {
        let Info::Handle { relation, handle, name, .. } = info else { continue };
        match relation {
            Relation::DirectoryEntry => entry = handle.kernfs_id().map(|id| (id, name)),
            Relation::Object => target = handle.kernfs_id(),
            _ => {}
        }
    }
    // The upper half of the mask is unused so far.
    Notification::of_fanotify(event.mask.bits() as u32, entry, target, each);
}
