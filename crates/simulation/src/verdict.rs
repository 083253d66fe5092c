//! What must hold: the contract of the stream (crate `contract`), and what the reader and the monitor
//! must know when the world has come to rest, by the simulator's truth.

use std::collections::{BTreeMap, HashMap};

use cgroup_sim::{Controllers, Event as Counted};
use cgwatch::{Depth, Event, EventKind, GapReason, Options, Snapshot, Strategy};
use contract::{
    Breach, Life, Rule, Truth, attributable, balance, blame, files_taken, hold_against, sums,
};
use kernfs::Profile;

use crate::course::Course;

/// The counters that are compared.
const COUNTERS: [Counted; 6] = [
    Counted::MemoryLow,
    Counted::MemoryHigh,
    Counted::MemoryMax,
    Counted::MemoryOom,
    Counted::MemoryOomKill,
    Counted::PidsMax,
];

macro_rules! ensure {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(Breach(format!($($what)*)));
        }
    };
}

/// At any time: what waits is bounded by what is known, or was there at the start (item 8), and nobody
/// waits longer than by turns.
pub(crate) fn in_between(course: &Course) -> Rule {
    if let Some(breach) = course.mover.lock().fairness.as_ref().and_then(|f| f.breach.clone()) {
        return Err(Breach(breach));
    }
    let usage = course.watcher.usage();
    let known = course.known_to_the_reader() + course.untold_at_start;
    let pairs = course.plan.untold_pairs.max(usage.cgroups);
    let most = 2 * (usage.cgroups + known + pairs) + 8; // gaps, readies
    ensure!(usage.pending <= most, "{} entries wait, at most {most} may", usage.pending);
    Ok(())
}

/// The world stands still and everything was read: the books are the truth (items 1, 3, 4, 6, 7, 11).
pub(crate) fn at_rest(course: &Course) -> Rule {
    let truth = truth(course);
    let snapshot = course.watcher.snapshot();
    let known: BTreeMap<u64, &Snapshot> =
        snapshot.iter().filter_map(|known| Some((known.cgroup.id?, known))).collect();
    let living = truth.lives.iter().filter(|(_, life)| !life.ended);
    let mut alive = 0;
    // The directory above the root has one too, as long as there is the root.
    let marked = course.plan.strategy == Strategy::Fanotify;
    let mut watches = u64::from(!course.plan.whole && !course.watcher.has_ended() && !marked);
    for (id, life) in living {
        alive += 1;
        let path = String::from_utf8_lossy(&life.path);
        let Some(known) = known.get(id) else {
            return Err(Breach(format!("at rest, the books lack {path}, id {id}")));
        };
        ensure!(known.cgroup.path.as_bytes() == life.path, "the books have {id} elsewhere");
        let level = level(&life.path);
        let deeper = match course.plan.depth {
            Depth::AtMost(most) => level < usize::from(most),
            _ => true,
        };
        watches += u64::from((deeper || level == 0) && !marked);
        for file in Options::DEFAULT_FILES {
            let real = course.values(*id, file);
            watches += u64::from(real.is_some());
            let books = known.files.get(file);
            ensure!(
                real.is_some() == books.is_some(),
                "at rest, {file} of {path}, id {id}: really {real:?}, in the books {books:?}"
            );
            for (key, value) in real.into_iter().flatten() {
                let books = books.and_then(|values| values.get(&key));
                ensure!(
                    books == Some(value),
                    "at rest, {file} {key} of {path}, id {id}: really {value}, in the books \
                     {books:?}"
                );
            }
        }
    }
    ensure!(snapshot.len() == alive, "at rest, the books have {} of {alive}", snapshot.len());
    watches_are(course, course.plan.is_told_everything().then_some(watches))
}

/// Nothing leaks (item 9).
fn watches_are(course: &Course, exactly: Option<u64>) -> Rule {
    let held = course.watcher.world().watches();
    let known = course.watcher.usage().watches as u64;
    ensure!(held == known, "{held} watches are held, {known} are known");
    if let Some(exactly) = exactly {
        ensure!(held == exactly, "{held} watches are held, {exactly} are needed");
    }
    Ok(())
}

/// Everything was removed, the watched root too, unless that is the hierarchy's own.
pub(crate) fn at_end(course: &Course) -> Rule {
    if course.plan.whole {
        return at_rest(course);
    }
    ensure!(course.watcher.has_ended(), "everything is gone, and the stream goes on");
    ensure!(course.watcher.snapshot().is_empty(), "everything is gone, but not from the books");
    watches_are(course, Some(0))
}

/// What all in the watched root have counted so far, by [`COUNTERS`].
pub(crate) fn counted(course: &Course) -> Vec<u64> {
    let truth = whole_truth(course);
    let sum = |counted: &Counted| {
        let all = truth.lives.keys();
        all.map(|id| truth.counted(*id, counted.file(), counted.key())).sum()
    };
    COUNTERS.iter().map(sum).collect()
}

/// All rules of the contract, for the whole stream.
pub(crate) fn of_the_stream(course: &Course) -> Rule {
    let (truth, whole) = (truth(course), whole_truth(course));
    let events = &course.events;
    hold_against(events, &truth)?;
    announced_births(course)?;
    limits(course)?;
    // Before what is cached is dropped, which would release what was held back.
    neighbour(course, &truth)?;
    let dentries = {
        course.hierarchy.mount().reclaim();
        course.hierarchy.mount().cached().dentries
    };
    ensure!(dentries == 1, "{dentries} dentries are held, not only the root's");
    let grown = self::counted(course);
    let grown = grown.iter().zip(&course.history).map(|(now, before)| now - before);
    for (counted, grown) in COUNTERS.into_iter().zip(grown) {
        let controller = counted.controller();
        let (file, key) = (counted.file(), counted.key());
        let sums_up = course.plan.sums_up(controller);
        if controller == Controllers::PIDS && !sums_up {
            continue;
        }
        let told = sums(events, file, key).total();
        ensure!(told <= i128::from(grown), "{file} {key}: {told} told, {grown} counted");
        // What is counted between the first readings of a parent and of its child is history of the
        // one and a change of the other.
        let exact = !course.plan.busy_start && !course.plan.toggles_root;
        if sums_up && !course.plan.whole && exact {
            books(course, file, key)?;
        }
        if !course.plan.late && sums_up {
            blame(&attributable(events), &whole, file, key)?;
        }
    }
    if course.plan.populates_once {
        killed_before_empty(events)?;
    }
    if course.plan.whole {
        nothing_recovered_below_the_root(events)?;
    }
    files_stay(course, &truth)
}

/// Files come and go with their cgroups, or with controllers. What fell because a mount option was
/// switched is known from what fell because a file was replaced by the option that was seen last:
/// one that was switched back meanwhile is not seen.
fn files_stay(course: &Course, truth: &Truth) -> Rule {
    if course.mover.lock().switched.iter().any(|times| *times > 1) {
        return Ok(());
    }
    let mut truth = truth.clone();
    if !course.plan.by_id {
        // Without ids a file that came back is known from the one that went by what it counted at most:
        // what its parent's loss says of a newborn is not corrected.
        let lives = truth.lives.clone();
        for life in truth.lives.values_mut() {
            let above = lives.values().filter(|above| {
                life.path
                    .strip_prefix(above.path.as_slice())
                    .is_some_and(|rest| above.path == b"/" || rest.first() == Some(&b'/'))
            });
            for (file, times) in above.flat_map(|above| &above.taken) {
                *life.taken.entry(file.clone()).or_default() += times;
            }
        }
    }
    files_taken(&course.events, &truth)?;
    let mut kinds = course.events.iter().map(|event| &event.kind);
    let added = kinds.find(|kind| matches!(kind, EventKind::FileAdded { .. }));
    // Of one that could not be read when it was found the files come later.
    let come = course.plan.toggles || course.plan.bars();
    ensure!(come || added.is_none(), "no controller was switched, yet: {added:?}");
    Ok(())
}

/// Σ own + Σ unseen + Σ late = total (item 5).
fn books(course: &Course, file: &str, key: &str) -> Rule {
    let Some(last) = course.last_totals.get(&(file, key)) else { return Ok(()) };
    let first = course.events.iter().find_map(|event| match &event.kind {
        EventKind::Appeared { cgroup, files, .. } if cgroup.path.as_bytes() == b"/" => {
            files.get(file)?.get(key)
        }
        _ => None,
    });
    let grown = last.wrapping_sub(first.unwrap_or(0));
    balance(&course.events, file, key, grown)
}

/// A birth in a directory that was watched then is told, be it without an id; with the fanotify
/// strategy every birth after the start (item 2).
fn announced_births(course: &Course) -> Rule {
    if !course.plan.is_told_everything() {
        return Ok(());
    }
    let root = course.mover.lock().path_of_watched_root().to_owned();
    let mut must: HashMap<Vec<u8>, i64> = HashMap::new();
    for made in course.mover.lock().made.iter().filter(|made| made.announced) {
        let path = below(&root, made.path.as_bytes());
        if is_watched(course, &path) {
            *must.entry(path).or_default() += 1;
        }
    }
    let mut cancelled = 0;
    for event in &course.events {
        match &event.kind {
            EventKind::Appeared { cgroup, .. } => {
                if let Some(must) = must.get_mut(cgroup.path.as_bytes()) {
                    *must -= 1;
                }
            }
            EventKind::Gap { cancelled_pairs, .. } => cancelled += cancelled_pairs,
            _ => {}
        }
    }
    let mut missing: Vec<_> = must.into_iter().filter(|(_, left)| *left > 0).collect();
    missing.sort_unstable();
    let left: i64 = missing.iter().map(|(_, left)| left).sum();
    ensure!(
        left <= i64::try_from(cancelled).unwrap_or(i64::MAX),
        "births in watched directories were not told: {:?}",
        missing.iter().map(|(path, n)| (String::from_utf8_lossy(path), n)).collect::<Vec<_>>()
    );
    Ok(())
}

/// A limit is named with its value (item 11).
fn limits(course: &Course) -> Rule {
    for event in &course.events {
        if let EventKind::Gap { reason: GapReason::WatchLimit { limit, value }, .. } = &event.kind {
            ensure!(
                limit == "fs.inotify.max_user_watches" && *value == Some(course.plan.watches),
                "the limit of {} watches is told as {limit} {value:?}",
                course.plan.watches
            );
        }
    }
    Ok(())
}

/// What emptied a cgroup is told before that it is empty (item 3), for cgroups that are populated
/// once. What several may share may have been another's.
fn killed_before_empty(events: &[Event]) -> Rule {
    contract::kill_before_empty(&attributable(events), "memory.events", "oom_kill")
}

/// The hierarchy's root has no such files: nothing can be recovered from it (item 5).
fn nothing_recovered_below_the_root(events: &[Event]) -> Rule {
    for event in events {
        if let EventKind::Removed { cgroup, unseen, .. } = &event.kind
            && level(cgroup.path.as_bytes()) == 1
        {
            let some = unseen.files.iter().find(|(_, values)| values.is_some());
            ensure!(some.is_none(), "{} recovered {some:?}", cgroup.path);
        }
    }
    Ok(())
}

/// Other programs get their removal events, unless the world itself is in the way (item 10).
fn neighbour(course: &Course, truth: &Truth) -> Rule {
    let plan = &course.plan;
    let unhindered = match plan.profile {
        Profile::Linux70 => false,
        Profile::Linux71 => !plan.reclaims && !plan.holders,
        Profile::Announced => true,
    };
    if !unhindered {
        return Ok(());
    }
    let is_dead = |id: u64| truth.lives.get(&id).is_some_and(|life| life.ended);
    let untold = course.mover.lock().neighbour.untold(is_dead);
    ensure!(untold.is_empty(), "other programs were not told of the removal of {untold:?}");
    Ok(())
}

/// Levels below the watched root.
fn level(path: &[u8]) -> usize {
    if path == b"/" { 0 } else { path.iter().filter(|byte| **byte == b'/').count() }
}

/// A path as it is seen from the watched root.
fn below(root: &str, path: &[u8]) -> Vec<u8> {
    let rest = path.strip_prefix(root.trim_end_matches('/').as_bytes()).unwrap_or(path);
    if rest.is_empty() { b"/".to_vec() } else { rest.to_vec() }
}

/// What really happened below the watched root, as deep as is watched.
fn truth(course: &Course) -> Truth {
    let mut truth = whole_truth(course);
    truth.lives.retain(|_, life| is_watched(course, &life.path));
    truth
}

/// A path is not deeper than is watched.
fn is_watched(course: &Course, path: &[u8]) -> bool {
    match course.plan.depth {
        Depth::AtMost(most) => level(path) <= usize::from(most),
        _ => true,
    }
}

/// What really happened below the watched root.
fn whole_truth(course: &Course) -> Truth {
    let mover = course.mover.lock();
    let root = mover.path_of_watched_root();
    let inside = |path: &[u8]| {
        let rest = path.strip_prefix(root.trim_end_matches('/').as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    let mut truth = Truth::default();
    for life in course.hierarchy.lives() {
        if !inside(&life.path) {
            continue;
        }
        let path = below(root, &life.path);
        let counted = life
            .counted
            .iter()
            .map(|(event, times)| ((event.file().to_owned(), event.key().to_owned()), *times));
        let mut taken = BTreeMap::new();
        for controller in life.disabled {
            let prefix = format!("{}.", controller.name());
            for file in Options::DEFAULT_FILES.into_iter().filter(|f| f.starts_with(&prefix)) {
                *taken.entry(file.to_owned()).or_default() += 1;
            }
        }
        let ended = life.died.is_some();
        let known = Life { path, ended, counted: counted.collect(), taken };
        truth.lives.insert(life.id, known);
    }
    truth
}
