//! Scenario × dentry cached or reclaimed × file closed, open, or held by its
//! path: what each watch got, complete and in order.
//!
//! `P` watches the root, `D` the directory, `F` the file that may be held,
//! `X` another file of the directory, all with every event, so that noise of
//! the server's own would be seen.

use std::{fs, os::fd::OwnedFd};

use linux_notify::inotify::Mask;
use rustix::fs::{Mode, OFlags};

use super::{FILES, Got, Hierarchy, Watch, got};
use crate::{Environment, Failure, ensure};

const DIRECTORY: &str = "d";
/// The file that may be held open, and the other one.
const HELD: &str = FILES[1];
const OTHER: &str = FILES[0];

/// How things stand when the driver acts.
#[derive(Clone, Copy, Debug)]
struct Case {
    reclaimed: bool,
    by: Holder,
}

/// Who has the file while it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A client that opened it.
    Open,
    /// A client of which the server knows nothing: it is at the file's name,
    /// as whoever is in the middle of opening, closing or looking at it.
    Path,
}

impl Case {
    const fn new(reclaimed: bool, by: Holder) -> Self {
        Self { reclaimed, by }
    }

    fn is_held(self) -> bool {
        self.by != Holder::Nobody
    }
}

const CASES: [Case; 6] = [
    Case::new(false, Holder::Nobody),
    Case::new(false, Holder::Open),
    Case::new(false, Holder::Path),
    Case::new(true, Holder::Nobody),
    Case::new(true, Holder::Open),
    Case::new(true, Holder::Path),
];

/// A mounted tree with its watches.
struct Stage {
    hierarchy: Hierarchy,
    watch: Watch,
    held: Option<OwnedFd>,
    case: Case,
    uses_handles: bool,
}

impl Stage {
    /// `directory` is watched, and so is what is above it.
    fn set(environment: &Environment, case: Case, directory: &str) -> Result<Self, Failure> {
        let hierarchy = Hierarchy::mount(environment)?;
        let mut watch = Watch::new()?;
        let mut above = String::new();
        for name in directory.split('/') {
            watch.add('P', &hierarchy.path().join(&above))?;
            above = if above.is_empty() { name.into() } else { format!("{above}/{name}") };
            hierarchy.make(&above)?;
        }
        hierarchy.make("marker")?;
        let path = hierarchy.path().join(directory);
        watch.add('D', &path)?;
        watch.add('F', &path.join(HELD))?;
        watch.add('X', &path.join(OTHER))?;
        watch.add('M', &hierarchy.path().join("marker").join(OTHER))?;
        if case.reclaimed {
            let first = directory.split('/').next().unwrap_or_default();
            hierarchy.reclaim(environment, first)?;
        }
        let flags = match case.by {
            Holder::Nobody => None,
            Holder::Open => Some(OFlags::RDONLY),
            Holder::Path => Some(OFlags::PATH),
        };
        let held = flags
            .map(|flags| rustix::fs::open(path.join(HELD), flags | OFlags::CLOEXEC, Mode::empty()));
        let held = held.transpose()?;
        watch.take()?;
        let uses_handles = hierarchy.with_mount(|mount| mount.weaknesses().is_empty())?;
        Ok(Self { hierarchy, watch, held, case, uses_handles })
    }

    /// All that was told until now: changes are raised in the order in which
    /// they were notified, so this marker is the last.
    fn told(&self, environment: &Environment) -> Result<Vec<Got>, Failure> {
        let marker = got('M', Mask::MODIFY, "");
        self.hierarchy.node("marker")?.child(OTHER).ok_or(Failure::broken("no marker"))?.notify();
        let mut told = self.watch.until(&marker, environment.patience())?;
        told.retain(|got| *got != marker);
        Ok(told)
    }

    /// Holds what was told, now and after the file was closed, against what
    /// was to be told: per watch exactly, with a removal's records together.
    fn judge(
        mut self,
        environment: &Environment,
        now: &[Got],
        at_close: &[Got],
    ) -> Result<(), Failure> {
        let mut first = self.watch_until_all(environment, now)?;
        first.extend(self.told(environment)?);
        self.hold(&first, now, "at once")?;
        self.ordered(&first)?;
        if self.held.take().is_none() {
            ensure!(at_close.is_empty(), "nothing is held in {:?}", self.case);
            return Ok(());
        }
        let mut second = self.watch_until_all(environment, at_close)?;
        second.extend(self.told(environment)?);
        // The driver's own close.
        second.retain(|got| !got.mask.contains(Mask::CLOSE_NOWRITE));
        self.hold(&second, at_close, "at the close")?;
        self.ordered(&second)
    }

    /// Takes until everything expected was seen, in whatever order.
    fn watch_until_all(
        &self,
        environment: &Environment,
        expected: &[Got],
    ) -> Result<Vec<Got>, Failure> {
        let mut all: Vec<Got> = Vec::new();
        for one in expected {
            if !all.contains(one) {
                let more = self.watch.until(one, environment.patience()).map_err(|failure| {
                    Failure::broken(format!("{:?}: {failure}, before it {all:?}", self.case))
                })?;
                all.extend(more);
            }
        }
        Ok(all)
    }

    /// Files before their directory, the directory before what it is in; this
    /// last not without handles.
    fn ordered(&self, told: &[Got]) -> Result<(), Failure> {
        let rank = |got: &Got| match (got.watch, got.mask) {
            ('F' | 'X', mask) if mask.intersects(Mask::DELETE_SELF | Mask::IGNORED) => Some(1),
            ('D', mask) if mask.intersects(Mask::DELETE_SELF | Mask::IGNORED) => Some(2),
            ('P', mask) if mask.contains(Mask::DELETE) && self.uses_handles => Some(3),
            _ => None,
        };
        let ranks: Vec<_> = told.iter().filter_map(rank).collect();
        ensure!(ranks.is_sorted(), "{:?}: out of order: {told:?}", self.case);
        Ok(())
    }

    fn hold(&self, told: &[Got], expected: &[Got], when: &str) -> Result<(), Failure> {
        for letter in ['P', 'D', 'F', 'X', '?'] {
            let of = |all: &[Got]| -> Vec<Got> {
                all.iter().filter(|got| got.watch == letter).cloned().collect()
            };
            let (mut told, expected) = (of(told), of(expected));
            // A change that is told just before a removal begins may be told to the directory once
            // more with it: unread they would be one record (design.md section 6, 1..n).
            told.dedup_by(|later, first| later == first && first.mask == Mask::MODIFY);
            ensure!(told == expected, "{:?} {when}: {told:?} instead of {expected:?}", self.case);
        }
        Ok(())
    }
}

fn gone(letter: char) -> [Got; 2] {
    [got(letter, Mask::DELETE_SELF, ""), got(letter, Mask::IGNORED, "")]
}

fn modify(name: &str) -> [Got; 2] {
    [got('D', Mask::MODIFY, name), got('F', Mask::MODIFY, "")]
}

/// What is told at once, and at the close of the held file: it and the
/// directory above it are held by it, the other file is not. A file that is
/// lost to the server is not told.
fn directory_gone(case: Case, is_lost: bool) -> (Vec<Got>, Vec<Got>) {
    let (mut now, mut at_close) = (Vec::new(), Vec::new());
    if !is_lost {
        now.extend(gone('X'));
    }
    let held = if case.is_held() { &mut at_close } else { &mut now };
    if !is_lost || case.is_held() {
        held.extend(gone('F'));
    }
    held.extend(gone('D'));
    (now, at_close)
}

fn in_all_cases(
    environment: &Environment,
    directory: &str,
    act: impl Fn(&Stage) -> Result<(Vec<Got>, Vec<Got>), Failure>,
) -> Result<(), Failure> {
    for case in CASES {
        let stage = Stage::set(environment, case, directory)?;
        let (now, at_close) = act(&stage)?;
        let stored = stage.hierarchy.stored();
        ensure!(stored == 0, "{case:?}: {stored} of the server's own requests were stored");
        stage.judge(environment, &now, &at_close)?;
    }
    Ok(())
}

impl Stage {
    fn file(&self, directory: &str) -> Result<std::sync::Arc<kernfs::Node>, Failure> {
        self.hierarchy.node(directory)?.child(HELD).ok_or(Failure::broken("no file"))
    }
}

pub(super) fn modified(environment: &Environment) -> Result<(), Failure> {
    in_all_cases(environment, DIRECTORY, |stage| {
        stage.file(DIRECTORY)?.notify();
        Ok((modify(HELD).to_vec(), Vec::new()))
    })
}

fn file_gone(case: Case, mut now: Vec<Got>) -> (Vec<Got>, Vec<Got>) {
    let mut at_close = Vec::new();
    if case.is_held() { &mut at_close } else { &mut now }.extend(gone('F'));
    (now, at_close)
}

pub(super) fn modified_and_removed(environment: &Environment) -> Result<(), Failure> {
    in_all_cases(environment, DIRECTORY, |stage| {
        let file = stage.file(DIRECTORY)?;
        file.notify();
        file.remove();
        let now = modify(HELD).to_vec();
        Ok(file_gone(stage.case, now))
    })
}

/// A controller is disabled: its file goes, the directory stays.
pub(super) fn file_removed(environment: &Environment) -> Result<(), Failure> {
    in_all_cases(environment, DIRECTORY, |stage| {
        stage.file(DIRECTORY)?.remove();
        Ok(file_gone(stage.case, Vec::new()))
    })
}

pub(super) fn directory_removed(environment: &Environment) -> Result<(), Failure> {
    in_all_cases(environment, DIRECTORY, |stage| {
        stage.hierarchy.node(DIRECTORY)?.remove();
        Ok(directory_gone(stage.case, false))
    })
}

/// The directory above goes, with all in it.
pub(super) fn subtree_removed(environment: &Environment) -> Result<(), Failure> {
    in_all_cases(environment, "u/d", |stage| {
        stage.hierarchy.node("u")?.remove();
        let (mut now, mut at_close) = directory_gone(stage.case, false);
        if stage.case.is_held() { &mut at_close } else { &mut now }.extend(gone('P'));
        Ok((now, at_close))
    })
}

fn removed_by_a_client(stage: &Stage) -> Result<(Vec<Got>, Vec<Got>), Failure> {
    let path = stage.hierarchy.path().join(DIRECTORY);
    fs::remove_dir(&path).map_err(Failure::driver("remove", path))?;
    // Who holds a file has brought its name back.
    let is_lost = stage.case.reclaimed && !stage.uses_handles;
    let (mut now, at_close) = directory_gone(stage.case, is_lost);
    now.push(got('P', Mask::DELETE | Mask::ISDIR, DIRECTORY));
    Ok((now, at_close))
}

pub(super) fn rmdir(environment: &Environment) -> Result<(), Failure> {
    in_all_cases(environment, DIRECTORY, removed_by_a_client)
}

/// The file is closed before the server could do anything after its reply:
/// from 7.0 on FUSE's own message does nothing in a dead directory.
pub(super) fn rmdir_and_closed_at_once(environment: &Environment) -> Result<(), Failure> {
    for _ in 0..environment.scale(200, 20) {
        let case = Case::new(false, Holder::Open);
        let mut stage = Stage::set(environment, case, DIRECTORY)?;
        let path = stage.hierarchy.path().join(DIRECTORY);
        fs::remove_dir(&path).map_err(Failure::driver("remove", path))?;
        stage.held = None;
        let end = got('D', Mask::IGNORED, "");
        let mut told = stage.watch.until(&end, environment.patience())?;
        told.extend(stage.told(environment)?);
        let [first, last] = gone('F');
        let ends = told.iter().filter(|got| **got == first || **got == last).count();
        ensure!(ends == 2, "the end of a file closed at once: {told:?}");
    }
    Ok(())
}

/// The last change is told before the removal that follows it at once.
pub(super) fn rmdir_after_change(environment: &Environment) -> Result<(), Failure> {
    for case in CASES {
        let stage = Stage::set(environment, case, DIRECTORY)?;
        stage.file(DIRECTORY)?.notify();
        removed_by_a_client(&stage)?;
        let is_told_later = case.is_held() || (case.reclaimed && !stage.uses_handles);
        let end = if is_told_later { None } else { Some(got('F', Mask::IGNORED, "")) };
        let told = match end {
            Some(end) => stage.watch.until(&end, environment.patience())?,
            None => stage.told(environment)?,
        };
        let of_file: Vec<_> = told.iter().filter(|got| got.watch == 'F').collect();
        let first = of_file.first().map(|got| got.mask);
        ensure!(first == Some(Mask::MODIFY), "{case:?}: the last change is lost: {told:?}");
    }
    Ok(())
}

/// A client's mkdir is told to the directory above; so is the next one of the
/// same name.
pub(super) fn births(environment: &Environment) -> Result<(), Failure> {
    let case = Case::new(false, Holder::Nobody);
    let stage = Stage::set(environment, case, DIRECTORY)?;
    let path = stage.hierarchy.path().join("born");
    let entry = |mask| got('P', mask | Mask::ISDIR, "born");
    for _ in 0..3 {
        fs::create_dir(&path).map_err(Failure::driver("make", &path))?;
        fs::remove_dir(&path).map_err(Failure::driver("remove", &path))?;
        let told = stage.told(environment)?;
        let expected = [entry(Mask::CREATE), entry(Mask::DELETE)];
        ensure!(told == expected, "{told:?} instead of {expected:?}");
    }
    Ok(())
}
