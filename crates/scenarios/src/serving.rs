//! A worker that does what it is told, line by line: one task of a simulated hierarchy's twin.
//!
//! `eat BYTES` takes memory, `thread` starts a thread. It answers `ready`, or `refused` with the
//! errno; one that is killed for it answers nothing.

use std::{
    hint::black_box,
    io::{BufRead as _, Write as _},
    thread,
    time::Duration,
};

use crate::Failure;

/// The worker's side.
pub(crate) fn work() -> Result<(), Failure> {
    let mut eaten = Vec::new();
    answer("ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(Failure::driver("read", "standard input"))?;
        match line.split_once(' ') {
            Some(("eat", bytes)) => {
                let bytes = bytes.parse().unwrap_or(0);
                // Written, not only promised.
                eaten.push(black_box(vec![1_u8; bytes]));
                answer("ready")?;
            }
            _ if line == "thread" => {
                let started = thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(|| thread::park_timeout(Duration::MAX));
                match started {
                    Ok(_) => answer("ready")?,
                    Err(error) => {
                        answer(&format!("refused {}", error.raw_os_error().unwrap_or(0)))?;
                    }
                }
            }
            _ => return Err(Failure::broken(format!("no worker can {line:?}"))),
        }
    }
    Ok(())
}

fn answer(word: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{word}").map_err(Failure::driver("write", "standard output"))?;
    output.flush().map_err(Failure::driver("write", "standard output"))
}
