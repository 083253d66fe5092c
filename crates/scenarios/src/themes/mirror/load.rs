//! Many cgroups, many clients: nothing is missed, nothing grows, nothing waits for ever.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use linux_notify::inotify::Mask;

use super::{Client, Server, client::ONE_WATCH};
use crate::{Environment, Failure, Tree, ensure};

const FILE: &str = "cgroup.events";
/// Births and deaths at a time, so that no client's queue is ever full.
const BATCH: usize = 100;

/// 1,000 cgroups that stay, and 10,000 that come and go among them, each of them watched.
pub(super) fn births_and_deaths(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let mut server = Server::start(environment, &tree)?;
    let mut stays = Vec::new();
    for number in 0..environment.scale(1_000, 25) {
        stays.push(tree.make(format!("stays-{number}"))?);
    }
    let last = stays.len() - 1;
    server.until_shown(&format!("stays-{last}"), &stays[last])?;
    let mut client = Client::new(environment)?;
    let parent = client.watch(server.directory(), Mask::CREATE | Mask::DELETE)?;
    let lives = environment.scale(10_000, 2 * BATCH);
    // Once to warm up, so that what is kept for good is there.
    batch(&tree, &mut server, &mut client, 0)?;
    let (held, resident) = (server.descriptors()?, server.resident()?);
    client.records.clear();
    let mut told = [0, 0];
    for number in 1..=lives / BATCH {
        batch(&tree, &mut server, &mut client, number)?;
        for (mask, told) in [Mask::CREATE, Mask::DELETE].into_iter().zip(&mut told) {
            let of_parent = client.records.iter().filter(|record| record.wd == parent);
            *told += of_parent.filter(|record| record.mask == mask | Mask::ISDIR).count();
        }
        client.records.clear();
    }
    let lives = lives / BATCH * BATCH;
    ensure!(told == [lives, lives], "of {lives} the parent was told {told:?} births and deaths");
    let after = server.resident()?;
    println!(
        "mirror of {} cgroups: {resident} bytes resident, {after} after {lives} more lives",
        stays.len()
    );
    let now = || server.descriptors();
    ensure!(now()? == held, "{:?} instead of {held:?} after {lives} lives", now()?);
    let grown = after.saturating_sub(resident);
    ensure!(grown < 8 << 20, "{grown} bytes more after {lives} lives");
    stays.iter().try_for_each(|cgroup| tree.remove(cgroup))
}

fn batch(
    tree: &Tree,
    server: &mut Server,
    client: &mut Client,
    number: usize,
) -> Result<(), Failure> {
    let names: Vec<_> = (0..BATCH).map(|life| format!("life-{number}-{life}")).collect();
    let born = names.iter().map(|name| tree.make(name)).collect::<Result<Vec<_>, _>>()?;
    let mut watches = Vec::new();
    for (name, cgroup) in names.iter().zip(&born) {
        server.until_shown(name, cgroup)?;
        watches.push(client.watch(&server.path(name).join(FILE), ONE_WATCH)?);
    }
    for cgroup in &born {
        tree.remove(cgroup)?;
    }
    for wd in watches {
        client.until_removed(wd)?;
    }
    // The parent is told last.
    let name = names.last().map_or("", String::as_str);
    client.until("the parent's DELETE", |records| {
        records.iter().rev().any(|r| r.name == name && r.mask == Mask::DELETE | Mask::ISDIR)
    })
}

/// 1,000 clients that read without a pause, and one that keeps everything open, while cgroups come
/// and go.
pub(super) fn readers(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let stays = tree.make("stays")?;
    let mut server = Server::start(environment, &tree)?;
    server.until_shown("stays", &stays)?;
    let path = server.path("stays").join(FILE);
    let held: Result<Vec<_>, _> = (0..200).map(|_| File::open(&path)).collect();
    let held = held.map_err(Failure::driver("open", &path))?;
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
