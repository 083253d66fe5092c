//! Reading a control file from its start to its end.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Room for what is read at a time. A file of many records (`cgroup.procs`) shows as many in one
/// read(2) as its page of 4 KiB takes, however much room there is (`seq_read_iter`).
const PAGE: usize = 4096;

/// More than the longest record of a file of many.
const RECORD: usize = 1024;

/// Reads a control file from its start to its end into `text`, replacing what it holds.
///
/// # Errors
/// That of read(2). ENODEV: it is gone.
pub(super) fn read_whole(fd: &OwnedFd, text: &mut Vec<u8>) -> Result<(), Errno> {
    text.clear();
    loop {
        let before = text.len();
        text.reserve(PAGE);
        let got = rustix::io::read(fd, rustix::buffer::spare_capacity(text))?;
        // A page in which a record more had found room was shown to its end.
        if got == 0 || (before == 0 && got + RECORD < PAGE) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    /// The symbols of the kernel: a file of many short records, of some megabytes.
    #[test]
    fn a_buffer_that_is_used_again_takes_the_whole_file() {
        const MANY: &str = "/proc/kallsyms";
        let Ok(mut file) = File::open(MANY) else {
            println!("skipped: no {MANY}");
            return;
        };
        let mut whole = Vec::new();
        file.read_to_end(&mut whole).unwrap();
        let mut text = Vec::new();
        for spare in [0, 5_000, 8_192, 100_000, whole.len() + 10_000] {
            text.reserve(spare);
            read_whole(&File::open(MANY).unwrap().into(), &mut text).unwrap();
            assert_eq!(text.len(), whole.len(), "with {} bytes of room", text.capacity());
        }
    }

    /// A short page is the whole file; what may be followed by more is read on. Each length around the
    /// limit, from a pipe that says so when it is read once more.
    #[test]
    fn a_short_file_is_read_once() {
        for (length, once) in
            [(1, true), (100, true), (3_071, true), (3_072, false), (4_096, false)]
        {
            let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
            rustix::io::write(&write, &vec![b'x'; length]).unwrap();
            let mut text = Vec::new();
            let outcome = read_whole(&read, &mut text);
            let expected = if once { Ok(()) } else { Err(Errno::AGAIN) };
            assert_eq!((outcome, text.len()), (expected, length));
        }
    }
}
