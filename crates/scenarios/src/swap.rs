//! The swap disk of a guest: in use for as long as there is one of these, so that elsewhere what does
//! not fit is killed for memory.

use std::{fs, path::Path, process::Command};

use crate::{Failure, failure::ensure};

/// Made by `cargo xtask kernels`, with the programs.
const DISK: &str = "/dev/nvme0n1";
const ON: &str = "/sbin/swapon";
const OFF: &str = "/sbin/swapoff";

#[derive(Debug)]
pub(crate) struct Swap {
    /// In bytes.
    pub(crate) size: u64,
}

impl Swap {
    pub(crate) fn is_there() -> bool {
        [DISK, ON, OFF].into_iter().all(|path| Path::new(path).exists())
    }

    /// # Errors
    /// [`Failure::Driver`].
    pub(crate) fn on() -> Result<Self, Failure> {
        let status = Command::new(ON).arg(DISK).status().map_err(Failure::driver("run", ON))?;
        ensure!(status.success(), "driver: {ON} {DISK}: {status}");
        let mut swap = Self { size: 0 };
        let list = "/proc/swaps";
        let text = fs::read_to_string(list).map_err(Failure::driver("read", list))?;
        let line = text.lines().find(|line| line.starts_with(DISK)).unwrap_or_default();
        let kilobytes = line.split_whitespace().nth(2).and_then(|size| size.parse::<u64>().ok());
        swap.size = kilobytes.unwrap_or(0) << 10;
        ensure!(swap.size > 0, "driver: {list} has {text}");
        Ok(swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // Should it fail, what comes next in this guest fails.
        let _ = Command::new(OFF).arg(DISK).status();
    }
}
