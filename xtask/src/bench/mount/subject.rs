//! The measured servers of this project: a kernfs tree on its mount, and a mirror. What is asked
//! and answered: see [`server`](super::server).

use std::io::{Write as _, stdin, stdout};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cgroup_mirror::Mirror;
use kernfs::{Attribute, Node, Operation, Tree};
use kernfs_fuse::Mount;
use rustix::io::Errno;

use super::place::{Layout, one_by_one};

/// What a tree is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct TreeOptions {
    directories: usize,
    changing: usize,
    threads: usize,
    mount_point: PathBuf,
}

/// What `xtask/bench/libfuse.c` shows, too.
struct Constant;

impl Attribute for Constant {
    fn show(&self, _: &Operation<'_>, content: &mut Vec<u8>) -> Result<(), Errno> {
        content.extend_from_slice(b"populated 0\nfrozen 0\n");
        Ok(())
    }
}

/// Serves a tree until the standard input ends.
pub(crate) fn tree(options: &TreeOptions) -> Result<()> {
    let &TreeOptions { directories, changing, threads, ref mount_point } = options;
    let tree = Tree::new(kernfs::Options { worker: true, ..kernfs::Options::default() });
    let attribute: Arc<dyn Attribute> = Arc::new(Constant);
    let file = |directory: &Arc<Node>| directory.make_file("cgroup.events", Arc::clone(&attribute));
    file(tree.root())?;
    for (folder, count) in (Layout { directories, changing }).folders() {
        let folder = tree.root().make_dir(folder)?;
        for number in 0..count {
            file(&folder.make_dir(number.to_string())?)?;
        }
    }
    let options = kernfs_fuse::Options { event_loops: threads, ..kernfs_fuse::Options::default() };
    let _mount = Mount::new(&tree, mount_point, &options)?;
    let changing = tree.root().child("changing").context("no such directory")?;
    answer("ready")?;
    for line in stdin().lines() {
        let begun = act(&changing, &line?)?;
        let begun: Vec<_> = begun.iter().map(u64::to_string).collect();
        answer(&begun.join(" "))?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<()> {
    let mut output = stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

fn act(changing: &Arc<Node>, question: &str) -> Result<Vec<u64>> {
    let words: Vec<_> = question.split(' ').collect();
    let [verb, first, end, pause] = words[..] else { bail!("not understood: {question}") };
    let range = first.parse()?..end.parse()?;
    let start = range.start;
    let find = |number: usize| changing.child(number.to_string()).context("no such directory");
    let directories = range.clone().map(find).collect::<Result<Vec<_>>>()?;
    one_by_one(range, Duration::from_micros(pause.parse()?), |number| {
        let directory = &directories[number - start];
        match verb {
            "change" => directory.child("cgroup.events").context("no such file")?.notify(),
            "remove" => directory.remove(),
            _ => bail!("not understood: {question}"),
        }
        Ok(())
    })
}

/// Mirrors a cgroup until the standard input ends.
pub(crate) fn mirror(root: &Path, mount_point: &Path) -> Result<()> {
    let mut mirror = Mirror::new(root)?;
    let mount = mirror.mount(mount_point, cgroup_mirror::Options::default())?;
    answer("ready")?;
    mirror.feed(&mount, stdin().as_fd())?;
    Ok(())
}
