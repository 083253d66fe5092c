//! The script with memory limits: in a guest, since this machine's hierarchy may not have the memory
//! controller.
//!
//! Programs that are not static are packed with the libraries they are linked to, Python with the
//! modules that the script loads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use field::{Plan, Rival, Script, Stage};

use super::{Contender, Guest, scratch};
use crate::kernels::{self, Packed};
use crate::{debian, process};

const LIMIT: Duration = Duration::from_secs(90 * 60);
/// A cgroup with its process, and the memory controller, takes some 100 KiB of it.
const MEMORY_MIB: u32 = 6144;
const FOLDER: &str = "field";
/// Names the interpreter itself, and every file that it loads for the script. The codec is looked up
/// when a file is opened, so it must be asked for.
const LOADED: &str = "
import encodings.ascii, inotify_simple, os, sys
print(os.path.realpath(sys.executable))
files = (getattr(module, '__file__', None) for module in list(sys.modules.values()))
print('\\n'.join(file for file in files if file))
";

pub(super) fn run(
    series: &str,
    numbers: &[usize],
    few: usize,
    contenders: &[Contender],
) -> Result<Guest> {
    debian::provide(&kernels::TOOLS)?;
    let [driver] = kernels::compile([("field", "field-guest")])?;
    let residents = super::residents()?;
    let mut files: Vec<Packed> =
        vec![(driver, format!("{FOLDER}/driver")), (residents, format!("{FOLDER}/residents"))];
    let mut rivals = Vec::new();
    for contender in contenders {
        let name = || contender.name.to_owned();
        rivals.push(match &contender.rival {
            Err(reason) => Err((name(), format!("{reason:#}"))),
            Ok(rival) => pack(rival, &mut files).map_err(|reason| (name(), format!("{reason:#}"))),
        });
    }
    let stage = |&cgroups| Stage {
        script: Script::Memory,
        mount: "/sys/fs/cgroup".into(),
        residents: format!("/{FOLDER}/residents").into(),
        fork: PathBuf::new(),
        cgroups,
        few,
    };
    let plan = Plan { stages: numbers.iter().map(stage).collect(), rivals };
    let file = scratch().join("plan.json");
    fs::write(&file, serde_json::to_string(&plan)?)?;
    files.push((file, Plan::PATH.trim_start_matches('/').to_owned()));
    let program = format!("/{FOLDER}/driver");
    let (release, said) = kernels::run_program(series, &program, &files, MEMORY_MIB, LIMIT)?;
    let entries = said.iter().filter(|line| line.starts_with('{'));
    let entries = entries.map(|line| serde_json::from_str(line).with_context(|| line.clone()));
    Ok(Guest { date: super::today(), release, entries: entries.collect::<Result<_>>()? })
}

/// The rival as it is started there; its files are added.
fn pack(rival: &Rival, files: &mut Vec<Packed>) -> Result<Rival> {
    if rival.program.ends_with("python") {
        return pack_script(rival, files);
    }
    let name = rival.program.file_name().context("a program without a name")?.to_string_lossy();
    let target = format!("{FOLDER}/{name}");
    if files.iter().all(|(_, packed)| *packed != target) {
        files.extend(kernels::with_libraries(rival.program.clone(), target.clone())?);
    }
    Ok(Rival { program: format!("/{target}").into(), ..rival.clone() })
}

/// Python finds its own modules where they are on the host, what is not its own beside the script.
fn pack_script(rival: &Rival, files: &mut Vec<Packed>) -> Result<Rival> {
    let (script, rest) = rival.arguments.split_first().context("no script")?;
    let place = format!("{FOLDER}/script.py");
    files.push((script.into(), place.clone()));
    let loaded = process::read(Command::new(&rival.program).args(["-c", LOADED]))?;
    for file in loaded.lines().map(Path::new) {
        let own = file.to_string_lossy();
        let place = match file.file_name() {
            Some(name) if name == "inotify_simple.py" => format!("{FOLDER}/inotify_simple.py"),
            _ => own.trim_start_matches('/').to_owned(),
        };
        if file.extension().is_some_and(|kind| kind == "py") {
            files.push((file.into(), place));
        } else {
            files.extend(kernels::with_libraries(file.into(), place)?);
        }
    }
    let interpreter = loaded.lines().next().context("no interpreter")?;
    let arguments = [format!("/{place}")].into_iter().chain(rest.iter().cloned()).collect();
    Ok(Rival { program: interpreter.into(), arguments, ..rival.clone() })
}
