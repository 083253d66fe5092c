//! What runs inside a guest: static programs, packed into an initramfs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::archive::Kernel;
use crate::{process, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "release";
/// Optimised, since emulation is slow, but with every check, and not at link time, which would take
/// longer than it saves.
const CHECKED: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
];

/// The programs of a guest, without a dependency on any file.
pub(crate) struct Programs {
    init: PathBuf,
    command: PathBuf,
}

/// Builds the programs of a guest.
///
/// # Errors
/// They do not build, or are not static.
pub(crate) fn build() -> Result<Programs> {
    println!("building the guest's programs");
    let [init, command] = compile([("scenarios", "guest-init"), ("cgwatch-cli", "cgwatch")])?;
    Ok(Programs { init, command })
}

/// Builds programs, each of a package, for a guest.
///
/// # Errors
/// They do not build, or are not static.
pub(crate) fn compile<const N: usize>(programs: [(&str, &str); N]) -> Result<[PathBuf; N]> {
    let folder = workspace::target().join("guest");
    let wanted = programs.iter().flat_map(|(package, bin)| ["--package", package, "--bin", bin]);
    process::run(
        process::cargo()
            .args(["build", "--locked", "--quiet", "--target", TARGET, "--profile", PROFILE])
            .args(wanted)
            .arg("--target-dir")
            .arg(&folder)
            .envs(CHECKED)
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let built = programs.map(|(_, name)| folder.join(TARGET).join(PROFILE).join(name));
    for program in &built {
        if !is_static(program)? {
            bail!("{} is not static", program.display());
        }
    }
    Ok(built)
}

/// What needs a dynamic loader names it, and a guest has none.
fn is_static(program: &Path) -> Result<bool> {
    let mut readelf = Command::new("readelf");
    let headers = process::read(readelf.args(["--program-headers", "--wide"]).arg(program))?;
    Ok(!headers.lines().any(|line| line.trim_start().starts_with("INTERP")))
}

/// A program or library of the host, to be at a path in the guest, with what the loader would load
/// for it, and the loader.
///
/// # Errors
/// It is neither.
pub(crate) fn with_libraries(program: PathBuf, place: String) -> Result<Vec<Packed>> {
    let needs = process::read(Command::new("readelf").arg("--dynamic").arg(&program))?;
    let listed = match needs.contains("(NEEDED)") {
        true => process::read(Command::new("ldd").arg(&program))?,
        false => String::new(),
    };
    // `name => /path (address)`, or `/path (address)`.
    let path = |line: &str| {
        let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
        Some((path.into(), path.trim_start_matches('/').to_owned()))
    };
    Ok(listed.lines().filter_map(path).chain([(program, place)]).collect())
}

/// A file of the host, and its path in the guest.
pub(crate) type Packed = (PathBuf, String);

/// What switches the swap disk on and off, with what they are linked to.
fn swap_programs() -> Result<Vec<Packed>> {
    let mut files = Vec::new();
    for name in ["swapon", "swapoff"] {
        let program = Path::new("/usr/sbin").join(name);
        files.extend(with_libraries(program, format!("sbin/{name}"))?);
    }
    Ok(files)
}

/// Packs the initramfs for this kernel, with more files if wanted.
pub(crate) fn pack(kernel: &Kernel, programs: &Programs, more: &[Packed]) -> Result<PathBuf> {
    let staged = kernel.folder.join("root");
    let mut files = vec![
        (programs.init.clone(), "init".to_owned()),
        (programs.command.clone(), "bin/cgwatch".to_owned()),
    ];
    files.extend(kernel.module.clone().map(|module| (module, "modules/fuse.ko".to_owned())));
    files.extend(swap_programs()?);
    files.extend_from_slice(more);
    // Directories stand before what is in them.
    let mut names = BTreeSet::new();
    for (from, to) in &files {
        let target = staged.join(to);
        let above: Vec<_> = Path::new(to).ancestors().skip(1).collect();
        fs::create_dir_all(target.parent().unwrap_or(&staged))?;
        copy(from, &target)?;
        names.insert(to.as_str());
        names.extend(above.into_iter().filter_map(Path::to_str).filter(|name| !name.is_empty()));
    }
    let initramfs = kernel.folder.join("initramfs.gz");
    archive(&staged, &names.into_iter().collect::<Vec<_>>(), &initramfs)?;
    fs::remove_dir_all(&staged)?;
    Ok(initramfs)
}

/// The named files as a compressed archive, the one form an initramfs may have.
fn archive(folder: &Path, names: &[&str], to: &Path) -> Result<()> {
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--owner=0:0", "--quiet"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cpio")?;
    let (Some(mut list), Some(packed)) = (cpio.stdin.take(), cpio.stdout.take()) else {
        bail!("cpio: no pipes");
    };
    // The list is far smaller than a pipe, so this cannot block.
    list.write_all(names.join("\n").as_bytes())?;
    drop(list);
    let gzip = Command::new("gzip").arg("-1").stdin(packed).stdout(File::create(to)?).status();
    if !cpio.wait()?.success() || !gzip.context("gzip")?.success() {
        bail!("{} could not be packed", to.display());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}
