//! A program that watches: started, listened to, ended.

use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::burden::{Burden, processor_time};
use crate::{Dialect, Heard, Said, now};

/// It has so long to become ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many lines of a rival that ended are told.
const LAST_WORDS: usize = 5;

/// What each argument may contain: the watched directory, and the name of the event file.
const ROOT: &str = "{root}";
const FILE: &str = "{file}";

/// A program that watches cgroups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rival {
    /// As the table names it.
    pub name: String,
    /// Where it is.
    pub program: PathBuf,
    /// `{root}` stands for the watched directory, `{file}` for the event file.
    pub arguments: Vec<String>,
    /// How it speaks.
    pub dialect: Dialect,
}

/// A rival while it runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<(u64, String)>,
    dialect: Dialect,
    root: String,
    file: String,
    heard: Vec<Heard>,
    /// The last lines that say nothing to us: the reason if it ends.
    last_words: Vec<String>,
}

impl Rival {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It is not there, ended, or took too long.
    pub fn start(&self, root: &str, file: &str) -> Result<Running> {
        let place = |argument: &String| argument.replace(ROOT, root).replace(FILE, file);
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(place));
        // Where it happened in the rival's own code is of no interest.
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| self.program.display().to_string())?;
        let (sender, lines) = mpsc::channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as _),
            child.stderr.take().map(|output| Box::new(output) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send((now(), line)).is_err() {
                        break;
                    }
                }
            });
        }
        let (root, file) = (root.to_owned(), file.to_owned());
        let mut running = Running {
            child,
            lines,
            dialect: self.dialect,
            root,
            file,
            heard: Vec::new(),
            last_words: Vec::new(),
        };
        running.await_ready()?;
        Ok(running)
    }
}

impl Running {
    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.listen();
            if self.heard.iter().any(|heard| heard.said == Said::Ready) {
                return Ok(());
            }
            if let Some(reason) = self.death()? {
                bail!(reason);
            }
            if deadline < Instant::now() {
                bail!("not ready within {} s: {}", PATIENCE.as_secs(), self.last_words.join(" "));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Why it ended, if it has.
    ///
    /// # Errors
    /// It is not a child any more.
    pub fn death(&mut self) -> Result<Option<String>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        // What it said last may still be on its way.
        thread::sleep(Duration::from_millis(50));
        self.listen();
        Ok(Some(format!("{}: {status}", self.last_words.join(" "))))
    }

    /// All that was said so far.
    pub fn listen(&mut self) -> &[Heard] {
        while let Ok((at, line)) = self.lines.try_recv() {
            let said = self.dialect.parse(&line, &self.root, &self.file);
            if said.is_empty() && !line.starts_with('{') && !line.trim().is_empty() {
                self.last_words.push(line.trim().to_owned());
                let first = self.last_words.len().saturating_sub(LAST_WORDS);
                self.last_words.drain(..first);
            }
            self.heard.extend(said.into_iter().map(|said| Heard { at, said }));
        }
        &self.heard
    }

    /// What it holds.
    ///
    /// # Errors
    /// It is gone.
    pub fn burden(&self) -> Result<Burden> {
        Burden::of(self.child.id())
    }

    /// Seconds that it has run.
    ///
    /// # Errors
    /// It is gone.
    pub fn processor_time(&self) -> Result<f64> {
        processor_time(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
