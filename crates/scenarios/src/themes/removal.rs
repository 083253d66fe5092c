//! Removals, each told exactly once, whatever the kernel itself announces.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use cgwatch::{Depth, Options};
use contract::{complete, every_birth, hold, hold_against};
use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    thread::UnshareFlags,
};

use super::judge;
use crate::{
    Cgroup, Environment, Failure, Recording, Scenario, Task, Tree, Worker, ensure, recording,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("removal-plain", plain),
    Scenario::new("removal-watched-file-held", watched_file_held),
    Scenario::new("removal-other-file-held", other_file_held),
    Scenario::new("removal-directory-held", directory_held),
    Scenario::new("removal-cwd-inside", cwd_inside),
    Scenario::new("removal-of-the-root", of_the_root),
    Scenario::new("removal-under-a-subtree", under_a_subtree),
    Scenario::new("removal-after-a-kill", after_a_kill),
    Scenario::new("removal-two-mounts", two_mounts),
];

fn plain(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |_| Ok(()))
}

fn watched_file_held(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |cgroup| {
        Worker::ready(Task::Hold(&cgroup.file("cgroup.events"))).map(Some)
    })
}

fn other_file_held(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |cgroup| {
        Worker::ready(Task::Hold(&cgroup.file("cgroup.procs"))).map(Some)
    })
}

fn cwd_inside(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |cgroup| Worker::ready(Task::Inside(&cgroup.directory)).map(Some))
}

fn directory_held(environment: &Environment) -> Result<(), Failure> {
    removed_while(environment, |cgroup| -> Result<OwnedFd, Failure> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&cgroup.directory, flags, Mode::empty())?)
    })
}

/// A cgroup, and one below it, removed while something holds them; then the same path again, while
/// that still holds the old one; then it lets go.
fn removed_while<Hold>(
    environment: &Environment,
    hold: impl Fn(&Cgroup) -> Result<Hold, Failure>,
) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for _ in 0..environment.scale(20, 3) {
        let branch = tree.make_all("top/leaf")?;
        let mut held = Vec::new();
        for cgroup in &branch {
            recording.until_appeared(cgroup)?;
            held.push(hold(cgroup)?);
        }
        for cgroup in branch.iter().rev() {
            tree.remove(cgroup)?;
            recording.until_removed(cgroup)?;
        }
        let again = tree.make("top")?;
        recording.until_appeared(&again)?;
        drop(held);
        tree.remove(&again)?;
        recording.until_removed(&again)?;
    }
    judge(recording, &tree).map(drop)
}

/// The watched root itself: its removal is the last that is told, and the stream ends.
fn of_the_root(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    for populated in [false, true] {
        let branch = tree.make_all("root/child")?;
        let [root, child] = branch.as_slice() else { return Err(Failure::broken("two")) };
        let mut watcher = environment.watcher(Options::new())?;
        watcher.add(&root.directory, Depth::All)?;
        let recording = Recording::of(environment, watcher);
        recording.until_appeared(child)?;
        if populated {
            tree.enter(child)?;
            tree.leave()?;
        }
        tree.remove(child)?;
        tree.remove(root)?;
        recording.until_removed(root)?;
        let why = recording.until_over()?;
        ensure!(why == recording::ENDED, "the stream ended because {why}");
        let (events, _) = recording.stop()?;
        hold_against(&events, &tree.truth().under(root.id))?;
        let last = events.last().and_then(|event| event.kind.cgroup());
        ensure!(last.and_then(|c| c.id) == Some(root.id), "the last was {:?}", events.last());
    }
    Ok(())
}

/// A watch on a subtree tells what happens there, by paths from there, and nothing else.
fn under_a_subtree(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let branch = tree.make_all("outside/root")?;
    let [outside, root] = branch.as_slice() else { return Err(Failure::broken("two")) };
    let mut watcher = environment.watcher(Options::new())?;
    watcher.add(&root.directory, Depth::All)?;
    let recording = Recording::of(environment, watcher);
    for round in 0..environment.scale(50, 5) {
        for inside in [true, false] {
            let place = if inside { "outside/root" } else { "outside" };
            let cgroup = tree.make(format!("{place}/{round}"))?;
            if inside {
                recording.until_appeared(&cgroup)?;
            }
            tree.remove(&cgroup)?;
            if inside {
                recording.until_removed(&cgroup)?;
            }
        }
    }
    tree.remove(root)?;
    tree.remove(outside)?;
    recording.until_over()?;
    let (events, _) = recording.stop()?;
    Ok(hold_against(&events, &tree.truth().under(root.id))?)
}

/// A whole branch is killed by the kernel (`cgroup.kill`) and removed at once.
fn after_a_kill(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for _ in 0..environment.scale(20, 3) {
        let branch = tree.make_all("service/worker")?;
        let [service, worker] = branch.as_slice() else { return Err(Failure::broken("two")) };
        let mut process = Worker::ready(Task::Idle(&worker.directory))?;
        recording.until_counted(worker, "cgroup.events", "populated", 1)?;
        service.write("cgroup.kill", "1")?;
        process.wait()?;
        tree.remove(worker)?;
        tree.remove(service)?;
        recording.until_removed(service)?;
    }
    judge(recording, &tree).map(drop)
}

/// A second mount of the hierarchy, taken away when this is dropped.
struct SecondMount(PathBuf);

impl SecondMount {
    /// In a mount namespace of this thread and those it starts: nothing is left behind.
    fn new(environment: &Environment) -> Result<Self, Failure> {
        #[expect(deprecated, reason = "sound for namespaces; its successor is unsafe")]
        rustix::thread::unshare(UnshareFlags::NEWNS)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private)?;
        let place = environment.scratch.join(format!("cgwatch-mount-{}", std::process::id()));
        fs::create_dir(&place).map_err(Failure::driver("make", &place))?;
        mount("cgroup2", &place, "cgroup2", MountFlags::empty(), None)?;
        Ok(Self(place))
    }
}

impl Drop for SecondMount {
    fn drop(&mut self) {
        // The namespace ends with the process in any case.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

/// The hierarchy at two places: what is done through one is told through both.
fn two_mounts(environment: &Environment) -> Result<(), Failure> {
    let second = SecondMount::new(environment)?;
    let tree = Tree::plant(environment)?;
    let name = tree.path().file_name().map(Path::new).unwrap_or(Path::new(""));
    let mut watcher = environment.watcher(Options::new())?;
    watcher.add(&second.0.join(name), Depth::All)?;
    let there = Recording::of(environment, watcher);
    let here = Recording::of_tree(environment, &tree, Options::new())?;
    there.until_appeared(tree.root())?;
    for _ in 0..environment.scale(50, 5) {
        let branch = tree.make_all("a/b")?;
        for cgroup in &branch {
            here.until_appeared(cgroup)?;
            there.until_appeared(cgroup)?;
        }
        for cgroup in branch.iter().rev() {
            tree.remove(cgroup)?;
        }
        for cgroup in &branch {
            here.until_removed(cgroup)?;
            there.until_removed(cgroup)?;
        }
    }
    let truth = tree.truth();
    let (events, _) = there.stop()?;
    hold(&events)?;
    complete(&events, &truth)?;
    every_birth(&events, &truth)?;
    judge(here, &tree).map(drop)
}
