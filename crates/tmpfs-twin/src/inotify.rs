//! Programs for inotify.

use std::{collections::HashMap, path::Path};

use fsnotify::{
    Account, Limits,
    inotify::{InitFlags, Inotify, WatchMask, records},
};
use rustix::fs::inotify as linux;

use crate::{Action, Choices, Error, Tmpfs};

/// One step of a program.
#[derive(Clone, Debug)]
pub enum Step {
    /// Something a program does with files.
    Act(Action),
    /// `inotify_add_watch` of a path, if it is there.
    Watch(&'static str, u32),
    /// `inotify_rm_watch`.
    Remove(i32),
    /// A read into a buffer of so many bytes.
    Read(usize),
}

/// Events, and now and then what changes how a watch behaves.
const FLAGS: [WatchMask; 8] = [
    WatchMask::empty(),
    WatchMask::empty(),
    WatchMask::empty(),
    WatchMask::ONESHOT,
    WatchMask::EXCL_UNLINK,
    WatchMask::MASK_ADD,
    WatchMask::MASK_CREATE,
    WatchMask::ONLYDIR,
];
const SIZES: [usize; 9] = [0, 15, 16, 31, 32, 33, 48, 64, 4096];

impl Step {
    /// The step that a word stands for.
    #[must_use]
    pub fn of(word: u64) -> Self {
        let mut choices = Choices::of(word);
        match choices.below(14) {
            0..8 => Self::Act(Action::of(&mut choices)),
            8..12 => {
                let path = choices.one_of(&Action::PATHS);
                let flags = choices.one_of(&FLAGS);
                Self::Watch(path, (choices.below(0xfff) as u32 + 1) | flags.bits())
            }
            12 => Self::Remove(choices.below(6) as i32),
            _ => Self::Read(choices.one_of(&SIZES)),
        }
    }
}

/// Runs a program on both sides, in a folder of its own below `place`.
///
/// # Errors
/// [`Error::Differ`]; others if it could not be run.
pub fn agree(place: &Path, steps: &[Step]) -> Result<(), Error> {
    let mut both = Tmpfs::new(place)?;
    let theirs = linux::init(linux::CreateFlags::NONBLOCK)?;
    let ours = Inotify::new(&Account::new(Limits::default()), InitFlags::NONBLOCK)?;
    let mut cookies = [HashMap::new(), HashMap::new()];
    let mut compare = |size: usize, after: &str| {
        let mut buffers = [vec![0; size], vec![0; size]];
        let own = ours.read(&mut buffers[0]).map_err(|error| error.errno());
        let real = rustix::io::read(&theirs, &mut buffers[1][..]);
        for ((buffer, read), known) in buffers.iter_mut().zip([&own, &real]).zip(&mut cookies) {
            if let Ok(read) = read {
                renumber(&mut buffer[..*read], known);
            }
        }
        let text = |bytes: &[u8]| format!("{:?}", records(bytes).collect::<Vec<_>>());
        Error::unless_same(&text(&buffers[0]), &text(&buffers[1]), after)?;
        Error::unless_same(&own, &real, after)?;
        Error::unless_same(&buffers[0], &buffers[1], after)
    };
    for step in steps {
        match step {
            Step::Act(action) => both.act(action)?,
            Step::Watch(path, mask) => {
                let Some(object) = both.object(path) else { continue };
                let flags = linux::WatchFlags::from_bits_retain(*mask);
                let real = linux::add_watch(&theirs, both.path(path), flags);
                let own = ours.add_watch(object, WatchMask::from_bits_retain(*mask));
                Error::unless_same(&own.map_err(|error| error.errno()), &real, step)?;
            }
            Step::Remove(wd) => {
                let real = linux::remove_watch(&theirs, *wd);
                let own = ours.rm_watch(*wd).map_err(|error| error.errno());
                Error::unless_same(&own, &real, step)?;
            }
            Step::Read(size) => compare(*size, &format!("{step:?}"))?,
        }
        let queued = rustix::io::ioctl_fionread(&theirs)?;
        Error::unless_same(&(ours.readable_bytes() as u64), &queued, step)?;
    }
    compare(1 << 16, "the end")
}

/// Cookies in the order they come.
fn renumber(bytes: &mut [u8], known: &mut HashMap<u32, u32>) {
    let mut at = 0;
    while let Some(record) = bytes.get_mut(at..).filter(|rest| rest.len() >= 16) {
        let word = |from: usize| {
            u32::from_ne_bytes([record[from], record[from + 1], record[from + 2], record[from + 3]])
        };
        let (cookie, len) = (word(8), word(12) as usize);
        if cookie != 0 {
            let next = known.len() as u32 + 1;
            let number = *known.entry(cookie).or_insert(next);
            record[8..12].copy_from_slice(&number.to_ne_bytes());
        }
        at += 16 + len;
    }
}
