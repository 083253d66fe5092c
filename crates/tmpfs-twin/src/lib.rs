//! The same programs on the kernel, on a tmpfs, and on `fsnotify`: whatever a
//! program does, both must tell the same, record by record.
//!
//! [`Tmpfs`] is one small file system, twice: a real one, and what the VFS says
//! of it to `fsnotify`. [`inotify`] and [`fanotify`] run programs on both. A
//! program is words drawn from anywhere: a property test that shrinks them, or
//! a seed in a guest.
//!
//! # Ledger of accepted differences
//! Nothing else may differ.
//!
//! | accepted | reason |
//! |---|---|
//! | cookies by number | Linux counts the renames of the whole machine; they are renumbered in the order they come |
//! | `fsid` | random on both sides; handles are compared, which are the real ones |
//! | bytes queued for fanotify (`FIONREAD`) | Linux counts 24 for each record, whatever follows it |

mod error;
pub mod fanotify;
pub mod inotify;
mod thing;
mod tmpfs;

pub use error::Error;
pub use thing::Thing;
pub use tmpfs::{Action, Tmpfs};

/// Draws choices from a word, the same ones from the same word.
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn of(word: u64) -> Self {
        Self(word)
    }

    /// A number below `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        // The remainder is below `count`.
        let chosen = (self.0 % count as u64) as usize;
        self.0 /= count as u64;
        chosen
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Words from a seed, one after the other, for programs that need not shrink
/// (SplitMix64).
pub fn words(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    })
}
