//! Most of it in a directory elsewhere, whose files say what they are to say.

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::CapabilitySet,
};
use tempfile::TempDir;

use super::*;
use crate::{
    Answer, Capabilities,
    testing::{Apart, Own, without},
};

fn of(name: &str, directory: &Path) -> (Answer, String) {
    let learned = Capabilities::learn(directory);
    let capability = learned.get(name).unwrap();
    (capability.answer, capability.evidence.clone())
}

fn with_files(files: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    directory
}

#[test]
fn a_file_counts_descendants_if_there_is_one_that_does_not() {
    for (name, file, others) in [
        (MEMORY_SUMS, "memory.events", ["memory.stat", "pids.events"]),
        (PIDS_SUMS, "pids.events", ["pids.max", "memory.events"]),
        (HUGETLB_SUMS, "hugetlb.2MB.events", ["hugetlb.2MB.max", "memory.events"]),
    ] {
        let local = format!("{file}.local");
        let [alone, below] = [file.to_owned(), local.clone()].map(|file| format!("child/{file}"));
        for (files, answer, evidence) in [
            (vec![file, &local], Answer::Yes, "exists"),
            (vec![file, others[0], others[1]], Answer::No, "does not exist"),
            (vec![&alone, &below], Answer::Yes, "exists"),
            (vec![&alone], Answer::No, "does not exist"),
            (vec![others[0], others[1]], Answer::Unknown, "neither this cgroup nor a child"),
        ] {
            let directory = with_files(&files);
            let found = of(name, directory.path());
            assert!(found.0 == answer && found.1.contains(evidence), "{name} {files:?}: {found:?}");
        }
    }
}

/// Linux 6.6 and later let the whole hierarchy be marked.
#[test]
fn a_cgroup_can_be_watched_by_descriptor_and_with_all_others_by_a_mark() {
    let Some(cgroup) = Own::new("trial") else { return };
    assert_eq!(of(FD_PATHS, cgroup.path()).0, Answer::Yes);
    let (answer, evidence) = of(FANOTIFY, cgroup.path());
    match crate::HostWorld::new(crate::Strategy::Fanotify) {
        Ok(_) => assert_eq!(answer, Answer::Yes, "{evidence}"),
        Err(_) => assert_eq!(answer, Answer::No, "{evidence}"),
    }
}

#[test]
fn why_there_is_no_mark_is_said() {
    let Some(cgroup) = Own::new("no-mark") else { return };
    let (answer, evidence) = without(CapabilitySet::SYS_ADMIN, || of(FANOTIFY, cgroup.path()));
    assert_eq!(answer, Answer::No);
    assert!(evidence.ends_with("(needs CAP_SYS_ADMIN)"), "{evidence}");
}

/// No watch is to be had of what may not be read, whatever the way; without a descriptor nothing is
/// known of the way.
#[test]
fn a_refused_watch_is_distinguished_from_one_without_room() {
    let test = "a_refused_watch_is_distinguished_from_one_without_room";
    let Some(apart) = Apart::new(module_path!(), test, r#"chmod 300 "$D""#) else { return };
    let lacking = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
    let (answer, evidence) = without(lacking, || of(FD_PATHS, &apart.directory));
    assert_eq!(answer, Answer::No, "{evidence}");
    let usual = getrlimit(Resource::Nofile);
    let mut evidences = Vec::new();
    for limit in 0..32 {
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..usual }).unwrap();
        let found = watch_by_descriptor(&apart.cgroup);
        setrlimit(Resource::Nofile, usual).unwrap();
        assert_ne!(found.answer, Answer::No, "{limit}: {found:?}");
        evidences.push(found.evidence);
    }
    evidences.dedup();
    assert_eq!(evidences.len(), 3, "no directory, no instance, a watch: {evidences:?}");
}

#[test]
fn a_mount_option_is_in_force_or_is_not() {
    let script = r#"for option in memory_localevents other
        do echo "40 31 0:37 / $T rw - cgroup2 none rw,$option" > "$D/$option"; done
        cp "$D/memory_localevents" "$D/mountinfo"
        mount --bind "$D/mountinfo" /proc/$$/mountinfo"#;
    let test = "a_mount_option_is_in_force_or_is_not";
    let Some(apart) = Apart::new(module_path!(), test, script) else { return };
    let answers = || [MEMORY_LOCAL, PIDS_LOCAL].map(|name| of(name, &apart.cgroup).0);
    assert_eq!(answers(), [Answer::Yes, Answer::No]);
    fs::copy(apart.directory.join("other"), apart.directory.join("mountinfo")).unwrap();
    assert_eq!(answers(), [Answer::No, Answer::No]);
    fs::write(apart.directory.join("mountinfo"), "").unwrap();
    assert_eq!(answers(), [Answer::Unknown, Answer::Unknown]);
}
