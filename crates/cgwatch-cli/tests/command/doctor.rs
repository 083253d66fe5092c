//! `cgwatch doctor` on this machine.

use std::fs;

use serde_json::Value;

use crate::running::{Cgroup, errors, run};

#[test]
fn the_report_for_people_and_for_programs_agree() {
    let Some(cgroup) = Cgroup::new("doctor") else { return };
    let text = run(["doctor".as_ref(), cgroup.0.as_os_str()]);
    assert!(text.status.success(), "{}", errors(&text));
    let text = String::from_utf8(text.stdout).unwrap();
    let json = run(["doctor".as_ref(), "--json".as_ref(), cgroup.0.as_os_str()]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let capabilities = report["capabilities"].as_array().unwrap();
    assert!(capabilities.len() > 10);
    for capability in capabilities {
        let name = capability["name"].as_str().unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert!(line.contains(capability["answer"].as_str().unwrap()), "{line}");
    }
    assert!(!text.contains('\x1b'), "no colours without a terminal");
    assert_eq!(report["cgroup"], cgroup.0.to_str().unwrap());
    assert_eq!(report["cgroups"], 1);
    assert!(report["watch"]["because"].is_string(), "{report}");
}

#[test]
fn a_probe_writes_and_cleans_up() {
    let Some(cgroup) = Cgroup::new("doctor-probe") else { return };
    let arguments =
        ["doctor".as_ref(), "--probe".as_ref(), "--json".as_ref(), cgroup.0.as_os_str()];
    let output = run(arguments);
    assert!(output.status.success(), "{}", errors(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parent = report["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .find(|capability| capability["name"] == "removal-at-parent")
        .unwrap();
    assert_eq!(parent["answer"], "yes");
    let entries = fs::read_dir(&cgroup.0).unwrap().flatten();
    assert_eq!(entries.filter(|entry| entry.file_type().unwrap().is_dir()).count(), 0);
}

#[test]
fn without_a_path_it_examines_the_whole_hierarchy() {
    if Cgroup::new("doctor-root").is_none() {
        return;
    }
    let output = run(["doctor"]);
    assert!(output.status.success(), "{}", errors(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for heading in ["Kernel and mount", "Limits", "Capabilities", "cgwatch watch"] {
        assert!(text.contains(heading), "{heading}");
    }
}
