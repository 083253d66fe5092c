//! A hostile owner of a delegated cgroup does whatever it may do there. A victim beside it is reported
//! as if it were alone, and the hostile cgroups themselves are reported as they are.

mod deep;
mod turns;

use std::{
    collections::HashMap,
    fs::File,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use cgwatch::{Event, EventKind, Options};

use super::judge;
use crate::{Cgroup, Environment, Failure, Recording, Scenario, Tree, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("hostile-freeze", freeze).seconds(180),
    Scenario::new("hostile-controls", controls).seconds(180),
    Scenario::new("hostile-turns", turns::turns),
    Scenario::new("hostile-deep", deep::deep),
];

/// A hostile cgroup with a crowd of children, and a victim.
struct Stage {
    tree: Tree,
    hostile: Cgroup,
    crowd: Vec<Cgroup>,
    victim: Cgroup,
}

impl Stage {
    fn new(environment: &Environment, crowd: usize) -> Result<Self, Failure> {
        let tree = Tree::plant(environment)?;
        let hostile = tree.make("hostile")?;
        let crowd =
            (0..crowd).map(|n| tree.make(format!("hostile/{n}"))).collect::<Result<_, _>>()?;
        let victim = tree.make("victim")?;
        Ok(Self { tree, hostile, crowd, victim })
    }

    /// Cgroups of the victim's are born and removed, each reported before the driver goes on.
    fn live(&self, recording: &Recording, names: Range<usize>) -> Result<Vec<Cgroup>, Failure> {
        let live = |name| {
            let cgroup = self.tree.make(format!("victim/{name}"))?;
            recording.until_appeared(&cgroup)?;
            self.tree.remove(&cgroup)?;
            recording.until_removed(&cgroup)?;
            Ok(cgroup)
        };
        names.map(live).collect()
    }

    /// The crowd is frozen and thawed several times, and the victim lives on after each: all that the
    /// victim ever made.
    fn freeze_and_thaw(
        &self,
        environment: &Environment,
        recording: &Recording,
    ) -> Result<Vec<Cgroup>, Failure> {
        let lives = environment.scale(10, 3);
        let mut made = Vec::new();
        for round in 0..8 {
            self.hostile.write("cgroup.freeze", ["1", "0"][round % 2])?;
            made.extend(self.live(recording, round * lives..(round + 1) * lives)?);
        }
        Ok(made)
    }

    /// In the end a third of the crowd is frozen, a pattern that was never there before, and what was
    /// reported last of each is that. Each of the victim's births and deaths was reported once.
    fn judge(self, recording: Recording, made: &[Cgroup]) -> Result<(), Failure> {
        for cgroup in self.crowd.iter().step_by(3) {
            cgroup.write("cgroup.freeze", "1")?;
        }
        let mut truth = HashMap::new();
        for cgroup in &self.crowd {
            truth.insert(cgroup.id, cgroup.count("cgroup.events", "frozen")?);
        }
        let frozen = truth.values().filter(|frozen| **frozen == 1).count();
        ensure!(frozen == self.crowd.len().div_ceil(3), "driver: {frozen} are frozen");
        let mut reported = HashMap::new();
        recording.until("the last state of each of the crowd", |event| {
            take_frozen(&mut reported, event);
            is_known(&truth, &reported)
        })?;
        let events = judge(recording, &self.tree)?;
        reported.clear();
        events.iter().for_each(|event| take_frozen(&mut reported, event));
        ensure!(is_known(&truth, &reported), "of some of the crowd an older state came last");
        exactly_once(&events, made.iter().map(|cgroup| cgroup.id))
    }
}

/// Takes in what an event says of whether a cgroup is frozen.
fn take_frozen(reported: &mut HashMap<u64, u64>, event: &Event) {
    let (cgroup, values) = match &event.kind {
        EventKind::Appeared { cgroup, files, .. } => (cgroup, files.get("cgroup.events")),
        EventKind::Changed { cgroup, file, new, .. } if &**file == "cgroup.events" => {
            (cgroup, Some(new))
        }
        _ => return,
    };
    if let (Some(id), Some(frozen)) = (cgroup.id, values.and_then(|values| values.get("frozen"))) {
        reported.insert(id, frozen);
    }
}

fn is_known(truth: &HashMap<u64, u64>, reported: &HashMap<u64, u64>) -> bool {
    truth.iter().all(|(id, frozen)| reported.get(id) == Some(frozen))
}

/// Of each of these cgroups one birth and one death were reported.
fn exactly_once(events: &[Event], ids: impl IntoIterator<Item = u64>) -> Result<(), Failure> {
    let mut reported: HashMap<u64, [usize; 2]> = HashMap::new();
    for event in events {
        let (cgroup, what) = match &event.kind {
            EventKind::Appeared { cgroup, .. } => (cgroup, 0),
            EventKind::Removed { cgroup, .. } => (cgroup, 1),
            _ => continue,
        };
        if let Some(id) = cgroup.id {
            reported.entry(id).or_default()[what] += 1;
        }
    }
    for id in ids {
        let times = reported.get(&id).copied().unwrap_or_default();
        ensure!(times == [1, 1], "id {id}: births and deaths reported: {times:?}");
    }
    Ok(())
}

/// How many children the hostile cgroup has.
fn crowd(environment: &Environment) -> usize {
    environment.scale(3_000, 75)
}

/// One write changes thousands of cgroups.
fn freeze(environment: &Environment) -> Result<(), Failure> {
    let stage = Stage::new(environment, crowd(environment))?;
    let recording = Recording::of_tree(environment, &stage.tree, Options::new())?;
    let made = stage.freeze_and_thaw(environment, &recording)?;
    stage.judge(recording, &made)
}

/// The same, while each of many opened and closed files might have changed the files of thousands.
fn controls(environment: &Environment) -> Result<(), Failure> {
    let stage = Stage::new(environment, crowd(environment))?;
    let recording = Recording::of_tree(environment, &stage.tree, Options::new())?;
    let over = AtomicBool::new(false);
    let deadline = Instant::now() + 2 * environment.patience();
    let made = thread::scope(|scope| {
        let hostile = scope.spawn(|| open_and_close(&stage.hostile, &over, deadline));
        let made = stage.freeze_and_thaw(environment, &recording);
        over.store(true, Ordering::Relaxed);
        let opened = hostile.join().map_err(|_| Failure::broken("driver: a thread panicked"))??;
        ensure!(opened > 0, "driver: nothing was opened");
        made
    })?;
    stage.judge(recording, &made)
}

/// Opens the file that decides which files the children have for writing, and closes it, until it is
/// over; how often.
fn open_and_close(
    hostile: &Cgroup,
    over: &AtomicBool,
    deadline: Instant,
) -> Result<usize, Failure> {
    let path = hostile.file("cgroup.subtree_control");
    let mut opened = 0;
    while !over.load(Ordering::Relaxed) && Instant::now() < deadline {
        File::options().write(true).open(&path).map_err(Failure::driver("open", &path))?;
        opened += 1;
    }
    Ok(opened)
}
