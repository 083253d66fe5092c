//! An open event file per cgroup, polled for `POLLPRI`. A removal does not wake a sleeper, so what
//! is empty is read every 100 ms until that gives `ENODEV`, or it is populated again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use rivals::{Births, News, Tree, allow_open_files, place};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

const PERIOD: Duration = Duration::from_millis(100);
/// It tells whether anybody is in.
const POPULATION: &str = "cgroup.events";
/// Which one of epoll's is not a file. No cgroup has this id.
const NOTIFICATIONS: u64 = 0;

fn main() -> Result<()> {
    let (root, name) = place()?;
    allow_open_files()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut tree = Tree::watch(root, name.clone(), Births::Alone, false)?;
    epoll::add(&epoll, &tree, epoll::EventData::new_u64(NOTIFICATIONS), epoll::EventFlags::IN)?;
    let mut open = Open { epoll, name, files: HashMap::new(), empty: HashSet::new() };
    for id in tree.ids() {
        open.open(&mut tree, id)?;
    }
    tree.voice.ready();
    let mut next = Instant::now();
    loop {
        tree.voice.flush()?;
        let mut events = Vec::with_capacity(1024);
        let left = next.saturating_duration_since(Instant::now());
        let left = (!open.empty.is_empty()).then(|| Timespec::try_from(left)).transpose()?;
        match epoll::wait(&open.epoll, spare_capacity(&mut events), left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in events {
            let id = event.data.u64();
            if id != NOTIFICATIONS {
                open.read(&mut tree, id, true)?;
                continue;
            }
            for news in tree.take()? {
                match news {
                    News::Born(id) => open.open(&mut tree, id)?,
                    News::Overflow => {
                        for id in tree.ids() {
                            open.open(&mut tree, id)?;
                        }
                    }
                    News::Gone(_) | News::Read(_) => {}
                }
            }
        }
        if !open.empty.is_empty() && next <= Instant::now() {
            next = Instant::now() + PERIOD;
            for id in open.empty.clone() {
                open.read(&mut tree, id, true)?;
            }
        }
    }
}

struct Open {
    epoll: OwnedFd,
    name: String,
    /// Closing one takes it out of epoll. The last tells whether anybody is in.
    files: HashMap<u64, Vec<File>>,
    empty: HashSet<u64>,
}

impl Open {
    fn open(&mut self, tree: &mut Tree, id: u64) -> Result<()> {
        if self.files.contains_key(&id) {
            return Ok(());
        }
        let Some(directory) = tree.directory(id) else { return Ok(()) };
        let mut files = Vec::new();
        let names = [self.name.as_str(), POPULATION];
        let names = if self.name == POPULATION { &names[..1] } else { &names };
        for name in names {
            let Ok(file) = File::open(directory.join(name)) else { return Ok(()) };
            let data = epoll::EventData::new_u64(id);
            epoll::add(&self.epoll, &file, data, epoll::EventFlags::PRI)?;
            files.push(file);
        }
        self.files.insert(id, files);
        self.read(tree, id, false)
    }

    /// Reading is also what makes the file sleep again until its next change.
    fn read(&mut self, tree: &mut Tree, id: u64, said: bool) -> Result<()> {
        let Some(files) = self.files.get(&id) else { return Ok(()) };
        let contents: Result<Vec<String>, _> = files.iter().map(content).collect();
        match contents {
            Ok(contents) => {
                tree.note(id, &contents[0], said);
                let populated = contents.last().is_some_and(|text| text.contains("populated 1"));
                if populated {
                    self.empty.remove(&id);
                } else {
                    self.empty.insert(id);
                }
            }
            Err(_) => {
                self.files.remove(&id);
                self.empty.remove(&id);
                for born in tree.bury(id) {
                    self.open(tree, born)?;
                }
            }
        }
        Ok(())
    }
}

fn content(file: &File) -> std::io::Result<String> {
    let mut buffer = [0; 4096];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
