//! The counters people ask for: `memory.events` and `pids.events`.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    time::Instant,
};

use cgwatch::{EventKind, Options};
use contract::{balance, blame, kill_before_empty, sums};
use rustix::net::{AddressFamily, SendFlags, SocketType};

use super::judge;
use crate::{
    Cgroup, Environment, Failure, Recording,
    Requirement::{Memory, Pids},
    Scenario, Task, Tree, Worker, ensure,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("memory-high", high).needs(&[Memory]),
    Scenario::new("memory-kill-removed-at-once", kill_removed_at_once).needs(&[Memory]),
    Scenario::new("memory-kill-siblings", kill_siblings).needs(&[Memory]),
    Scenario::new("memory-kill-before-empty", kill_until_told).needs(&[Memory]),
    Scenario::new("memory-kill-by-a-limit-above", kill_by_a_limit_above).needs(&[Memory]),
    Scenario::new("memory-dead-counts-on", dead_counts_on).needs(&[Memory]),
    Scenario::new("pids-refused", pids_refused).needs(&[Pids]),
];

pub(super) const FILE: &str = "memory.events";
pub(super) const KILL: &str = "oom_kill";

/// A tree whose children have the memory controller.
pub(super) fn memory_tree(environment: &Environment) -> Result<Tree, Failure> {
    if environment.guest {
        // A line for each kill, over an emulated serial port, takes longer than the kill.
        let path = "/proc/sys/kernel/printk";
        fs::write(path, "1").map_err(Failure::driver("write", path))?;
    }
    let tree = Tree::plant(environment)?;
    tree.root().write("cgroup.subtree_control", "+memory")?;
    Ok(tree)
}

/// A worker that takes more memory than its cgroup may have.
pub(super) fn doomed(cgroup: &Cgroup) -> Result<Worker, Failure> {
    cgroup.write("memory.max", "4194304")?;
    Worker::start(Task::Eat(&cgroup.directory, 16 << 20))
}

/// Waits until the kernel has killed it.
pub(super) fn killed(tree: &Tree, cgroup: &Cgroup, mut worker: Worker) -> Result<(), Failure> {
    let status = worker.wait()?;
    ensure!(status.signal() == Some(9), "driver: no OOM kill but {status}");
    tree.note(cgroup, FILE, KILL, 1);
    Ok(())
}

/// The contract, the truth, and the books of every counter of `memory.events`.
pub(super) fn settle_books(
    recording: Recording,
    tree: &Tree,
    kills: u64,
) -> Result<Vec<cgwatch::Event>, Failure> {
    let grown = tree.root().count(FILE, KILL)?;
    ensure!(grown == kills, "driver: {kills} kills, but the kernel counted {grown}");
    recording.until_counted(tree.root(), FILE, KILL, grown)?;
    let events = judge(recording, tree)?;
    balance(&events, FILE, KILL, grown)?;
    blame(&events, &tree.truth(), FILE, KILL)?;
    for key in ["max", "oom", "high"] {
        balance(&events, FILE, key, tree.root().count(FILE, key)?)?;
    }
    Ok(events)
}

/// `memory.high` breached and counted: what is told is what the file says.
fn high(environment: &Environment) -> Result<(), Failure> {
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    let cgroup = tree.make("high")?;
    recording.until_appeared(&cgroup)?;
    // A breach by little: the kernel slows the breacher down the more, the further it goes.
    cgroup.write("memory.high", "33554432")?;
    let mut before = 0;
    for _ in 0..3 {
        Worker::ready(Task::Eat(&cgroup.directory, 33 << 20))?.end()?;
        let now = cgroup.count(FILE, "high")?;
        ensure!(now > before, "driver: memory.high was not breached");
        recording.until_counted(&cgroup, FILE, "high", now)?;
        before = now;
    }
    let grown = tree.root().count(FILE, "high")?;
    recording.until_counted(tree.root(), FILE, "high", grown)?;
    tree.note(&cgroup, FILE, "high", before);
    let events = judge(recording, &tree)?;
    balance(&events, FILE, "high", grown)?;
    blame(&events, &tree.truth(), FILE, "high")?;
    let told = sums(&events, FILE, "high");
    ensure!(told.own == i128::from(before), "{told:?}, but it counted {before}");
    Ok(())
}

/// An OOM kill in a cgroup that its parent process removes at once, 200 times, innocents between.
fn kill_removed_at_once(environment: &Environment) -> Result<(), Failure> {
    const KILLS: u64 = 200;
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..KILLS {
        let guilty = tree.make(format!("guilty-{round}"))?;
        let worker = doomed(&guilty)?;
        let innocent = tree.make(format!("innocent-{round}"))?;
        killed(&tree, &guilty, worker)?;
        let order = if round % 2 == 0 { [&guilty, &innocent] } else { [&innocent, &guilty] };
        for cgroup in order {
            tree.remove(cgroup)?;
        }
    }
    let events = settle_books(recording, &tree, KILLS)?;
    Ok(kill_before_empty(&events, FILE, KILL)?)
}

/// Kills in several siblings at the same time, all removed together.
fn kill_siblings(environment: &Environment) -> Result<(), Failure> {
    const SIBLINGS: usize = 6;
    let rounds = environment.scale(24, 6);
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..rounds {
        let siblings = (0..=SIBLINGS).map(|sibling| tree.make(format!("{round}-{sibling}")));
        let siblings = siblings.collect::<Result<Vec<_>, _>>()?;
        // The last counts nothing.
        let guilty = &siblings[..SIBLINGS];
        let workers = guilty.iter().map(doomed).collect::<Result<Vec<_>, _>>()?;
        for (cgroup, worker) in guilty.iter().zip(workers) {
            killed(&tree, cgroup, worker)?;
        }
        for cgroup in &siblings {
            tree.remove(cgroup)?;
        }
    }
    settle_books(recording, &tree, (rounds * SIBLINGS) as u64).map(drop)
}

/// While the cgroup lives on, the kill is told before the end of the population it caused.
fn kill_until_told(environment: &Environment) -> Result<(), Failure> {
    let rounds = environment.scale(120, 20);
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..rounds {
        let cgroup = tree.make(format!("once-{round}"))?;
        recording.until_appeared(&cgroup)?;
        let worker = doomed(&cgroup)?;
        killed(&tree, &cgroup, worker)?;
        recording.until_counted(&cgroup, FILE, KILL, 1)?;
        tree.remove(&cgroup)?;
    }
    let events = settle_books(recording, &tree, rounds as u64)?;
    Ok(kill_before_empty(&events, FILE, KILL)?)
}

/// The limit of a parent fires, the victim lived in a child: the kill is the child's, `max` and
/// `oom` are the parent's.
fn kill_by_a_limit_above(environment: &Environment) -> Result<(), Failure> {
    let rounds = environment.scale(60, 8);
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..rounds {
        let limit = tree.make(format!("{round}"))?;
        limit.write("cgroup.subtree_control", "+memory")?;
        limit.write("memory.max", "4194304")?;
        let victim = tree.make(format!("{round}/victim"))?;
        if round % 2 == 0 {
            recording.until_appeared(&victim)?;
        }
        let worker = Worker::start(Task::Eat(&victim.directory, 16 << 20))?;
        killed(&tree, &victim, worker)?;
        if round % 4 == 0 {
            recording.until_counted(&limit, FILE, KILL, 1)?;
        }
        tree.remove(&victim)?;
        tree.remove(&limit)?;
    }
    settle_books(recording, &tree, rounds as u64).map(drop)
}

/// Sockets outlive the cgroup they were made in and go on being charged to it: what they make it
/// count after its removal was told is late, and stands against nobody.
fn dead_counts_on(environment: &Environment) -> Result<(), Failure> {
    loopback_up()?;
    let tree = memory_tree(environment)?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    let dead = tree.make("dead")?;
    recording.until_appeared(&dead)?;
    tree.enter(&dead)?;
    let sockets = connections(64);
    tree.leave()?;
    let mut sockets = sockets?;
    dead.write("memory.max", "0")?;
    tree.note(&dead, FILE, "max", dead.count(FILE, "max")?);
    tree.remove(&dead)?;
    recording.until_removed(&dead)?;
    recording.settle(&tree)?;
    let before = tree.root().count(FILE, "max")?;
    let deadline = Instant::now() + environment.patience() / 2;
    let after = loop {
        for (sender, _) in &mut sockets {
            match sender.write(&[0; 64 << 10]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    return Err(Failure::driver("write", "a socket")(error));
                }
                _ => {}
            }
        }
        let now = tree.root().count(FILE, "max")?;
        if now > before {
            break now;
        }
        if Instant::now() > deadline {
            return Err(Failure::Skip("no dead cgroup goes on counting on this kernel".into()));
        }
    };
    until_late(&recording, after - before)?;
    drop(sockets);
    // Whatever may still have come of them is told before the innocent one dies.
    until_late(&recording, tree.root().count(FILE, "max")? - before)?;
    let innocent = tree.make("innocent")?;
    recording.until_appeared(&innocent)?;
    tree.remove(&innocent)?;
    recording.until_removed(&innocent)?;
    let grown = tree.root().count(FILE, "max")?;
    let events = judge(recording, &tree)?;
    balance(&events, FILE, "max", grown)?;
    blame(&events, &tree.truth(), FILE, "max")?;
    let told = sums(&events, FILE, "max");
    ensure!(told.late == i128::from(grown - before), "{told:?}, but {} late", grown - before);
    Ok(())
}

/// Waits until so much was told to be late.
fn until_late(recording: &Recording, amount: u64) -> Result<(), Failure> {
    let mut told = 0;
    recording.until(format_args!("{amount} late"), |event| {
        if let EventKind::Changed { late, .. } = &event.kind {
            told += late.get("max").unwrap_or(0);
        }
        told >= amount
    })
}

fn connections(count: usize) -> Result<Vec<(TcpStream, TcpStream)>, Failure> {
    let connect = || {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let (receiver, _) = listener.accept()?;
        sender.set_nonblocking(true)?;
        Ok((sender, receiver))
    };
    let all = (0..count).map(|_| connect()).collect::<std::io::Result<Vec<_>>>();
    all.map_err(Failure::driver("connect", "sockets over the loopback device"))
}

/// A guest starts with its loopback device down: one `RTM_NEWLINK` that sets `IFF_UP` of device 1.
fn loopback_up() -> Result<(), Failure> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut request = Vec::new();
    request.extend(32_u32.to_ne_bytes());
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence number and port
    request.extend([0; 4]); // family, padding, device type
    request.extend(LOOPBACK.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes()); // flags
    request.extend(IFF_UP.to_ne_bytes()); // which of them to change
    // Protocol 0 is NETLINK_ROUTE.
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    Ok(())
}

/// Forks refused by `pids.max`. The file is hierarchical on newer kernels only; the cgroup's own
/// count is told on all.
fn pids_refused(environment: &Environment) -> Result<(), Failure> {
    const FILE: &str = "pids.events";
    let tree = Tree::plant(environment)?;
    tree.root().write("cgroup.subtree_control", "+pids")?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    for round in 0..environment.scale(40, 5) {
        let cgroup = tree.make(format!("{round}"))?;
        cgroup.write("pids.max", "3")?;
        if round % 2 == 0 {
            recording.until_appeared(&cgroup)?;
        }
        let worker = Worker::ready(Task::Refused(&cgroup.directory, 5))?;
        let refused = cgroup.count(FILE, "max")?;
        ensure!(refused >= 5, "driver: pids.events says {refused}");
        tree.note(&cgroup, FILE, "max", refused);
        recording.until_counted(&cgroup, FILE, "max", refused)?;
        worker.end()?;
        tree.remove(&cgroup)?;
    }
    let hierarchical = tree.root().file("pids.events.local").exists();
    let counted = tree.truth().lives.values().map(|life| life.counted.values().sum::<u64>()).sum();
    if hierarchical {
        let grown = tree.root().count(FILE, "max")?;
        ensure!(grown == counted, "driver: {counted} refused, the kernel counted {grown}");
        recording.until_counted(tree.root(), FILE, "max", grown)?;
    }
    let events = judge(recording, &tree)?;
    balance(&events, FILE, "max", counted)?;
    Ok(blame(&events, &tree.truth(), FILE, "max")?)
}
