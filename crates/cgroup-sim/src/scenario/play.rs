//! Playing a scenario: one thing after the other, each at its time.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    sync::Arc,
};

use hashbrown::HashMap;
use rustix::io::Errno;

use super::{Action, Habits, Scenario, ScenarioError, Step};
use crate::{Controllers, Error, Hierarchy};

/// A scenario that is being played on a hierarchy.
///
/// It does one thing when [`step`](Self::step) or [`run_until`](Self::run_until) is called, and
/// nothing in between; notifications are left to be drained.
#[derive(Debug)]
pub struct Player {
    scenario: Arc<Scenario>,
    /// The hierarchy's time at the start.
    origin: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Next)>>,
    /// Of things at the same time the one that was entered first comes first.
    entered: u64,
    processes: HashMap<String, Process>,
    /// The names of those that may start again when they are gone.
    restarting: BTreeSet<String>,
    front: Option<Box<dyn Front>>,
}

/// Another mount of the hierarchy, on which the player makes and removes cgroups and writes to
/// files, so that who watches that mount sees what a program's system calls look like.
pub trait Front: Send + std::fmt::Debug {
    /// `mkdir` of a path that starts with `/`.
    ///
    /// # Errors
    /// That of the system call.
    fn make_dir(&self, path: &str) -> Result<(), Errno>;

    /// `rmdir` of a path that starts with `/`.
    ///
    /// # Errors
    /// That of the system call.
    fn remove_dir(&self, path: &str) -> Result<(), Errno>;

    /// Opens a file, writes to it and closes it.
    ///
    /// # Errors
    /// That of the system call that failed.
    fn write(&self, path: &str, text: &str) -> Result<(), Errno>;
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A step, by its place.
    Step(usize),
    /// A round begins: which, and the how-manieth.
    Round(usize, u64),
    /// A step of a round.
    InRound(usize, u64, usize),
    /// A process, in its so-manieth life, does what it does by itself.
    Leak(String, u32),
    Exit(String, u32),
    Start(String, u32),
}

#[derive(Clone, Debug)]
struct Process {
    /// None: it is gone, and it was seen.
    pid: Option<u32>,
    life: u32,
    cgroup: String,
    habits: Habits,
}

impl Player {
    /// Makes what is there from the start.
    pub(super) fn start(scenario: &Scenario, all: &Hierarchy) -> Result<Self, ScenarioError> {
        let give = |path: &str, controllers: Controllers| {
            let words: Vec<_> = controllers.iter().map(|one| format!("+{}", one.name())).collect();
            all.write(format!("{path}/cgroup.subtree_control"), &words.join(" "))
        };
        let failed = |line, error| ScenarioError::new(line, error);
        give("", scenario.controllers).map_err(|error| failed(1, error))?;
        for cgroup in &scenario.cgroups {
            let failed = |error| failed(cgroup.line, error);
            all.mkdir(&cgroup.path).map_err(failed)?;
            give(&cgroup.path, cgroup.controllers).map_err(failed)?;
            for (file, text) in &cgroup.set {
                all.write(format!("{}/{file}", cgroup.path), text).map_err(failed)?;
            }
        }
        let mut player = Self {
            scenario: Arc::new(scenario.clone()),
            origin: all.now(),
            queue: BinaryHeap::new(),
            entered: 0,
            processes: HashMap::new(),
            restarting: BTreeSet::new(),
            front: None,
        };
        for (n, step) in scenario.steps.iter().enumerate() {
            player.enter(step.at, Next::Step(n));
        }
        for (n, round) in scenario.rounds.iter().enumerate() {
            player.enter(round.from, Next::Round(n, 0));
        }
        Ok(player)
    }

    /// From now on makes, removes and writes on this mount instead of the hierarchy's own.
    pub fn set_front(&mut self, front: Box<dyn Front>) {
        self.front = Some(front);
    }

    /// When the next thing happens, in the hierarchy's time. None: the scenario is over.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, ..))| self.origin.saturating_add(*at))
    }

    /// When the scenario ends, in the hierarchy's time.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.origin.saturating_add(self.scenario.lasts)
    }

    /// Moves the hierarchy's time to the next thing and does it. `false`: there is none.
    ///
    /// # Errors
    /// A step that failed against expectation, or did not fail as expected, with its line.
    pub fn step(&mut self, all: &Hierarchy) -> Result<bool, ScenarioError> {
        let Some(Reverse((at, _, next))) = self.queue.pop() else { return Ok(false) };
        all.advance_to(self.origin.saturating_add(at));
        self.act(all, at, next)?;
        self.see_the_gone(all, at);
        Ok(true)
    }

    /// Does all that happens up to a time of the hierarchy, and moves its time there.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn run_until(&mut self, all: &Hierarchy, time: u64) -> Result<(), ScenarioError> {
        while self.next_at().is_some_and(|next| next <= time) {
            self.step(all)?;
        }
        all.advance_to(time);
        Ok(())
    }

    fn enter(&mut self, at: u64, next: Next) {
        if at <= self.scenario.lasts {
            self.entered += 1;
            self.queue.push(Reverse((at, self.entered, next)));
        }
    }

    fn act(&mut self, all: &Hierarchy, at: u64, next: Next) -> Result<(), ScenarioError> {
        let scenario = Arc::clone(&self.scenario);
        match next {
            Next::Step(n) => self.take(all, at, &scenario.steps[n], None)?,
            Next::Round(n, count) => {
                let round = &scenario.rounds[n];
                for (step, raw) in round.steps.iter().enumerate() {
                    self.enter(at.saturating_add(raw.at), Next::InRound(n, count, step));
                }
                if count + 1 < round.times {
                    self.enter(at.saturating_add(round.every), Next::Round(n, count + 1));
                }
            }
            Next::InRound(n, count, step) => {
                self.take(all, at, &scenario.rounds[n].steps[step], Some(count))?;
            }
            Next::Leak(name, life) => self.leak(all, at, name, life),
            Next::Exit(name, life) => {
                if let Some(pid) = self.alive(&name, life) {
                    // It may have been killed.
                    let _ = all.exit(pid);
                }
            }
            Next::Start(name, life) => {
                if self.processes.get(&name).is_some_and(|process| process.life == life) {
                    self.start_again(all, at, name);
                }
            }
        }
        Ok(())
    }

    /// Takes a step as it is expected to go.
    fn take(
        &mut self,
        all: &Hierarchy,
        at: u64,
        step: &Step,
        round: Option<u64>,
    ) -> Result<(), ScenarioError> {
        let done = self.perform(all, at, &step.what, round);
        match (done, step.expect) {
            (Ok(()), None) => Ok(()),
            (Err(error), Some(errno)) if error.errno() == errno => Ok(()),
            (Err(error), _) => Err(ScenarioError::new(step.line, error)),
            (Ok(()), Some(errno)) => {
                Err(ScenarioError::new(step.line, format!("it did not fail with {errno:?}")))
            }
        }
    }

    fn perform(
        &mut self,
        all: &Hierarchy,
        at: u64,
        action: &Action,
        round: Option<u64>,
    ) -> Result<(), Error> {
        let named = |text: &String| match round {
            Some(n) => text.replace("{n}", &n.to_string()),
            None => text.clone(),
        };
        let cgroup = |path: &String| {
            let missing =
                Error::Refused { what: "a cgroup that is not there", errno: Errno::NOENT };
            all.find(named(path)).ok_or(missing)
        };
        let refused = |errno| Error::Refused { what: "a system call on the mount", errno };
        match action {
            Action::Make(path) => match &self.front {
                Some(front) => front.make_dir(&named(path)).map_err(refused),
                None => all.mkdir(named(path)).map(drop),
            },
            Action::Remove(path) => match &self.front {
                Some(front) => front.remove_dir(&named(path)).map_err(refused),
                None => all.rmdir(named(path)),
            },
            Action::Write { text, to } => match &self.front {
                Some(front) => front.write(&named(to), &named(text)).map_err(refused),
                None => all.write(named(to), &named(text)),
            },
            Action::Start { name, cgroup, habits } => {
                self.launch(all, at, named(name), named(cgroup), *habits)
            }
            Action::Fork { name, from } => {
                let Some(parent) = self.pid(all, &named(from)) else { return Ok(()) };
                let pid = all.fork(parent)?;
                let process = self.processes.get(&named(from)).cloned();
                if let Some(process) = process {
                    let (name, habits) = (named(name), Habits::default());
                    let life = self.next_life(&name);
                    let child = Process { pid: Some(pid), life, cgroup: process.cgroup, habits };
                    self.processes.insert(name, child);
                }
                Ok(())
            }
            Action::Exit(name) => {
                let pid = self.pid(all, &named(name));
                if let Some(process) = self.processes.get_mut(&named(name)) {
                    process.life += 1;
                    process.pid = None;
                }
                pid.map_or(Ok(()), |pid| all.exit(pid))
            }
            Action::Allocate { bytes, by } => {
                self.pid(all, &named(by)).map_or(Ok(()), |pid| all.allocate(pid, *bytes))
            }
            Action::Free { bytes, by } => {
                self.pid(all, &named(by)).map_or(Ok(()), |pid| all.free(pid, *bytes))
            }
            Action::Use { kind, bytes, cgroup: path } => all.charge(cgroup(path)?, *kind, *bytes),
            Action::Count { event, times, cgroup: path } => {
                all.count(cgroup(path)?, *event, *times)
            }
            Action::Reclaim => {
                all.mount().reclaim();
                Ok(())
            }
        }
    }

    /// The number of a process that runs.
    fn pid(&self, all: &Hierarchy, name: &str) -> Option<u32> {
        let pid = self.processes.get(name)?.pid?;
        all.cgroup_of(pid).map(|_| pid)
    }

    fn alive(&self, name: &str, life: u32) -> Option<u32> {
        self.processes.get(name).filter(|process| process.life == life)?.pid
    }

    /// A name that is given again does not get what was to become of the one that had it before.
    fn next_life(&self, name: &str) -> u32 {
        self.processes.get(name).map_or(0, |process| process.life + 1)
    }

    fn launch(
        &mut self,
        all: &Hierarchy,
        at: u64,
        name: String,
        cgroup: String,
        habits: Habits,
    ) -> Result<(), Error> {
        if self.pid(all, &name).is_some() {
            return Err(Error::Refused { what: "a process that runs", errno: Errno::EXIST });
        }
        let missing = Error::Refused { what: "a cgroup that is not there", errno: Errno::NOENT };
        let pid = all.spawn(all.find(&cgroup).ok_or(missing)?)?;
        let life = self.next_life(&name);
        self.processes.insert(name.clone(), Process { pid: Some(pid), life, cgroup, habits });
        if habits.restart.is_some() {
            self.restarting.insert(name.clone());
        }
        // At a limit that may be its end, which is no failure of the scenario.
        let _ = all.allocate(pid, habits.takes);
        if let Some((_, every)) = habits.leaks {
            self.enter(at.saturating_add(every), Next::Leak(name.clone(), life));
        }
        if let Some(lives) = habits.lives {
            self.enter(at.saturating_add(lives), Next::Exit(name, life));
        }
        Ok(())
    }

    fn leak(&mut self, all: &Hierarchy, at: u64, name: String, life: u32) {
        let Some(pid) = self.alive(&name, life) else { return };
        let habits = self.processes.get(&name).and_then(|process| process.habits.leaks);
        let (Some((bytes, every)), Some(_)) = (habits, all.cgroup_of(pid)) else { return };
        if !all.is_frozen(pid) {
            // Refused, or killed for it: such is a leak's end.
            let _ = all.allocate(pid, bytes);
        }
        self.enter(at.saturating_add(every), Next::Leak(name, life));
    }

    /// Those that are gone and start again are given a time for it.
    fn see_the_gone(&mut self, all: &Hierarchy, at: u64) {
        let mut again = Vec::new();
        for name in &self.restarting {
            let Some(process) = self.processes.get_mut(name) else { continue };
            // Its name may have been given to one that does not start again.
            let Some(restart) = process.habits.restart else { continue };
            if process.pid.is_some_and(|pid| all.cgroup_of(pid).is_none()) {
                process.pid = None;
                let next = Next::Start(name.clone(), process.life);
                again.push((at.saturating_add(restart), next));
            }
        }
        for (at, next) in again {
            self.enter(at, next);
        }
    }

    fn start_again(&mut self, all: &Hierarchy, at: u64, name: String) {
        let Some(process) = self.processes.get(&name).cloned() else { return };
        let (life, Some(restart)) = (process.life, process.habits.restart) else { return };
        let started = self.launch(all, at, name.clone(), process.cgroup, process.habits);
        // At a limit it tries again; where its cgroup is gone it is over.
        if started.is_err_and(|error| error.errno() == Errno::AGAIN) {
            self.enter(at.saturating_add(restart), Next::Start(name, life));
        }
    }
}
