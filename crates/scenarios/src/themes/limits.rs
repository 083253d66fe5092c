//! Too few watches, no permission, no privileges: it goes on, and says what is missing.

use std::{
    fs,
    os::unix::fs::{DirEntryExt as _, PermissionsExt as _},
};

use cgwatch::{EventKind, GapReason, Options};
use contract::{existence, hold, hold_against};

use crate::{
    Cgroup, Circumstances, Environment, Failure, Outside, Recording, Requirement::UserNamespace,
    Scenario, Tree, ensure,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("limits-few-watches", few_watches).needs(&[UserNamespace]),
    Scenario::new("limits-no-instance", no_instance).needs(&[UserNamespace]),
    Scenario::new("limits-no-permission", no_permission),
    Scenario::new("limits-unprivileged", unprivileged),
    Scenario::new("limits-long-names", long_names),
];

/// A user without any privileges.
const NOBODY: u32 = 65534;

/// With watches for a part of the tree only, the rest is swept: all that lives longer than a sweep
/// takes is told, and the limit is named with its value.
fn few_watches(environment: &Environment) -> Result<(), Failure> {
    const WATCHES: u64 = 24;
    let tree = Tree::plant(environment)?;
    for n in 0..environment.scale(20, 6) {
        tree.make_all(&format!("old-{n}/child"))?;
    }
    let limit = Some(("max_inotify_watches", WATCHES));
    let circumstances = Circumstances { limit, sweep_ms: 100, ..Circumstances::default() };
    let outside = Outside::library(environment, tree.path(), circumstances)?;
    let recording = &outside.recording;
    recording.until("the limit that is reached", |event| {
        matches!(&event.kind, EventKind::Gap { reason: GapReason::WatchLimit { .. }, .. })
    })?;
    for round in 0..environment.scale(6, 2) {
        let branch = tree.make_all(&format!("new-{round}/child"))?;
        for cgroup in &branch {
            recording.until_appeared(cgroup)?;
        }
        // A change that only a sweep can find, if this one got no watch.
        branch[0].write("cgroup.freeze", "1")?;
        recording.until(format_args!("frozen of {:?}", branch[0]), |event| {
            let EventKind::Changed { cgroup, new, .. } = &event.kind else { return false };
            cgroup.id == Some(branch[0].id) && new.get("frozen") == Some(1)
        })?;
        for cgroup in branch.iter().rev() {
            tree.remove(cgroup)?;
        }
        for cgroup in &branch {
            recording.until_removed(cgroup)?;
        }
    }
    let events = outside.stop()?;
    hold_against(&events, &tree.truth())?;
    let reason = events.iter().find_map(|event| match &event.kind {
        EventKind::Gap { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let Some(GapReason::WatchLimit { limit, value }) = reason else {
        return Err(Failure::broken(format!("the first gap is because of {reason:?}")));
    };
    ensure!(limit.contains("watches"), "the limit is called {limit}");
    ensure!(value == Some(WATCHES), "{limit} is {value:?}, but it was {WATCHES}");
    Ok(())
}

/// Without a single inotify instance everything is swept, and it is said why.
fn no_instance(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    tree.make_all("old/child")?;
    let limit = Some(("max_inotify_instances", 0));
    let circumstances = Circumstances { limit, sweep_ms: 50, ..Circumstances::default() };
    let outside = Outside::library(environment, tree.path(), circumstances)?;
    let start = outside.recording.start();
    ensure!(start.contains(r#""strategy":"sweep""#), "it says {start}");
    ensure!(start.contains("instances"), "it does not name the limit: {start}");
    for round in 0..environment.scale(20, 2) {
        let branch = tree.make_all(&format!("{round}/child"))?;
        for cgroup in &branch {
            outside.recording.until_appeared(cgroup)?;
        }
        for cgroup in branch.iter().rev() {
            tree.remove(cgroup)?;
        }
        for cgroup in &branch {
            outside.recording.until_removed(cgroup)?;
        }
    }
    Ok(hold_against(&outside.stop()?, &tree.truth())?)
}

/// One cgroup is closed to the user: it is told without any file, and its end too, and it is said why;
/// everything else is told as ever, and nothing is invented. So it is with one that is closed later.
fn no_permission(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let closed = tree.make_all("closed/child")?;
    let permissions = fs::Permissions::from_mode(0o700);
    let directory = &closed[0].directory;
    fs::set_permissions(directory, permissions).map_err(Failure::driver("close", directory))?;
    let circumstances =
        Circumstances { user: Some(NOBODY), sweep_ms: 200, ..Circumstances::default() };
    let outside = Outside::library(environment, tree.path(), circumstances)?;
    let recording = &outside.recording;
    for round in 0..environment.scale(20, 3) {
        let branch = tree.make_all(&format!("open-{round}/child"))?;
        for cgroup in &branch {
            recording.until_appeared(cgroup)?;
        }
        for cgroup in branch.iter().rev() {
            tree.remove(cgroup)?;
            recording.until_removed(cgroup)?;
        }
    }
    recording.until(format_args!("{:?} without files", closed[0]), |event| {
        let EventKind::Appeared { cgroup, files, .. } = &event.kind else { return false };
        cgroup.id == Some(closed[0].id) && files.is_empty()
    })?;
    let is_said = |of: &Cgroup| {
        let id = of.id;
        recording.until(format_args!("why {of:?} cannot be read"), move |event| {
            let EventKind::Gap { reason, .. } = &event.kind else { return false };
            let GapReason::Inaccessible { cgroup, errno } = reason else { return false };
            cgroup.id == Some(id) && *errno == rustix::io::Errno::ACCESS
        })
    };
    is_said(&closed[0])?;
    let start = recording.start();
    ensure!(start.contains(r#""unwatched":1"#), "its guarantees are not true: {start}");
    let later = tree.make_all("later/child")?;
    for cgroup in &later {
        recording.until_appeared(cgroup)?;
    }
    let directory = &later[0].directory;
    let permissions = fs::Permissions::from_mode(0o000);
    fs::set_permissions(directory, permissions).map_err(Failure::driver("close", directory))?;
    is_said(&later[0])?;
    // That its child is gone cannot be seen before it is gone itself.
    for cgroup in later.iter().rev() {
        tree.remove(cgroup)?;
    }
    for cgroup in &later {
        recording.until_removed(cgroup)?;
    }
    for cgroup in closed.iter().rev() {
        tree.remove(cgroup)?;
    }
    recording.until_removed(&closed[0])?;
    recording.settle(&tree)?;
    let events = outside.stop()?;
    hold(&events)?;
    Ok(existence(&events, &tree.truth())?)
}

/// Whoever may read the files may watch them.
fn unprivileged(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    tree.make_all("old/child")?;
    let circumstances = Circumstances { user: Some(NOBODY), ..Circumstances::default() };
    let outside = Outside::library(environment, tree.path(), circumstances)?;
    for round in 0..environment.scale(50, 5) {
        let branch = tree.make_all(&format!("{round}/child"))?;
        for cgroup in &branch {
            outside.recording.until_appeared(cgroup)?;
        }
        for cgroup in branch.iter().rev() {
            tree.remove(cgroup)?;
            outside.recording.until_removed(cgroup)?;
        }
    }
    outside.recording.settle(&tree)?;
    Ok(hold_against(&outside.stop()?, &tree.truth())?)
}

/// cgroupfs takes names for which the kernel has no room when it opens by id what nobody has looked
/// up yet. (And, up to 7.3.3, when fanotify reports them.)
fn long_names(environment: &Environment) -> Result<(), Failure> {
    let tree = Tree::plant(environment)?;
    let make = |name: String| -> Result<Cgroup, Failure> {
        let directory = tree.path().join(name);
        fs::create_dir(&directory).map_err(Failure::driver("make", &directory))?;
        let listed = fs::read_dir(tree.path()).map_err(Failure::driver("list", tree.path()))?;
        let its = |entry: &fs::DirEntry| entry.path() == directory;
        let id = listed.filter_map(Result::ok).find(its).map(|entry| entry.ino());
        let id = id.ok_or_else(|| Failure::broken("driver: a new cgroup is not listed"))?;
        Ok(Cgroup { id, directory })
    };
    let all = |first: &str| -> Result<Vec<Cgroup>, Failure> {
        [255, 256, 1000, 1514, 1515, 2000]
            .into_iter()
            .map(|length| make(first.repeat(length)))
            .collect()
    };
    let mut cgroups = all("o")?;
    let recording = Recording::of_tree(environment, &tree, Options::new())?;
    cgroups.extend(all("n")?);
    for cgroup in &cgroups {
        recording.until_appeared(cgroup)?;
        tree.remove(cgroup)?;
        recording.until_removed(cgroup)?;
    }
    recording.stop().map(drop)
}
