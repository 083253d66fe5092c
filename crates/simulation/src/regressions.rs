//! Seeds that once broke the contract, each named after what it broke.

use kernfs::Profile;

use crate::plan::profile_named;

/// One line of `regressions.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The rules the world follows.
    pub profile: Profile,
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub broke: &'static str,
}

/// All of them. A line that cannot be understood is none, which a test of this crate finds.
#[must_use]
pub fn regressions() -> Vec<Regression> {
    lines().filter_map(parse).collect()
}

fn lines() -> impl Iterator<Item = &'static str> {
    let text = include_str!("../regressions.txt");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn parse(line: &'static str) -> Option<Regression> {
    let (profile, rest) = line.split_once(' ')?;
    let (seed, broke) = rest.split_once(' ')?;
    Some(Regression { profile: profile_named(profile)?, seed: seed.parse().ok()?, broke })
}

#[cfg(test)]
mod tests {
    use cgwatch::Options;

    use super::*;
    use crate::course::run_changed;
    use crate::plan::Plan;

    #[test]
    fn every_line_is_understood() {
        assert_eq!(regressions().len(), lines().count());
    }

    #[test]
    fn what_was_broken_holds() {
        for regression in regressions() {
            // As it was found: before readings took turns, or before there were hostile owners; and as
            // its plan is now.
            let all: [fn(&mut Plan); 3] = [
                |plan| (plan.batch, plan.hostile) = (Options::new().batch, None),
                |plan| plan.hostile = None,
                |_| {},
            ];
            for (at, change) in all.into_iter().enumerate() {
                let done = run_changed(regression.profile, regression.seed, change);
                assert!(done.is_ok(), "{}, plan {at}: {done:?}", regression.broke);
            }
        }
    }
}
