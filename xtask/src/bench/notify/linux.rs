//! The same with the kernel's inotify, on a tmpfs.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init, remove_watch};

/// Files in a folder of their own, each watched by all instances.
pub(super) struct Watched {
    place: PathBuf,
    files: Vec<File>,
    instances: Vec<OwnedFd>,
    buffer: Vec<u8>,
    next: usize,
}

/// Tells the folders of one run apart.
static FOLDERS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

impl Watched {
    pub(super) fn new(instances: usize, files: usize) -> Result<Self> {
        let number = FOLDERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("/dev/shm/cgwatch-bench-{}-{number}", std::process::id());
        let place = PathBuf::from(name);
        fs::create_dir(&place).with_context(|| place.display().to_string())?;
        let mut watched = Self {
            place,
            files: Vec::new(),
            instances: Vec::new(),
            buffer: vec![0; 4096],
            next: 0,
        };
        for _ in 0..instances {
            watched.instances.push(init(CreateFlags::NONBLOCK)?);
        }
        for file in 0..files {
            let path = watched.place.join(file.to_string());
            let file = File::create(&path)?;
            rustix::io::pwrite(&file, b"x", 0)?;
            for instance in &watched.instances {
                add_watch(instance, &path, WatchFlags::MODIFY)?;
            }
            // Some thousand are written by name of descriptor, the others are only there.
            if watched.files.len() < 512 {
                watched.files.push(file);
            }
        }
        Ok(watched)
    }

    /// What makes the kernel tell `MODIFY`.
    pub(super) fn cause(&self, file: usize) {
        let _ = rustix::io::pwrite(&self.files[file], black_box(b"x"), 0);
    }

    pub(super) fn turn(&mut self, events: usize) {
        for _ in 0..events {
            self.next = (self.next + 1) % self.files.len();
            self.cause(self.next);
        }
        for instance in &self.instances {
            let _ = black_box(rustix::io::read(instance, &mut self.buffer[..]));
        }
    }

    pub(super) fn add_and_remove(&mut self) {
        let instance = &self.instances[0];
        if let Ok(wd) = add_watch(instance, self.place.join("0"), WatchFlags::MODIFY) {
            let _ = remove_watch(instance, wd);
        }
        let _ = black_box(rustix::io::read(instance, &mut self.buffer[..]));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}
