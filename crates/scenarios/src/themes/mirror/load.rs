//! Many cgroups, many clients: nothing is missed, nothing grows, nothing waits for ever.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use linux_notify::inotify::{Mask, Wd};

use super::{Client, Server, client::ONE_WATCH};
use crate::{Environment, Failure, Requirement, Tree, ensure, themes::memory};

const FILE: &str = "cgroup.events";
/// Births and deaths at a time, so that no client's queue is ever full.
const BATCH: usize = 100;
/// How many of them die of the OOM killer, where there is a memory controller.
const KILLED: usize = 2;
/// By how much the server may have grown at the end: its heap is empty then (`heap.rs` in the tests of
/// `cgroup-mirror`), but the allocator keeps the pages: on a busy machine also those of what waited in
/// lanes to be emitted, some hundred bytes a cgroup, of which there were 8.5 MB once.
const SLACK: u64 = 10 << 20;

/// A mirrored tree, and a client that watches whatever is born in it.
struct Load {
    tree: Tree,
    server: Server,
    client: Client,
    kills: usize,
}

/// 1,000 cgroups that stay, and 10,000 that come and go among them, each of them watched, some
/// killed for memory: no removal and no kill is missed, and when all are gone the server holds what
/// it held at the start.
pub(super) fn births_and_deaths(environment: &Environment) -> Result<(), Failure> {
    let has_memory = environment.meets(Requirement::Memory);
    let tree =
        if has_memory { memory::memory_tree(environment)? } else { Tree::plant(environment)? };
    let server = Server::start(environment, &tree)?;
    let client = Client::new(environment)?;
    let kills = if has_memory { KILLED } else { 0 };
    let mut load = Load { tree, server, client, kills };
    let parent = load.client.watch(load.server.directory(), Mask::CREATE | Mask::DELETE)?;
    // Once to warm up, so that what is kept for good is there.
    load.batch("warm")?;
    load.client.records.clear();
    let (held, resident) = (load.server.descriptors()?, load.server.resident()?);
    let stays: Result<Vec<_>, _> =
        (0..environment.scale(1_000, 100)).map(|n| load.tree.make(format!("stays-{n}"))).collect();
    let stays = stays?;
    let last = stays.len() - 1;
    load.server.until_shown(&format!("stays-{last}"), &stays[last])?;
    let full = load.server.resident()?;
    let batches = environment.scale(10_000, 4 * BATCH) / BATCH;
    let mut told = [0, 0];
    for number in 0..batches {
        load.batch(&number.to_string())?;
        load.count(parent, &mut told);
    }
    let after = load.server.resident()?;
    for cgroup in &stays {
        load.tree.remove(cgroup)?;
    }
    load.until_parent_told(&format!("stays-{last}"))?;
    load.count(parent, &mut told);
    let all = stays.len() + batches * BATCH;
    ensure!(told == [all, all], "of {all} the parent was told {told:?} births and deaths");
    let end = load.server.resident()?;
    println!(
        "mirror: {resident} bytes resident, {full} with {} cgroups more, {after} after {} lives \
         and {} kills among them, {end} when all are gone",
        stays.len(),
        batches * BATCH,
        batches * load.kills
    );
    let now = load.server.descriptors()?;
    ensure!(now == held, "{now:?} instead of {held:?} when all are gone");
    for (when, from, to) in [("after all those lives", full, after), ("at the end", resident, end)]
    {
        let grown = to.saturating_sub(from);
        ensure!(grown < SLACK, "{grown} bytes more {when}");
    }
    Ok(())
}

impl Load {
    fn batch(&mut self, number: &str) -> Result<(), Failure> {
        let names: Vec<_> = (0..BATCH).map(|life| format!("life-{number}-{life}")).collect();
        let born = names.iter().map(|name| self.tree.make(name)).collect::<Result<Vec<_>, _>>()?;
        let mut watches = Vec::new();
        for (name, cgroup) in names.iter().zip(&born) {
            self.server.until_shown(name, cgroup)?;
            watches.push(self.client.watch(&self.server.path(name).join(FILE), ONE_WATCH)?);
        }
        let mut guilty = Vec::new();
        for (name, cgroup) in names.iter().zip(&born).take(self.kills) {
            let wd = self.client.watch(&self.server.path(name).join(memory::FILE), ONE_WATCH)?;
            guilty.push((wd, cgroup, memory::doomed(cgroup)?));
        }
        let mut killed = Vec::new();
        for (wd, cgroup, worker) in guilty {
            memory::killed(&self.tree, cgroup, worker)?;
            killed.push(wd);
        }
        for cgroup in &born {
            self.tree.remove(cgroup)?;
        }
        for wd in watches.into_iter().chain(killed.iter().copied()) {
            self.client.until_removed(wd)?;
        }
        for wd in killed {
            let records = self.client.records.iter();
            let told = records.filter(|record| record.wd == wd && record.mask == Mask::MODIFY);
            ensure!(told.count() > 0, "nobody was told of a kill in batch {number}");
        }
        self.until_parent_told(names.last().map_or("", String::as_str))
    }

    /// The parent is told last.
    fn until_parent_told(&mut self, name: &str) -> Result<(), Failure> {
        self.client.until("the parent's DELETE", |records| {
            records.iter().rev().any(|r| r.name == name && r.mask == Mask::DELETE | Mask::ISDIR)
        })
    }

    /// Adds up the births and deaths that a directory's watch was told, and forgets them.
    fn count(&mut self, directory: Wd, told: &mut [usize; 2]) {
        for (mask, told) in [Mask::CREATE, Mask::DELETE].into_iter().zip(told) {
            let of_it = self.client.records.iter().filter(|record| record.wd == directory);
            *told += of_it.filter(|record| record.mask == mask | Mask::ISDIR).count();
        }
        self.client.records.clear();
    }
}

/// 1,000 clients that read without a pause, one that keeps everything open, and one that watches
/// everything and never takes what it is told, while cgroups come and go.
pub(super) fn readers(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let stays = tree.make("stays")?;
    let mut server = Server::start(environment, &tree)?;
    server.until_shown("stays", &stays)?;
    let path = server.path("stays").join(FILE);
    let held: Result<Vec<_>, _> = (0..200).map(|_| File::open(&path)).collect();
    let held = held.map_err(Failure::driver("open", &path))?;
    let idle = Client::new(environment)?;
    for place in [server.directory(), &server.path("stays"), &path] {
        idle.watch(place, Mask::from_bits_retain(0xfff))?;
    }
    let over = AtomicBool::new(false);
    let (reads, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let read = || {
        while !over.load(Ordering::Relaxed) {
            let read = fs::read(&path);
            let right = read.is_ok_and(|text| text.starts_with(b"populated 0\n"));
            wrong.fetch_add(usize::from(!right), Ordering::Relaxed);
            reads.fetch_add(1, Ordering::Relaxed);
        }
    };
    let resident = thread::scope(|scope| -> Result<_, Failure> {
        let done = (|| {
            for _ in 0..environment.scale(1_000, 100) {
                let reader = thread::Builder::new().stack_size(128 << 10);
                reader.spawn_scoped(scope, read).map_err(Failure::driver("start", "a reader"))?;
            }
            let mut client = Client::new(environment)?;
            let mut resident = [0; 2];
            for (round, resident) in resident.iter_mut().enumerate() {
                for life in 0..environment.scale(20, 5) {
                    let name = format!("life-{round}-{life}");
                    let cgroup = tree.make(&name)?;
                    server.until_shown(&name, &cgroup)?;
                    let wd = client.watch(&server.path(&name).join(FILE), ONE_WATCH)?;
                    tree.remove(&cgroup)?;
                    client.until_removed(wd)?;
                }
                *resident = server.resident()?;
            }
            Ok(resident)
        })();
        over.store(true, Ordering::Relaxed);
        done
    })?;
    let (reads, wrong) = (reads.into_inner(), wrong.into_inner());
    println!("{reads} reads beside births and deaths");
    ensure!(reads > 0 && wrong == 0, "{wrong} of {reads} reads were wrong");
    let grown = resident[1].saturating_sub(resident[0]);
    ensure!(grown < 8 << 20, "{grown} bytes more in the second half");
    for file in &held {
        let read = file.read_at(&mut [0; 64], 0).map_err(Failure::driver("read", &path))?;
        ensure!(read > 0, "a file held open shows nothing");
    }
    drop(held);
    tree.remove(&stays)
}
