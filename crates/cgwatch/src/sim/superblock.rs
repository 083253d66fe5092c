//! The mark on the simulated hierarchy's superblock, as `host::superblock` is on the kernel's.

use std::sync::Arc;

use cgroup_sim::Hierarchy;
use fsnotify::{
    Account, Mask,
    fanotify::{Fanotify, Info, InfoKind, InitFlags, MarkFlags, records},
};
use rustix::io::Errno;

use super::verbs::errno;
use crate::world::{NAME_MAX, Notification};

/// The group and its mark.
#[derive(Debug)]
pub(super) struct SuperblockMark {
    group: Fanotify,
}

impl SuperblockMark {
    pub(super) fn new(account: &Arc<Account>, hierarchy: &Hierarchy) -> Result<Self, Errno> {
        let flags = InitFlags::NONBLOCK | InitFlags::REPORT_FID | InitFlags::REPORT_DIR_FID;
        let flags = flags | InitFlags::REPORT_NAME | InitFlags::REPORT_TARGET_FID;
        let group = Fanotify::new(account, flags).map_err(|error| error.errno())?;
        let mask = Mask::CREATE | Mask::DELETE | Mask::CLOSE_WRITE | Mask::ISDIR;
        let flags = MarkFlags::ADD | MarkFlags::FILESYSTEM;
        hierarchy.mount().mark(&group, flags, u64::from(mask.bits()), "/").map_err(errno)?;
        Ok(Self { group })
    }

    pub(super) fn queued(&self) -> usize {
        self.group.queued()
    }

    /// Hands over every record that is queued.
    pub(super) fn drain(
        &self,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Notification<'_>),
    ) -> Result<(), Errno> {
        loop {
            let read = match self.group.read(buffer) {
                Err(fsnotify::Error::WouldBlock) => return Ok(()),
                read => read.map_err(|error| error.errno())?,
            };
            for record in records(&buffer[..read]) {
                let entry = record.info(InfoKind::DfidName);
                // The kernel leaves a longer name out.
                let name = |info: &Info<'_>| info.name.is_some_and(|name| name.len() <= NAME_MAX);
                let entry = entry.filter(name);
                let entry = entry.and_then(|info| Some((info.handle.id()?, info.name?)));
                let target = record.info(InfoKind::Fid).and_then(|info| info.handle.id());
                Notification::of_fanotify(record.metadata.mask.bits(), entry, target, each);
            }
        }
    }
}
