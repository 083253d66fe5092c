//! What is asked of a mount: calls of one client, one after the other.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, stat};

use super::place::Place;
use super::report::{Arm, Quantity, Report};

/// The first look at each file of the large directory's. The server was just started, so that the
/// kernel knows none of them.
pub(super) fn lookups(place: &Place, report: &mut Report) -> Result<()> {
    if place.arm == Arm::HelloLl {
        return Ok(());
    }
    let many = place.root.join("many");
    let mut names = Vec::new();
    for number in 0..place.layout.directories {
        let directory = many.join(number.to_string());
        stat(&directory)?;
        names.push(path(&directory.join("cgroup.events"))?);
    }
    let start = Instant::now();
    for name in &names {
        stat(name)?;
    }
    let each = start.elapsed().as_nanos() as f64 / names.len() as f64;
    report.add(Quantity::Lookup, place.arm, each);
    Ok(())
}

/// Calls that can be made over and over, each for so long.
pub(super) fn calls(place: &Place, time: Duration, report: &mut Report) -> Result<()> {
    let attribute = path(&place.attribute())?;
    let mut buffer = vec![0; 4096];
    let read = repeat(place, time, || {
        let file = open(&attribute)?;
        Ok(rustix::io::read(file, &mut buffer)?)
    })?;
    read.report([Quantity::Read, Quantity::ReadCpu], place.arm, report);

    let file = open(&attribute)?;
    let read = repeat(place, time, || Ok(rustix::io::pread(&file, &mut buffer, 0)?))?;
    read.report([Quantity::Pread, Quantity::PreadCpu], place.arm, report);

    if place.arm == Arm::HelloLl {
        return Ok(());
    }
    let many = path(&place.root.join("many"))?;
    // As large as the C library's.
    let mut buffer = Vec::with_capacity(1 << 15);
    let listed = repeat(place, time, || {
        let directory = open(&many)?;
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        let mut count = 0;
        while let Some(entry) = entries.next() {
            entry?;
            count += 1;
        }
        ensure!(count >= place.layout.directories, "only {count} entries");
        Ok(count)
    })?;
    // An entry, not a listing.
    let listed = Each {
        time: listed.time / listed.given as f64,
        cpu: listed.cpu.map(|cpu| cpu / listed.given as f64),
        ..listed
    };
    listed.report([Quantity::Readdir, Quantity::ReaddirCpu], place.arm, report);
    Ok(())
}

/// Nanoseconds that one call took, and its server's share in it.
struct Each {
    time: f64,
    cpu: Option<f64>,
    /// What the last call gave.
    given: usize,
}

impl Each {
    fn report(&self, [time, cpu]: [Quantity; 2], arm: Arm, report: &mut Report) {
        report.add(time, arm, self.time);
        if let Some(own) = self.cpu {
            report.add(cpu, arm, own);
        }
    }
}

/// Makes a call over and over. It gives how much there was, which is never nothing.
fn repeat(place: &Place, time: Duration, mut call: impl FnMut() -> Result<usize>) -> Result<Each> {
    let mut given = call()?;
    let cpu = place.cpu()?;
    let start = Instant::now();
    let mut calls = 0.0;
    while start.elapsed() < time {
        given = call()?;
        ensure!(given > 0, "nothing was given");
        calls += 1.0;
    }
    let time = start.elapsed().as_nanos() as f64 / calls;
    let cpu = match (cpu, place.cpu()?) {
        (Some(before), Some(after)) => Some((after - before) / calls),
        _ => None,
    };
    Ok(Each { time, cpu, given })
}

fn open(path: &CString) -> Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Not converted in a measurement.
fn path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a path with a NUL")
}
