//! The cgroups of a script: groups of leaves below one directory that bears the driver's number.
//! Dropping it removes them all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Followed by the driver's number.
const NAME: &str = "cgwatch-field-";
/// How many leaves a group has.
const WIDTH: usize = 100;
/// A process that was killed leaves its cgroup a moment later.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory that is watched, and all below it.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    groups: usize,
    leaves: usize,
    controllers: &'static str,
}

impl Tree {
    /// So many leaves, directly below the mount point. `controllers` are enabled for them.
    ///
    /// # Errors
    /// Not permitted, or no room for so many.
    pub fn plant(mount: &Path, leaves: usize, controllers: &'static str) -> Result<Self> {
        clear_orphans(mount)?;
        let root = mount.join(format!("{NAME}{}", std::process::id()));
        make(&root)?;
        let mut tree = Self { root, groups: 0, leaves: 0, controllers };
        tree.enable(&tree.root)?;
        for number in 0..leaves {
            if number % WIDTH == 0 {
                let group = tree.path(&format!("/g{}", tree.groups));
                make(&group)?;
                // From here on the leaf is in it.
                tree.groups += 1;
                tree.enable(&group)?;
            }
            make(&tree.path(&tree.leaf(number)))?;
            tree.leaves += 1;
        }
        Ok(tree)
    }

    fn enable(&self, directory: &Path) -> Result<()> {
        if self.controllers.is_empty() {
            return Ok(());
        }
        let file = directory.join("cgroup.subtree_control");
        fs::write(&file, self.controllers).with_context(|| file.display().to_string())
    }

    /// What is watched.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many leaves were planted.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.leaves
    }

    /// A leaf's path from the root. Those not planted yet share the groups there are.
    #[must_use]
    pub fn leaf(&self, number: usize) -> String {
        format!("/g{}/c{number}", number / WIDTH % self.groups.max(1))
    }

    /// The paths of what is above the leaves.
    #[must_use]
    pub fn above(&self) -> Vec<String> {
        let groups = (0..self.groups).map(|number| format!("/g{number}"));
        std::iter::once("/".to_owned()).chain(groups).collect()
    }

    /// The path in the file system.
    #[must_use]
    pub fn path(&self, from_root: &str) -> PathBuf {
        self.root.join(from_root.trim_start_matches('/'))
    }

    /// Removes the groups, of which the leaves must be gone.
    ///
    /// # Errors
    /// They are not.
    pub fn remove_groups(&self) -> Result<()> {
        (0..self.groups).try_for_each(|number| remove(&self.path(&format!("/g{number}"))))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Only a complaint is left, if that fails.
        if let Err(error) = clear(&self.root) {
            eprintln!("{} stays behind: {error:#}", self.root.display());
        }
    }
}

/// Makes a cgroup.
///
/// # Errors
/// Not permitted, or it is there already.
pub fn make(cgroup: &Path) -> Result<()> {
    fs::create_dir(cgroup).with_context(|| format!("mkdir {}", cgroup.display()))
}

/// Removes a cgroup as soon as those who were killed have left it.
///
/// # Errors
/// It has children, or somebody who lives.
pub fn remove(cgroup: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(cgroup) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => {
                return Err(error).with_context(|| format!("rmdir {}", cgroup.display()));
            }
            Err(_) if deadline < Instant::now() => bail!("{} stays busy", cgroup.display()),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Removes what is left of drivers that were killed.
fn clear_orphans(mount: &Path) -> Result<()> {
    for entry in fs::read_dir(mount)? {
        let entry = entry?;
        let name = entry.file_name();
        let driver = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse::<u32>().ok());
        if driver.is_some_and(|driver| !Path::new(&format!("/proc/{driver}")).exists()) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

/// Kills what lives in it, and removes it with all below.
fn clear(cgroup: &Path) -> Result<()> {
    // It is not there in the root of the hierarchy only.
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
        }
    }
    remove(cgroup)
}
