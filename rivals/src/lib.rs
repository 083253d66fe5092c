//! What the small rivals have in common: one inotify instance for the event file of each cgroup and
//! for births, the tree they know, and the lines they say.
//!
//! Each is started with the directory to watch and the name of the event file. It says, one line
//! each on standard output, with paths from the watched directory:
//!
//! ```text
//! ready
//! born PATH                the cgroup was not there before
//! changed PATH CONTENT…    the event file reads differently from before
//! oom PATH NUMBER          so many more `oom_kill` than before
//! removed PATH
//! ```

mod tree;
mod voice;

pub use tree::{Births, News, Tree};
pub use voice::Voice;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The last two arguments: the directory to watch and the name of the event file.
pub fn place() -> Result<(PathBuf, String)> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.pop().context("no file given")?;
    let root = arguments.pop().context("no directory given")?;
    Ok((root.into(), file))
}

/// As many open files as this process may have.
pub fn allow_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
