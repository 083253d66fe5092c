//! Which cgroups the arguments mean.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use cgwatch::{Error, Mount};

use crate::failure::show;

/// The cgroups the paths mean, as paths in the file system; without any, the whole hierarchy.
pub(crate) fn all(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if paths.is_empty() {
        return Ok(vec![one(None)?]);
    }
    paths.iter().map(|path| one(Some(path))).collect()
}

/// The cgroup the path means. It need not exist in the file system if there is one of that path
/// below the root of the hierarchy.
pub(crate) fn one(path: Option<&Path>) -> anyhow::Result<PathBuf> {
    let mounts = Mount::all()?;
    let Some(path) = path else {
        let whole = mounts.first().ok_or(Error::NoCgroup2)?;
        return Ok(whole.point.clone());
    };
    if mounts.is_empty() {
        return Err(Error::NoCgroup2.into());
    }
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => below_a_mount(path, &mounts),
        // What it is, or why it cannot be read, the watcher finds out.
        _ => Ok(path.to_owned()),
    }
}

fn below_a_mount(path: &Path, mounts: &[Mount]) -> anyhow::Result<PathBuf> {
    let not_found = || Error::NotFound { path: path.to_owned() };
    let inside = path.strip_prefix("/").unwrap_or(path);
    if inside.components().any(|component| component == Component::ParentDir) {
        return Err(not_found().into());
    }
    let mut found: Vec<((u64, u64), PathBuf)> = Vec::new();
    for mount in mounts {
        let candidate = mount.point.join(inside);
        if let Ok(metadata) = std::fs::metadata(&candidate) {
            let identity = (metadata.dev(), metadata.ino());
            if found.iter().all(|(known, _)| *known != identity) {
                found.push((identity, candidate));
            }
        }
    }
    match found.as_slice() {
        [] => Err(not_found().into()),
        [(_, only)] => Ok(only.clone()),
        several => {
            let list: Vec<_> = several.iter().map(|(_, path)| show(path)).collect();
            anyhow::bail!("{} could be any of {}; give one of them", show(path), list.join(", "))
        }
    }
}
