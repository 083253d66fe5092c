//! Hierarchical counters without the memory controller: `max` of `hugetlb.2MB.events`.
//!
//! A process in a cgroup whose `hugetlb.2MB.rsvd.max` is 0 asks for huge pages and is refused; the
//! cgroup and all above it count that, and its own `.local` too. No huge page is needed. The
//! process may leave at once, so that the cgroup can be removed before anybody read its counter:
//! just what happens to an OOM kill, only faster and without the memory controller.

use std::{
    fs::{self, File},
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

/// The controller, offered to the children of the hierarchy's root for as long as this lives.
///
/// One scenario at a time: the setting belongs to the whole machine, and it is put back.
#[derive(Debug)]
pub(crate) struct Offer {
    _lock: File,
    take_back: Option<PathBuf>,
}

impl Offer {
    pub(crate) fn new(environment: &Environment) -> Result<Self, Failure> {
        let path = environment.scratch.join("cgwatch-huge-pages.lock");
        let lock = File::create(&path).map_err(Failure::driver("make", &path))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let control = environment.cgroup_mount.join("cgroup.subtree_control");
        let text = fs::read_to_string(&control).map_err(Failure::driver("read", &control))?;
        if text.split_whitespace().any(|controller| controller == "hugetlb") {
            return Ok(Self { _lock: lock, take_back: None });
        }
        fs::write(&control, "+hugetlb").map_err(Failure::driver("write", &control))?;
        Ok(Self { _lock: lock, take_back: Some(control) })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(control) = &self.take_back
            && let Err(error) = fs::write(control, "-hugetlb")
        {
            eprintln!("{} keeps hugetlb: {error}", control.display());
        }
    }
}
