//! The script with memory limits: in a guest, since this machine's hierarchy may not have the memory
//! controller.
//!
//! Programs that are not static are packed with the libraries they are linked to. The processor
//! time is that of an emulator, hence not shown.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use field::{Plan, Rival, Script, Stage};

use super::{Contender, Guest, scratch};
use crate::debian;
use crate::kernels::{self, Packed};

const LIMIT: Duration = Duration::from_secs(25 * 60);
const FOLDER: &str = "field";

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
    let (release, said) = kernels::run_program(series, &program, &files, LIMIT)?;
    let entries = said.iter().filter(|line| line.starts_with('{'));
    let entries = entries.map(|line| serde_json::from_str(line).with_context(|| line.clone()));
    Ok(Guest { date: super::today(), release, entries: entries.collect::<Result<_>>()? })
}

/// The rival as it is started there; its files are added.
fn pack(rival: &Rival, files: &mut Vec<Packed>) -> Result<Rival> {
    if rival.program.ends_with("cgwatch") {
        // Every guest has one of its own, with all checks on.
        return Ok(Rival { program: "/bin/cgwatch".into(), ..rival.clone() });
    }
    anyhow::ensure!(
        !rival.program.ends_with("python"),
        "a guest has no Python: its library is not packed"
    );
    let name = rival.program.file_name().context("a program without a name")?.to_string_lossy();
    let target = format!("{FOLDER}/{name}");
    if files.iter().all(|(_, packed)| *packed != target) {
        files.extend(kernels::with_libraries(rival.program.clone(), target.clone())?);
    }
    Ok(Rival { program: format!("/{target}").into(), ..rival.clone() })
}
