//! What was said, held against what happened. Pure.
//!
//! * A **change** is delivered if the cgroup is said to have changed after it began and before the
//!   next deed to the same cgroup began: later, its content could not be read any more. What is
//!   said more often costs nothing.
//! * A **removal** is delivered by the first `removed` of its path that is not taken by an earlier
//!   removal. One more after all that happened so far is **duplicated**, if the path was ever
//!   removed, else **invented**: it was said of a cgroup that lives.
//! * **Kills** are summed over the cgroups of the script, the newborn ones apart: fewer than there
//!   were are lost, more are invented.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{Heard, Said, Truth, What};

/// How long it took, in milliseconds, from the deed's end to the line, over paced deeds that were
/// delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// None was slower.
    pub max: f64,
}

/// Delivered of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Delivered.
    pub delivered: usize,
    /// What happened.
    pub of: usize,
}

impl Share {
    /// What was not delivered.
    #[must_use]
    pub fn missed(self) -> usize {
        self.of - self.delivered
    }

    fn add(&mut self, delivered: bool) {
        self.of += 1;
        self.delivered += usize::from(delivered);
    }
}

/// What a rival said, judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Changes of cgroups that were there when it started.
    pub changes: Share,
    /// Changes of cgroups that were made later.
    pub newborn_changes: Share,
    /// Removals of cgroups that were there when it started.
    pub removals: Share,
    /// Removals of cgroups that were made later.
    pub newborn_removals: Share,
    /// Removals said once too often.
    pub duplicated: usize,
    /// Removals said of what lives.
    pub invented: usize,
    /// OOM kills in cgroups that were there when it started.
    pub kills: Share,
    /// OOM kills in cgroups that were made later.
    pub newborn_kills: Share,
    /// Kills said that did not happen.
    pub invented_kills: u64,
    /// Of changes.
    pub change_latency: Latency,
    /// Of removals.
    pub removal_latency: Latency,
    /// How many lines it needed, of those that say something.
    pub lines: usize,
}

impl Score {
    /// Judges what was said. Both are in the order of time.
    #[must_use]
    pub fn new(truth: &Truth, heard: &[Heard]) -> Self {
        let mut score = Self { lines: heard.len(), ..Self::default() };
        let deeds = truth.by_cgroup();
        let mut changes: HashMap<&str, Vec<u64>> = HashMap::new();
        let mut removals: HashMap<&str, Vec<u64>> = HashMap::new();
        let mut kills: HashMap<&str, u64> = HashMap::new();
        for heard in heard {
            match &heard.said {
                Said::Changed(path) => changes.entry(path).or_default().push(heard.at),
                Said::Removed(path) => removals.entry(path).or_default().push(heard.at),
                Said::Killed(path, number) if !truth.unscored.contains(path) => {
                    *kills.entry(path).or_default() += number;
                }
                Said::Ready | Said::Killed(..) => {}
            }
        }
        let mut waits = Waits::default();
        for (cgroup, numbers) in &deeds {
            score.judge_changes(truth, numbers, changes.get(cgroup), &mut waits);
            score.judge_removals(truth, numbers, removals.remove(cgroup), &mut waits);
        }
        for (path, said) in removals {
            if !truth.unscored.iter().any(|unscored| unscored == path) {
                score.invented += said.len();
            }
        }
        for newborn in [false, true] {
            score.judge_kills(truth, newborn, &kills);
        }
        let elsewhere = kills.iter().filter(|(cgroup, _)| !has_kill(truth, cgroup));
        score.invented_kills += elsewhere.map(|(_, number)| number).sum::<u64>();
        score.change_latency = latency(waits.changes);
        score.removal_latency = latency(waits.removals);
        score
    }

    /// How much of what happened was not told, or not yet.
    #[must_use]
    pub fn missed(&self) -> usize {
        let told = [self.changes, self.removals, self.kills];
        let newborn = [self.newborn_changes, self.newborn_removals, self.newborn_kills];
        told.iter().chain(&newborn).map(|share| share.missed()).sum()
    }

    fn judge_kills(&mut self, truth: &Truth, newborn: bool, said: &HashMap<&str, u64>) {
        let killed: Vec<_> = truth
            .deeds
            .iter()
            .filter(|deed| deed.what == What::Killed && deed.newborn == newborn)
            .collect();
        let cgroups: HashSet<&str> = killed.iter().map(|deed| deed.cgroup.as_str()).collect();
        let told: u64 = cgroups.iter().filter_map(|cgroup| said.get(cgroup)).sum();
        let happened = killed.len() as u64;
        let share = if newborn { &mut self.newborn_kills } else { &mut self.kills };
        *share = Share { delivered: told.min(happened) as usize, of: killed.len() };
        self.invented_kills += told.saturating_sub(happened);
    }

    fn judge_changes(
        &mut self,
        truth: &Truth,
        numbers: &[usize],
        said: Option<&Vec<u64>>,
        waits: &mut Waits,
    ) {
        for (place, &number) in numbers.iter().enumerate() {
            let deed = &truth.deeds[number];
            if deed.what != What::Changed {
                continue;
            }
            let next = numbers.get(place + 1).map_or(u64::MAX, |&next| truth.deeds[next].began);
            let first = said.and_then(|said| said.get(said.partition_point(|&at| at < deed.began)));
            let delivered = first.filter(|&&at| at < next);
            if let (Some(at), true) = (delivered, deed.paced) {
                waits.changes.push(at.saturating_sub(deed.done));
            }
            let share = if deed.newborn { &mut self.newborn_changes } else { &mut self.changes };
            share.add(delivered.is_some());
        }
    }

    fn judge_removals(
        &mut self,
        truth: &Truth,
        numbers: &[usize],
        said: Option<Vec<u64>>,
        waits: &mut Waits,
    ) {
        let removals: Vec<_> = numbers
            .iter()
            .map(|&number| &truth.deeds[number])
            .filter(|deed| deed.what == What::Removed)
            .collect();
        let mut delivered = 0;
        for at in said.unwrap_or_default() {
            let happened = removals.partition_point(|deed| deed.began <= at);
            if delivered < happened {
                let deed = removals[delivered];
                if deed.paced {
                    waits.removals.push(at.saturating_sub(deed.done));
                }
                delivered += 1;
            } else if happened > 0 {
                self.duplicated += 1;
            } else {
                self.invented += 1;
            }
        }
        for (place, deed) in removals.iter().enumerate() {
            let share = if deed.newborn { &mut self.newborn_removals } else { &mut self.removals };
            share.add(place < delivered);
        }
    }
}

fn has_kill(truth: &Truth, cgroup: &str) -> bool {
    truth.deeds.iter().any(|deed| deed.what == What::Killed && deed.cgroup == cgroup)
}

/// In nanoseconds.
#[derive(Default)]
struct Waits {
    changes: Vec<u64>,
    removals: Vec<u64>,
}

fn latency(mut waits: Vec<u64>) -> Latency {
    waits.sort_unstable();
    let at = |hundredths: usize| {
        // The smallest that so many of 100 do not exceed.
        let place = (waits.len() * hundredths).div_ceil(100).saturating_sub(1);
        waits.get(place).map_or(0.0, |&wait| wait as f64 / 1e6)
    };
    Latency { p50: at(50), p99: at(99), max: at(100) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deed;

    fn deed(cgroup: &str, what: What, began: u64) -> Deed {
        let done = began + 1;
        Deed { cgroup: cgroup.into(), what, began, done, paced: true, newborn: false }
    }

    fn truth(deeds: &[(&str, What, u64)]) -> Truth {
        let deeds = deeds.iter().map(|&(cgroup, what, began)| deed(cgroup, what, began));
        Truth { deeds: deeds.collect(), unscored: vec!["/".into(), "/g".into()] }
    }

    fn changed(at: u64, path: &str) -> Heard {
        Heard { at, said: Said::Changed(path.into()) }
    }

    fn removed(at: u64, path: &str) -> Heard {
        Heard { at, said: Said::Removed(path.into()) }
    }

    fn killed(at: u64, path: &str, number: u64) -> Heard {
        Heard { at, said: Said::Killed(path.into(), number) }
    }

    fn share(delivered: usize, of: usize) -> Share {
        Share { delivered, of }
    }

    #[test]
    fn each_change_needs_its_own_line_in_its_own_time() {
        let truth = truth(&[("/g/a", What::Changed, 100), ("/g/a", What::Changed, 200)]);
        let score = |heard: &[Heard]| Score::new(&truth, heard).changes;
        assert_eq!(score(&[changed(150, "/g/a"), changed(250, "/g/a")]), share(2, 2));
        assert_eq!(score(&[changed(250, "/g/a")]), share(1, 2), "the second cannot stand for both");
        assert_eq!(score(&[changed(250, "/g/a"), changed(251, "/g/a")]), share(1, 2));
        assert_eq!(score(&[changed(150, "/g/a"), changed(151, "/g/a")]), share(1, 2));
        assert_eq!(score(&[changed(99, "/g/a"), changed(250, "/g/a")]), share(1, 2), "too early");
        assert_eq!(score(&[changed(150, "/g/b"), changed(250, "/g/a")]), share(1, 2), "of another");
        assert_eq!(score(&[]), share(0, 2));
        // Its time is from its beginning until just before the next begins.
        assert_eq!(score(&[changed(100, "/g/a"), changed(200, "/g/a")]), share(2, 2));
        assert_eq!(score(&[changed(199, "/g/a")]), share(1, 2), "in time");
        assert_eq!(score(&[changed(200, "/g/a")]), share(1, 2), "of the second alone");
    }

    #[test]
    fn the_time_of_a_change_is_from_when_it_begins_until_the_next_deed_begins() {
        let truth = truth(&[("/g/a", What::Changed, 100), ("/g/a", What::Changed, 200)]);
        let score = |at| Score::new(&truth, &[changed(at, "/g/a")]).changes.delivered;
        assert_eq!([99, 100, 199].map(score), [0, 1, 1]);
        // The first of the second, not the last of the first: neither says anything of the other.
        let both = |first, second| {
            Score::new(&truth, &[changed(first, "/g/a"), changed(second, "/g/a")]).changes.delivered
        };
        assert_eq!((both(200, 201), both(199, 200)), (1, 2));
        // Another cgroup's deed ends nobody's time.
        let other =
            super::tests::truth(&[("/g/a", What::Changed, 100), ("/g/b", What::Changed, 200)]);
        assert_eq!(Score::new(&other, &[changed(900, "/g/a")]).changes, share(1, 2));
        assert_eq!(Score::new(&other, &[changed(900, "/g/a")]).change_latency.max, 799e-6);
    }

    #[test]
    fn a_change_must_be_told_before_the_removal_begins() {
        let truth = truth(&[("/g/a", What::Changed, 100), ("/g/a", What::Removed, 200)]);
        let score = Score::new(&truth, &[changed(201, "/g/a"), removed(202, "/g/a")]);
        assert_eq!(score.changes, share(0, 1));
        assert_eq!(score.removals, share(1, 1));
        assert_eq!(score.missed(), 1);
    }

    #[test]
    fn a_removal_is_delivered_once_then_duplicated() {
        let truth = truth(&[("/g/a", What::Removed, 100)]);
        let score = Score::new(&truth, &[removed(100, "/g/a"), removed(300, "/g/a")]);
        assert_eq!((score.removals, score.duplicated, score.invented), (share(1, 1), 1, 0));
        assert_eq!(score.missed(), 0);
    }

    #[test]
    fn a_removal_of_what_lives_is_invented_and_delivers_nothing() {
        let truth = truth(&[("/g/a", What::Removed, 100)]);
        let score = Score::new(&truth, &[removed(99, "/g/a")]);
        assert_eq!((score.removals, score.duplicated, score.invented), (share(0, 1), 0, 1));
        let score = Score::new(&truth, &[removed(100, "/g/a"), removed(101, "/g/never-made")]);
        assert_eq!((score.removals, score.invented), (share(1, 1), 1));
    }

    #[test]
    fn a_path_that_is_used_again_dies_twice() {
        let truth = truth(&[("/g/a", What::Removed, 100), ("/g/a", What::Removed, 200)]);
        let score = |heard: &[Heard]| {
            let score = Score::new(&truth, heard);
            (score.removals.delivered, score.duplicated, score.invented)
        };
        assert_eq!(score(&[removed(110, "/g/a"), removed(210, "/g/a")]), (2, 0, 0));
        assert_eq!(score(&[removed(210, "/g/a"), removed(211, "/g/a")]), (2, 0, 0), "late");
        assert_eq!(score(&[removed(210, "/g/a")]), (1, 0, 0), "one is missed");
        assert_eq!(
            score(&[removed(110, "/g/a"), removed(111, "/g/a")]),
            (1, 1, 0),
            "the first twice"
        );
        let thrice = [removed(110, "/g/a"), removed(210, "/g/a"), removed(211, "/g/a")];
        assert_eq!(score(&thrice), (2, 1, 0));
    }

    #[test]
    fn cgroups_above_are_not_scored() {
        let truth = truth(&[("/g/a", What::Removed, 100)]);
        let heard = [changed(5, "/g"), removed(120, "/g/a"), removed(130, "/g"), removed(140, "/")];
        let score = Score::new(&truth, &heard);
        assert_eq!((score.removals, score.duplicated, score.invented), (share(1, 1), 0, 0));
        assert_eq!(score.changes, share(0, 0));
    }

    #[test]
    fn newborns_are_counted_apart() {
        let mut truth = truth(&[("/g/a", What::Changed, 100), ("/g/a", What::Removed, 200)]);
        truth.deeds.iter_mut().for_each(|deed| deed.newborn = true);
        let score = Score::new(&truth, &[changed(150, "/g/a")]);
        assert_eq!((score.changes, score.newborn_changes), (share(0, 0), share(1, 1)));
        assert_eq!((score.removals, score.newborn_removals), (share(0, 0), share(0, 1)));
        assert_eq!(score.missed(), 1);
    }

    #[test]
    fn kills_are_lost_or_invented_by_number() {
        let truth = truth(&[
            ("/g/a", What::Killed, 100),
            ("/g/a", What::Removed, 101),
            ("/g/b", What::Killed, 200),
        ]);
        let score = |heard: &[Heard]| {
            let score = Score::new(&truth, heard);
            (score.kills, score.invented_kills)
        };
        assert_eq!(score(&[killed(150, "/g/a", 1), killed(250, "/g/b", 1)]), (share(2, 2), 0));
        assert_eq!(score(&[killed(250, "/g/b", 2)]), (share(2, 2), 0), "told together");
        assert_eq!(score(&[killed(250, "/g/b", 1)]), (share(1, 2), 0));
        assert_eq!(score(&[killed(250, "/g/b", 3)]), (share(2, 2), 1));
        assert_eq!(score(&[killed(250, "/g", 2)]), (share(0, 2), 0), "the sum above");
        assert_eq!(score(&[killed(250, "/g/c", 1)]), (share(0, 2), 1), "where nobody was killed");
    }

    #[test]
    fn kills_of_newborns_do_not_stand_for_others() {
        let mut truth = truth(&[("/g/a", What::Killed, 100), ("/g/b", What::Killed, 200)]);
        truth.deeds[1].newborn = true;
        let score = Score::new(&truth, &[killed(250, "/g/b", 2)]);
        assert_eq!((score.kills, score.newborn_kills), (share(0, 1), share(1, 1)));
        assert_eq!((score.invented_kills, score.missed()), (1, 1));
    }

    #[test]
    fn latency_is_of_paced_deeds_from_their_end() {
        let mut truth = truth(&[]);
        for number in 0..200 {
            let mut deed = deed(&format!("/g/{number}"), What::Removed, number * 1_000_000_000);
            deed.paced = number < 100;
            truth.deeds.push(deed);
        }
        let heard: Vec<_> = (0..200)
            .map(|number| {
                let wait = (number + 1) * 1_000_000;
                removed(number * 1_000_000_000 + 1 + wait, &format!("/g/{number}"))
            })
            .collect();
        let score = Score::new(&truth, &heard);
        assert_eq!(score.removal_latency, Latency { p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(score.removals, share(200, 200));
        // Heard before the call returned: no time at all.
        let early = Score::new(&truth, &[removed(0, "/g/0")]);
        assert_eq!(early.removal_latency.max, 0.0);
    }
}
