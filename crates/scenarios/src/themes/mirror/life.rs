//! How a mirror begins and ends.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use linux_notify::inotify::Mask;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::Signal,
};

use super::{Client, Server, client::ONE_WATCH};
use crate::{Environment, Failure, Task, Tree, Worker, ensure};

const FILE: &str = "cgroup.events";

/// The mirrored cgroup itself is removed: its files say so, and the mirror ends.
pub(super) fn of_the_root(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let root = tree.make("root")?;
    let directory = environment.scratch.join(format!("cgwatch-mirror-{}-root", std::process::id()));
    std::fs::create_dir(&directory).map_err(Failure::driver("make", &directory))?;
    let mut server = Server::start_at(environment, &root, directory)?;
    let mut client = Client::new(environment)?;
    let wd = client.watch(&server.path(FILE), ONE_WATCH)?;
    tree.remove(&root)?;
    client.until_removed(wd)?;
    let code = server.until_ended()?;
    ensure!(code == Some(0), "it ended with {code:?}");
    ensure!(!server.is_mounted()?, "it ended and is still mounted");
    Ok(())
}

/// Two mirrors of one cgroup: whoever watches either is told.
pub(super) fn two(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let mut servers = [Server::start(environment, &tree)?, Server::start(environment, &tree)?];
    for _ in 0..environment.scale(20, 3) {
        let cgroup = tree.make("a")?;
        let mut client = Client::new(environment)?;
        let mut watches = Vec::new();
        for server in &mut servers {
            server.until_shown("a", &cgroup)?;
            watches.push(client.watch(&server.path("a").join(FILE), ONE_WATCH)?);
        }
        tree.remove(&cgroup)?;
        for wd in watches {
            client.until_removed(wd)?;
        }
    }
    Ok(())
}

/// SIGTERM while clients hold files, have their working directory inside and watch: the mount is
/// gone, and they get errors.
pub(super) fn ended_while_held(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let cgroup = tree.make("a")?;
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(environment, &tree)?;
        server.until_shown("a", &cgroup)?;
        let path = server.path("a").join(FILE);
        let held: Result<Vec<_>, _> = (0..100).map(|_| File::open(&path)).collect();
        let held = held.map_err(Failure::driver("open", &path))?;
        let _inside = Worker::ready(Task::Inside(&server.path("a")))?;
        let mut client = Client::new(environment)?;
        let wd = client.watch(&path, ONE_WATCH)?;
        server.signal(signal)?;
        let code = server.until_ended()?;
        ensure!(code == Some(0), "it ended with {code:?}");
        ensure!(!server.is_mounted()?, "it ended and is still mounted");
        for mut file in held {
            ensure!(file.read(&mut [0; 64]).is_err(), "a file of an ended mount can be read");
        }
        drop(_inside);
        client.until("IGNORED", |records| {
            records.iter().any(|record| record.wd == wd && record.mask == Mask::IGNORED)
        })?;
        let told = client.records.iter().any(|record| record.mask.contains(Mask::UNMOUNT));
        ensure!(told, "the watch ended with {:?}", client.records);
    }
    Ok(())
}

/// Kill -9, also in the middle of what it does on its own mount and for its clients: those get
/// errors and wait for nothing, and the next start works at the same place.
pub(super) fn killed(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let cgroup = tree.make("a")?;
    let mut server = Server::start(environment, &tree)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let moving = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let born = tree.make("life")?;
                tree.remove(&born)?;
            }
            Ok(())
        });
        for _ in 0..environment.scale(20, 2) {
            let path = server.path("a").join(FILE);
            let over = &over;
            // One that waits for ever is found when the scenario's time is up.
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if std::fs::read(&path).is_err() {
                        // The next server is to get the processor, too.
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        let done = (0..environment.scale(10, 3)).try_for_each(|_| {
            server.until_shown("a", &cgroup)?;
            let path = server.path("a").join(FILE);
            let file = File::open(&path).map_err(Failure::driver("open", &path))?;
            file.read_at(&mut [0; 64], 0).map_err(Failure::driver("read", &path))?;
            let asleep = file.try_clone().map_err(Failure::driver("copy", &path))?;
            let asleep =
                scope.spawn(move || poll(&mut [PollFd::new(&asleep, PollFlags::PRI)], None));
            server.signal(Signal::KILL)?;
            server.until_ended()?;
            let woken = asleep.join().map_err(|_| Failure::broken("the sleeper broke"))?;
            ensure!(woken == Ok(1), "who slept in poll got {woken:?}");
            let read = file.read_at(&mut [0; 64], 0);
            ensure!(read.is_err(), "a file of a killed server can be read: {read:?}");
            // Dead, or taken away already.
            let opened = File::open(&path);
            ensure!(opened.is_err(), "a killed server's file: {opened:?}");
            drop(file);
            let again = Server::start_at(environment, tree.root(), server.directory().to_owned())?;
            // Its directory is the next one's.
            std::mem::forget(std::mem::replace(&mut server, again));
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let moved = moving.join().map_err(|_| Failure::broken("the driver broke"))?;
        done.and(moved)
    })?;
    server.until_shown("a", &cgroup)
}
