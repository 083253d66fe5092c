//! `soak MINUTES SEED`: see [`scenarios::Soak`].

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = scenarios::entry() {
        return code;
    }
    let numbers: Vec<u64> = std::env::args().skip(1).map_while(|word| word.parse().ok()).collect();
    let &[minutes, seed] = numbers.as_slice() else {
        eprintln!("usage: soak MINUTES SEED");
        return ExitCode::FAILURE;
    };
    scenarios::Soak { minutes, seed }.run()
}
