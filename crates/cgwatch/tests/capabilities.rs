//! Capabilities on this machine's hierarchy. What the answers must be is known only where the
//! kernel gives no choice; the rest is that a probe leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod announcing;
mod own;

use std::{cell::Cell, fs, path::Path};

use cgwatch::{Answer, Capabilities, Error, Probe};

use self::{announcing::Announcing, own::Own};

fn children(own: &Own) -> usize {
    let entries = fs::read_dir(own.path()).unwrap().flatten();
    entries.filter(|entry| entry.file_type().unwrap().is_dir()).count()
}

fn answer(capabilities: &Capabilities, name: &str) -> Answer {
    capabilities.get(name).unwrap().answer
}

#[test]
fn a_probe_decides_and_leaves_nothing() {
    let Some(own) = Own::new("probe") else { return };
    let mut capabilities = Capabilities::learn(own.path());
    assert_eq!(answer(&capabilities, "inotify"), Answer::Yes);
    assert_eq!(answer(&capabilities, "removal-at-parent"), Answer::Unknown);
    capabilities.probe(own.path(), Probe::Plain, &|| true).unwrap();
    for capability in capabilities.iter() {
        println!("{} {:?}: {}", capability.name, capability.answer, capability.evidence);
        assert!(!capability.evidence.is_empty());
    }
    // The one removal signal that is unconditional on every kernel.
    assert_eq!(answer(&capabilities, "removal-at-parent"), Answer::Yes);
    assert_ne!(answer(&capabilities, "removal-at-file"), Answer::Unknown);
    assert_ne!(answer(&capabilities, "removal-at-file-held-open"), Answer::Unknown);
    if answer(&capabilities, "removal-at-file") == Answer::No {
        for name in ["held-open", "read-meanwhile", "reclaimed"] {
            let capability = capabilities.get(&format!("removal-at-file-{name}")).unwrap();
            assert_eq!(capability.answer, Answer::No);
            assert!(capability.evidence.contains("even undisturbed"), "{capability:?}");
        }
    }
    assert_eq!(children(&own), 0);
}

#[test]
fn an_interrupted_probe_leaves_nothing() {
    let Some(own) = Own::new("interrupted") else { return };
    for steps in 0..4 {
        let asked = Cell::new(0);
        let keep_going = || asked.replace(asked.get() + 1) < steps;
        let mut capabilities = Capabilities::learn(own.path());
        capabilities.probe(own.path(), Probe::Plain, &keep_going).unwrap();
        assert_eq!(children(&own), 0);
    }
}

#[test]
fn a_probe_that_cannot_write_says_so() {
    let mut capabilities = Capabilities::learn(Path::new("/proc"));
    let error = capabilities.probe(Path::new("/proc"), Probe::Plain, &|| true).unwrap_err();
    assert!(matches!(error, Error::Path { .. }), "{error:?}");
}

#[test]
fn learning_about_a_vanished_cgroup_is_unknown_not_an_error() {
    let capabilities = Capabilities::learn(Path::new("/nowhere/at/all"));
    assert_eq!(answer(&capabilities, "watch-by-descriptor"), Answer::Unknown);
    assert_eq!(answer(&capabilities, "hierarchical-memory-events"), Answer::Unknown);
}

/// By the mount a removal raises IN_DELETE_SELF at what is watched, at the last close if it is open.
#[test]
fn where_removals_are_announced_the_probe_goes_on() {
    let Some(mount) = Announcing::mount() else { return };
    let mut capabilities = Capabilities::learn(&mount.path);
    let mark = capabilities.get("fanotify-superblock-mark").unwrap();
    assert!(mark.evidence.ends_with("gives cgroup v2 no identity)"), "{mark:?}");
    capabilities.probe(&mount.path, Probe::Plain, &|| true).unwrap();
    for name in ["parent", "file", "directory"] {
        assert_eq!(answer(&capabilities, &format!("removal-at-{name}")), Answer::Yes, "{name}");
    }
    assert_eq!(answer(&capabilities, "removal-at-file-held-open"), Answer::No);
    let raced = capabilities.get("removal-at-file-read-meanwhile").unwrap();
    assert!(raced.evidence.contains("race"), "{raced:?}");
    assert!(mount.readings() > 0, "nobody read before a removal");
    let reclaimed = capabilities.get("removal-at-file-reclaimed").unwrap();
    assert!(reclaimed.evidence.contains("only a probe can tell"), "nothing was reclaimed");
    assert_eq!(fs::read_dir(&mount.path).unwrap().count(), 0);
}

#[test]
fn it_goes_no_further_than_it_may() {
    let Some(mount) = Announcing::mount() else { return };
    for (steps, held, raced) in [
        (0, "only a probe can tell", "only a probe can tell"),
        (1, "close", "only a probe can tell"),
        (2, "close", "interrupted"),
    ] {
        let asked = Cell::new(0);
        let keep_going = || asked.replace(asked.get() + 1) < steps;
        let mut capabilities = Capabilities::learn(&mount.path);
        capabilities.probe(&mount.path, Probe::Reclaim, &keep_going).unwrap();
        let evidence = |name: &str| &capabilities.get(name).unwrap().evidence;
        for (name, evidence, expected) in [
            ("held", evidence("removal-at-file-held-open"), held),
            ("raced", evidence("removal-at-file-read-meanwhile"), raced),
            ("reclaimed", evidence("removal-at-file-reclaimed"), "only a probe can tell"),
        ] {
            assert!(evidence.contains(expected), "{steps} {name}: {evidence}");
        }
        assert_eq!(fs::read_dir(&mount.path).unwrap().count(), 0);
    }
}
