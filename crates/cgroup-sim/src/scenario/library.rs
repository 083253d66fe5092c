//! The scenarios that come with the crate.

use super::{Scenario, ScenarioError};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name on a command line.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        [$(Library { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*]
    };
}

impl Library {
    /// All, the one to begin with first.
    pub const ALL: [Self; 7] = library![
        "leaking-service",
        "quiet-host",
        "oom-and-gone",
        "kubernetes-node",
        "build-farm",
        "controller-toggling",
        "overflow-storm",
    ];

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Reads it.
    ///
    /// # Errors
    /// None, as a test of this crate shows.
    pub fn scenario(self) -> Result<Scenario, ScenarioError> {
        Scenario::parse(self.text)
    }
}
