//! Lines on standard output, written together at the end of each turn.

use std::io::{Write as _, stdout};

use anyhow::Result;

/// What was said and not yet written.
#[derive(Debug, Default)]
pub struct Voice {
    lines: Vec<u8>,
    /// What is found from now on was born.
    is_ready: bool,
}

impl Voice {
    pub fn ready(&mut self) {
        self.is_ready = true;
        self.lines.extend_from_slice(b"ready\n");
    }

    /// It was not there before.
    pub fn born(&mut self, path: &str) {
        if self.is_ready {
            self.say(&["born ", path, "\n"]);
        }
    }

    /// The event file reads differently; so many kills were counted since.
    pub fn changed(&mut self, path: &str, content: &str, kills: u64) {
        self.say(&["changed ", path]);
        for line in content.lines() {
            self.say(&[" ", line]);
        }
        self.say(&["\n"]);
        if kills > 0 {
            self.say(&["oom ", path, " ", &kills.to_string(), "\n"]);
        }
    }

    pub fn removed(&mut self, path: &str) {
        self.say(&["removed ", path, "\n"]);
    }

    fn say(&mut self, words: &[&str]) {
        for word in words {
            self.lines.extend_from_slice(word.as_bytes());
        }
    }

    /// Writes what was said.
    pub fn flush(&mut self) -> Result<()> {
        if !self.lines.is_empty() {
            stdout().lock().write_all(&self.lines)?;
            self.lines.clear();
        }
        Ok(())
    }
}
