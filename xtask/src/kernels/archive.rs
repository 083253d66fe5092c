//! Debian's archive, read through a private apt: own sources, own lists, own cache.
//!
//! The machine's apt configuration is only read (its mirror, its proxies), never changed. What is
//! downloaded was signed by Debian's archive key, as every apt checks. All of it stays in
//! `target/kernels`; lists are fetched again after a day.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::series::{SUITES, Series};
use crate::{debian, process, workspace};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LISTS_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// A kernel on disk, ready to be booted.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) series: Series,
    /// Where everything about this series is kept.
    pub(crate) folder: PathBuf,
    pub(crate) image: PathBuf,
    /// The FUSE module, where FUSE is not built in.
    pub(crate) module: Option<PathBuf>,
}

/// What the archive has of a series.
pub(crate) enum Offer {
    /// The package with the newest kernel.
    Kernel(String),
    /// Every suite was looked at and none has one.
    NoLongerShipped,
}

/// The kernels that can be had.
pub(crate) struct Archive {
    folder: PathBuf,
    /// Names of all packages; why they could not be had, when the network failed.
    packages: Result<Vec<String>>,
}

impl Archive {
    /// Brings the lists of packages up to date.
    ///
    /// # Errors
    /// No apt, no mirror of Debian in its sources, or no room for the private files. A network
    /// that fails is not an error yet: what was downloaded before can still be used.
    pub(crate) fn open() -> Result<Self> {
        let mut archive =
            Self { folder: workspace::target().join("kernels"), packages: Ok(Vec::new()) };
        archive.packages = match archive.configure().and_then(|()| archive.update()) {
            Ok(()) => {
                let names = process::read(archive.apt("apt-cache").arg("pkgnames").arg("linux-"))?;
                Ok(names.lines().map(str::to_owned).collect())
            }
            Err(error) => Err(error),
        };
        Ok(archive)
    }

    /// The newest kernel of a series.
    ///
    /// # Errors
    /// The lists could not be had, and no kernel of this series was downloaded before.
    pub(crate) fn newest(&self, series: Series) -> Result<Offer> {
        match &self.packages {
            Ok(packages) => Ok(match series.newest(packages.iter().map(String::as_str)) {
                Some(package) => Offer::Kernel(package.to_owned()),
                None => Offer::NoLongerShipped,
            }),
            Err(error) => match fs::read_to_string(self.folder_of(series).join("package")) {
                Ok(package) => {
                    println!("{series}: using {package}, downloaded earlier: {error:#}");
                    Ok(Offer::Kernel(package))
                }
                Err(_) => Err(anyhow!("{error:#}")),
            },
        }
    }

    /// The kernel in the package, downloaded and unpacked unless it already was.
    ///
    /// # Errors
    /// The download failed, or there is no kernel in the package.
    pub(crate) fn provide(&self, series: Series, package: &str) -> Result<Kernel> {
        let folder = self.folder_of(series);
        let mark = folder.join("package");
        let [image, module] = ["vmlinuz", "fuse.ko"].map(|name| folder.join(name));
        if fs::read_to_string(&mark).is_ok_and(|unpacked| unpacked == package) {
            let module = module.exists().then_some(module);
            return Ok(Kernel { series, folder, image, module });
        }
        println!("{series}: downloading {package}");
        fresh_folder(&folder)?;
        let download = folder.join("download");
        fs::create_dir(&download)?;
        process::run(self.apt("apt-get").arg("download").arg(package).current_dir(&download))
            .inspect_err(|_| self.forget_lists())?;
        let [deb] = files(&download)?
            .try_into()
            .map_err(|found| anyhow!("{package}: one file expected, got {found:?}"))?;
        let unpacked = folder.join("unpacked");
        process::run(Command::new("dpkg").arg("-x").args([&deb, &unpacked]))?;
        for file in files(&unpacked)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name == "vmlinuz" || name.starts_with("vmlinuz-") {
                fs::rename(&file, &image)?;
            } else if name == "fuse.ko" {
                fs::rename(&file, &module)?;
            }
        }
        fs::remove_dir_all(&unpacked)?;
        fs::remove_dir_all(&download)?;
        if !image.exists() {
            bail!("{package} has no kernel image");
        }
        // Last, so that only a whole folder bears the mark.
        fs::write(&mark, package)?;
        let module = module.exists().then_some(module);
        Ok(Kernel { series, folder, image, module })
    }

    fn folder_of(&self, series: Series) -> PathBuf {
        self.folder.join(series.to_string())
    }

    fn private(&self, name: &str) -> PathBuf {
        self.folder.join("apt").join(name)
    }

    /// An apt program that sees our configuration after the machine's.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Messages are read below, so they must be in one language.
        command.arg("-q").arg("-c").arg(self.private("apt.conf")).env("LC_ALL", "C");
        command
    }

    /// Writes the private configuration and list of sources.
    fn configure(&self) -> Result<()> {
        if process::find("apt-get").is_none() || process::find("dpkg").is_none() {
            bail!("kernels come from Debian's archive: apt-get and dpkg are needed");
        }
        for folder in ["lists/partial", "cache/archives/partial", "state"] {
            fs::create_dir_all(self.private(folder))?;
        }
        let configuration = format!(
            "Dir::Etc::SourceList \"{sources}\";\n\
             Dir::Etc::SourceParts \"/dev/null\";\n\
             Dir::State \"{state}\";\n\
             Dir::State::Lists \"{lists}\";\n\
             Dir::Cache \"{cache}\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             #clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n",
            sources = self.private("sources.list").display(),
            state = self.private("state").display(),
            lists = self.private("lists").display(),
            cache = self.private("cache").display(),
        );
        fs::write(self.private("apt.conf"), configuration)?;
        let mirrors = mirrors()?;
        let signed_by = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let sources: String = SUITES
            .iter()
            .filter_map(|(suite, label)| {
                Some(format!("deb {signed_by}{} {suite} main\n", mirrors.get(*label)?))
            })
            .collect();
        let path = self.private("sources.list");
        if fs::read_to_string(&path).ok().as_ref() != Some(&sources) {
            self.forget_lists();
            fs::write(path, sources)?;
        }
        Ok(())
    }

    /// Fetches the lists, unless they are of today.
    fn update(&self) -> Result<()> {
        let stamp = self.private("updated");
        let age = fs::metadata(&stamp).ok().and_then(|known| known.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age < LISTS_KEEP) {
            return Ok(());
        }
        println!("fetching the lists of Debian's kernels");
        let output = self.apt("apt-get").args(["update", "--error-on=any"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        // A suite that has left the mirrors is told as such; anything else is a failure.
        let complaint = said.lines().find(|line| {
            line.starts_with(['E', 'W']) && !line.contains("does not have a Release file")
        });
        if let Some(complaint) = complaint {
            bail!("apt-get update: {complaint}");
        }
        File::create(stamp)?;
        Ok(())
    }

    /// Lists that named a package which is gone are of no use.
    fn forget_lists(&self) {
        // It need not exist.
        let _ = fs::remove_file(self.private("updated"));
    }
}

/// The machine's own mirrors of Debian, by label.
fn mirrors() -> Result<BTreeMap<String, String>> {
    let found = known_mirrors()?;
    if !found.is_empty() {
        return Ok(found);
    }
    // Without lists apt does not know which of its sources is Debian.
    debian::update_lists()?;
    let found = known_mirrors()?;
    if found.is_empty() {
        bail!("apt's sources name no mirror of Debian");
    }
    Ok(found)
}

fn known_mirrors() -> Result<BTreeMap<String, String>> {
    let targets = process::read(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
    ]))?;
    let pairs = targets.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(label, mirror)| (label.to_owned(), mirror.to_owned())).collect())
}

/// The folder, with nothing in it.
fn fresh_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// Every plain file below the folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}
