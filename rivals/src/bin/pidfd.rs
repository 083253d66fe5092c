//! A watch on each event file, and for each cgroup a pidfd of one of its processes. When that ends
//! and no other is there, the cgroup may be about to be removed: it is looked at every 100 ms until
//! it is gone or populated again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use rivals::{Births, News, Tree, allow_open_files, place};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const PERIOD: Duration = Duration::from_millis(100);
/// Which one of epoll's is not a process. No cgroup has this id.
const NOTIFICATIONS: u64 = 0;

fn main() -> Result<()> {
    let (root, file) = place()?;
    allow_open_files()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut tree = Tree::watch(root, file, Births::Alone, true)?;
    epoll::add(&epoll, &tree, epoll::EventData::new_u64(NOTIFICATIONS), epoll::EventFlags::IN)?;
    let mut held = Held { epoll, processes: HashMap::new(), empty: HashSet::new() };
    for id in tree.ids() {
        held.look(&tree, id)?;
    }
    tree.voice.ready();
    let mut next = Instant::now();
    loop {
        tree.voice.flush()?;
        let mut events = Vec::with_capacity(1024);
        let left = next.saturating_duration_since(Instant::now());
        let left = (!held.empty.is_empty()).then(|| Timespec::try_from(left)).transpose()?;
        match epoll::wait(&held.epoll, spare_capacity(&mut events), left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in events {
            let id = event.data.u64();
            if id != NOTIFICATIONS {
                held.processes.remove(&id);
                held.look(&tree, id)?;
                continue;
            }
            for news in tree.take()? {
                match news {
                    News::Born(id) | News::Read(id) => held.look(&tree, id)?,
                    News::Overflow => {
                        for id in tree.ids() {
                            held.look(&tree, id)?;
                        }
                    }
                    News::Gone(_) => {}
                }
            }
        }
        if !held.empty.is_empty() && next <= Instant::now() {
            next = Instant::now() + PERIOD;
            for id in std::mem::take(&mut held.empty) {
                if tree.exists(id) {
                    held.look(&tree, id)?;
                } else {
                    for born in tree.bury(id) {
                        held.look(&tree, born)?;
                    }
                }
            }
        }
    }
}

struct Held {
    epoll: OwnedFd,
    /// Closing one takes it out of epoll.
    processes: HashMap<u64, OwnedFd>,
    /// Those without a process.
    empty: HashSet<u64>,
}

impl Held {
    /// Holds one of its processes, if it has any.
    fn look(&mut self, tree: &Tree, id: u64) -> Result<()> {
        if self.processes.contains_key(&id) {
            return Ok(());
        }
        let Some(directory) = tree.directory(id) else { return Ok(()) };
        let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let process = match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(process) => process,
                Err(Errno::SRCH) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let data = epoll::EventData::new_u64(id);
            epoll::add(&self.epoll, &process, data, epoll::EventFlags::IN)?;
            self.processes.insert(id, process);
            self.empty.remove(&id);
            return Ok(());
        }
        self.empty.insert(id);
        Ok(())
    }
}
