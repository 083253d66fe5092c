//! How the kernel's own tests ask: blocking reads that have room for one
//! record, and a poll that sleeps.

use std::{fs, io::Read as _, os::fd::OwnedFd, sync::mpsc, thread};

use linux_notify::inotify::Mask;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify,
};

use super::{FILES, Hierarchy};
use crate::{Environment, Failure, ensure};

/// Two blocking reads of 16 bytes: `DELETE_SELF` alone, then `IGNORED` alone,
/// of the same watch (tools/testing/selftests/cgroup/test_memcontrol.c,
/// `test_memcg_inotify_delete_file`, `_dir`).
pub(super) fn two_reads(environment: &Environment) -> Result<(), Failure> {
    let hierarchy = Hierarchy::mount(environment)?;
    for what in [Some(FILES[1]), None] {
        let directory = hierarchy.path().join("memcg");
        fs::create_dir(&directory).map_err(Failure::driver("make", &directory))?;
        let watched = what.map_or(directory.clone(), |name| directory.join(name));
        // Blocking.
        let fd: OwnedFd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        let wd = inotify::add_watch(&fd, &watched, inotify::WatchFlags::DELETE_SELF)?;
        fs::remove_dir(&directory).map_err(Failure::driver("remove", &directory))?;
        for expected in [Mask::DELETE_SELF, Mask::IGNORED] {
            let mut record = [0; 16];
            let read = rustix::io::read(&fd, &mut record)?;
            let word = |at: usize| {
                u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
            };
            ensure!(read == 16, "{read} bytes");
            ensure!(word(0).cast_signed() == wd, "watch {} instead of {wd}", word(0));
            let mask = Mask::from_bits_retain(word(4));
            ensure!(mask == expected, "{watched:?}: {mask:?} instead of {expected:?}");
        }
    }
    Ok(())
}

/// A poll that sleeps is woken by a change, and by the removal.
pub(super) fn poll(environment: &Environment) -> Result<(), Failure> {
    let hierarchy = Hierarchy::mount(environment)?;
    let directory = hierarchy.make("d")?;
    let path = hierarchy.path().join("d").join(FILES[1]);
    let mut file = fs::File::open(&path).map_err(Failure::driver("open", &path))?;
    let file_node = directory.child(FILES[1]).ok_or(Failure::broken("no node"))?;
    // Never read: ready at once, as kernfs has it.
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut ready = [PollFd::new(&file, PollFlags::PRI)];
    rustix::event::poll(&mut ready, Some(&now))?;
    let urgent = PollFlags::PRI | PollFlags::ERR;
    ensure!(ready[0].revents() == urgent, "never read, but {:?}", ready[0].revents());
    for removal in [false, true] {
        let mut content = [0; 64];
        rustix::io::pread(&file, &mut content, 0)?;
        let mut ready = [PollFd::new(&file, PollFlags::PRI)];
        ensure!(rustix::event::poll(&mut ready, Some(&now))? == 0, "just read, but ready");
        let (asleep, wait) = mpsc::channel();
        let patience = environment.patience();
        let revents = thread::scope(|scope| -> Result<PollFlags, Failure> {
            let sleeper = scope.spawn(|| -> rustix::io::Result<PollFlags> {
                let mut ready = [PollFd::new(&file, PollFlags::PRI)];
                // The other side may be gone.
                let _ = asleep.send(());
                let limit = Timespec {
                    tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
                    tv_nsec: 0,
                };
                rustix::event::poll(&mut ready, Some(&limit))?;
                Ok(ready[0].revents())
            });
            wait.recv().map_err(|_| Failure::broken("the sleeper ended"))?;
            if removal {
                file_node.remove();
            } else {
                file_node.notify();
            }
            Ok(sleeper.join().map_err(|_| Failure::broken("the sleeper panicked"))??)
        })?;
        ensure!(revents == urgent, "removal {removal}: woken with {revents:?}");
    }
    let error = file.read(&mut [0; 8]).err().and_then(|error| error.raw_os_error());
    ensure!(error == Some(19), "a removed file reads as {error:?} instead of ENODEV");
    Ok(())
}
