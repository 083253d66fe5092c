//! Which of the mutations a run tries: a part of them, so that a run is short and all have their turn.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// One of so many parts, counted from 1: `3/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    number: u64,
    of: u64,
}

/// In how many days the test command has tried all of them.
const DAYS: u64 = 8;
const SECONDS_A_DAY: u64 = 24 * 60 * 60;

impl Part {
    /// Every mutation.
    pub(crate) const ALL: Self = Self { number: 1, of: 1 };

    /// The part of today, in UTC.
    pub(crate) fn of_today() -> Self {
        // A clock before 1970 is that of its first day.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::of_day(since.as_secs() / SECONDS_A_DAY)
    }

    fn of_day(day: u64) -> Self {
        Self { number: day % DAYS + 1, of: DAYS }
    }

    /// Whether the mutation at this place of the list, counted from 0, is in it. Neighbours in the
    /// list break the same file, and are in different parts.
    pub(super) fn has(self, place: usize) -> bool {
        place as u64 % self.of == self.number - 1
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| {
            Some(Self { number: number.parse().ok()?, of: of.parse().ok()? })
        });
        match numbers {
            Some(part) if (1..=part.of).contains(&part.number) => Ok(part),
            _ => Err("not K/N with K from 1 to N, as in 3/8".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutation_has_its_turn_once_in_eight_days() {
        for first in [0, 20_421] {
            for place in 0..33 {
                let days = (first..first + DAYS).filter(|&day| Part::of_day(day).has(place));
                assert_eq!(days.count(), 1, "place {place}");
            }
        }
    }

    #[test]
    fn a_part_is_written_as_it_is_read() {
        assert_eq!(Part::of_day(10).to_string(), "3/8");
        assert_eq!("3/8".parse(), Ok(Part::of_day(10)));
        assert_eq!("1/1".parse(), Ok(Part::ALL));
        assert!((0..33).all(|place| Part::ALL.has(place)));
        for wrong in ["", "3", "0/8", "9/8", "0/0", "1/0", "a/8", "-1/8", "3/8/1"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
