//! The contract of the event stream (design.md 4.1), as rules over what was told.
//!
//! [`hold`] applies every rule that needs nothing but the stream; [`hold_against`] also those that
//! compare it with the driver's [`Truth`]. Every rule gives the first breach it finds, with the
//! place in the stream, so that a failing run can be read. The truth comes from whoever drove the
//! cgroups, real ones or simulated, never from cgwatch.

mod books;
mod lives;
mod truth;
mod values;

use std::fmt;

use cgwatch::Event;

pub use books::{Sums, attributable, balance, blame, references, sums};
pub use lives::{cycles, families, numbered, one_life};
pub use truth::{Life, Truth, awaited, complete, every_birth, existence, files_taken};
pub use values::{arithmetic, kill_before_empty};

/// A rule that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach(pub String);

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Breach {
    fn at(event: &Event, what: impl fmt::Display) -> Self {
        let n = event.kind.cgroup().map(|cgroup| format!(" n {} {}", cgroup.n, cgroup.path));
        Self(format!("seq {} {}{}: {what}", event.seq, event.kind.name(), n.unwrap_or_default()))
    }
}

/// What a rule says.
pub type Rule = Result<(), Breach>;

/// Every rule that needs nothing but the stream.
///
/// # Errors
/// The first breach.
pub fn hold(events: &[Event]) -> Rule {
    numbered(events)?;
    one_life(events)?;
    families(events)?;
    cycles(events)?;
    arithmetic(events)?;
    references(events)
}

/// Every rule for a stream that is complete: the driver has stopped, and everything was taken.
///
/// # Errors
/// The first breach.
pub fn hold_against(events: &[Event], truth: &Truth) -> Rule {
    hold(events)?;
    existence(events, truth)?;
    complete(events, truth)
}

#[cfg(test)]
mod tests;
