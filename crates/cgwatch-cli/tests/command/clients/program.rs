//! A program of others, in a process of its own.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use super::PATIENCE;
use crate::running::skipped;

/// A program whose output is read line by line, and that is ended with the test.
pub(crate) struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    /// `None` if it is not installed.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            skipped(&format!("{:?} is not installed", command.get_program()));
            return None;
        };
        let (sender, lines) = mpsc::channel();
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(pipe).lines().map_while(Result::ok);
                lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
            });
        }
        Some(Self { child, lines })
    }

    /// Reads until a line has all the words.
    #[track_caller]
    pub(crate) fn until(&self, words: &[&str]) {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if words.iter().all(|word| line.contains(word)) => return,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {words:?}, only {seen:#?}"),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
