//! Hierarchical counters without the memory controller: `max` of `hugetlb.2MB.events`.
//!
//! A process in a cgroup whose `hugetlb.2MB.rsvd.max` is 0 asks for huge pages and is refused; the
//! cgroup and all above it count that, and its own `.local` too. No huge page is needed. The
//! process may leave at once, so that the cgroup can be removed before anybody read its counter:
//! just what happens to an OOM kill, only faster and without the memory controller.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::PathBuf,
};

use rustix::{
    fs::{FallocateFlags, FlockOperation, MemfdFlags, fallocate, flock, memfd_create},
    io::Errno,
};

use crate::{Cgroup, Environment, Failure, Tree, failure::ensure};

/// The file whose counter is raised.
pub(crate) const FILE: &str = "hugetlb.2MB.events";
/// The counter.
pub(crate) const KEY: &str = "max";

/// Makes the counter of a cgroup rise by `times`, and notes it.
pub(crate) fn refuse(tree: &Tree, cgroup: &Cgroup, times: u64) -> Result<(), Failure> {
    cgroup.write("hugetlb.2MB.rsvd.max", "0")?;
    let file = memfd_create("refused", MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)?;
    tree.enter(cgroup)?;
    let refused = (0..times)
        .all(|_| fallocate(&file, FallocateFlags::empty(), 0, 2 << 20) == Err(Errno::NOSPC));
    tree.leave()?;
    ensure!(refused, "driver: a huge page was given where none is allowed");
    tree.note(cgroup, FILE, KEY, times);
    Ok(())
}

/// The controller, offered to the children of the hierarchy's root for as long as anybody has one of
/// these.
///
/// The setting belongs to the whole machine: whoever has an offer shares the lock, and the last to
/// leave puts it back, if the lock's file says that the first had found it off.
#[derive(Debug)]
pub struct Offer {
    lock: File,
    control: PathBuf,
}

const FOUND_OFF: &[u8] = b"found off\n";

impl Offer {
    /// From now on `hugetlb.2MB.events` is in new cgroups below those that offer the controller in turn.
    ///
    /// # Errors
    /// [`Failure::Driver`], also where there is no such controller
    /// ([`Requirement::HugeTlb`](crate::Requirement::HugeTlb)).
    pub fn new(environment: &Environment) -> Result<Self, Failure> {
        let path = environment.scratch.join("cgwatch-huge-pages.lock");
        let lock = File::options().read(true).append(true).create(true).open(&path);
        let mut lock = lock.map_err(Failure::driver("make", &path))?;
        flock(&lock, FlockOperation::LockShared)?;
        let control = environment.cgroup_mount.join("cgroup.subtree_control");
        let text = fs::read_to_string(&control).map_err(Failure::driver("read", &control))?;
        if !text.split_whitespace().any(|controller| controller == "hugetlb") {
            lock.write_all(FOUND_OFF).map_err(Failure::driver("write", path))?;
            fs::write(&control, "+hugetlb").map_err(Failure::driver("write", &control))?;
        }
        Ok(Self { lock, control })
    }

    fn put_back(&mut self) -> io::Result<()> {
        // Not while another has one.
        if flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let mut said = Vec::new();
        self.lock.rewind()?;
        self.lock.read_to_end(&mut said)?;
        if said.is_empty() {
            return Ok(());
        }
        fs::write(&self.control, "-hugetlb")?;
        self.lock.set_len(0)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Err(error) = self.put_back() {
            eprintln!("{} keeps hugetlb: {error}", self.control.display());
        }
    }
}
