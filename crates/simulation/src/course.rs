//! One run: a world moves, a monitor watches it, a reader takes what it is told; then everything
//! comes to rest and is judged.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use cgroup_sim::Hierarchy;
use cgwatch::{Event, EventKind, Options, SimWorld, Strategy, Watcher};
use contract::Breach;
use fastrand::Rng;
use kernfs::Profile;

use crate::{
    fairness::Line,
    mover::{Mover, Shared},
    plan::{Plan, profile_name},
    tally::Tally,
    verdict,
};

/// After this long nothing is held back any more, neither by the rate limit of notifications (10 ms)
/// nor by the monitor, which calls a remainder late then.
const HELD_BACK_NS: u64 = 100_000_000;
/// Where a batch holds little, nearly all is a crowd, in which a cgroup is read once a second.
const PACED_NS: u64 = 1_300_000_000;
/// Two sweeps of any plan.
const TWO_SWEEPS_NS: u64 = 70_000_000_000;

/// A seed that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed} of {}: {what}", profile_name(*.profile))]
pub struct Failure {
    /// The rules the world followed.
    pub profile: Profile,
    /// The seed.
    pub seed: u64,
    /// What was broken, and where.
    pub what: String,
}

/// A run under way.
pub(crate) struct Course {
    pub(crate) plan: Plan,
    pub(crate) hierarchy: Arc<Hierarchy>,
    pub(crate) mover: Shared,
    pub(crate) watcher: Watcher<SimWorld>,
    /// What the reader was told.
    pub(crate) events: Vec<Event>,
    /// How many existed at the start, while none of them has been told.
    pub(crate) untold_at_start: usize,
    /// What all in the watched root had counted before it was watched.
    pub(crate) history: Vec<u64>,
    /// What the watched root counted in all, when everything had happened.
    pub(crate) last_totals: HashMap<(&'static str, &'static str), u64>,
}

/// Runs one seed.
///
/// # Errors
/// The first breach of the contract.
pub fn run(profile: Profile, seed: u64) -> Result<Tally, Failure> {
    run_changed(profile, seed, |_| {})
}

/// Runs one seed with a plan that is not quite its own.
///
/// # Errors
/// The first breach of the contract.
pub(crate) fn run_changed(
    profile: Profile,
    seed: u64,
    change: impl Fn(&mut Plan),
) -> Result<Tally, Failure> {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut course = Course::start(profile, seed, false, &change)?;
        course.finish()?;
        Ok(Tally::of(&course))
    }));
    let failed = |what: String| Failure { profile, seed, what };
    match done {
        Ok(Ok(tally)) => Ok(tally),
        Ok(Err(Breach(what))) => Err(failed(what)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(failed(format!("panicked: {}", text.unwrap_or_default())))
        }
    }
}

/// Runs one seed again and writes down all of it: the plan, what happened, what was told.
#[must_use]
pub fn trace(profile: Profile, seed: u64) -> String {
    let mut text = String::new();
    let mut course = match Course::start(profile, seed, true, |_| {}) {
        Ok(course) => course,
        Err(breach) => return breach.to_string(),
    };
    let end = catch_unwind(AssertUnwindSafe(|| course.finish()));
    let mut line = |what: &dyn fmt::Display| {
        text.push_str(&what.to_string());
        text.push('\n');
    };
    line(&format_args!("{:#?}", course.plan));
    for what in course.mover.lock().written.iter().flatten() {
        line(what);
    }
    for event in &course.events {
        line(&format_args!("{event:?}"));
    }
    match end {
        Ok(Ok(())) => line(&"the contract holds"),
        Ok(Err(breach)) => line(&breach),
        Err(_) => line(&"panicked"),
    }
    text
}

fn broken(what: impl fmt::Display) -> Breach {
    Breach(what.to_string())
}

impl Course {
    /// The world as the plan wants it, with a history, and a watcher of it.
    fn start(
        profile: Profile,
        seed: u64,
        keep_journal: bool,
        change: impl Fn(&mut Plan),
    ) -> Result<Self, Breach> {
        let mut rng = Rng::with_seed(seed);
        let mut plan = Plan::draw(profile, &mut rng);
        change(&mut plan);
        let hierarchy = Arc::new(Hierarchy::new(plan.hierarchy()));
        hierarchy.advance_to(1_000_000_000);
        let mut mover = Mover::new(rng, &plan, &hierarchy, keep_journal);
        for _ in 0..mover.rng.usize(0..40) {
            mover.act(&hierarchy);
        }
        let mover = Shared::new(mover);
        let world = SimWorld::new(Arc::clone(&hierarchy))
            .limits(plan.limits())
            .by_id(plan.by_id)
            .prompt(false)
            .driven_by(mover.clone());
        let watcher = Watcher::simulated(world, plan.options()).map_err(broken)?;
        Ok(Self {
            plan,
            hierarchy,
            mover,
            watcher,
            events: Vec::new(),
            untold_at_start: 0,
            history: Vec::new(),
            last_totals: HashMap::new(),
        })
    }

    fn finish(&mut self) -> Result<(), Breach> {
        self.add()?;
        for _ in 0..self.plan.rounds {
            self.round()?;
        }
        self.come_to_rest()?;
        verdict::at_rest(self)?;
        self.last_totals = self.totals();
        if self.plan.ends {
            self.mover.lock().remove_all(&self.hierarchy);
            self.come_to_rest()?;
            verdict::at_end(self)?;
        }
        verdict::of_the_stream(self)
    }

    fn add(&mut self) -> Result<(), Breach> {
        let (path, made, living) = {
            let mut mover = self.mover.lock();
            mover.switched = [0; 2];
            if self.plan.busy_start {
                mover.moves = mover.rng.usize(0..30);
                mover.one_in = mover.rng.u32(1..12);
            }
            (mover.path_of_watched_root().to_owned(), mover.births(), mover.living())
        };
        self.history = verdict::counted(self);
        self.watcher.add(path.as_ref(), self.plan.depth).map_err(broken)?;
        let mut mover = self.mover.lock();
        mover.moves = 0;
        mover.hears_of_all = self.plan.strategy == Strategy::Fanotify;
        self.untold_at_start = living + mover.births() - made;
        mover.measure(true);
        drop(mover);
        Ok(())
    }

    /// What the watched root shows now.
    fn totals(&self) -> HashMap<(&'static str, &'static str), u64> {
        let mut totals = HashMap::new();
        let id = self.mover.lock().id_of_watched_root();
        for counted in cgroup_sim::Event::ALL {
            let values = self.values(id, counted.file()).unwrap_or_default();
            let value = values.iter().find(|(key, _)| key == counted.key());
            totals.extend(value.map(|(_, value)| ((counted.file(), counted.key()), *value)));
        }
        totals
    }

    /// What a file of a cgroup shows now; `None` if it is not there.
    pub(crate) fn values(&self, id: u64, file: &str) -> Option<Vec<(String, u64)>> {
        let text = self.hierarchy.show(id, file).ok()?;
        let value = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.parse().ok()?))
        };
        Some(text.lines().filter_map(value).collect())
    }

    /// How many cgroups the reader believes to be alive.
    pub(crate) fn known_to_the_reader(&self) -> usize {
        let count = |kind: fn(&EventKind) -> bool| {
            self.events.iter().filter(|event| kind(&event.kind)).count()
        };
        count(|kind| matches!(kind, EventKind::Appeared { .. }))
            - count(|kind| matches!(kind, EventKind::Removed { .. }))
    }

    /// The world moves, between the monitor's calls and apart from them.
    fn round(&mut self) -> Result<(), Breach> {
        let slow = {
            let mut mover = self.mover.lock();
            mover.moves = mover.rng.usize(0..12);
            mover.one_in = mover.rng.u32(1..12);
            for _ in 0..mover.rng.usize(0..6) {
                mover.act(&self.hierarchy);
                mover.harm(&self.hierarchy);
            }
            let ns = [1_000, 5_000_000, 40_000_000][mover.rng.usize(0..3)];
            mover.pass(&self.hierarchy, ns);
            if mover.rng.bool() {
                self.hierarchy.drain();
            }
            self.plan.slow_reader && mover.rng.u32(0..5) > 0
        };
        if slow {
            self.watcher.update().map_err(broken)?;
        } else {
            self.take()?;
        }
        verdict::in_between(self)
    }

    /// The reader takes all there is.
    fn take(&mut self) -> Result<(), Breach> {
        self.watcher.update().map_err(broken)?;
        self.untold_at_start = 0;
        let mut line = Line::default();
        while let Some(event) = self.watcher.next().map_err(broken)? {
            if self.plan.takes_turns()
                && let Some(cgroup) = event.kind.cgroup()
            {
                let is_owners = cgroup.id.is_some_and(|id| self.mover.lock().is_owners(id));
                line.give(&event, is_owners, self.plan.batch()).map_err(broken)?;
            }
            self.events.push(event);
            if self.watcher.usage().pending == 0 {
                line = Line::default();
            }
        }
        Ok(())
    }

    /// Nothing happens any more. What is told without a sweep is judged before there is one.
    fn come_to_rest(&mut self) -> Result<(), Breach> {
        {
            let mut mover = self.mover.lock();
            mover.moves = 0;
            mover.measure(false);
            mover.let_go(&self.hierarchy);
        }
        let began = self.hierarchy.now();
        let paced = self.plan.batch() < Options::new().batch;
        let held_back = if paced { PACED_NS } else { HELD_BACK_NS };
        let mut judged = false;
        let mut now = began;
        while now < began + TWO_SWEEPS_NS {
            // Densely at first, then a step a second.
            now += if now < began + held_back { 10_000_000 } else { 1_000_000_000 };
            self.hierarchy.advance_to(now);
            self.hierarchy.drain();
            self.take()?;
            if !judged && now >= began + held_back {
                judged = true;
                if self.plan.is_announced() {
                    verdict::at_rest(self)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cgwatch::Depth;
    use kernfs::Access;

    use super::*;

    /// A run that is over and good, on Linux 7.1, in which nothing but the monitor may keep others
    /// from their removal events.
    fn unhindered() -> Course {
        let fits = |plan: &Plan| {
            let hindered = plan.holders || plan.reclaims;
            !hindered && !plan.ends && plan.depth == Depth::All
        };
        let of_seed = |seed| Course::start(Profile::Linux71, seed, false, |_| {}).unwrap();
        let mut course = (0..).map(of_seed).find(|course| fits(&course.plan)).unwrap();
        course.finish().unwrap();
        course
    }

    #[test]
    fn a_monitor_that_keeps_files_open_is_found_by_what_others_miss() {
        let course = unhindered();
        let hierarchy = &course.hierarchy;
        let path = format!("{}/short", course.mover.lock().path_of_watched_root());
        let path = path.replace("//", "/");
        let dies_watched = |held: bool| {
            let id = hierarchy.mkdir(&path).unwrap();
            course.mover.lock().neighbour.watch(hierarchy, &path, id);
            let file = format!("{path}/cgroup.events");
            let open = held.then(|| hierarchy.mount().open(file, Access::READ).unwrap());
            hierarchy.rmdir(&path).unwrap();
            drop(open);
            verdict::of_the_stream(&course)
        };
        assert_eq!(dies_watched(false), Ok(()));
        let Breach(what) = dies_watched(true).unwrap_err();
        assert!(what.contains("other programs were not told"), "{what}");
    }
}
