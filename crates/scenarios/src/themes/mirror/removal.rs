//! One watch, `MODIFY` and `DELETE_SELF`, on an event file in the mirror: a `MODIFY` after every
//! change, then the removal, also where the kernel itself loses either.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use linux_notify::inotify::{Mask, Wd};
use rustix::{
    fs::{Mode, OFlags},
    process::Signal,
};

use super::{Client, Server, client::ONE_WATCH};
use crate::{
    Cgroup, Environment, Failure, Offer,
    Requirement::HugeTlb,
    Task, Tree, Worker, ensure,
    themes::{memory, reclaim},
};

const FILE: &str = "cgroup.events";

/// A tree, its mirror, and who watches there.
struct Stage<'e> {
    environment: &'e Environment,
    tree: Tree,
    server: Server,
    client: Client,
}

impl<'e> Stage<'e> {
    fn set(environment: &'e Environment, tree: Tree) -> Result<Self, Failure> {
        let server = Server::start(environment, &tree)?;
        Ok(Self { environment, tree, server, client: Client::new(environment)? })
    }

    /// A new cgroup, and the one watch on a file of it.
    fn watched(&mut self, name: &str, file: &str) -> Result<(Cgroup, Wd), Failure> {
        let cgroup = self.tree.make(name)?;
        self.server.until_shown(name, &cgroup)?;
        let wd = self.client.watch(&self.server.path(name).join(file), ONE_WATCH)?;
        Ok((cgroup, wd))
    }

    /// Someone comes and goes, and each is told.
    fn inhabit(&mut self, cgroup: &Cgroup, wd: Wd) -> Result<(), Failure> {
        let someone = Worker::ready(Task::Idle(&cgroup.directory))?;
        self.client.until_modified(wd)?;
        someone.end()?;
        self.client.until_modified(wd)
    }

    /// It is removed, and when that is told its path is gone.
    fn remove(&mut self, cgroup: &Cgroup, watched: &str, wd: Wd) -> Result<(), Failure> {
        self.tree.remove(cgroup)?;
        self.client.until_removed(wd)?;
        let path = self.server.path(watched);
        ensure!(!path.exists(), "{path:?} is still there when its removal is told");
        // The same path again would be another.
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        self.server.until("its directory is gone", || !directory.exists())
    }

    fn rounds(&self) -> usize {
        self.environment.scale(40, 4)
    }
}

pub(super) fn plain(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |_, _| Ok(()))
}

/// Linux 7.1 and later: an open file keeps its dentry, and with it the event.
pub(super) fn held_on_host(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |cgroup, _| {
        let path = cgroup.file(FILE);
        File::open(&path).map_err(Failure::driver("open", path))
    })
}

fn removed_while<Hold>(
    environment: &Environment,
    hold: impl Fn(&Cgroup, &Server) -> Result<Hold, Failure>,
) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, Tree::plant(environment)?)?;
    for _ in 0..stage.rounds() {
        let (cgroup, wd) = stage.watched("a", FILE)?;
        let held = hold(&cgroup, &stage.server)?;
        stage.inhabit(&cgroup, wd)?;
        stage.remove(&cgroup, &format!("a/{FILE}"), wd)?;
        drop(held);
    }
    Ok(())
}

/// Open in the mirror itself: the removal is told at the last close, as of any file; until then the
/// file is dead, whoever has its path by now.
pub(super) fn held(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, Tree::plant(environment)?)?;
    for _ in 0..stage.rounds() {
        let (cgroup, wd) = stage.watched("a", FILE)?;
        let path = stage.server.path("a").join(FILE);
        let open = File::open(&path).map_err(Failure::driver("open", &path))?;
        let mut text = [0; 64];
        open.read_at(&mut text, 0).map_err(Failure::driver("read", &path))?;
        stage.tree.remove(&cgroup)?;
        let gone = |error: std::io::Error| error.raw_os_error() == Some(no_device());
        let dead = || open.read_at(&mut [0; 64], 0).is_err_and(gone);
        stage.server.until("an open file is dead", dead)?;
        let next = stage.tree.make("a")?;
        stage.server.until_shown("a", &next)?;
        ensure!(dead(), "an open file shows the next bearer of its path");
        drop(open);
        stage.client.until_removed(wd)?;
        stage.tree.remove(&next)?;
    }
    Ok(())
}

/// Someone is at the file without having opened it, of whom the server knows nothing: the removal
/// is told when he leaves.
pub(super) fn held_by_path(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, Tree::plant(environment)?)?;
    for _ in 0..stage.rounds() {
        let (cgroup, wd) = stage.watched("a", FILE)?;
        let path = stage.server.path("a").join(FILE);
        let at = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        stage.tree.remove(&cgroup)?;
        stage.server.until("it is gone", || !path.exists())?;
        drop(at);
        stage.client.until_removed(wd)?;
    }
    Ok(())
}

fn no_device() -> i32 {
    rustix::io::Errno::NODEV.raw_os_error()
}

/// Readers at the moment of the removal, on the host and in the mirror.
pub(super) fn read_meanwhile(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, Tree::plant(environment)?)?;
    stage.client.among_readers = true;
    let places = [stage.tree.path().join("a").join(FILE), stage.server.path("a").join(FILE)];
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for path in &places {
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // It is there or not.
                    let _ = fs::read(path);
                }
            });
        }
        let done = (|| {
            for _ in 0..stage.rounds() {
                let (cgroup, wd) = stage.watched("a", FILE)?;
                stage.remove(&cgroup, &format!("a/{FILE}"), wd)?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// The last change and the removal at once: the kernel drops the notification of the one, and from
/// its rate limit.
pub(super) fn after_change(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, Tree::plant(environment)?)?;
    for _ in 0..stage.rounds() {
        let (cgroup, wd) = stage.watched("a", FILE)?;
        let someone = Worker::ready(Task::Idle(&cgroup.directory))?;
        stage.client.until_modified(wd)?;
        let before = stage.client.records.len();
        drop(someone);
        stage.remove(&cgroup, &format!("a/{FILE}"), wd)?;
        let since = &stage.client.records[before..];
        let told = since.iter().any(|record| record.wd == wd && record.mask == Mask::MODIFY);
        ensure!(told, "nobody was told that it became empty: {since:?}");
    }
    Ok(())
}

/// The kernel has dropped the files' dentries, of the host and of the mirror.
pub(super) fn reclaimed(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let siblings = reclaim::siblings(&tree)?;
    let mut stage = Stage::set(environment, tree)?;
    for _ in 0..4 {
        let (cgroup, wd) = stage.watched("a", FILE)?;
        reclaim::look_at_everything(&siblings)?;
        for sibling in 0..siblings.len() {
            let path = stage.server.path(format!("sibling-{sibling}")).join(FILE);
            fs::metadata(&path).map_err(Failure::driver("stat", path))?;
        }
        let evidence = reclaim::Evidence::on(&siblings[0].file("cgroup.procs"))?;
        reclaim::reclaim(&evidence)?;
        stage.inhabit(&cgroup, wd)?;
        reclaim::drop_caches()?;
        stage.remove(&cgroup, &format!("a/{FILE}"), wd)?;
    }
    Ok(())
}

/// The OOM kill of which a service must learn, in a cgroup that is removed at once.
pub(super) fn oom_kill(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, memory::memory_tree(environment)?)?;
    for round in 0..stage.rounds() {
        let (cgroup, wd) = stage.watched("a", memory::FILE)?;
        let before = stage.client.records.len();
        let worker = memory::doomed(&cgroup)?;
        memory::killed(&stage.tree, &cgroup, worker)?;
        if round % 2 == 0 {
            stage.client.until_modified(wd)?;
            let path = stage.server.path("a").join(memory::FILE);
            let mut text = String::new();
            let read = File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
            read.map_err(Failure::driver("read", &path))?;
            ensure!(text.contains("oom_kill 1"), "the kill is not in {text:?}");
        }
        stage.remove(&cgroup, &format!("a/{}", memory::FILE), wd)?;
        let since = &stage.client.records[before..];
        let told = since.iter().any(|record| record.wd == wd && record.mask == Mask::MODIFY);
        ensure!(told, "nobody was told of the kill: {since:?}");
    }
    Ok(())
}

/// Many killed and removed, innocents among them, before the mirror can look: whose kills they were
/// only their parent's counters could say, and do not. Each of the killed is told all the same.
pub(super) fn kills_at_once(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, memory::memory_tree(environment)?)?;
    for round in 0..environment.scale(10, 2) {
        let mut all = Vec::new();
        for number in 0..10 {
            all.push(stage.watched(&format!("{round}-{number}"), memory::FILE)?);
        }
        let before = stage.client.records.len();
        stage.server.signal(Signal::STOP)?;
        for (cgroup, _) in &all[..5] {
            let worker = memory::doomed(cgroup)?;
            memory::killed(&stage.tree, cgroup, worker)?;
        }
        let removed = all.iter().try_for_each(|(cgroup, _)| stage.tree.remove(cgroup));
        stage.server.signal(Signal::CONT)?;
        removed?;
        for (_, wd) in &all {
            stage.client.until_removed(*wd)?;
        }
        for (at, (_, wd)) in all[..5].iter().enumerate() {
            let mut since = stage.client.records[before..].iter();
            let told = since.any(|record| record.wd == *wd && record.mask == Mask::MODIFY);
            ensure!(told, "nobody was told of the kill in {round}-{at}");
        }
    }
    Ok(())
}

/// A controller goes and takes its files from a cgroup that lives on; then it comes back.
pub(super) fn controller_off(environment: &Environment) -> Result<(), Failure> {
    let _offer = environment.meets(HugeTlb).then(|| Offer::new(environment)).transpose()?;
    let tree = Tree::plant(environment)?;
    let path = tree.root().file("cgroup.controllers");
    let offered = fs::read_to_string(&path).map_err(Failure::driver("read", path))?;
    let controller = ["memory", "pids", "hugetlb"];
    let controller = controller.into_iter().find(|c| offered.split_whitespace().any(|o| o == *c));
    let Some(controller) = controller else {
        return Err(Failure::Skip("no controller with an event file".into()));
    };
    let file = match controller {
        "hugetlb" => "hugetlb.2MB.events".to_owned(),
        _ => format!("{controller}.events"),
    };
    let mut stage = Stage::set(environment, tree)?;
    let cgroup = stage.tree.make("a")?;
    stage.server.until_shown("a", &cgroup)?;
    let shown = stage.server.path("a").join(&file);
    for _ in 0..stage.rounds() {
        stage.tree.root().write("cgroup.subtree_control", &format!("+{controller}"))?;
        stage.server.until("the file came", || shown.exists())?;
        let wd = stage.client.watch(&shown, ONE_WATCH)?;
        stage.tree.root().write("cgroup.subtree_control", &format!("-{controller}"))?;
        stage.client.until_removed(wd)?;
        ensure!(!shown.exists(), "{file} is still there when its removal is told");
    }
    stage.tree.remove(&cgroup)
}

/// Who watches a directory gets the births, the deaths, and the names of what changed, in it.
pub(super) fn parents(environment: &Environment) -> Result<(), Failure> {
    let mut stage = Stage::set(environment, Tree::plant(environment)?)?;
    let mask = Mask::CREATE | Mask::DELETE | Mask::MODIFY;
    let parent = stage.client.watch(stage.server.directory(), mask)?;
    for round in 0..stage.rounds() {
        let name = format!("child-{round}");
        let before = stage.client.records.len();
        let cgroup = stage.tree.make(&name)?;
        stage.client.until("CREATE", |records| {
            records[before..].iter().any(|record| record.mask == Mask::CREATE | Mask::ISDIR)
        })?;
        let directory = stage.server.path(&name);
        let own = stage.client.watch(&directory, Mask::MODIFY | Mask::DELETE_SELF)?;
        let someone = Worker::ready(Task::Idle(&cgroup.directory))?;
        stage.client.until("MODIFY with the name", |records| {
            let it =
                |r: &super::client::Record| r.wd == own && r.mask == Mask::MODIFY && r.name == FILE;
            records[before..].iter().any(it)
        })?;
        someone.end()?;
        stage.tree.remove(&cgroup)?;
        stage.client.until("DELETE", |records| {
            records[before..].iter().any(|record| record.mask == Mask::DELETE | Mask::ISDIR)
        })?;
        stage.client.until_removed(own)?;
        let entries = stage.client.records[before..].iter();
        let entries =
            entries.filter(|record| record.wd == parent && record.mask.contains(Mask::ISDIR));
        let entries: Vec<_> = entries.map(|record| (record.mask, record.name.as_str())).collect();
        let expected = [(Mask::CREATE | Mask::ISDIR, &*name), (Mask::DELETE | Mask::ISDIR, &*name)];
        ensure!(entries == expected, "the parent got {entries:?}");
    }
    Ok(())
}
