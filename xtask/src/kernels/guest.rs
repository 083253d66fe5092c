//! What runs inside a guest: static programs, packed into an initramfs.

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
    let folder = workspace::target().join("guest");
    process::run(
        process::cargo()
            .args(["build", "--locked", "--quiet", "--target", TARGET, "--profile", PROFILE])
            .args(["--package", "scenarios", "--bin", "guest-init"])
            .args(["--package", "cgwatch-cli", "--bin", "cgwatch"])
            .arg("--target-dir")
            .arg(&folder)
            .envs(CHECKED)
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let built = |name| folder.join(TARGET).join(PROFILE).join(name);
    let programs = Programs { init: built("guest-init"), command: built("cgwatch") };
    for program in [&programs.init, &programs.command] {
        let headers = process::read(
            Command::new("readelf").args(["--program-headers", "--wide"]).arg(program),
        )?;
        // What needs a dynamic loader names it, and a guest has none.
        if headers.lines().any(|line| line.trim_start().starts_with("INTERP")) {
            bail!("{} is not static", program.display());
        }
    }
    Ok(programs)
}

/// Packs the initramfs for this kernel.
pub(crate) fn pack(kernel: &Kernel, programs: &Programs) -> Result<PathBuf> {
    let staged = kernel.folder.join("root");
    let mut names = vec!["init", "bin", "bin/cgwatch"];
    fs::create_dir_all(staged.join("bin"))?;
    copy(&programs.init, &staged.join("init"))?;
    copy(&programs.command, &staged.join("bin/cgwatch"))?;
    if let Some(module) = &kernel.module {
        names.extend(["modules", "modules/fuse.ko"]);
        fs::create_dir_all(staged.join("modules"))?;
        copy(module, &staged.join("modules/fuse.ko"))?;
    }
    let initramfs = kernel.folder.join("initramfs.gz");
    archive(&staged, &names, &initramfs)?;
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
