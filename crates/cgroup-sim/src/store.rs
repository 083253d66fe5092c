//! What is written to the files, and what is wrong with it (kernel: the `write` functions of the
//! same places; `page_counter_memparse`, `kstrtoint`).

use kernfs::Credentials;
use rustix::io::Errno;

use crate::{
    controller::Body,
    file::File,
    memory::{PAGE, pages},
    state::State,
};

impl State {
    /// Takes what was written to a file of a living cgroup, without space around it, with the
    /// rights of who opened it.
    pub(crate) fn store(
        &mut self,
        at: usize,
        file: File,
        text: &str,
        by: Option<&Credentials>,
    ) -> Result<(), Errno> {
        match file.controller() {
            None => self.store_base(at, file, text, by),
            Some(controller) => {
                let state = self.cgroups[at].states[controller.index()].ok_or(Errno::NODEV)?;
                match self.body(state) {
                    Body::Memory(_) => self.store_memory(state, file, text),
                    Body::Pids(pids) if file == File::PidsMax => {
                        pids.max = limit(text, Errno::INVAL)?.map(u64::from);
                        Ok(())
                    }
                    Body::Pids(_) | Body::Plain => Err(Errno::INVAL),
                }
            }
        }
    }

    fn store_base(
        &mut self,
        at: usize,
        file: File,
        text: &str,
        by: Option<&Credentials>,
    ) -> Result<(), Errno> {
        match file {
            File::Type if text == "threaded" => self.make_threaded(at),
            File::Procs => self.attach(at, pid(text)?, false, by),
            File::Threads => self.attach(at, pid(text)?, true, by),
            File::SubtreeControl => self.write_subtree_control(at, text),
            File::MaxDescendants => {
                self.cgroups[at].max_descendants = limit(text, Errno::RANGE)?;
                Ok(())
            }
            File::MaxDepth => {
                self.cgroups[at].max_depth = limit(text, Errno::RANGE)?;
                Ok(())
            }
            File::Freeze => {
                self.freeze(at, flag(text, Errno::RANGE)?);
                Ok(())
            }
            File::Kill => {
                if !flag(text, Errno::RANGE)? {
                    return Err(Errno::RANGE);
                }
                if self.cgroups[at].threaded {
                    return Err(Errno::OPNOTSUPP);
                }
                self.kill_cgroup(at);
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn store_memory(&mut self, state: usize, file: File, text: &str) -> Result<(), Errno> {
        match file {
            File::MemoryHigh => {
                self.set_high(state, size(text)?);
                return Ok(());
            }
            File::MemoryMax => {
                self.set_max(state, size(text)?);
                return Ok(());
            }
            File::MemoryReclaim => {
                let want = pages(bytes(text)?);
                let got = self.reclaim(state, want);
                return if got >= want { Ok(()) } else { Err(Errno::AGAIN) };
            }
            _ => {}
        }
        let Some(memory) = self.memory(state) else { return Err(Errno::INVAL) };
        match file {
            File::MemoryMin => memory.min = size(text)?,
            File::MemoryLow => memory.low = size(text)?,
            File::SwapHigh => memory.swap_high = size(text)?,
            File::SwapMax => memory.swap_max = size(text)?,
            File::MemoryOomGroup => memory.oom_group = flag(text, Errno::INVAL)?,
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }
}

/// Kernel: `kstrtoint`.
fn integer(text: &str) -> Result<i64, Errno> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Errno::INVAL);
    }
    let number: i64 = text.parse().map_err(|_| Errno::RANGE)?;
    if i32::try_from(number).is_ok() { Ok(number) } else { Err(Errno::RANGE) }
}

/// `0` or `1`, or this error.
fn flag(text: &str, other: Errno) -> Result<bool, Errno> {
    match integer(text)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(other),
    }
}

/// A number of things, or `max`; a negative one is this error.
fn limit(text: &str, negative: Errno) -> Result<Option<u32>, Errno> {
    if text == "max" {
        return Ok(None);
    }
    u32::try_from(integer(text)?).map(Some).map_err(|_| negative)
}

/// A positive number. `0`, the writer itself, is nobody here.
fn pid(text: &str) -> Result<u32, Errno> {
    match u32::try_from(integer(text).map_err(|_| Errno::INVAL)?) {
        Ok(0) => Err(Errno::SRCH),
        Ok(pid) => Ok(pid),
        Err(_) => Err(Errno::INVAL),
    }
}

/// Bytes with an optional suffix from K to E; no digits are 0 (kernel: `memparse`).
fn bytes(text: &str) -> Result<u64, Errno> {
    let shift = match text.bytes().last().map(|byte| byte.to_ascii_uppercase()) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P') => 50,
        Some(b'E') => 60,
        _ => 0,
    };
    let digits = if shift > 0 { &text[..text.len() - 1] } else { text };
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Errno::INVAL);
    }
    let number: u64 = digits.parse().map_err(|_| Errno::INVAL)?;
    Ok(number.saturating_mul(1 << shift))
}

/// Kernel: `PAGE_COUNTER_MAX`, what no limit is.
const UNLIMITED: u64 = i64::MAX as u64 / PAGE;

/// Bytes, rounded down to pages, or `max`.
fn size(text: &str) -> Result<u64, Errno> {
    if text == "max" {
        return Ok(u64::MAX);
    }
    let pages = bytes(text)? / PAGE;
    Ok(if pages < UNLIMITED { pages } else { u64::MAX })
}
