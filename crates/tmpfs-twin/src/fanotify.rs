//! Programs for fanotify, with each way of naming things.

use std::{os::fd::AsFd as _, path::Path, sync::Arc};

use fsnotify::{
    Account, Limits, Object,
    fanotify::{Fanotify, InfoKind, InitFlags, MarkFlags, Record, records},
};
use nix::sys::fanotify as linux;
use rustix::io::Errno;

use crate::{Action, Choices, Error, Tmpfs};

/// One step of a program.
#[derive(Clone, Debug)]
pub enum Step {
    /// Something a program does with files.
    Act(Action),
    /// Marks a path, if it is there, with these flags and events.
    Mark(&'static str, MarkFlags, u64),
    /// A read of all there is.
    Read,
}

const ONDIR: u64 = 0x4000_0000;
const ON_CHILD: u64 = 0x0800_0000;

const MARKS: [(&str, MarkFlags, u64); 7] = [
    ("d", MarkFlags::ADD, 0xfca | ONDIR),
    ("d", MarkFlags::ADD, 0x2a | ON_CHILD),
    ("a", MarkFlags::ADD, 0xc2e),
    ("d/a", MarkFlags::ADD.union(MarkFlags::EVICTABLE), 0x406),
    ("", MarkFlags::ADD, 0xfc0 | ONDIR | ON_CHILD),
    ("a", MarkFlags::ADD.union(MarkFlags::IGNORED_MASK), 0x2a),
    (
        "d",
        MarkFlags::ADD.union(MarkFlags::IGNORE).union(MarkFlags::IGNORED_SURV_MODIFY),
        0x20 | ON_CHILD,
    ),
];

/// The ways in which records can name things.
pub const NAMINGS: [InitFlags; 6] = [
    InitFlags::REPORT_FID,
    InitFlags::REPORT_DIR_FID,
    InitFlags::REPORT_DIR_FID.union(InitFlags::REPORT_FID),
    NAMED,
    NAMED.union(InitFlags::REPORT_FID),
    NAMED.union(InitFlags::REPORT_FID).union(InitFlags::REPORT_TARGET_FID),
];
const NAMED: InitFlags = InitFlags::REPORT_DIR_FID.union(InitFlags::REPORT_NAME);

impl Step {
    /// The step that a word stands for.
    #[must_use]
    pub fn of(word: u64) -> Self {
        let mut choices = Choices::of(word);
        match choices.below(9) {
            0..6 => Self::Act(Action::of(&mut choices)),
            6..8 => {
                let (path, flags, mask) = choices.one_of(&MARKS);
                Self::Mark(path, flags, mask)
            }
            _ => Self::Read,
        }
    }
}

/// Runs a program on both sides, in a folder of its own below `place`.
///
/// # Errors
/// [`Error::Differ`]; others if it could not be run, `EPERM` for whoever may
/// make no such group.
pub fn agree(place: &Path, naming: InitFlags, steps: &[Step]) -> Result<(), Error> {
    let mut both = Tmpfs::new(place)?;
    let flags = naming | InitFlags::NONBLOCK;
    let bits = linux::InitFlags::from_bits_retain(flags.bits());
    let theirs = linux::Fanotify::init(bits, linux::EventFFlags::empty()).map_err(errno)?;
    let ours = Fanotify::new(&Account::new(Limits::default()), flags)?;
    let compare = |after: &str| {
        let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
        let own = ours.read(&mut buffers[0]).map_err(|error| error.errno());
        let real = rustix::io::read(theirs.as_fd(), &mut buffers[1][..]);
        let told = |buffer: &[u8], read: &Result<usize, Errno>| told(&buffer[..read.unwrap_or(0)]);
        Error::unless_same(&told(&buffers[0], &own), &told(&buffers[1], &real), after)?;
        Error::unless_same(&own, &real, after)
    };
    for step in steps {
        match step {
            Step::Act(action) => both.act(action)?,
            Step::Mark(path, flags, mask) => {
                let Some(object) = both.object(path) else { continue };
                let bits = linux::MarkFlags::from_bits_retain(flags.bits());
                let events = linux::MaskFlags::from_bits_retain(*mask);
                let place = both.path(path);
                let real = theirs.mark(bits, events, rustix::fs::CWD, Some(place.as_path()));
                let object: Arc<dyn Object> = object;
                let own = ours.mark(*flags, *mask, &object).map_err(|error| error.errno());
                Error::unless_same(&own, &real.map_err(errno), step)?;
            }
            Step::Read => compare(&format!("{step:?}"))?,
        }
    }
    compare("the end")
}

fn errno(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

/// Each record as its events and what it names, handles in hexadecimal.
fn told(bytes: &[u8]) -> Vec<String> {
    let record = |record: Record<'_>| {
        let infos = record.infos().map(|info| {
            let name = info.name.map(String::from_utf8_lossy);
            let kind = match info.kind {
                InfoKind::Fid => "fid",
                InfoKind::Dfid => "dfid",
                InfoKind::DfidName => "dfid_name",
            };
            format!("{kind} {}:{:02x?} {name:?}", info.handle.kind(), info.handle.bytes())
        });
        format!("{:?} {}", record.metadata, infos.collect::<Vec<_>>().join(", "))
    };
    records(bytes).map(record).collect()
}
